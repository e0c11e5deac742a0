//! Tests of output files: checked before the work, never in place of a special file, never over a foreign file.

use crate::scene::{ADAPT, Scene};
use fieldfit_recording::{ImageFormat, ImageMessage, MessageReader};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::process::Command;

const FILE: &str = "store/versions/000001.delta";
const COMPARE: &str = "compare --model tiny-1 --data images --methods linear-probe --seeds 1 --threads 1 --epochs 1";

/// Catches: an output path that turns out wrong only after the training, when the version is active already.
#[test]
fn output_paths_are_checked_before_the_work() {
    let scene = Scene::new();
    fs::create_dir(scene.path("folder")).unwrap();
    for (path, reason) in [("missing/page.html", "missing/page.html"), ("folder", "found a folder")] {
        for run in [format!("{ADAPT} --report {path}"), format!("{COMPARE} --out {path}")] {
            let error = scene.refused(&run);
            assert!(error.contains(reason) && !error.contains("epoch"), "{run}: {error}");
        }
    }
    assert!(!scene.path("store").exists(), "nothing was begun");
    assert!(scene.refused(&format!("{COMPARE} --jsonl missing/runs.jsonl")).contains("missing/runs.jsonl"));
    assert_eq!(fs::read_dir(scene.path("folder")).unwrap().count(), 0, "a check leaves nothing");
    let error = scene.refused(&format!("{ADAPT} --tensorboard curves --report curves"));
    assert!(error.contains("found a folder") && !error.contains("epoch"), "{error}");
    assert!(!scene.path(FILE).exists(), "the log's folder is where the report should be: nothing was trained");
}

/// Catches: a device, pipe or link that an output replaces, and a file that it writes through a link.
#[test]
fn only_regular_files_are_replaced() {
    let scene = Scene::adapted();
    mkfifo(&scene.path("pipe"), Mode::S_IRWXU).unwrap();
    fs::write(scene.path("victim"), "precious").unwrap();
    symlink("victim", scene.path("link")).unwrap();
    symlink("nowhere", scene.path("dangling")).unwrap();
    for (name, found) in [("pipe", "a named pipe"), ("link", "a symbolic link"), ("dangling", "a symbolic link")] {
        for run in [
            format!("delta pack {FILE} {name}"),
            format!("delta unpack {FILE} {name}"),
            format!("delta export {FILE} --out {name}"),
            format!("delta export {FILE} --model tiny-1 --out {name}"),
            format!("{COMPARE} --out {name}"),
            format!("{ADAPT} --report {name}"),
        ] {
            let error = scene.refused(&run);
            assert!(error.contains(found) && error.contains(name), "{run}: {error}");
        }
    }
    scene.run("key new device.key");
    assert!(scene.refused(&format!("delta sign {FILE} --key device.key --out link")).contains("a symbolic link"));
    assert!(scene.refused(&format!("{COMPARE} --jsonl pipe")).contains("a named pipe"));
    assert!(fs::metadata(scene.path("pipe")).unwrap().file_type().is_fifo());
    assert!(fs::symlink_metadata(scene.path("link")).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(scene.path("victim")).unwrap(), "precious");
    assert!(!scene.path("nowhere").exists());
}

/// Catches: an output that replaces an input, the base, a key, a part of a store or another file of the user's.
#[test]
fn outputs_replace_nothing_but_earlier_ones() {
    let scene = Scene::adapted();
    scene.run("key new device.key");
    for name in ["one.delta", "two.delta"] {
        fs::copy(scene.path(FILE), scene.path(name)).unwrap();
    }
    let image = "images/sand/sand_0.png";
    let cases = [
        ("delta export one.delta --out".to_owned(), vec!["one.delta"]),
        ("delta export one.delta --model tiny-1 --out".to_owned(), vec!["one.delta", "tiny-1/weights.safetensors"]),
        ("delta sign one.delta --key device.key --out".to_owned(), vec!["device.key", FILE, "tiny-1/labels.txt"]),
        (format!("delta sign {FILE} --key device.key --out"), vec![FILE]),
        ("delta pack one.delta".to_owned(), vec!["store/state", FILE, image]),
        ("delta unpack one.delta".to_owned(), vec!["tiny-1/manifest.toml"]),
        ("delta merge one.delta two.delta --model tiny-1 --out".to_owned(), vec!["two.delta", "device.key"]),
        (format!("infer --model tiny-1 {image} --record"), vec![image, "tiny-1/weights.safetensors", "store/state"]),
        (format!("{ADAPT} --report"), vec![image, "tiny-1/labels.txt", "device.key"]),
        (format!("{COMPARE} --out"), vec![image, "store/state"]),
    ];
    for (run, outputs) in cases {
        for output in outputs {
            let before = fs::read(scene.path(output)).unwrap();
            let error = scene.refused(&format!("{run} {output}"));
            assert!(error.contains(output) && error.contains("choose another path"), "{run} {output}: {error}");
            assert!(fs::read(scene.path(output)).unwrap() == before, "{run} {output}");
        }
    }
    let error = scene.refused(&format!("{COMPARE} --jsonl runs.jsonl --out runs.jsonl"));
    assert!(error.contains("it is an input, too"), "{error}");
    fs::write(scene.path("empty.html"), "").unwrap();
    for _ in 0..2 {
        assert_eq!(scene.run(&format!("{COMPARE} --out empty.html")).status, 0, "an earlier page is replaced");
        assert_eq!(scene.run("delta sign one.delta --key device.key").status, 0, "a delta is signed in place");
        assert_eq!(scene.run(&format!("infer --model tiny-1 {image} --record run.mcap")).status, 0);
        assert_eq!(scene.run("delta export one.delta --model tiny-1 --out merged.safetensors").status, 0);
    }
}

