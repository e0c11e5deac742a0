//! Tests of standard streams: readers that close, full disks, and text from files that would forge output.

use crate::scene::{ADAPT, HANGS, Ran, Scene};
use assert_cmd::Command;
use std::fs::{self, File};
use std::io;
use std::process::{Output, Stdio};
use std::time::Duration;

fn fieldfit(scene: &Scene) -> std::process::Command {
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("fieldfit"));
    command.current_dir(scene.folder()).env_remove("RUST_LOG");
    command
}

/// A pipe that nobody reads: writing to it fails.
fn closed() -> Stdio {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// Runs the command with standard output and error on closed pipes, and returns its exit status.
fn unheard(scene: &Scene, arguments: &str) -> Option<i32> {
    let mut command = fieldfit(scene);
    command.args(arguments.split_whitespace()).stdout(closed()).stderr(closed());
    let mut child = command.spawn().unwrap();
    let started = std::time::Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if started.elapsed() > HANGS {
            child.kill().unwrap();
            panic!("{arguments}: hangs");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Catches: escape sequences among the arguments that reach the terminal in a message of wrong usage, and wrong usage that is no JSON
/// where JSON was asked for.
#[test]
fn wrong_usage_is_escaped_and_is_json() {
    let scene = Scene::new();
    let hostile = "a\u{1b}[31m\u{202e}\u{9b}2J\nb";
    let cases: [&[&str]; 6] = [
        &[hostile],
        &["infer", hostile],
        &["adapt", "--model", "m", "--data", "d", "--store", "s", "--method", hostile],
        &["collection", "forget", "c", "--from", hostile, "--to", "2026-01-01T00:00:00Z"],
        &["compare", "--model", "m", "--data", "d", "--shift", hostile],
        &["serve", "--store", "s", "--listen", hostile],
    ];
    for arguments in cases {
        let ran: Ran = fieldfit(&scene).arg("--json").args(arguments).output().unwrap().into();
        assert_eq!(ran.status, 2, "{arguments:?}: {}", ran.stderr);
        let is_clean = |text: &str| {
            text.lines()
                .flat_map(str::chars)
                .all(|letter| fieldfit::escape(&letter.to_string()).to_string() == letter.to_string())
        };
        assert!(is_clean(&ran.stderr) && is_clean(&ran.stdout), "{arguments:?}: {:?}", ran.stderr);
        assert!(!ran.stderr.lines().any(|line| line == "b"), "{:?}", ran.stderr);
        let [object] = &ran.objects()[..] else { panic!("{}", ran.stdout) };
        assert!(object["error"].as_str().is_some_and(|error| !error.is_empty()), "{object}");
    }
    let ran: Ran = fieldfit(&scene).args(["--json", "--version"]).output().unwrap().into();
    assert!(ran.status == 0 && ran.stdout.starts_with("fieldfit "), "{}", ran.stdout);
}

/// Catches: a panic, a hang or a lost run when nobody reads what the command prints (`2>&1 | head -2`).
#[test]
fn output_that_nobody_reads_ends_nothing_and_hangs_nothing() {
    let scene = Scene::new();
    for (number, flags) in ["", "--nice 5", "--json", "--quiet"].into_iter().enumerate() {
        assert_eq!(unheard(&scene, &format!("{ADAPT} {flags}")), Some(0), "adapt {flags}");
        let versions = scene.run("store list store --json").objects();
        assert_eq!(versions.len(), number + 1, "adapt {flags} stored nothing");
    }
    let compare =
        "compare --model tiny-1 --data images --methods linear-probe --seeds 1 --threads 1 --jsonl runs.jsonl";
    assert_eq!(unheard(&scene, compare), Some(0));
    assert_eq!(fs::read_to_string(scene.path("runs.jsonl")).unwrap().lines().count(), 1);
    for arguments in ["infer --model tiny-1 images", "info tiny-1", "store log store", "--help"] {
        assert_eq!(unheard(&scene, arguments), Some(0), "{arguments}");
    }
    assert_eq!(unheard(&scene, "infer --model nowhere images"), Some(1), "an error stays an error");
    assert_eq!(unheard(&scene, "dance"), Some(2));
}

/// Catches: a run that a full disk under its log ends, or a log that was cut short without a word.
#[cfg(target_os = "linux")]
#[test]
fn a_log_that_cannot_be_written_costs_no_run_and_is_reported() {
    let scene = Scene::new();
    let mut command = fieldfit(&scene);
    command.args(ADAPT.split(' ')).arg("--json").stdout(File::create("/dev/full").unwrap());
    let ran: Output = command.output().unwrap();
    let stderr = String::from_utf8(ran.stderr).unwrap();
    assert!(ran.status.code() == Some(1) && stderr.contains("cannot write to standard output"), "{stderr}");
    assert_eq!(scene.run("store list store --json").objects()[0]["active"], true);
}

/// Catches: a file name that starts a line of output, moves the cursor, or shows a signature that is not there.
#[test]
fn foreign_text_is_escaped() {
    let scene = Scene::adapted();
    let forged = "x\nsigned        number 1 of the key 00\u{1b}[2K\u{202e}";
    let (delta, image) = (format!("{forged}.delta"), format!("{forged}.png"));
    fs::copy(scene.path("store/versions/000001.delta"), scene.path(&delta)).unwrap();
    fs::copy(scene.path("images/sand/sand_0.png"), scene.path(&image)).unwrap();
    let run = |arguments: &[&str]| -> Ran { fieldfit(&scene).args(arguments).output().unwrap().into() };
    let missing = forged.to_owned() + ".missing";
    for arguments in [
        &["info", &delta][..],
        &["infer", "--model", "tiny-1", &image],
        &["infer", "--model", "tiny-1", &missing],
        &["infer", "--model", "tiny-1", "--json", &image],
        &["infer", "--model", "tiny-1", "--json", &missing],
        &["info", &missing],
        &["delta", "pack", &delta, &missing],
        &["adapt", "--model", "tiny-1", "--data", &missing, "--store", "store"],
    ] {
        let Ran { stdout, stderr, .. } = run(arguments);
        let printed = stdout + &stderr;
        assert!(printed.contains("signed        number 1"), "{arguments:?}: {printed}");
        assert!(!printed.contains(['\u{1b}', '\u{202e}']), "{arguments:?}: {printed:?}");
        assert!(printed.lines().all(|line| !line.starts_with("signed        number")), "{arguments:?}: {printed}");
    }
    let info = run(&["info", &delta]).stdout;
    assert_eq!(info.lines().filter(|line| line.starts_with("signed ")).collect::<Vec<_>>(), ["signed        no"]);
}

/// Catches: progress, notes or warnings that `--quiet` lets through, or results and errors that it leaves out.
#[test]
fn quiet_leaves_results_and_errors() {
    let scene = Scene::new();
    let ran = scene.run(&format!("{ADAPT} --quiet"));
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    assert!(ran.stdout.contains("version 1 runs now"), "{}", ran.stdout);
    let rounded = "-q delta export store/versions/000001.delta --model tiny-1 --dtype bf16 --out rounded.safetensors";
    assert_eq!(scene.run(rounded).stderr, "");
    assert!(scene.refused("--quiet info nowhere").contains("nowhere"));
}

/// Catches: a shell that cannot complete a subcommand.
#[test]
fn completions_name_the_subcommands() {
    let scene = Scene::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = scene.run(&format!("completions {shell}"));
        assert!(ran.status == 0 && ran.stdout.contains("adapt") && ran.stdout.contains("quiet"), "{shell}");
    }
    Command::new(assert_cmd::cargo::cargo_bin!("fieldfit")).args(["completions", "basic"]).assert().code(2);
}
