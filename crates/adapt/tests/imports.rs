//! Import test: no modules of the crate import each other in a circle.

#![allow(clippy::unwrap_used, reason = "a source file that cannot be read ends the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Imports of each module, by its path: `train::session` for `src/train/session.rs`, `train` for `src/train/mod.rs`.
fn imports(folder: &Path, path: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (file, name) = (entry.path(), entry.file_name().into_string().unwrap());
        let within = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}::{name}") };
        if file.is_dir() {
            imports(&file, &within(&name), found);
        } else {
            let module = match name.trim_end_matches(".rs") {
                "mod" | "lib" => path.to_owned(),
                name => within(name),
            };
            found.insert(module, fs::read_to_string(file).unwrap());
        }
    }
}

/// The modules that the `use crate::` lines outside tests name. A path whose last module is not a file's names its folder.
fn targets(text: &str, modules: &BTreeSet<String>) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let paths = code.lines().filter_map(|line| line.trim().strip_prefix("use crate::"));
    let modules_of = |path: &str| {
        let path = path.trim_end_matches(';').to_owned();
        let (stem, names) = path.split_once('{').unwrap_or((path.as_str(), ""));
        let names = names.trim_end_matches('}').split(',').map(|name| name.trim().trim_end_matches("::self"));
        let whole: Vec<String> = names.map(|name| format!("{stem}{name}")).collect();
        whole.iter().filter_map(|path| longest_module(path, modules)).collect::<Vec<_>>()
    };
    paths.flat_map(modules_of).collect()
}

/// The longest beginning of the path that is a module.
fn longest_module(path: &str, modules: &BTreeSet<String>) -> Option<String> {
    let parts: Vec<&str> = path.split("::").collect();
    (1..=parts.len()).rev().map(|length| parts[..length].join("::")).find(|module| modules.contains(module))
}

/// Catches: a module that imports one which, perhaps by others, imports it.
#[test]
fn no_modules_import_each_other_in_a_circle() {
    let mut texts = BTreeMap::new();
    imports(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut texts);
    texts.retain(|module, _| !module.is_empty() && !module.ends_with("tests"));
    let modules: BTreeSet<String> = texts.keys().cloned().collect();
    let mut left: BTreeMap<&String, BTreeSet<String>> =
        texts.iter().map(|(module, text)| (module, targets(text, &modules))).collect();
    assert!(left.values().any(|targets| targets.len() > 5), "imports were not read");
    while let Some(leaf) = left.iter().find(|(_, targets)| targets.is_empty()).map(|(module, _)| (*module).clone()) {
        left.remove(&leaf);
        for targets in left.values_mut() {
            targets.remove(&leaf);
        }
    }
    assert!(left.is_empty(), "these modules import each other: {left:#?}");
}
