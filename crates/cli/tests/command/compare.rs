//! Tests of `compare` and `eval`: what is measured, recorded and repeated.

use crate::scene::{Scene, keys};
use fieldfit_tests::tiny;
use serde_json::Value;
use std::fs;

const COMPARE: &str = "compare --model tiny-1 --data images --shift dusk=dusk --methods linear-probe,lp-ft,wise-ft:alpha=0.5 \
                       --seeds 2 --epochs 1 --lr 1e-2 --size 32 --threads 1 --jsonl runs.jsonl";

fn scene() -> Scene {
    let scene = Scene::new();
    tiny::images(&scene.path("dusk"), 8, 6);
    scene
}

fn runs(scene: &Scene, arguments: &str) -> Vec<Value> {
    let ran = scene.run(&format!("{arguments} --json"));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    ran.objects()
}

fn without_cost(run: &Value) -> Value {
    let mut run = run.clone();
    for key in ["seconds", "peak_bytes"] {
        run.as_object_mut().unwrap().remove(key);
    }
    run
}

/// Catches: runs that are left out, measured on other images, or not on what would run; a probe that forgets.
#[test]
fn every_method_and_seed_is_measured_on_the_same_images() {
    let scene = scene();
    let runs = runs(&scene, COMPARE);
    let named: Vec<_> =
        runs.iter().map(|run| (run["method"].as_str().unwrap(), run["seed"].as_u64().unwrap())).collect();
    let methods = ["linear-probe", "lp-ft", "wise-ft alpha=0.5"];
    assert_eq!(named, [0, 1].map(|seed| methods.map(|method| (method, seed))).concat());
    for run in &runs {
        let images = |scores: &Value| -> u64 {
            let rows = scores["confusion"].as_array().unwrap();
            rows.iter().flat_map(|row| row.as_array().unwrap()).map(|count| count.as_u64().unwrap()).sum()
        };
        let shift = &run["shifts"][0];
        assert_eq!((shift["name"].as_str(), images(shift)), (Some("dusk"), 24));
        assert_eq!(images(&run["in_distribution"]), images(&runs[0]["in_distribution"]));
        assert_eq!(run["classes"], serde_json::json!(tiny::CLASSES));
        assert!(run["validation_loss"].as_f64().unwrap() > 0.0);
        if run["method"] == "linear-probe" {
            assert_eq!(shift["agreement"], 1.0);
        }
    }
    assert!(runs.iter().any(|run| run["shifts"][0]["agreement"].as_f64().unwrap() < 1.0), "nothing trained");
    assert_eq!(runs[1]["losses"].as_array().unwrap().len() as u64, 5, "a loss for each step");
    let stored = fs::read_dir(scene.folder()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!stored.into_iter().any(|name| name == "store"), "a comparison stores nothing");
}

/// Catches: a base that is compared with the adapted network, or with itself on the same images.
#[test]
fn the_base_is_compared_with_itself() {
    let scene = scene();
    let command = "compare --model tiny-1 --data images --shift dusk=dusk --methods linear-probe --seeds 4..5 --epochs 1 \
                   --size 32 --threads 1 --base-steadiness";
    let objects = runs(&scene, command);
    assert_eq!((&objects[0]["seed"], objects.len()), (&4.into(), 2));
    let steadiness = &objects[1]["base_steadiness"];
    assert_eq!(steadiness["set"], "dusk");
    let shares = ["flip", "shift", "jpeg"].map(|name| steadiness[name].as_f64().unwrap());
    assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)), "{steadiness}");
    assert!(shares.iter().any(|&share| share > 0.0), "{steadiness}");
    let ran = scene.run(command);
    assert!(ran.stdout.contains("the base against itself") && ran.stdout.contains("JPEG 75"), "{}", ran.stdout);
}

/// Catches: a comparison that starts anew, that takes a run of other options for its own, or is ended by a line that was cut off.
#[test]
fn an_interrupted_comparison_goes_on_where_it_stopped() {
    let scene = scene();
    let whole = runs(&scene, COMPARE);
    let text = fs::read_to_string(scene.path("runs.jsonl")).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 6);
    let half = lines[4].len() / 2;
    fs::write(scene.path("runs.jsonl"), [&lines[..4].join("\n"), "\n", &lines[4][..half]].concat()).unwrap();

    let resumed = runs(&scene, COMPARE);
    for (position, (run, before)) in resumed.iter().zip(&whole).enumerate() {
        assert_eq!(without_cost(run), without_cost(before));
        if position < 4 {
            assert_eq!(run["seconds"], before["seconds"], "run {position} was repeated");
        }
    }
    let text = fs::read_to_string(scene.path("runs.jsonl")).unwrap();
    assert_eq!(text.lines().count(), 6);

    let others = runs(&scene, &format!("{COMPARE} --augment none"));
    assert!(others.iter().all(|run| whole.iter().all(|before| before["identity"] != run["identity"])));
    assert_eq!(fs::read_to_string(scene.path("runs.jsonl")).unwrap().lines().count(), 12);
}

