//! Tests of missing classes: images that lack classes of the active version.

use crate::scene::{ADAPT, Scene};
use std::fs;

/// Catches: a class of the active or confirmed version that a new one loses without a word, or one that is kept and called
/// lost.
#[test]
fn a_version_that_loses_a_class_must_be_allowed() {
    let scene = Scene::adapted();
    fs::create_dir(scene.path("fewer")).unwrap();
    for class in ["grass", "sand"] {
        fs::rename(scene.path("images").join(class), scene.path("fewer").join(class)).unwrap();
    }
    let fewer = ADAPT.replace("--data images", "--data fewer");
    let error = scene.refused(&fewer);
    for words in ["version 1", "`water`", "--allow-fewer-classes"] {
        assert!(error.contains(words) && !error.contains("grass"), "{words}: {error}");
    }
    assert_eq!(scene.run("store list store --json").objects().len(), 1, "nothing was trained");

    let allowed = scene.run(&format!("{fewer} --allow-fewer-classes --json"));
    assert_eq!(allowed.status, 0, "{}", allowed.stderr);
    let events = allowed.objects();
    let noted = events.iter().find(|event| event["event"] == "fewer_classes").unwrap();
    assert_eq!((noted["version"].as_u64(), &noted["classes"]), (Some(1), &serde_json::json!(["water"])));

    let same = scene.run(&fewer);
    assert_eq!(same.status, 0, "a version with the classes of the active one: {}", same.stderr);
    scene.run("store rollback store");
}
