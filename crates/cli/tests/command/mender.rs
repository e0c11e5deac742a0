//! Tests of the Mender update module, called with the states that Mender documents: guards against an update that is half
//! installed, or a rollback of what it did not install.

use crate::scene::Scene;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../targets/mender/fieldfit-delta");

/// Calls the module as Mender does: with a state, in the folder of the artifact.
fn call(scene: &Scene, state: &str) -> Output {
    let artifact = scene.path("artifact");
    let mut command = Command::new(MODULE);
    command.arg(state).arg(&artifact).current_dir(&artifact);
    command.env("FIELDFIT_MENDER_CONFIG", scene.path("mender.conf"));
    command.env("FIELDFIT_COMMAND", assert_cmd::cargo::cargo_bin!("fieldfit"));
    command.output().unwrap()
}

fn answer(scene: &Scene, state: &str) -> String {
    let output = call(scene, state);
    assert!(output.status.success(), "{state}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The active version of the store.
fn active(scene: &Scene) -> Option<u64> {
    let versions = scene.run("store list store --json").objects();
    versions.iter().find(|version| version["active"] == true).and_then(|version| version["version"].as_u64())
}

/// A store that runs version 1, and an artifact with its delta.
fn updated() -> Scene {
    let scene = Scene::adapted();
    scene.run("store activate store 1");
    fs::create_dir_all(scene.path("artifact/files")).unwrap();
    fs::copy(scene.path("store/versions/000001.delta"), scene.path("artifact/files/night.delta")).unwrap();
    write(&scene.path("mender.conf"), &format!("FIELDFIT_STORE='{}'\n", scene.path("store").display()));
    scene
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

/// Catches: a state that Mender asks for and the module answers in another way than its protocol says.
#[test]
fn a_delta_is_installed_confirmed_and_rolled_back() {
    let scene = updated();
    assert_eq!(answer(&scene, "NeedsArtifactReboot").trim(), "No");
    assert_eq!(answer(&scene, "SupportsRollback").trim(), "Yes");
    for silent in ["Download", "ArtifactVerifyReboot", "ArtifactFailure", "Cleanup", "AStateOfTheFuture"] {
        assert_eq!(answer(&scene, silent), "", "{silent}");
    }
    answer(&scene, "ArtifactInstall");
    assert_eq!(active(&scene), Some(2));
    answer(&scene, "ArtifactCommit");
    answer(&scene, "ArtifactCommit");
    assert_eq!(scene.run("store list store --json").objects()[1]["state"], "confirmed");
    answer(&scene, "ArtifactRollback");
    assert_eq!(active(&scene), Some(1));
}

/// Catches: a rollback that takes the version before, because the artifact's own had failed or was never activated.
#[test]
fn only_what_the_artifact_activated_is_rolled_back() {
    let scene = updated();
    answer(&scene, "ArtifactRollback");
    assert_eq!(active(&scene), Some(1), "nothing was installed");

    write(&scene.path("artifact/files/second.delta"), "two files");
    assert!(!call(&scene, "ArtifactInstall").status.success());
    fs::remove_file(scene.path("artifact/files/second.delta")).unwrap();
    let whole = fs::read(scene.path("artifact/files/night.delta")).unwrap();
    fs::write(scene.path("artifact/files/night.delta"), &whole[..whole.len() / 2]).unwrap();
    assert!(!call(&scene, "ArtifactInstall").status.success(), "half a delta");
    answer(&scene, "ArtifactRollback");
    assert_eq!(active(&scene), Some(1), "nothing was activated");

    fs::write(scene.path("artifact/files/night.delta"), whole).unwrap();
    answer(&scene, "ArtifactInstall");
    scene.run("store rollback store");
    assert!(!call(&scene, "ArtifactCommit").status.success(), "another version runs");
    answer(&scene, "ArtifactRollback");
    assert_eq!(active(&scene), Some(1));
}
