//! Package selection: the packages whose checks a change of files can affect.

use crate::workspace::{Workspace, WorkspacePackage};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Files that every package is built or checked with.
const WORKSPACE_FILES: [&str; 6] =
    ["Cargo.toml", "Cargo.lock", ".cargo/config.toml", ".clippy.toml", ".rustfmt.toml", "rust-toolchain.toml"];

/// Folders of a package whose files are not part of what its dependents are built with.
const PRIVATE_FOLDERS: [&str; 3] = ["tests", "benches", "examples"];

/// Packages selected by a change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// Names of the packages.
    pub packages: BTreeSet<String>,
    /// Changed files that belong to no package, and select none.
    pub unowned: Vec<PathBuf>,
}

/// Selects the packages that own a changed file and, with `dependents`, those that depend on them.
///
/// A change of a package affects whatever is built with it, directly or not; of what only tests with it, the tests alone.
/// `changed` has paths relative to the workspace.
pub fn select(workspace: &Workspace, changed: &[PathBuf], dependents: bool) -> Selection {
    let mut selection = Selection::default();
    // Packages whose dependents are affected, too.
    let mut rebuilt = BTreeSet::new();
    for file in changed {
        let everything = WORKSPACE_FILES.iter().any(|name| file == Path::new(name));
        let mut is_owned = false;
        for package in &workspace.packages {
            if everything || is_owner(workspace, package, file) {
                is_owned = true;
                selection.packages.insert(package.name.clone());
                if is_public(package, file) {
                    rebuilt.insert(package.name.clone());
                }
            }
        }
        if !is_owned {
            selection.unowned.push(file.clone());
        }
    }
    if dependents {
        add_dependents(workspace, rebuilt, &mut selection.packages);
    }
    selection
}

/// Returns whether a file is an input of the package, or in its folder and not in that of a package within.
fn is_owner(workspace: &Workspace, package: &WorkspacePackage, file: &Path) -> bool {
    let holds = |other: &&WorkspacePackage| file.starts_with(&other.folder);
    let innermost = workspace.packages.iter().filter(holds).max_by_key(|package| package.folder.components().count());
    innermost.is_some_and(|owner| owner.name == package.name)
        || package.inputs.iter().any(|input| file.starts_with(input))
}

/// Returns whether the dependents of a package are built with that file.
fn is_public(package: &WorkspacePackage, file: &Path) -> bool {
    let is_private = |inner: &Path| PRIVATE_FOLDERS.iter().any(|folder| inner.starts_with(folder));
    !file.strip_prefix(&package.folder).is_ok_and(is_private)
}

/// Adds the packages that are built, directly or not, with a rebuilt one, and those whose tests are.
fn add_dependents(workspace: &Workspace, mut rebuilt: BTreeSet<String>, selected: &mut BTreeSet<String>) {
    loop {
        let built_with = |package: &&WorkspacePackage| package.dependencies.iter().any(|name| rebuilt.contains(name));
        let next = workspace.packages.iter().filter(built_with).map(|package| package.name.clone());
        let grown: BTreeSet<String> = rebuilt.iter().cloned().chain(next).collect();
        if grown == rebuilt {
            break;
        }
        rebuilt = grown;
    }
    let tested_with = |package: &&WorkspacePackage| package.dev_dependencies.iter().any(|name| rebuilt.contains(name));
    selected.extend(workspace.packages.iter().filter(tested_with).map(|package| package.name.clone()));
    selected.extend(rebuilt);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// tensor ← exec ← adapt ← cli, and `fixtures`, which is built with `tensor` and tests `exec` and `report`.
    fn workspace() -> Workspace {
        let package = |name: &str, folder: &str, dependencies: &[&str], dev: &[&str]| WorkspacePackage {
            name: name.into(),
            folder: folder.into(),
            inputs: Vec::new(),
            dependencies: dependencies.iter().map(|&name| name.into()).collect(),
            dev_dependencies: dev.iter().map(|&name| name.into()).collect(),
        };
        let mut packages = vec![
            package("tensor", "crates/tensor", &[], &[]),
            package("exec", "crates/exec", &["tensor"], &["fixtures"]),
            package("adapt", "crates/adapt", &["exec"], &[]),
            package("cli", "crates/cli", &["adapt", "report"], &[]),
            package("report", "crates/report", &[], &["fixtures"]),
            package("fixtures", "tests", &["tensor"], &["adapt"]),
            package("nested", "tests/nested", &[], &[]),
        ];
        packages[3].inputs = vec!["README.md".into(), "docs".into()];
        Workspace { packages }
    }

    fn selected(files: &[&str], dependents: bool) -> Vec<String> {
        let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
        select(&workspace(), &files, dependents).packages.into_iter().collect()
    }

    /// Catches: a dependent that is not checked, directly or through others, and one that is checked without need.
    #[test]
    fn dependents_are_selected_transitively() {
        assert_eq!(selected(&["crates/adapt/src/lib.rs"], true), ["adapt", "cli", "fixtures"]);
        assert_eq!(selected(&["crates/exec/Cargo.toml"], true), ["adapt", "cli", "exec", "fixtures"]);
        assert_eq!(selected(&["crates/cli/src/main.rs"], true), ["cli"]);
        assert_eq!(selected(&["crates/tensor/src/lib.rs", "crates/cli/src/main.rs"], false), ["cli", "tensor"]);
    }

    /// Catches: a dev-dependency that spreads a change to packages that are not built with it: here `report` is tested with
    /// `fixtures`, `cli` is built with `report`, and `cli` is not affected.
    #[test]
    fn dev_dependencies_select_tests_only() {
        assert_eq!(selected(&["tests/src/lib.rs"], true), ["exec", "fixtures", "report"]);
    }

    /// Catches: a change of a test, bench or example that checks every dependent.
    #[test]
    fn private_files_select_their_package_only() {
        for folder in ["tests", "benches", "examples"] {
            assert_eq!(selected(&[&format!("crates/tensor/{folder}/one.rs")], true), ["tensor"]);
        }
        assert_eq!(selected(&["tests/tests/one.rs"], true), ["fixtures"]);
    }

    /// Catches: a file that selects a package around its own or one whose name it begins with, and files outside all
    /// packages that are lost without a word or without the package that is built from them.
    #[test]
    fn files_belong_to_the_innermost_package() {
        assert_eq!(selected(&["tests/nested/src/lib.rs"], true), ["nested"]);
        assert_eq!(selected(&["crates/exec-more/src/lib.rs"], true), Vec::<String>::new());
        assert_eq!(selected(&["docs/guide.md"], true), ["cli"]);
        let files = ["LICENSE-MIT", "README.md"].map(PathBuf::from);
        let selection = select(&workspace(), &files, true);
        assert_eq!((selection.packages.len(), selection.unowned), (1, vec![PathBuf::from("LICENSE-MIT")]));
    }

    /// Catches: a new version of a dependency or a lint that is checked nowhere.
    #[test]
    fn workspace_files_select_everything() {
        for file in WORKSPACE_FILES {
            assert_eq!(selected(&[file], false).len(), workspace().packages.len());
        }
    }
}
