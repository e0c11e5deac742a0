//! Tests of the text output: help, tables, numbers and notes as a person reads them.

use crate::scene::{ADAPT, Scene};
use fieldfit_tests::network_files::{micro, unpacked};
use std::fs;

/// Catches: output that leaves a person without the result, its place, or the next step.
#[test]
fn a_person_is_told_results_places_and_next_steps() {
    let scene = Scene::new();
    let ran = scene.run(ADAPT);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    for word in ["version 1 runs now", "store/versions/000001.delta", "store rollback store"] {
        assert!(ran.stdout.contains(word), "{word}: {}", ran.stdout);
    }
    assert!(ran.stderr.contains("epoch 2 of 2"), "progress is told where there is no terminal: {}", ran.stderr);

    let text = |arguments: &str| scene.run(arguments).stdout;
    assert!(text("infer --model tiny-1 --store store images/sand/sand_0.png").contains("sand"));
    let evaluation = text("eval --model tiny-1 --store store --data images");
    assert!(["grass", "accuracy", "all"].iter().all(|word| evaluation.contains(word)), "{evaluation}");
    assert!(text("info tiny-1").contains("efficientnet-tiny"));
    assert!(text("info store/versions/000001.delta").contains("tpgm"));
    assert!(text("info store").contains("version 1 runs"));
    assert!(text("store list store").contains("active"));
    assert!(text("store verify store").contains("whole"));
    assert!(text("store confirm store 1").contains("version 1 is confirmed"));
    let log = text("store log store");
    assert!(log.contains("Z  version 1 was made active\n") && log.ends_with("Z  version 1 was confirmed\n"), "{log}");
    assert!(text("store prune store").contains("nothing is removed"));
    assert!(text("store rollback store").contains("the base is active"));
}

/// Catches: a network that is taken for another without a word, and a table of stages without one of them.
#[test]
fn an_import_says_on_what_grounds() {
    let scene = Scene::new();
    let ran = scene.run("import tiny-1.safetensors --labels labels.txt --out again");
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    for words in ["efficientnet-tiny, because all", "the architecture's own names", "10 classes", "32 px, crop 0.875"] {
        assert!(ran.stdout.contains(words), "{words}: {}", ran.stdout);
    }
    let info = scene.run("info again").stdout;
    for words in ["stem", "block0", "block2", "pool", "classifier", "MFLOP", "in all"] {
        assert!(info.contains(words), "{words}: {info}");
    }
    let refused = scene.refused("import tiny-1.safetensors --arch resnet18 --labels labels.txt --out other");
    assert!(refused.contains("`conv1.weight` of shape [64, 3, 7, 7] is missing"), "{refused}");
    for (flag, words) in [("--drop aux.*", "`aux.*`: no tensor"), ("--ema", "expected a moving average")] {
        let refused = scene.refused(&format!("import tiny-1.safetensors --labels labels.txt --out other {flag}"));
        assert!(refused.contains(words), "{refused}");
    }
    assert_eq!(scene.run("import tiny-1.safetensors --out other --ema --no-ema").status, 2);
}

/// Catches: a network file whose classes, input or sections are made up without a word, options for checkpoints that are
/// ignored, and a folder that is left by an import that failed.
#[test]
fn an_import_of_a_network_says_what_it_holds_and_what_it_assumes() {
    let scene = Scene::new();
    let file = unpacked(&micro().join("classifier.pt2.gz"));
    fs::write(scene.path("network"), &file).unwrap();
    let ran = scene.run("import network --out net --size 8 --mean 0.5,0.5,0.5");
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    for words in [
        "net: imported, ",
        "from an exported program of torch",
        "sections, for --freeze: ",
        "5 classes without names: `class0` to `class4`; --labels names them",
        "exported for images of 5×4 pixels; accepts other sizes",
        "input: 8 px, crop 0.875, mean [127.5, 127.5, 127.5]",
        "the file does not state it, so check it, but for --size, --mean",
    ] {
        assert!(ran.stdout.contains(words), "{words}: {}", ran.stdout);
    }
    let object = &scene.run("import network --out net-2 --json").objects()[0];
    assert_eq!((&object["architecture"], &object["network"]["size"][0]), (&"imported".into(), &5.into()), "{object}");
    assert_eq!(scene.run("infer --model net images/sand/sand_0.png").status, 0);
    let info = scene.run("info net").stdout;
    assert!(info.contains("imported") && info.contains("classifier") && info.contains("in all"), "{info}");

    fs::write(scene.path("three"), "a\nb\nc\n").unwrap();
    fs::write(scene.path("short"), &file[..file.len() / 2]).unwrap();
    fs::write(scene.path("static"), unpacked(&micro().join("batch_norm.pt2.gz"))).unwrap();
    for (arguments, words) in [
        ("network --arch resnet18", "holds a network, which is imported as it is: import without `--arch`"),
        ("network --drop 0.*", "import without `--drop`"),
        ("network --no-ema", "import without `--ema` and `--no-ema`"),
        ("network --labels three", "has 3 labels, but the classifier has 5 classes"),
        ("static --size 7", "the network does not accept an image of 7×7 pixels: it was exported for 5×4"),
        ("short", "cannot import short"),
    ] {
        let refused = scene.refused(&format!("import {arguments} --out other"));
        assert!(refused.contains(words), "{arguments}: {refused}");
        assert!(!scene.path("other").exists(), "{arguments}");
    }
    assert_eq!(scene.run("import network --out other --mean 0.5,0.5").status, 2);
}

/// Catches: a log line among the results.
#[test]
fn logs_go_to_standard_error_only() {
    let scene = Scene::new();
    let mut command = assert_cmd::Command::new(assert_cmd::cargo::cargo_bin!("fieldfit"));
    let command = command.current_dir(scene.folder()).env("RUST_LOG", "debug");
    let output = command.args(ADAPT.split(' ')).arg("--json").output().unwrap();
    assert!(output.status.success());
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.lines().all(|line| line.starts_with("{\"event\":")), "{stdout}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("fieldfit"), "the level is heard");
}
