//! Tests of `collect` and `collection`: sources, limits, changes, exports, and adapting to a collection in place.

use crate::scene::{HANGS, Ran, Scene, keys};
use fieldfit_data::{RgbImage, encode_jpeg};
use image::Rgb;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A JPEG that no other seed has: blocks of different brightness.
pub fn jpeg(seed: u32) -> Vec<u8> {
    let block = |x: u32, y: u32| (x * 31 + y * 57 + seed * 97).wrapping_mul(2_654_435_761) >> 24;
    encode_jpeg(&RgbImage::from_fn(64, 48, |x, y| Rgb([(block(x / 8, y / 8) % 200 + 25) as u8; 3])), 90).unwrap()
}

/// A stream of frames, one after the other.
pub fn mjpeg(frames: u32) -> Vec<u8> {
    (0..frames).flat_map(jpeg).collect()
}

/// Runs the command with that standard input, and programs from that folder alone.
fn pipe(scene: &Scene, arguments: &str, stdin: &[u8], programs: Option<&Path>) -> Ran {
    let mut command = assert_cmd::Command::new(assert_cmd::cargo::cargo_bin!("fieldfit"));
    let command = command.current_dir(scene.folder()).args(arguments.split_whitespace()).env_remove("RUST_LOG");
    if let Some(programs) = programs {
        command.env("PATH", programs);
    }
    command.timeout(HANGS).write_stdin(stdin).output().unwrap().into()
}

fn collected(ran: &Ran) -> Value {
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    ran.objects().remove(0)
}

/// Catches: a rate that makes the time of a frame one that no clock has, and ends the command with a panic; a label that is refused
/// only when a collection was created and a frame came.
#[test]
fn odd_rates_and_labels_end_nothing() {
    let scene = Scene::new();
    for rate in ["--fps 1e-300", "--fps 1e-19", "--rate 1e-30", "--fps 1e300"] {
        let ran = scene.run(&format!("collect images/sand --class sand --out field {rate}"));
        assert_eq!(ran.status, 0, "{rate}: {}", ran.stderr);
    }
    let frame = [&b"FRAME\n"[..], &[90; 16 * 16 * 3 / 2]].concat();
    let slow = [&b"YUV4MPEG2 W16 H16 F1:18446744073709551615\n"[..], &frame, &frame, &frame].concat();
    let ran = pipe(&scene, "collect - --class sand --out field --all", &slow, None);
    assert_eq!(ran.status, 0, "{}", ran.stderr);

    for label in ["--class ..", "--class a/b", "--class sand --confidence NaN"] {
        scene.refused(&format!("collect images/sand --out other {label}"));
        assert!(!scene.path("other").exists(), "{label}");
    }
    let long = "x".repeat(100_000);
    let error = scene.refused(&format!("collect images/sand --out other --class {long}"));
    assert!(error.len() < 5000 && error.contains("give a name that a folder can have"), "{} bytes", error.len());
}

/// Catches: a collection that `adapt` and `eval` do not read, or whose frames are split as if each were on its own.
#[test]
fn a_collection_is_adapted_to_in_place() {
    let scene = Scene::new();
    for class in ["grass", "sand", "water"] {
        let ran =
            scene.run(&format!("collect images/{class} --out field --class {class} --session {class} --all --json"));
        assert_eq!(collected(&ran)["stored"], 30, "{class}");
    }
    let ran = scene.run("adapt --model tiny-1 --data field --store store --epochs 2 --threads 1 --allow-fewer-classes");
    assert!(ran.stdout.contains("gate: "), "{}{}", ran.stdout, ran.stderr);
    let ran = scene.run("eval --model tiny-1 --store store --data field --json");
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let shown = scene.run("collection show field --json").objects().remove(0);
    assert_eq!((&shown["images"], &shown["groups"]), (&90.into(), &9.into()), "blocks of 10 seconds");
}

