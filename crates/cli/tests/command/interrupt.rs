//! Ctrl-C: the work so far is saved, and the next command goes on with it. Signals that pause a run and let it go on.

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

/// An interruption that loses the work, stores half of it, or doesn't say how to go on.
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

/// A run that can't be held back, that can't be let go on, or that a pause makes deaf to Ctrl-C.
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

/// A run that goes on from a state which other choices led to.
#[test]
fn a_checkpoint_of_other_options_is_not_resumed() {
    let scene = Scene::new();
    interrupted(&scene, 3);
    let error = scene.refused(&LONG.replace("--json", "--resume --seed 9"));
    assert!(error.contains("checkpoint"), "{error}");
    assert_eq!(scene.run("store list store --json").objects(), [] as [Value; 0]);
}
