//! Tests of the inputs of `infer`: folders, patterns and standard input; errors as objects.

use crate::scene::{Scene, keys};
use fieldfit_tests::tiny;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;
use std::fs;

fn images(objects: &[Value]) -> Vec<&str> {
    objects.iter().map(|object| object["image"].as_str().unwrap()).collect()
}

/// Catches: images of a folder or a pattern that are left out, repeated or out of order, and other files that are taken
/// for images.
#[test]
fn folders_and_patterns_stand_for_their_images() {
    let scene = Scene::new();
    tiny::images(&scene.path("set"), 2, 1);
    fs::write(scene.path("set/sand/notes.txt"), "no image").unwrap();
    fs::write(scene.path("set/sand/.hidden.png"), "no image").unwrap();
    fs::copy(scene.path("set/sand/sand_0.png"), scene.path("set/sand/a[1].PNG")).unwrap();
    let run = |arguments: &str| {
        let ran = scene.run(&format!("infer --model tiny-1 --json {arguments}"));
        assert_eq!(ran.status, 0, "{arguments}: {}", ran.stderr);
        ran.objects()
    };
    let all =
        ["grass/grass_0", "grass/grass_1", "sand/a[1]", "sand/sand_0", "sand/sand_1", "water/water_0", "water/water_1"];
    let all = all.map(|name| format!("set/{name}.{}", if name.contains('[') { "PNG" } else { "png" }));
    assert_eq!(images(&run("set")), all);
    assert_eq!(images(&run("set/*/*_1.png set/sand/sand_0.png")), [&all[1], &all[4], &all[6], &all[3]]);
    assert_eq!(images(&run("set/s*")), all[2..5]);
    assert_eq!(images(&run("set/sand/a[1].PNG")), [&all[2]], "a file of that very name");

    // What systems and cameras leave beside the images.
    fs::create_dir(scene.path("set/@eaDir")).unwrap();
    fs::copy(scene.path("set/sand/sand_0.png"), scene.path("set/@eaDir/thumbnail.png")).unwrap();
    assert_eq!(images(&run("set")), all);
    fs::write(scene.path("set/photo.heic"), "no image").unwrap();
    let ran = scene.run("infer --model tiny-1 set");
    assert!(
        ran.stderr.contains("skipped 1 file: 1 in an unsupported format. The first: set/photo.heic"),
        "{}",
        ran.stderr
    );
    assert_eq!(scene.run("infer --model tiny-1 --quiet set").stderr, "");

    fs::create_dir(scene.path("empty")).unwrap();
    let ran = scene.run("infer --model tiny-1 --json empty set/*.gif set/[ set/water/water_0.png");
    assert_eq!((ran.status, ran.objects().len()), (1, 4), "{}", ran.stderr);
    for (object, path) in ran.objects().iter().zip(["empty", "set/*.gif", "set/["]) {
        assert_eq!((keys(object), object["path"].as_str()), (vec!["error", "path"], Some(path)), "{object}");
    }
    assert!(ran.stderr.contains("3 of 4 images"), "{}", ran.stderr);
}

/// Catches: an image on standard input that is not read, or read as the name of a file.
#[test]
fn an_image_comes_from_standard_input() {
    let scene = Scene::new();
    let image = fs::read(scene.path("images/sand/sand_0.png")).unwrap();
    let mut command = assert_cmd::Command::new(assert_cmd::cargo::cargo_bin!("fieldfit"));
    let command = command.current_dir(scene.folder()).args(["infer", "--model", "tiny-1", "--json", "-"]);
    let output = command.write_stdin(image).output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let file = scene.run("infer --model tiny-1 --json images/sand/sand_0.png").objects().remove(0);
    assert_eq!((answer["image"].as_str(), &answer["top"]), (Some("-"), &file["top"]));
}

/// Catches: a pipe among the images that is waited on for ever.
#[test]
fn a_pipe_among_the_images_is_refused() {
    let scene = Scene::new();
    mkfifo(&scene.path("pipe.png"), Mode::S_IRWXU).unwrap();
    let ran = scene.run("infer --model tiny-1 pipe.png images/sand/sand_0.png");
    assert!(
        ran.status == 1 && ran.stderr.contains("pipe.png") && ran.stderr.contains("found a named pipe"),
        "{}",
        ran.stderr
    );
    assert!(ran.stdout.contains("sand_0.png"));
}

