//! Test of `docs/fleet.md`: runs its commands.

use crate::common::{World, ground};
use fieldfit::{
    delta::new_key,
    store::{Store, TRUST_FILE, Verdict},
};
use fieldfit_fleet::Digest;
use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

/// The command's exit status of arguments that it does not know.
const USAGE: i32 = 2;

/// Catches: a flag that was renamed, an example that never ran. Commands over the folder run to their end; of those that need a
/// server, or a router, the arguments are read.
#[test]
fn the_commands_of_the_page_run() {
    let folder = scratch();
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/fleet.md")).unwrap();
    let first = Digest(Store::open(folder.path().join("robot-1/store")).unwrap().version(1).unwrap().hash);
    let (mut ran, mut read) = (0, 0);
    for line in document.lines().filter_map(|line| line.strip_prefix("$ fieldfit-fleet ")) {
        let words = words(&line.replace("5c9e6f…", &first.to_string()));
        if words.iter().any(|word| word == "stick") {
            let output = run(folder.path(), &words);
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
            ran += 1;
        } else {
            // A store that is missing ends the command before it looks for a carrier.
            let words: Vec<String> =
                words.iter().map(|word| if word == "model" { "no-model".to_owned() } else { word.clone() }).collect();
            let output = run(folder.path(), &words);
            assert_ne!(output.status.code(), Some(USAGE), "{line}: {}", String::from_utf8_lossy(&output.stderr));
            read += 1;
        }
    }
    assert!(ran >= 5 && read >= 2, "{ran} ran, {read} read");
    let store = Store::open(folder.path().join("robot-2/store")).unwrap();
    assert_eq!(store.active().unwrap(), Some(2), "the page's sync activated what came");
}

/// Three robots that trust each other, of which the first has learned something worth publishing.
fn scratch() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::create_dir(path.join("stick")).unwrap();
    for (from, to) in [(&ground().model, "model"), (&ground().usual, "images")] {
        assert!(Command::new("cp").arg("-r").arg(from).arg(path.join(to)).status().unwrap().success());
    }
    let keys: Vec<_> = (1..=3)
        .map(|robot| {
            fs::create_dir(path.join(format!("robot-{robot}"))).unwrap();
            new_key(path.join(format!("robot-{robot}/key.pem"))).unwrap()
        })
        .collect();
    let listed: String =
        keys.iter().enumerate().map(|(index, key)| format!("kit-{} = \"{}\"\n", index + 1, key.public())).collect();
    for (index, key) in keys.iter().enumerate() {
        let store = Store::create_or_open(path.join(format!("robot-{}/store", index + 1))).unwrap();
        fs::write(store.path().join(TRUST_FILE), format!("[keys]\n{listed}")).unwrap();
        store.fix_base(&ground().base_id()).unwrap();
        let delta = match index {
            0 => ground().delta(World::Usual, 1),
            _ => ground().wrong(index as u64),
        };
        let version = store.add_judged(&delta, Some(key), Verdict::Activate, None).unwrap();
        store.confirm(version).unwrap();
    }
    folder
}

fn run(folder: &Path, words: &[String]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fieldfit-fleet")).current_dir(folder).args(words).output().unwrap()
}

/// Splits a line at spaces outside double quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('"').enumerate() {
        match index % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}
