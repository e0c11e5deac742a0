//! Check of changed crates: formatting, lints and tests of the packages that a change can affect.

use crate::CheckArgs;
use crate::error::XtaskError;
use crate::process::{cargo, output, query, run};
use crate::selection::{Selection, select};
use crate::workspace::Workspace;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Branches that a change is compared with, the first that exists and is not the current one.
const BASES: [&str; 3] = ["main", "origin/main", "@{upstream}"];

/// Checks the changed packages; returns a summary.
pub fn check(root: &Path, args: &CheckArgs) -> Result<String, XtaskError> {
    let commit = base_commit(root, args.base.as_deref())?;
    let changed = changed_files(root, &commit)?;
    let Selection { packages, unowned } = select(&Workspace::load(root)?, &changed, !args.only_changed);
    let since = commit.get(..12).unwrap_or(&commit);
    println!("{} files changed since {since}: {}", changed.len(), listed(packages.iter().map(String::as_str)));
    if !unowned.is_empty() {
        let unowned = unowned.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        println!("NOT CHECKED, for they belong to no crate: {}", listed(unowned.iter().map(String::as_str)));
    }
    if packages.is_empty() {
        return Ok("no crate changed".into());
    }
    if args.dry_run {
        return Ok("dry run: nothing checked".into());
    }
    let selected: Vec<&str> = packages.iter().flat_map(|package| ["-p", package]).collect();
    run(cargo().current_dir(root).args(["fmt", "--check"]).args(&selected))?;
    run(cargo().current_dir(root).arg("clippy").args(&selected).args(["--all-targets", "--", "-D", "warnings"]))?;
    run(cargo().current_dir(root).arg("test").args(&selected))?;
    Ok(format!("crates checked: {}", packages.len()))
}

/// Returns the commit that the working tree is compared with: the last that it shares with the base.
fn base_commit(root: &Path, wanted: Option<&str>) -> Result<String, XtaskError> {
    let revision = match wanted {
        Some(revision) => revision.to_owned(),
        None => default_base(root)?,
    };
    if !exists(root, &revision)? {
        return Err(XtaskError::UnknownRevision { revision });
    }
    let commit = query(git(root).args(["merge-base", &revision, "HEAD"]))?;
    Ok(commit.ok_or(XtaskError::NoMergeBase { revision })?.trim().to_owned())
}

/// Returns the first of [`BASES`] that exists and is another branch than the current one, or else `HEAD`.
fn default_base(root: &Path) -> Result<String, XtaskError> {
    let current = query(git(root).args(["symbolic-ref", "--quiet", "--short", "HEAD"]))?.unwrap_or_default();
    for base in BASES {
        if base != current.trim() && exists(root, base)? {
            return Ok(base.into());
        }
    }
    Ok("HEAD".into())
}

fn exists(root: &Path, revision: &str) -> Result<bool, XtaskError> {
    let commit = format!("{revision}^{{commit}}");
    Ok(query(git(root).args(["rev-parse", "--verify", "--quiet", "--end-of-options", &commit]))?.is_some())
}

/// Returns the files that differ between a commit and the working tree, and the new ones that git does not ignore.
fn changed_files(root: &Path, commit: &str) -> Result<Vec<PathBuf>, XtaskError> {
    let changed = output(git(root).args(["diff", "--name-only", "--no-renames", "-z", commit]))?;
    let new = output(git(root).args(["ls-files", "--others", "--exclude-standard", "-z"]))?;
    let names = changed.split('\0').chain(new.split('\0')).filter(|name| !name.is_empty());
    Ok(names.map(PathBuf::from).collect())
}

/// Returns a git command on the repository in that folder, and not on the one whose hook this process runs in.
fn git(root: &Path) -> Command {
    let mut git = Command::new("git");
    git.current_dir(root).env_remove("GIT_DIR").env_remove("GIT_WORK_TREE").env_remove("GIT_INDEX_FILE");
    git
}

/// Joins names for a message.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn commit_all(root: &Path, message: &str) {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@b"];
        output(git(root).args(["add", "."])).unwrap();
        output(git(root).args(identity).args(["commit", "--quiet", "--no-gpg-sign", "-m", message])).unwrap();
    }

    /// Catches: an uncommitted or new file, or a file's old name, that is left out, a base branch that moved on and brings
    /// its own changes, and a branch that is compared with itself.
    #[test]
    fn changes_since_the_merge_base_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let write = |name: &str| fs::write(root.join(name), name).unwrap();
        output(git(root).args(["init", "--quiet", "--initial-branch", "main"])).unwrap();
        ["kept", "moved", "edited"].into_iter().for_each(write);
        commit_all(root, "first");
        let first = output(git(root).args(["rev-parse", "HEAD"])).unwrap().trim().to_owned();
        assert_eq!(base_commit(root, None).unwrap(), first, "main has nothing but HEAD to be compared with");

        output(git(root).args(["checkout", "--quiet", "-b", "work"])).unwrap();
        fs::rename(root.join("moved"), root.join("at last")).unwrap();
        commit_all(root, "second");
        output(git(root).args(["checkout", "--quiet", "main"])).unwrap();
        write("elsewhere");
        commit_all(root, "main moves on");
        output(git(root).args(["checkout", "--quiet", "work"])).unwrap();
        fs::write(root.join("edited"), "again").unwrap();
        write("new");

        assert_eq!(base_commit(root, None).unwrap(), first);
        let mut changed = changed_files(root, &first).unwrap();
        changed.sort();
        assert_eq!(changed, ["at last", "edited", "moved", "new"].map(PathBuf::from));
        assert!(matches!(base_commit(root, Some("absent")), Err(XtaskError::UnknownRevision { .. })));
        assert!(matches!(base_commit(root, Some("--all")), Err(XtaskError::UnknownRevision { .. })));
    }
}