/// Catches: frames of a stream that are lost, encoded anew, or taken faster than the rate.
#[test]
fn streams_come_from_standard_input() {
    let scene = Scene::new();
    let ran = pipe(&scene, "collect - --out field --class mud --fps 10 --rate 5 --json", &mjpeg(20), None);
    let result = collected(&ran);
    assert_eq!(
        (&result["frames"], &result["taken"], &result["stored"]),
        (&20.into(), &10.into(), &10.into()),
        "{result}"
    );
    let shown = scene.run("collection show field --images --json").objects();
    let files: Vec<Vec<u8>> =
        shown.iter().map(|image| fs::read(scene.path(image["file"].as_str().unwrap())).unwrap()).collect();
    assert_eq!(files, (0..10).map(|frame| jpeg(2 * frame)).collect::<Vec<_>>());

    let mut y4m = b"YUV4MPEG2 W64 H48 F2:1 C420jpeg\n".to_vec();
    for frame in 0..4_u32 {
        y4m.extend(b"FRAME\n");
        y4m.extend(
            (0..64 * 48).map(|index| ((index % 64 / 8 * 37 + index / 64 / 8 * 91 + frame * 53) % 200 + 30) as u8),
        );
        y4m.extend([128; 64 * 48 / 2]);
    }
    let result = collected(&pipe(&scene, "collect - --out raw --class mud --json", &y4m, None));
    assert_eq!((&result["frames"], &result["taken"]), (&4.into(), &4.into()), "2 a second, as the header says");

    let result =
        collected(&pipe(&scene, "collect - --out few --class mud --fps 2 --images 3 --json", &mjpeg(20), None));
    assert_eq!(result["stored"], 3);
    let result =
        collected(&pipe(&scene, "collect - --out short --class mud --fps 2 --for 2s --json", &mjpeg(20), None));
    assert_eq!(result["frames"], 5);
}

/// Catches: a cut stream that loses what came before, or passes for a whole one; a wrong source without advice.
#[test]
fn bad_sources_are_refused_with_advice() {
    let scene = Scene::new();
    let cut = mjpeg(3);
    let ran = pipe(&scene, "collect - --out field --class mud --fps 2", &cut[..cut.len() - 9], None);
    assert_eq!(ran.status, 1);
    assert!(ran.stderr.contains("frame 2 of the MJPEG stream: the stream ends within the image"), "{}", ran.stderr);
    assert!(ran.stdout.contains("2 of 2 frames stored"), "{}", ran.stdout);
    let ran = pipe(&scene, "collect - --out new --class mud", b"RIFF....AVI LIST", None);
    assert!(
        ran.status == 1 && ran.stderr.contains("neither MJPEG nor Y4M") && ran.stderr.contains("ffmpeg -i"),
        "{}",
        ran.stderr
    );
    for (arguments, words) in [
        ("collect nowhere --out new --class mud", "nowhere is no folder of images and no camera"),
        ("collect images/sand --out images --class mud", "is not a collection, and `grass` is in it already"),
        ("collect images/sand --out new --class a/b", "the class `a/b` is a path"),
        ("collect images/sand --out new --class mud --confidence 2", "the confidence 2 is not a number in 0..=1"),
        ("collection show images", "there is no collection at images"),
        ("collection discard field ffff", "0 images of field begin with `ffff`"),
    ] {
        let ran = scene.run(arguments);
        assert!(ran.status == 1 && ran.stderr.contains(words), "{arguments}: {}", ran.stderr);
    }
    assert_eq!(scene.run("collect images/sand --out new").status, 2, "a class is needed");
    assert_eq!(scene.run("collect images/sand --out new --class mud --mask 0,0").status, 2);
}

