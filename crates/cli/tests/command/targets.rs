//! Tests of values and labels by the command: adapt, eval, compare, infer, and a store whose versions are of several tasks.

use crate::scene::{Scene, keys};
use std::fs;
use std::path::Path;

fn tables() -> Scene {
    let scene = Scene::new();
    let shown = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data").canonicalize().unwrap();
    std::os::unix::fs::symlink(shown, scene.path("shown")).unwrap();
    scene
}

const TRAINING: &str = "--model tiny-1 --method linear-probe --size 32 --threads 1";

/// Catches: values whose unit is lost between table, store, evaluation and answers, or that come out in standard deviations.
#[test]
fn values_from_a_table_to_answers() {
    let scene = tables();
    let adapted = scene.run(&format!("adapt {TRAINING} --data shown/scene-values --store values --flip-negates none"));
    assert_eq!(adapted.status, 0, "{}{}", adapted.stdout, adapted.stderr);
    assert!(adapted.stdout.contains("standard deviations on"), "{}", adapted.stdout);
    let model = "--model tiny-1 --store values --threads 1";
    let measured = scene.run(&format!("eval {model} --data shown/scene-values --shift corruptions --agreement --json"));
    assert_eq!(measured.status, 0, "{}", measured.stderr);
    let report = &measured.objects()[0];
    let values = &report["regression"];
    assert_eq!(keys(values), ["mean_error", "per_target"]);
    assert_eq!(keys(&values["per_target"]), ["car [px]", "horizon [px]"]);
    assert_eq!(keys(&values["per_target"]["car [px]"]), ["determination", "mean_absolute", "root_mean_square"]);
    let shifts = report["shifts"].as_object().unwrap();
    assert!(shifts.len() == 9 && !shifts.keys().any(|name| name.starts_with("rotation")), "{shifts:?}");
    assert!(scene.run(&format!("eval {model} --data shown/scene-values")).stdout.contains("R²"));
    let answered = scene.run(&format!("infer {model} shown/scenes/images/f00.png --json"));
    let answer = &answered.objects()[0]["values"];
    assert_eq!((answer[0]["target"].as_str(), answer[0]["unit"].as_str()), (Some("horizon"), Some("px")));
    // Horizons lie between 10 and 19 pixels.
    assert!(answer[0]["value"].as_f64().is_some_and(|value| (5.0..25.0).contains(&value)), "{answer}");
}

/// Catches: labels that exclude each other, thresholds that answers do not use.
#[test]
fn labels_from_a_table_to_answers() {
    let scene = tables();
    let adapted =
        scene.run(&format!("adapt {TRAINING} --data shown/scene-labels --store labels --class-weights balanced"));
    assert_eq!(adapted.status, 0, "{}{}", adapted.stdout, adapted.stderr);
    assert!(adapted.stdout.contains("labels of"), "{}", adapted.stdout);
    let model = "--model tiny-1 --store labels --threads 1";
    let measured = scene.run(&format!("eval {model} --data shown/scene-labels --json"));
    assert_eq!(measured.status, 0, "{}", measured.stderr);
    let labels = &measured.objects()[0]["multi_label"];
    assert_eq!(keys(labels), ["macro_f1", "mean_average_precision", "micro_f1", "per_label"]);
    assert_eq!(keys(&labels["per_label"]), ["car on the left", "low horizon"]);
    assert!(scene.run(&format!("eval {model} --data shown/scene-labels")).stdout.contains("mAP"));
    let answered = scene.run(&format!("infer {model} shown/scenes/images/f00.png --json"));
    let answer = &answered.objects()[0]["labels"];
    assert_eq!(
        (answer.as_array().unwrap().len(), keys(&answer[0]).join(" ")),
        (2, "index label present score threshold".to_owned())
    );
    let all = scene.run(&format!("infer {model} shown/scenes/images --json")).objects();
    assert_eq!(all.len(), 24);
    let labels: Vec<_> = all.iter().flat_map(|answer| answer["labels"].as_array().unwrap().clone()).collect();
    for label in &labels {
        let [score, threshold] = ["score", "threshold"].map(|name| label[name].as_f64().unwrap());
        assert_eq!(label["present"].as_bool(), Some(score >= threshold), "{label}");
    }
    let told = |label: &&serde_json::Value| label["present"] == true;
    assert!((1..labels.len()).contains(&labels.iter().filter(told).count()), "all or none of the labels");
    let error = scene.refused(&format!("infer {model} --base-top 2 shown/scenes/images/f00.png"));
    assert!(error.contains("does multi-label classification, and cannot rank the base's own classes"), "{error}");
    let methods = "--methods linear-probe --seeds 1 --epochs 1";
    let data = "--model tiny-1 --data shown/scene-labels --shift other=images";
    let error = scene.refused(&format!("compare {data} --size 32 --threads 1 {methods}"));
    assert!(error.contains("the images of `other` are labelled for classification"), "{error}");
}

/// Catches: a comparison that ranks methods of values by an accuracy of no class, or that loses a task in its run log.
#[test]
fn methods_are_compared_on_values() {
    let scene = tables();
    let methods = "--methods linear-probe,lp-ft --seeds 1 --epochs 1";
    let command = format!(
        "compare --model tiny-1 --data shown/scene-values --size 32 --threads 1 {methods} --jsonl runs.jsonl --json"
    );
    let compared = scene.run(&command);
    assert_eq!(compared.status, 0, "{}", compared.stderr);
    let log = fs::read_to_string(scene.path("runs.jsonl")).unwrap();
    assert!(log.lines().count() == 2 && log.contains("\"task\":\"regression\"") && log.contains("task_score"), "{log}");
}

/// Catches: a question of another task that gets an answer, images of another task that are measured, an error without what to
/// do.
#[test]
fn versions_of_several_tasks_share_a_store() {
    let scene = tables();
    let adapt = format!("adapt {TRAINING} --data shown/scene-values --store mixed");
    assert_eq!(scene.run(&adapt).status, 0);
    let error = scene.refused("eval --model tiny-1 --store mixed --data images --threads 1");
    assert!(error.contains("labelled for classification, but version 1 does regression"), "{error}");
    let error = scene.refused("eval --model tiny-1 --data shown/scene-values --threads 1");
    assert!(error.contains("labelled for regression, but the base does classification"), "{error}");
    let image = "shown/scenes/images/f00.png";
    let error = scene.refused(&format!("infer --model tiny-1 --store mixed --masks masks {image} --threads 1"));
    assert!(error.contains("does regression, and cannot write masks"), "{error}");
    let classes = scene.run(&format!("adapt {TRAINING} --data images --store mixed --allow-fewer-classes"));
    assert_eq!(classes.status, 0, "{}{}", classes.stdout, classes.stderr);
    let answer = || scene.run(&format!("infer --model tiny-1 --store mixed {image} --threads 1 --json"));
    assert!(answer().stdout.contains("\"top\""));
    assert_eq!(scene.run("store rollback mixed").status, 0);
    assert!(answer().stdout.contains("\"values\""));
    let error = scene.refused(&format!("adapt {TRAINING} --data shown/scene-values --store other --flip-negates tilt"));
    assert!(error.contains("there is no target `tilt`"), "{error}");
}
