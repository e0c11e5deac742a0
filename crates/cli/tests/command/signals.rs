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

/// A folder of two classes that takes long to open, and that is refused at the end: a tenth of its images can't be read.
#[cfg(target_os = "linux")]
fn slow_folder(folder: &std::path::Path) {
    let (class, other) = (folder.join("grass"), folder.join("sand"));
    std::fs::create_dir_all(&class).unwrap();
    std::fs::create_dir_all(&other).unwrap();
    // A bitmap of 2000 × 2000 black pixels.
    let mut bitmap = b"BM".to_vec();
    for field in [0, 0, 54, 40, 2000, 2000, 24 << 16 | 1, 0, 0, 0, 0, 0, 0_u32] {
        bitmap.extend(field.to_le_bytes());
    }
    bitmap.resize(54 + 3 * 2000 * 2000, 0);
    std::fs::write(class.join("0.bmp"), bitmap).unwrap();
    std::fs::write(class.join("zzz.bmp"), b"no image").unwrap();
    std::fs::hard_link(class.join("0.bmp"), other.join("0.bmp")).unwrap();
    for number in 1..2000 {
        let first = if number % 10 == 0 { "zzz.bmp" } else { "0.bmp" };
        std::fs::hard_link(class.join(first), class.join(format!("{number}.bmp"))).unwrap();
    }
}

/// Whether the process has a file open that lies in a folder of that name.
#[cfg(target_os = "linux")]
fn reads_from(child: &Child, folder: &str) -> bool {
    let Ok(files) = std::fs::read_dir(format!("/proc/{}/fd", child.id())) else { return false };
    let folder = format!("/{folder}/");
    files
        .flatten()
        .filter_map(|file| std::fs::read_link(file.path()).ok())
        .any(|path| path.to_string_lossy().contains(&folder))
}

/// Catches: Ctrl-C that is only heard once all images are opened, in a command without a run to save, or before it begins.
#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_is_heard_while_images_are_opened() {
    let scene = Scene::new();
    slow_folder(&scene.path("slow"));
    std::fs::create_dir_all(scene.path("tests/data/emoji/google")).unwrap();
    std::os::unix::fs::symlink(scene.path("slow"), scene.path("tests/data/emoji/google/train")).unwrap();
    std::fs::create_dir_all(scene.path("models/efficientnet-lite0")).unwrap();
    for arguments in [
        "eval --model tiny-1 --data slow",
        "eval --model tiny-1 --data images --shift slow=slow",
        "compare --model tiny-1 --data images --shift slow=slow --methods linear-probe --seeds 1",
        "adapt --model tiny-1 --data slow --store store",
        "demo --out demo",
    ] {
        let mut child = Command::new(assert_cmd::cargo::cargo_bin!("fieldfit"))
            .args(arguments.split(' '))
            .current_dir(scene.folder())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        while !reads_from(&child, "grass") {
            assert!(child.try_wait().unwrap().is_none(), "{arguments}: it ended before its images were opened");
        }
        if arguments.contains("shift") {
            while !reads_from(&child, "slow/grass") && child.try_wait().unwrap().is_none() {}
        }
        send(&child, Signal::SIGINT);
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(matches!(output.status.code(), None | Some(1)), "{arguments}: {:?}", output.status);
        assert!(output.stdout.is_empty() && !stderr.contains("can't be read"), "{arguments}: all was opened: {stderr}");
    }
}
