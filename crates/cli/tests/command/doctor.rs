//! Tests of `doctor` and of target profiles, whose values reach plans and runs.

use crate::scene::{ADAPT, Scene};
use fieldfit_tests::tiny;
use serde_json::Value;
use std::fs;

fn only(scene: &Scene, arguments: &str) -> Value {
    let ran = scene.run(arguments);
    assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
    ran.objects().remove(0)
}

/// Catches: a doctor that tells programs something else than people, or passes what it didn't try.
#[test]
fn the_doctor_tries_everything_and_plans() {
    let scene = Scene::new();
    let found = only(&scene, "doctor --json --model tiny-1 --size 32 --target-profile host");
    let checks = found["checks"].as_array().unwrap();
    assert_eq!(checks.len(), 4);
    assert!(checks.iter().all(|check| check["passed"] == true), "{checks:?}");
    assert!(found["plan"]["total"].as_u64().unwrap() > 0 && found["profile"] == "host");
    assert!(found["disk"]["commit_ms"].as_f64().unwrap() > 0.0);

    let text = scene.run("doctor --model tiny-1").stdout;
    for part in ["golden logits", "gradient", "projected step", "store commit", "cpu           usable", "activations"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// Catches: a machine that is not the board, or a model that can't be opened, with exit status 0.
#[test]
fn the_doctor_fails_for_what_does_not_fit() {
    let scene = Scene::new();
    let other = if cfg!(target_arch = "x86_64") { "jetson-orin-nano" } else { "host" };
    let ran = scene.run(&format!("doctor --target-profile {other}"));
    assert!(ran.status == 1 && ran.stdout.contains("problem: this machine is"), "{}", ran.stdout);
    let ran = scene.run("doctor --model nowhere");
    assert!(ran.status == 1 && ran.stdout.contains("nowhere"), "{}", ran.stdout);
    assert!(scene.refused("doctor --scratch nowhere").contains("nowhere"));
}

/// Catches: a profile that nothing is made of, flags that don't win over it, and a name that is taken for a board.
#[test]
fn a_profile_feeds_the_plan_and_the_run() {
    let scene = Scene::new();
    tiny::base(scene.folder(), 2);
    let profile = include_str!("../../../../targets/host.toml").replace("adaptation_mib = 1024", "adaptation_mib = 2");
    fs::write(scene.path("small.toml"), profile).unwrap();
    let refused = scene.refused(&format!("{ADAPT} --target-profile small.toml"));
    assert!(refused.contains("2.0 MiB"), "{refused}");
    assert_eq!(scene.run(&format!("{ADAPT} --target-profile small.toml --memory-budget 1GiB --nice 0")).status, 0);
    assert!(scene.refused("info tiny-2 --plan --target-profile small.toml").contains("2.0 MiB"));
    only(&scene, "info tiny-2 --plan --json --target-profile jetson-orin-nano");
    let unknown = scene.run("info tiny-2 --plan --target-profile jetson-nano");
    assert!(unknown.status == 2 && unknown.stderr.contains("jetson-orin-nano"), "{}", unknown.stderr);
}