/// Catches: an output that is written through a link planted at the name of its temporary file, or destroys a file there.
#[test]
fn planted_temporary_names_are_not_written_through() {
    let scene = Scene::adapted();
    fs::write(scene.path("victim"), "precious").unwrap();
    symlink("victim", scene.path(".out.zst.tmp")).unwrap();
    fs::write(scene.path(".page.html.tmp"), "somebody's").unwrap();
    assert_eq!(scene.run(&format!("delta pack {FILE} out.zst")).status, 0);
    assert_eq!(scene.run(&format!("{COMPARE} --out page.html")).status, 0);
    assert_eq!(fs::read_to_string(scene.path("victim")).unwrap(), "precious");
    assert_eq!(fs::read_to_string(scene.path(".page.html.tmp")).unwrap(), "somebody's");
    let names = fs::read_dir(scene.folder()).unwrap().map(|entry| entry.unwrap().file_name());
    let names: Vec<_> = names.map(|name| name.into_string().unwrap()).filter(|name| name.contains(".tmp")).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    let mode = |name: &str| fs::metadata(scene.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("out.zst"), mode("victim"), "an output has the permissions of any new file");
}

/// Catches: a file of something else that is truncated because it does not end with a line break, and a record that is
/// complete but for its line break and lost.
#[test]
fn a_run_log_truncates_nothing_but_its_own_last_record() {
    let scene = Scene::new();
    let compare = format!("{COMPARE} --jsonl runs.jsonl");
    let log = scene.path("runs.jsonl");
    for foreign in ["a letter", "{\"name\":", "{}", "{\"identity\":\"a\"}", "{"] {
        fs::write(&log, foreign).unwrap();
        let error = scene.refused(&compare);
        assert!(error.contains("line 1") && error.contains("runs.jsonl"), "{foreign}: {error}");
        assert_eq!(fs::read_to_string(&log).unwrap(), foreign);
    }
    fs::remove_file(&log).unwrap();
    assert_eq!(scene.run(&compare).status, 0);
    let whole = fs::read_to_string(&log).unwrap();
    let record = whole.trim_end();
    for (content, is_kept) in [
        (record.to_owned(), true),
        (record[..record.len() / 2].to_owned(), false),
        (format!("{record}\n{}", &record[..7]), true),
        (format!("{record}\n\0\0\0"), true),
    ] {
        fs::write(&log, &content).unwrap();
        assert_eq!(scene.run(&compare).status, 0, "{content:?}");
        let found = fs::read_to_string(&log).unwrap();
        assert_eq!((found.lines().count(), found.ends_with("}\n")), (1, true), "{content:?}: {found}");
        assert_eq!(found == whole, is_kept, "{content:?}");
    }
    for foreign in ["a letter", "{\"name\":"] {
        fs::write(&log, format!("{whole}{foreign}")).unwrap();
        assert!(scene.refused(&compare).contains("line 2"));
        assert_eq!(fs::read_to_string(&log).unwrap(), format!("{whole}{foreign}"));
    }
}

/// Catches: a key that a full disk leaves empty, which then keeps its name from a good one.
#[test]
fn a_key_is_written_whole_or_not_at_all() {
    let scene = Scene::new();
    let fieldfit = assert_cmd::cargo::cargo_bin!("fieldfit");
    let script = r#"trap "" XFSZ; ulimit -f 0; exec "$0" key new device.key"#;
    let ran = Command::new("sh").args(["-c", script]).arg(fieldfit).current_dir(scene.folder()).output().unwrap();
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    let names = fs::read_dir(scene.folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(names.into_iter().all(|name| !name.contains("key") && !name.contains("tmp")));
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains("space left") && !said.contains("where no file is"), "{said}");
    assert_eq!(scene.run("key new device.key").status, 0);
    assert!(scene.refused("key new device.key").contains("choose a path where no file is"));
    assert_eq!(fs::metadata(scene.path("device.key")).unwrap().permissions().mode() & 0o777, 0o600);
}

