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

/// Catches: a program that reads standard output and does not learn why the command failed, or at which path.
#[test]
fn errors_are_objects_with_json() {
    let scene = Scene::new();
    for (arguments, path) in [
        ("info nowhere", Some("nowhere")),
        ("key show nowhere.key", Some("nowhere.key")),
        ("infer --model nowhere images", None),
        ("adapt --model tiny-1 --data nowhere --store store", None),
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
