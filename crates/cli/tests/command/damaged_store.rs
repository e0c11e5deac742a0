//! A store whose state is damaged or unreadable: the base answers frames, and nothing is built on what cannot be trusted.

use crate::scene::{ADAPT, Scene};
use std::fs;
use std::path::Path;

/// The files of a folder and what is in them.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(contents(&path)),
            false => found.push((path.display().to_string(), fs::read(&path).unwrap_or_default())),
        }
    }
    found.sort();
    found
}

/// Catches: a robot that does not answer because of its store, one that answers with another version in silence, and an
/// adaptation or an evaluation that goes on with the base in place of the version that it is about.
#[test]
fn the_base_answers_and_all_else_says_what_to_do() {
    let damages: [fn(&Path); 5] = [
        |state| fs::write(state, b"").unwrap(),
        |state| fs::write(state, b"FFSTATE2 and noise").unwrap(),
        |state| fs::remove_file(state).unwrap(),
        |state| {
            fs::remove_file(state).unwrap();
            fs::create_dir(state).unwrap();
        },
        |state| {
            let mut bytes = fs::read(state).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(state, bytes).unwrap();
        },
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        let scene = Scene::adapted();
        damage(&scene.path("store/state"));
        let before = contents(&scene.path("store"));
        let infer = "infer --model tiny-1 --json images/sand/sand_0.png";
        let (base, degraded) = (scene.run(infer), scene.run(&format!("{infer} --store store")));
        assert_eq!((degraded.status, &degraded.stdout), (0, &base.stdout), "{number}: {}", degraded.stderr);
        assert!(degraded.stderr.contains("the base runs, the store is unavailable"), "{number}: {}", degraded.stderr);
        for refused in
            [ADAPT, "eval --model tiny-1 --store store --data images", "store list store", "store rollback store"]
        {
            let error = scene.refused(refused);
            let says_what_to_do = error.contains("Restore it from a copy") || error.contains("then try again");
            assert!(error.contains("store/state") && says_what_to_do, "{number}, {refused}: {error}");
        }
        assert_eq!(contents(&scene.path("store")), before, "{number}: nothing changes");
    }
}
