//! What the README tells people to type, as it stands there.

use assert_cmd::Command;
use std::path::Path;

const README: &str = include_str!("../../../../README.md");

/// What the gate runs itself (`.ci/run`, `.ci/boards.sh`).
const DEMO: &str = "cargo run --release -- demo";
const TEST: &str = "cargo test";
const BUNDLE: &str = "cargo xtask bundle jetson-orin-nano";

/// The lines of the README's `sh` blocks.
fn commands() -> impl Iterator<Item = &'static str> {
    let blocks = README.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.flat_map(str::lines).filter(|line| !line.is_empty())
}

/// A flag that was renamed, a path that moved, or an example that never ran: each `fieldfit` line, in order, in a folder
/// that shows what the top of a clone shows. The `cargo` lines are what runs this test, and the gate's own.
#[test]
fn every_command_of_the_readme_runs() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = tempfile::tempdir().unwrap();
    for shared in ["models", "tests"] {
        std::os::unix::fs::symlink(top.join(shared).canonicalize().unwrap(), folder.path().join(shared)).unwrap();
    }
    let mut ran = 0;
    for line in commands() {
        let words = shlex::split(line).unwrap();
        match words[0].as_str() {
            "cargo" => assert!([DEMO, TEST, BUNDLE].contains(&line), "{line}: run it here"),
            "fieldfit" => {
                let mut command = Command::new(assert_cmd::cargo::cargo_bin!("fieldfit"));
                command.current_dir(folder.path()).args(&words[1..]).assert().success();
                ran += 1;
            }
            other => panic!("{line}: nothing here runs {other}"),
        }
    }
    assert!(ran >= 8, "the README shows the command at work");
}