/// Catches: a camera whose missing ffmpeg is no error that helps, an ffmpeg that failed and passes for the end of a stream, one that
/// runs on after the command.
#[test]
fn a_camera_is_read_by_ffmpeg() {
    let scene = Scene::new();
    let programs = scene.path("programs");
    fs::create_dir(&programs).unwrap();
    let run = |arguments: &str| pipe(&scene, &format!("collect /dev/null {arguments}"), b"", Some(&programs));
    let ran = run("--out field --class mud");
    assert!(ran.status == 1 && ran.stderr.contains("install it (`apt install ffmpeg`)"), "{}", ran.stderr);

    fs::write(scene.path("stream"), mjpeg(6)).unwrap();
    let script = |text: &str| {
        fs::write(programs.join("ffmpeg"), format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(programs.join("ffmpeg"), fs::Permissions::from_mode(0o755)).unwrap();
    };
    script("exec /bin/cat stream");
    assert_eq!(collected(&run("--out field --class mud --fps 2 --json"))["stored"], 6);
    script("/bin/cat stream; exec /bin/sleep 600");
    assert_eq!(collected(&run("--out other --class mud --fps 2 --images 2 --json"))["stored"], 2, "and does not wait");
    script("echo no such camera >&2; exit 3");
    let ran = run("--out field --class mud");
    assert!(
        ran.status == 1 && ran.stderr.contains("no such camera") && ran.stderr.contains("ffmpeg failed"),
        "{}",
        ran.stderr
    );
}

/// Catches: changes that reach another image than the one named, are not stored, or are not reported.
#[test]
fn images_are_relabelled_discarded_forgotten_and_exported() {
    let scene = Scene::new();
    pipe(&scene, "collect - --out field --class mud --fps 2", &mjpeg(6), None);
    let shown = || scene.run("collection show field --images --json").objects();
    let ids: Vec<String> = shown().iter().map(|image| image["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 6);
    let ran =
        scene.run(&format!("collection relabel field {} {} --class grass --by anna --json", &ids[0][..12], ids[2]));
    assert_eq!((ran.objects()[0]["changed"].clone(), keys(&ran.objects()[0])), (2.into(), vec!["changed", "images"]));
    let classes: Vec<Value> = shown().iter().map(|image| image["class"].clone()).collect();
    assert_eq!(classes, ["grass", "mud", "grass", "mud", "mud", "mud"]);
    assert_eq!(scene.run(&format!("collection discard field {}", ids[1])).status, 0);
    assert_eq!(scene.run("collection relabel field --class mud").status, 2, "no image named");
    for format in ["image-folder", "jsonl", "webdataset"] {
        let ran = scene.run(&format!("collection export field --format {format} --out out-{format}"));
        assert!(ran.status == 0 && ran.stdout.contains("5 images of 2 classes"), "{}{}", ran.stdout, ran.stderr);
        assert!(
            scene.refused(&format!("collection export field --format {format} --out out-{format}")).contains("exists")
        );
    }
    let ran = scene.run("collection forget field --from 2020-01-01T00:00:00Z --to 2999-01-01T00:00:00Z");
    assert!(ran.stdout.contains("5 images removed, 0 images left"), "{}{}", ran.stdout, ran.stderr);
    assert!(scene.refused("collection export field --format jsonl --out empty").contains("holds no image"));
}

/// Catches: a recording whose frames are grouped by their content, whose bytes change, or whose cut is kept quiet; a refusal after
/// something was stored.
#[test]
fn recordings_are_imported() {
    let scene = Scene::new();
    let recordings = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/recordings");
    let import = |file: &str, options: &str| {
        scene.run(&format!("import-data {}/{file} --out field {options}", recordings.display()))
    };
    let result = collected(&import("lz4.mcap", "--label-topic /label --json"));
    assert_eq!((&result["stored"], &result["unlabelled"]), (&5.into(), &3.into()), "{result}");
    assert!(!keys(&result).contains(&"cut_off"));
    let shown = scene.run("collection show field --images --json").objects();
    let files: Vec<Vec<u8>> =
        shown.iter().map(|image| fs::read(scene.path(image["file"].as_str().unwrap())).unwrap()).collect();
    let frame = |frame: usize| fs::read(recordings.join(format!("frame-{frame}.jpg"))).unwrap();
    assert_eq!(files, (1..6).map(frame).collect::<Vec<_>>());
    let shown = scene.run("collection show field --json").objects().remove(0);
    assert_eq!(shown["groups"], 2, "blocks of 10 seconds of one recording");

    let ran = import("cut-off.mcap", "--label-topic /label --every 500ms");
    assert!(ran.stdout.contains("cut-off.mcap is cut off at byte "), "{}{}", ran.stdout, ran.stderr);
    let refused = import("raw.mcap", "--topic /depth --label-topic /label");
    assert!(refused.stderr.contains("mono16"), "{}", refused.stderr);
    let refused = import("bag-sqlite", "--label-topic /label");
    assert!(refused.stderr.contains("`ros2 bag convert -i BAG"), "{}", refused.stderr);
    assert!(import("lz4.mcap", "--label-topic /label --ranges a.csv").status != 0);
    let known = collected(&import("bag", "--label-topic /label --json"));
    assert_eq!((&known["stored"], &known["known"]), (&0.into(), &5.into()));
}
