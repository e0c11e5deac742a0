//! Tests of invalid input: each is rejected with exit status 1, a message that names the place, and no partial output.

use crate::scene::{ADAPT, Scene};
use fieldfit_tests::tiny;
use std::fs;
use std::path::Path;

/// Makes a read-only file writable and changes its bytes.
fn change(path: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    edit(&mut bytes);
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

fn flip(bytes: &mut [u8]) {
    let last = bytes.len() - 5;
    bytes[last] ^= 1;
}

/// Catches: weights that aren't the imported ones being run.
#[test]
fn weights_that_are_missing_empty_cut_short_or_altered() {
    type Edit = fn(&mut Vec<u8>);
    let edits: [(Edit, &str); 3] = [
        (|bytes| bytes.clear(), "cut short"),
        (|bytes| bytes.truncate(1000), "cut short"),
        (|bytes| flip(bytes), "altered"),
    ];
    for (edit, reason) in edits {
        let scene = Scene::new();
        let weights = scene.path("tiny-1/weights.safetensors");
        change(&weights, edit);
        let error = scene.refused("infer --model tiny-1 images/sand/sand_0.png");
        assert!(error.contains("tiny-1/weights.safetensors") && error.contains(reason), "{error}");
        fs::remove_file(&weights).unwrap();
        assert!(scene.refused("info tiny-1").contains("weights.safetensors is missing"));
    }
}

/// Catches: a delta on the wrong base, or a damaged one, being run or stored.
#[test]
fn deltas_that_are_foreign_or_damaged() {
    let scene = Scene::adapted();
    tiny::base(scene.folder(), 2);
    let delta = scene.path("store/versions/000001.delta");
    let foreign = scene.refused("infer --model tiny-2 --delta store/versions/000001.delta images/sand/sand_0.png");
    let id = |model: &str| scene.run(&format!("info {model} --json")).objects()[0]["id"].as_str().unwrap().to_owned();
    assert!(foreign.contains(&id("tiny-1")) && foreign.contains(&id("tiny-2")), "{foreign}");

    fs::write(scene.path("cut.delta"), &fs::read(&delta).unwrap()[..500]).unwrap();
    let mut flipped = fs::read(&delta).unwrap();
    flip(&mut flipped);
    fs::write(scene.path("flipped.delta"), flipped).unwrap();
    for file in ["cut.delta", "flipped.delta"] {
        assert!(scene.refused(&format!("eval --model tiny-1 --delta {file} --data images")).contains(file));
        scene.refused(&format!("store add store {file}"));
        assert!(scene.refused(&format!("info {file}")).contains(file));
    }
    assert_eq!(scene.run("store list store --json").objects().len(), 1, "nothing was added");
}

/// Catches: a run of an hour that ends because nobody had looked whether its result can be kept.
#[test]
fn a_store_that_cannot_be_written_is_told_before_the_work() {
    let scene = Scene::new();
    fs::write(scene.path("file"), b"").unwrap();
    let error = scene.refused(&ADAPT.replace("--store store", "--store file/store"));
    assert!(error.contains("file/store") && !error.contains("epoch"), "{error}");
    let error = scene.refused(&ADAPT.replace("--store store", "--store images"));
    assert!(error.contains("images"), "a folder with other things is no store: {error}");
    assert!(scene.refused("store list nowhere").contains("nowhere"));
    assert!(!scene.path("nowhere").exists());
    assert!(scene.refused("store rollback tiny-1").contains("tiny-1"));
}

/// Catches: a silent fall-back to the CPU.
#[cfg(not(any(feature = "cuda", feature = "metal")))]
#[test]
fn a_device_that_is_not_there() {
    let scene = Scene::new();
    for device in ["cuda", "metal"] {
        let error = scene.refused(&format!("infer --model tiny-1 --device {device} images/sand/sand_0.png"));
        assert!(error.contains(&format!("--features {device}")), "{error}");
        scene.refused(&format!("{ADAPT} --device {device}"));
    }
}

/// Catches: images that can't be learned from, found out late or not at all.
#[test]
fn folders_that_cannot_be_learned_from() {
    let scene = Scene::new();
    let refused = |data: &str| {
        let error = scene.refused(&ADAPT.replace("--data images", &format!("--data {data}")));
        assert!(error.contains(data) || error.contains("class"), "{error}");
        error
    };
    fs::create_dir(scene.path("empty")).unwrap();
    assert!(refused("empty").contains("holds no class"));
    assert!(refused("nowhere").contains("not a folder"));

    tiny::images(&scene.path("one"), 3, 1);
    fs::remove_dir_all(scene.path("one/sand")).unwrap();
    fs::remove_dir_all(scene.path("one/water")).unwrap();
    assert!(refused("one").contains("one class"));

    tiny::images(&scene.path("few"), 3, 1);
    assert!(refused("few").contains("too small"));

    for class in tiny::CLASSES {
        fs::create_dir_all(scene.path("unreadable").join(class)).unwrap();
        fs::write(scene.path("unreadable").join(class).join("a.png"), b"no image").unwrap();
    }
    assert!(refused("unreadable").contains("can be read"));
    assert_eq!(scene.run("store list store --json").stdout, "");
}

/// Catches: options that would silently do something else than they say.
#[test]
fn patterns_that_match_nothing() {
    let scene = Scene::new();
    let error = scene.refused(&format!("{ADAPT} --exclude no_such_tensor*"));
    assert!(error.contains("no_such_tensor*"), "{error}");
    let error = scene.refused(&format!("{ADAPT} --group ^frame(\\d+)"));
    assert!(error.contains("^frame"), "{error}");
}

/// Catches: a setting that is misspelt, or out of its range, and then left out of the run in silence.
#[test]
fn settings_that_the_method_does_not_have() {
    let scene = Scene::new();
    let error = scene.refused(&format!("{ADAPT} --method l2-sp --set strenght=1"));
    assert!(error.contains("`strenght`") && error.contains("strength (0 or more, by default 0.1)"), "{error}");
    let error = scene.refused(&format!("{ADAPT} --method wise-ft --set alpha=2"));
    assert!(error.contains("give 0 to 1"), "{error}");
}

/// Catches: a run that diverged and was stored.
#[test]
fn a_learning_rate_that_diverges_stores_nothing() {
    let scene = Scene::new();
    let ran = scene.run(&format!("{ADAPT} --method full --lr 1e6 --json"));
    assert_eq!(ran.status, 1);
    assert!(ran.stderr.contains("lower the learning rate"), "{}", ran.stderr);
    assert!(ran.objects().iter().all(|event| event["event"] != "done"));
    assert_eq!(scene.run("store list store --json").stdout, "");
}

/// Catches: an accuracy of 0 where the question makes no sense.
#[test]
fn evaluating_classes_that_the_base_does_not_know() {
    let error = Scene::new().refused("eval --model tiny-1 --data images");
    assert!(error.contains("adapt the model") && error.contains("grass"), "{error}");
}

/// Catches: one bad image keeping the others from being answered, or going unnoticed.
#[test]
fn an_image_that_cannot_be_read_is_named_and_the_others_are_answered() {
    let scene = Scene::new();
    fs::write(scene.path("bad.png"), b"no image").unwrap();
    let ran = scene.run("infer --model tiny-1 --json nowhere.png bad.png images/sand/sand_0.png");
    let objects = ran.objects();
    assert_eq!((ran.status, objects.len()), (1, 3));
    for (object, path) in objects.iter().zip(["nowhere.png", "bad.png"]) {
        assert_eq!((object["path"].as_str(), object["error"].is_string()), (Some(path), true), "{object}");
    }
    assert_eq!(objects[2]["image"], "images/sand/sand_0.png");
    assert!(ran.stderr.contains("nowhere.png") && ran.stderr.contains("bad.png"), "{}", ran.stderr);
}

/// Catches: a broken command line that does something all the same, or exits like a failed run.
#[test]
fn wrong_usage_exits_with_2() {
    let scene = Scene::new();
    for arguments in [
        "",
        "dance",
        "adapt --model tiny-1 --data images",
        "adapt --model tiny-1 --data images --store store --method magic",
        "adapt --model tiny-1 --data images --store store --lr -1",
        "adapt --model tiny-1 --data images --store store --set strength=much",
        "adapt --model tiny-1 --data images --store store --epochs 0",
        "infer --model tiny-1",
        "infer --model tiny-1 --top 17 images/sand/sand_0.png",
        "infer --model tiny-1 --store a --delta b images/sand/sand_0.png",
        "infer --model tiny-1 --device abacus images/sand/sand_0.png",
        "import weights.pth --arch resnet-9000 --labels labels.txt --out out",
        "delta merge --model tiny-1 --out merged.delta",
        "delta merge a.delta b.delta --out merged.delta",
        "delta merge a.delta b.delta --model tiny-1 --out merged.delta --weights=-1,2",
        "delta merge a.delta b.delta --model tiny-1 --out merged.delta --weights nan,1",
        "store activate store one",
        "store prune store --keep 0",
        "store prune store --keep-bytes 10",
    ] {
        let ran = scene.run(arguments);
        assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{arguments}: {}", ran.stderr);
        assert!(ran.stderr.contains("help"), "{}", ran.stderr);
    }
    assert!(!scene.path("store").exists());
}

/// Catches: a checkpoint of something else becoming a model folder, or half of one.
#[test]
fn checkpoints_that_do_not_fit() {
    let scene = Scene::new();
    let import = "import tiny-1.safetensors --arch efficientnet-tiny --labels labels.txt --out new";
    let ran = scene.run(import);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(scene.refused(import).contains("new"), "an import replaces nothing");
    fs::write(scene.path("nine.txt"), "a\nb\nc\nd\ne\nf\ng\nh\ni\n").unwrap();
    let nine = import.replace("labels.txt", "nine.txt").replace("new", "other");
    assert!(scene.refused(&nine).contains("nine.txt"));
    let lite0 = import.replace("efficientnet-tiny", "efficientnet-lite0").replace("new", "other");
    scene.refused(&lite0);
    fs::write(scene.path("tiny-1.safetensors"), b"").unwrap();
    assert!(scene.refused(&import.replace("new", "other")).contains("empty"));
    assert!(!scene.path("other").exists());
}
