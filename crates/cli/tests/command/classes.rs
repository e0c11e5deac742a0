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

/// Catches: a day that starts at the base although it is to go on from the active version, that forgets its classes, or that
/// leaves the replayed images out.
#[test]
fn a_day_goes_on_from_the_version_before() {
    let scene = Scene::new();
    let first = scene.run(&format!("{ADAPT} --start active"));
    assert!(first.status == 1 && first.stderr.contains("no version is active"), "{}", first.stderr);
    assert_eq!(scene.run(ADAPT).status, 0);
    fs::create_dir(scene.path("today")).unwrap();
    fs::rename(scene.path("images/grass"), scene.path("today/moss")).unwrap();
    fs::rename(scene.path("images/sand"), scene.path("today/sand")).unwrap();
    let today = ADAPT.replace("--data images", "--data today");

    let unreplayed = scene.run(&format!("{today} --replay-bytes 1MiB"));
    assert!(unreplayed.status == 2 && unreplayed.stderr.contains("--replay <DIR>"), "{}", unreplayed.stderr);
    let ran = scene.run(&format!("{today} --start active --replay images --replay-bytes 1MiB --json"));
    let events = ran.objects();
    let plan = events.iter().find(|event| event["event"] == "plan").unwrap_or_else(|| panic!("{}", ran.stderr));
    assert_eq!(plan["classes"], serde_json::json!(["grass", "sand", "water", "moss"]));
    assert!(plan["notes"].to_string().contains("replayed 30 of 30 earlier images"), "{}", plan["notes"]);
}
