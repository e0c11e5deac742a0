//! Tests of signals: Ctrl-C saves the work and the next command resumes it; SIGUSR1 and SIGUSR2 pause and continue a run.

use crate::scene::{Ran, Scene};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

/// Long enough to be interrupted. The classes are colours, which strong augmentation would take away.
const LONG: &str = "adapt --model tiny-1 --data images --store store --epochs 60 --augment basic --threads 1 --json";

/// Starts a long adaptation.
fn started(scene: &Scene) -> Child {
    Command::new(assert_cmd::cargo::cargo_bin!("fieldfit"))
        .args(LONG.split(' '))
        .current_dir(scene.folder())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Starts a long adaptation, and sends Ctrl-C when it has made that many steps.
fn interrupted(scene: &Scene, after: usize) -> Ran {
    let mut child = started(scene);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let steps = lines.by_ref().map(Result::unwrap).filter(|line| line.contains(r#""event":"step""#));
    assert_eq!(steps.take(after).count(), after, "the run ended before it was interrupted");
    send(&child, Signal::SIGINT);
    let stdout = lines.map(Result::unwrap).collect::<Vec<_>>().join("\n");
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    Ran { status: child.wait().unwrap().code().unwrap(), stdout, stderr }
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
}

/// Catches: an interruption that loses the work, stores half of it, or doesn't say how to go on.
#[test]
fn ctrl_c_leaves_a_checkpoint_that_resume_goes_on_from() {
    let scene = Scene::new();
    let ran = interrupted(&scene, 12);
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains(&format!("fieldfit {LONG} --resume")), "{}", ran.stderr);
    assert!(ran.objects().iter().all(|event| event["event"] != "done"));
    assert_eq!(scene.run("store list store --json").stdout, "", "nothing is stored");

    let resumed = scene.run(&format!("{LONG} --resume"));
    assert_eq!(resumed.status, 0, "{}", resumed.stderr);
    let events = resumed.objects();
    let start = events.iter().find(|event| event["event"] == "resumed").unwrap();
    assert!(start["step"].as_u64().unwrap() >= 12, "{start}");
    let first = events.iter().find(|event| event["event"] == "step").unwrap();
    assert_eq!(first["step"].as_u64().unwrap(), start["step"].as_u64().unwrap() + 1);
    assert_eq!(events.last().unwrap()["active"], true);

    let again = scene.refused(&LONG.replace("--json", "--resume"));
    assert!(again.contains("no checkpoint"), "what is stored is not resumed again: {again}");
}

/// Catches: a run that can't be held back, that can't be let go on, or that a pause makes deaf to Ctrl-C.
#[test]
fn a_run_pauses_goes_on_and_can_be_stopped_while_it_waits() {
    let scene = Scene::new();
    let mut child = started(&scene);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut heard = |event: &str| {
        let name = format!(r#""event":"{event}""#);
        assert!(lines.any(|line| line.contains(&name)), "the run ended before it told {event}");
    };
    heard("step");
    send(&child, Signal::SIGUSR1);
    heard("paused");
    send(&child, Signal::SIGUSR2);
    heard("unpaused");
    heard("step");
    send(&child, Signal::SIGUSR1);
    heard("paused");
    send(&child, Signal::SIGINT);
    heard("checkpoint");
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

/// Catches: a run that goes on from a state which other choices led to.
#[test]
fn a_checkpoint_of_other_options_is_not_resumed() {
    let scene = Scene::new();
    interrupted(&scene, 3);
    let error = scene.refused(&LONG.replace("--json", "--resume --seed 9"));
    assert!(error.contains("checkpoint"), "{error}");
    assert_eq!(scene.run("store list store --json").objects(), [] as [Value; 0]);
}

/// Catches: a signal that the command was started to ignore, as `nohup` starts it, and that stops the run all the same.
#[test]
fn an_ignored_signal_stays_ignored() {
    for (name, signal) in [("HUP", Signal::SIGHUP), ("INT", Signal::SIGINT), ("TERM", Signal::SIGTERM)] {
        let scene = Scene::new();
        let mut child = Command::new("sh")
            .args(["-c", &format!(r#"trap "" {name}; exec "$@""#), "sh"])
            .arg(assert_cmd::cargo::cargo_bin!("fieldfit"))
            .args(LONG.replace("--epochs 60", "--epochs 6").split(' '))
            .current_dir(scene.folder())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.contains(r#""event":"step""#)), "{name}: no step");
        send(&child, signal);
        let last = lines.last().unwrap();
        assert!(last.contains(r#""event":"done""#), "{name}: {last}");
        assert_eq!(child.wait().unwrap().code(), Some(0), "{name}");
    }
}

/// Catches: Ctrl-C that is not heard before the run has begun, as while its images are opened. The key is a pipe, so that
/// the command waits where there is nothing to save yet.
#[test]
fn ctrl_c_before_the_run_ends_the_command_at_once() {
    let scene = Scene::new();
    let pipe = scene.path("device.key");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR).unwrap();
    let mut child = Command::new(assert_cmd::cargo::cargo_bin!("fieldfit"))
        .args(LONG.split(' '))
        .args(["--key", "device.key"])
        .current_dir(scene.folder())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Returns when the command has opened the other end.
    let writer = std::fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    send(&child, Signal::SIGINT);
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(1), ""));
    drop(writer);
    assert!(!scene.path("store").exists());
}