/// Catches: a JSON file of somebody else's that the description of an export replaces, or an export that replaces its own.
#[test]
fn an_export_describes_itself_beside_itself_only() {
    let scene = Scene::adapted();
    fs::write(scene.path("plain.json"), r#"{"theirs": true}"#).unwrap();
    assert!(scene.refused(&format!("delta export {FILE} --out plain.safetensors")).contains("plain.json"));
    assert_eq!(fs::read_to_string(scene.path("plain.json")).unwrap(), r#"{"theirs": true}"#);
    assert!(!scene.path("plain.safetensors").exists());
    assert!(scene.refused(&format!("delta export {FILE} --out own.json")).contains(".json"));
    for _ in 0..2 {
        assert_eq!(scene.run(&format!("delta export {FILE} --out own.safetensors")).status, 0);
    }
}

/// Catches: a limit of file sizes that ends the process, and with it the run, because a checkpoint is larger: the delta is not.
#[test]
fn a_file_size_limit_costs_the_checkpoint_and_not_the_run() {
    let scene = Scene::new();
    let output = Command::new("bash")
        .args(["-c", r#"ulimit -f 32; exec "$@""#, "bash"])
        .arg(assert_cmd::cargo::cargo_bin!("fieldfit"))
        .args(format!("{ADAPT} --method lp-ft --json").split(' '))
        .current_dir(scene.folder())
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{:?} {stderr}", output.status);
    assert!(stdout.contains(r#""event":"checkpoint_failed""#), "the limit is no limit: {stdout}");
    assert_eq!(scene.run("store list store --json").objects().len(), 1);
}

/// Catches: a recording of other images or answers than were shown, one that lacks the images after one without an answer, a file that
/// is replaced before the new one is whole, a leftover.
#[test]
fn answers_are_recorded() {
    let scene = Scene::new();
    fs::write(scene.path("run.mcap"), b"\x89MCAP0\r\nan earlier recording").unwrap();
    let ran =
        scene.run("infer --model tiny-1 images/grass missing.jpg images/sand --record run.mcap --json --threads 1");
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    let shown: Vec<Value> = ran.objects().into_iter().filter(|object| object.get("top").is_some()).collect();
    let mut reader = MessageReader::open(&scene.path("run.mcap")).unwrap();
    let (mut images, mut answers, mut texts) = (Vec::new(), Vec::<Value>::new(), 0);
    while let Some(message) = reader.next_message().unwrap() {
        if let Some(format) = ImageFormat::of(message.channel) {
            let ImageMessage::Encoded(bytes) = format.decode(message.data).unwrap() else { panic!("raw") };
            images.push(bytes.into_owned());
        } else if message.channel.topic == "/fieldfit/answer" {
            answers.push(serde_json::from_slice(message.data).unwrap());
        } else {
            texts += serde_json::from_slice::<Value>(message.data).unwrap()["texts"].as_array().unwrap().len();
        }
    }
    assert_eq!((answers.len(), &answers, texts), (60, &shown, 60 * 5), "a line for each of the 5 best classes");
    let files = shown.iter().map(|answer| fs::read(scene.path(answer["image"].as_str().unwrap())).unwrap());
    assert_eq!(images, files.collect::<Vec<_>>());
    assert_eq!(reader.cut_at(), None);

    fs::create_dir(scene.path("folder")).unwrap();
    assert!(scene.refused("infer --model tiny-1 images/grass --record folder").contains("found a folder"));
    let leftovers = fs::read_dir(scene.folder())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".tmp"));
    assert_eq!(leftovers.count(), 0);
}

/// Catches: a log without some steps, epochs or the verdict, or one that a second run replaces.
#[test]
fn curves_are_logged_for_tensorboard() {
    let scene = Scene::new();
    for runs in 1..=2 {
        let ran = scene.run(&format!("{ADAPT} --tensorboard board/run --json"));
        let count = |event: &str| ran.objects().iter().filter(|object| object["event"] == event).count();
        let files: Vec<_> = fs::read_dir(scene.path("board/run")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), runs);
        assert!(files.iter().all(|file| file.to_string_lossy().contains("events.out.tfevents.")));
        for bytes in files.iter().map(|file| fs::read(file).unwrap()) {
            let logged = |tag: &str| bytes.windows(tag.len()).filter(|part| *part == tag.as_bytes()).count();
            assert!(count("step") > 0 && logged("train/loss") == count("step"), "{}", logged("train/loss"));
            assert_eq!((logged("validation/accuracy"), logged("gate/after")), (count("epoch"), 1));
        }
    }
    fs::write(scene.path("file"), "").unwrap();
    assert!(scene.refused(&format!("{ADAPT} --tensorboard file/run")).contains("file/run"));
}