/// Catches: a pipe that is waited for, or a device without an end that fills the memory, in place of a file that is named.
#[test]
fn no_named_file_may_be_a_pipe_or_a_device() {
    let scene = Scene::adapted();
    scene.run("key new device.key");
    mkfifo(&scene.path("pipe"), Mode::S_IRWXU).unwrap();
    std::os::unix::fs::symlink("/dev/zero", scene.path("zero")).unwrap();
    let delta = "store/versions/000001.delta";
    for file in ["pipe", "zero"] {
        for arguments in [
            format!("infer --model tiny-1 --delta {file} images"),
            format!("info {file}"),
            format!("import {file} --out new"),
            format!("import tiny-1.safetensors --labels {file} --out new"),
            format!("delta verify {file}"),
            format!("delta verify {delta} --trust {file}"),
            format!("delta diff {file} {delta}"),
            format!("delta pack {file} new"),
            format!("delta unpack {file} new"),
            format!("delta sign {file} --key device.key --out new"),
            format!("delta export {file} --out new.safetensors"),
            format!("store add store {file}"),
        ] {
            scene.refused(&arguments);
        }
        assert_eq!(scene.run(&format!("doctor --target-profile {file}")).status, 2);
        let weights = scene.path("tiny-1/weights.safetensors");
        fs::rename(&weights, scene.path("aside")).unwrap();
        fs::rename(scene.path(file), &weights).unwrap();
        scene.refused("info tiny-1");
        fs::rename(&weights, scene.path(file)).unwrap();
        fs::rename(scene.path("aside"), &weights).unwrap();
    }
    scene.refused("key show zero");
    assert!(!scene.path("new").exists());
}

/// Catches: a program that reads standard output and does not learn why the command failed, or at which path.
#[test]
fn errors_are_objects_with_json() {
    let scene = Scene::new();
    for (arguments, path) in [
        ("info nowhere", Some("nowhere")),
        ("key show nowhere.key", Some("nowhere.key")),
        ("infer --model nowhere images", Some("nowhere/manifest.toml")),
        ("adapt --model tiny-1 --data nowhere --store store", Some("nowhere")),
        ("store list nowhere", Some("nowhere")),
        ("adapt --model tiny-1 --data images --store store --report missing/page.html", Some("missing/page.html")),
    ] {
        let ran = scene.run(&format!("{arguments} --json"));
        assert_eq!(ran.status, 1, "{arguments}");
        let objects = ran.objects();
        assert_eq!((objects.len(), keys(&objects[0])), (1, vec!["error", "path"]), "{arguments}");
        assert_eq!(objects[0]["path"].as_str(), path, "{arguments}");
        let error = objects[0]["error"].as_str().unwrap();
        assert!(!error.contains('\n') && ran.stderr.starts_with("error: "), "{arguments}: {error}");
        assert!(error.contains("nowhere") || error.contains("missing"), "{error}");
    }
}

/// Catches: a box that is answered by the whole image or by another part of it, boxes out of order, and bad ones that end the
/// others or have no word said of them.
#[test]
fn boxes_are_answered_one_by_one() {
    let scene = Scene::new();
    let part = |image: &str, extent: &str| format!("{{\"image\":\"{image}\",\"box\":{extent},\"score\":0.9}}\n");
    // Two images beside each other, in one file.
    let [sand, water] = ["images/sand/sand_0.png", "images/water/water_3.png"]
        .map(|path| image::open(scene.path(path)).unwrap().into_rgb8());
    let (width, height) = sand.dimensions();
    assert_eq!((width, height), water.dimensions());
    let mut both = image::RgbImage::new(2 * width, height);
    image::imageops::replace(&mut both, &sand, 0, 0);
    image::imageops::replace(&mut both, &water, width.into(), 0);
    fs::create_dir(scene.path("found")).unwrap();
    both.save(scene.path("found/both.png")).unwrap();
    let [left, right] = [0, width].map(|left| format!("[{left},0,{width},{height}]"));
    let lines = [part("both.png", &right), part("both.png", &left)].concat();
    fs::write(scene.path("found/boxes.jsonl"), &lines).unwrap();
    let ran = scene.run("infer --model tiny-1 --json --boxes found/boxes.jsonl");
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let whole = scene.run("infer --model tiny-1 --json images/water/water_3.png images/sand/sand_0.png").objects();
    assert_eq!(ran.objects().len(), 2);
    for ((answer, whole), extent) in ran.objects().iter().zip(&whole).zip([&right, &left]) {
        assert_eq!((&answer["top"], answer["box"].to_string()), (&whole["top"], extent.clone()));
        assert_eq!(keys(answer), ["box", "image", "top"]);
    }

    let bad = [part("both.png", "[0,0,1000,4]"), part("none.png", "[0,0,4,4]"), part("both.png", &left)].concat();
    fs::write(scene.path("found/boxes.jsonl"), bad).unwrap();
    let ran = scene.run("infer --model tiny-1 --json --boxes found/boxes.jsonl");
    assert_eq!((ran.status, ran.objects().len()), (1, 3), "{}", ran.stderr);
    assert!(ran.objects()[0]["error"].as_str().is_some_and(|error| error.contains("1000")), "{}", ran.stdout);
    assert_eq!(ran.objects()[2]["top"], whole[1]["top"]);

    fs::write(scene.path("found/boxes.jsonl"), format!("{lines}{{\"image\":\"both.png\"}}\n")).unwrap();
    assert!(scene.refused("infer --model tiny-1 --boxes found/boxes.jsonl").contains("boxes.jsonl, line 3"));
}