/// Catches: a file of something else that is taken for an empty one and grown.
#[test]
fn a_file_that_holds_no_runs_is_refused_and_left_alone() {
    let scene = scene();
    fs::write(scene.path("runs.jsonl"), "no run\n").unwrap();
    let error = scene.refused(COMPARE);
    assert!(error.contains("line 1") && error.contains("runs.jsonl"), "{error}");
    assert_eq!(fs::read_to_string(scene.path("runs.jsonl")).unwrap(), "no run\n");
}

/// Catches: corruptions that are those of other images, or that change nothing; a page without its plots.
#[test]
fn a_page_shows_the_methods_under_corruptions() {
    let scene = scene();
    let compare = COMPARE.replace("dusk=dusk", "corruptions").replace("--seeds 2", "--seeds 1");
    let runs = runs(&scene, &format!("{compare} --severity 5 --out page.html"));
    let shifts = runs[0]["shifts"].as_array().unwrap();
    assert_eq!(shifts.len(), 10);
    assert!(shifts.iter().any(|shift| shift["loss"] != runs[0]["in_distribution"]["loss"]));
    let page = fs::read_to_string(scene.path("page.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") || page.starts_with("<!DOCTYPE html>"));
    for word in ["<svg", "<table", "wise-ft alpha=0.5", "fog 5"] {
        assert!(page.contains(word), "{word}");
    }
    let table = scene.run(&compare).stdout;
    assert!(["lp-ft", "mean of shifts", "retention"].iter().all(|word| table.contains(word)), "{table}");
}

/// Catches: a report of one adaptation that is not written, or has no plots.
#[test]
fn a_run_of_its_own_has_a_page_too() {
    let scene = scene();
    let ran = scene.run(&format!("{} --report page.html", crate::scene::ADAPT));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(fs::read_to_string(scene.path("page.html")).unwrap().contains("<svg"));
}

/// Catches: groups without names, shifts that are measured on other images, a limit that draws anew each time.
#[test]
fn eval_measures_groups_shifts_and_a_part() {
    let scene = Scene::adapted();
    tiny::images(&scene.path("dusk"), 8, 6);
    let eval = "eval --model tiny-1 --store store --data images --shift dusk=dusk --shift corruptions --limit 5 --json";
    let evaluate = |arguments: &str| scene.run(arguments).objects().remove(0);
    let evaluation = evaluate(&format!("{eval} --group ^([a-z]+_[12])"));
    assert_eq!(evaluation["images"], 15);
    let shifts = evaluation["shifts"].as_object().unwrap();
    assert_eq!(shifts.len(), 11);
    assert!(shifts.values().all(|shift| shift["images"] == 15));
    let groups = evaluation["per_group"].as_object().unwrap();
    assert!(
        groups.keys().all(|name| ["grass_1", "grass_2", "sand_1", "sand_2", "water_1", "water_2"].contains(&&**name))
    );
    assert!(!groups.is_empty());
    let macro_accuracy = evaluation["macro_accuracy"].as_f64().unwrap();
    let classes = evaluation["per_class"].as_object().unwrap();
    let share = |class: &Value| class["correct"].as_f64().unwrap() / class["images"].as_f64().unwrap();
    assert!((macro_accuracy - classes.values().map(share).sum::<f64>() / 3.0).abs() < 1e-12);
    assert_eq!(keys(&evaluate(eval)), keys(&evaluate(eval)));
    assert_eq!(evaluate(eval), evaluate(eval), "the same images each time");
}

/// Catches: the new head, or the base's backbone, in place of the adapted backbone under the base's head.
#[test]
fn the_bases_head_knows_the_bases_classes() {
    let scene = Scene::adapted();
    let error = scene.refused("eval --model tiny-1 --store store --data images --base-head");
    assert!(error.contains("grass"), "{error}");
    fs::create_dir(scene.path("things")).unwrap();
    for (class, thing) in tiny::CLASSES.into_iter().zip(["thing 0", "thing 1", "thing 2"]) {
        fs::rename(scene.path("images").join(class), scene.path("things").join(thing)).unwrap();
    }
    let ask = |arguments: &str| scene.run(arguments).objects().remove(0);
    let base = ask("eval --model tiny-1 --data things --json");
    assert_eq!(ask("eval --model tiny-1 --data things --base-head --json"), base);
    let adapted = ask("eval --model tiny-1 --store store --data things --base-head --json");
    assert_eq!(adapted["images"], base["images"]);
    assert_ne!(adapted["calibration_error"], base["calibration_error"]);
}

/// Catches: a shift that takes another's place in the results, or is taken for the images that were learned from.
#[test]
fn sets_of_one_name_are_refused() {
    let scene = scene();
    for twice in ["--shift dusk=images", "--shift images=dusk", "--shift corruptions --shift corruptions"] {
        let error = scene.refused(&format!("{COMPARE} {twice}"));
        assert!(error.contains("a name of its own"), "{twice}: {error}");
    }
}
