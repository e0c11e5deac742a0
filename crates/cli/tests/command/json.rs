//! Tests of `--json`: standard output is one object per line, in the shapes that scripts rely on.

use crate::scene::{ADAPT, Scene, keys};
use serde_json::{Value, json};

/// Catches: adaptations whose last event doesn't say what is stored and what runs, or that print between the events.
#[test]
fn adapt_prints_events_and_ends_with_done() {
    let scene = Scene::new();
    let ran = scene.run(&format!("{ADAPT} --json"));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let events = ran.objects();
    assert!(events.iter().all(|event| event["event"].is_string()));
    assert_eq!(events.iter().filter(|event| event["event"] == "epoch").count(), 2);
    assert!(events.iter().any(|event| event["event"] == "step" && event["loss"].as_f64().unwrap() > 0.0));
    assert_eq!(events.iter().filter(|event| event["event"] == "done").count(), 1);

    let done = events.last().unwrap();
    assert_eq!(keys(done), ["active", "delta", "delta_bytes", "event", "gate", "peak", "reason", "seconds", "version"]);
    assert_eq!(keys(&done["gate"]), ["after", "before", "images"]);
    assert_eq!((&done["event"], &done["version"], &done["active"]), (&json!("done"), &json!(1), &json!(true)));
    let file = scene.path(done["delta"].as_str().unwrap());
    assert_eq!(file.metadata().unwrap().len(), done["delta_bytes"].as_u64().unwrap());
    assert!(done["gate"]["images"].as_u64().unwrap() >= 6);
    for accuracy in ["before", "after"] {
        assert!((0.0..=1.0).contains(&done["gate"][accuracy].as_f64().unwrap()), "{done}");
    }
}

/// Catches: a version that its gate refused being active, or the command pretending that all is well, or not saying why.
#[test]
fn an_adaptation_that_the_gate_refuses_is_told_and_exits_with_1() {
    let scene = Scene::adapted();
    scene.mislead();
    let ran = scene.run(&format!("{} --json", ADAPT.replace("--data images", "--data wrong")));
    assert_eq!(ran.status, 1, "{}", ran.stdout);
    let events = ran.objects();
    let done = events.last().unwrap();
    assert_eq!((&done["event"], &done["version"], &done["active"]), (&json!("done"), &json!(2), &json!(false)));
    assert!(done["gate"]["after"].as_f64() < done["gate"]["before"].as_f64(), "{done}");

    let listed = scene.run("store list store --json").objects();
    assert_eq!((&listed[0]["state"], &listed[1]["state"]), (&json!("trial"), &json!("refused")));
    assert_eq!(listed[1]["reason"], done["reason"]);
    let evaluation = scene.run("eval --model tiny-1 --store store --data wrong/val --json").objects();
    assert!(evaluation[0]["accuracy"].as_f64().unwrap() > 0.9, "version 1 still runs: {}", evaluation[0]);
}

/// Catches: rankings out of order, probabilities that aren't, or another number of classes than was asked for.
#[test]
fn infer_prints_one_ranking_an_image() {
    let scene = Scene::adapted();
    let images = "images/sand/sand_0.png images/water/water_3.png";
    let base = scene.run(&format!("infer --model tiny-1 --top 4 --json {images}"));
    assert_eq!(base.status, 0, "{}", base.stderr);
    let answers = base.objects();
    assert_eq!(answers.len(), 2);
    for (answer, image) in answers.iter().zip(images.split(' ')) {
        assert_eq!(keys(answer), ["image", "top"]);
        assert_eq!(answer["image"], image);
        let top = answer["top"].as_array().unwrap();
        assert_eq!(top.len(), 4);
        assert!(top.iter().all(|class| keys(class) == ["index", "label", "score"]));
        assert!(top.iter().all(|class| class["label"] == format!("thing {}", class["index"])));
        let scores: Vec<f64> = top.iter().map(|class| class["score"].as_f64().unwrap()).collect();
        assert!(scores.is_sorted_by(|a, b| a >= b) && scores[0] <= 1.0 && scores[3] > 0.0, "{scores:?}");
    }

    let adapted = scene.run(&format!("infer --model tiny-1 --store store --json {images}")).objects();
    let best: Vec<&Value> = adapted.iter().map(|answer| &answer["top"][0]["label"]).collect();
    assert_eq!(best, ["sand", "water"]);
    assert_eq!(adapted[0]["top"].as_array().unwrap().len(), 3, "as many as the model knows");
    let beside = scene.run(&format!("infer --model tiny-1 --store store --base-top 2 --json {images}")).objects();
    for (answer, adapted) in beside.iter().zip(&adapted) {
        assert_eq!(keys(answer), ["base_top", "image", "top"]);
        assert_eq!(answer["top"], adapted["top"], "the base's answers change no other");
        let labels: Vec<&str> =
            answer["base_top"].as_array().unwrap().iter().map(|class| class["label"].as_str().unwrap()).collect();
        assert!(labels.len() == 2 && labels.iter().all(|label| label.starts_with("thing ")), "{labels:?}");
    }
    let of_file = scene.run(&format!("infer --model tiny-1 --delta store/versions/000001.delta --json {images}"));
    assert_eq!(of_file.objects(), adapted, "a version and its file are the same");
}

/// Catches: counts that don't add up, classes that are missing, or unreadable images that nobody hears of.
#[test]
fn eval_prints_counts_that_add_up() {
    let scene = Scene::adapted();
    std::fs::write(scene.path("images/sand/broken.png"), b"no image").unwrap();
    let ran = scene.run("eval --model tiny-1 --store store --data images --json");
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let evaluation = &ran.objects()[0];
    assert_eq!(
        keys(evaluation),
        ["accuracy", "calibration_error", "correct", "images", "macro_accuracy", "per_class", "skipped"]
    );
    assert_eq!((&evaluation["images"], &evaluation["skipped"]), (&json!(90), &json!(1)));
    let classes = evaluation["per_class"].as_object().unwrap();
    assert_eq!(classes.keys().collect::<Vec<_>>(), ["grass", "sand", "water"]);
    assert!(classes.values().all(|class| class["images"] == 30 && keys(class) == ["correct", "images"]));
    let correct: u64 = classes.values().map(|class| class["correct"].as_u64().unwrap()).sum();
    assert_eq!(evaluation["correct"], correct);
    assert_eq!(evaluation["accuracy"].as_f64().unwrap(), correct as f64 / 90.0);
    assert!(correct >= 86, "three colours are easily told apart: {evaluation}");
}

/// Catches: an evaluation of old classes that leaves out the base's own head, counts images that it doesn't know, or counts
/// under other labels than the base's.
#[test]
fn eval_reports_the_bases_own_head_where_it_knows_the_class() {
    let scene = Scene::new();
    std::fs::rename(scene.path("images/sand"), scene.path("images/thing 7")).unwrap();
    let ran = scene.run("adapt --model tiny-1 --data images --store store --method linear-probe --threads 1");
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let evaluation = &scene.run("eval --model tiny-1 --store store --data images --json").objects()[0];
    let under_base = &evaluation["base_head"];
    assert_eq!(keys(under_base), ["accuracy", "correct", "images"]);
    assert_eq!((&evaluation["images"], &under_base["images"]), (&json!(90), &json!(30)));
    let folder = scene.path("sand only");
    std::fs::create_dir(&folder).unwrap();
    std::fs::rename(scene.path("images/thing 7"), folder.join("thing 7")).unwrap();
    std::fs::rename(folder, scene.path("sand")).unwrap();
    let alone = &scene.run("eval --model tiny-1 --data sand --json").objects()[0];
    assert_eq!(under_base["correct"], alone["correct"], "the probe leaves the backbone alone");
    assert_eq!(keys(alone).iter().filter(|key| **key == "base_head").count(), 0, "the base has one head");
}

/// Catches: a kept head whose classes are the images' instead of the base's, or that nobody can tell from a new one.
#[test]
fn a_kept_head_answers_with_the_bases_classes() {
    let scene = Scene::new();
    let unnamed = scene.refused("adapt --model tiny-1 --data images --store store --head keep --threads 1");
    assert!(unnamed.contains("has no class `grass` and 2 more") && unnamed.contains("rename the folder"), "{unnamed}");
    for (class, label) in [("grass", "thing 1"), ("sand", "thing 4"), ("water", "thing 8")] {
        std::fs::rename(scene.path("images").join(class), scene.path("images").join(label)).unwrap();
    }
    let ran = scene
        .run("adapt --model tiny-1 --data images --store store --head keep --epochs 4 --lr 3e-3 --threads 1 --json");
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let gate = ran.objects().into_iter().find(|event| event["event"] == "gate").unwrap();
    assert_eq!(gate["reference"], "base");
    let info = &scene.run("info store/versions/000001.delta --json").objects()[0];
    assert_eq!((&info["head"]["origin"], info["labels"].as_array().unwrap().len()), (&json!("kept"), 10));
    let evaluation = &scene.run("eval --model tiny-1 --store store --data images --json").objects()[0];
    assert_eq!(
        evaluation["per_class"].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["thing 1", "thing 4", "thing 8"]
    );
    assert_eq!(evaluation["base_head"]["images"], 90);
}

/// Catches: a taught class that is not stored, is not told as an adaptation is, or names images by their numbers; a taught class that
/// cannot be told or removed.
#[test]
fn a_class_is_taught_by_a_folder_and_removed() {
    let scene = Scene::new();
    let teach =
        |arguments: &str| scene.run(&format!("teach --model tiny-1 --store store --threads 1 --json {arguments}"));
    for (class, version) in [("sand", 1), ("water", 2)] {
        let ran = teach(&format!("{class} images/{class}"));
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        let done = &ran.objects()[0];
        assert_eq!(
            (&done["event"], &done["version"], &done["active"]),
            (&json!("done"), &json!(version), &json!(true))
        );
    }
    let info = &scene.run("info store/versions/000002.delta --json").objects()[0];
    assert_eq!((&info["head"]["taught"], &info["labels"]), (&json!(2), &json!(["sand", "water"])));
    let answer =
        &scene.run("infer --model tiny-1 --store store --base-top 1 --json images/water/water_3.png").objects()[0];
    assert_eq!(answer["top"][0]["label"], "water");
    assert!(answer["base_top"][0]["label"].as_str().unwrap().starts_with("thing "), "{answer}");

    let twice = scene.refused("teach --model tiny-1 --store store mud images/grass images/grass/grass_1.png");
    assert!(twice.contains("grass_1.png is the same image as images/grass/grass_1.png"), "{twice}");
    std::fs::write(scene.path("broken.png"), b"no image").unwrap();
    let broken = scene.refused("teach --model tiny-1 --store store mud broken.png");
    assert!(broken.contains("broken.png cannot be used"), "{broken}");
    assert!(scene.refused("teach --model tiny-1 --store store water images/grass").contains("exists already"));
    assert!(scene.refused("teach --model tiny-1 --store store mud images/none").contains("images/none"));

    assert_eq!(teach("--remove water").status, 0);
    let last = scene.refused("teach --model tiny-1 --store store --remove sand");
    assert!(last.contains("roll back"), "{last}");
    assert_eq!(scene.run("teach --model tiny-1 --store store").status, 2);
}

/// Catches: a threshold at a rate that is none, a novelty that is printed unasked, and one of a version that records none.
#[test]
fn unknown_images_are_told_by_a_version_that_records_how() {
    let scene = Scene::new();
    for rate in ["0", "1", "-0.1", "nan"] {
        let error = scene.refused(&format!("adapt --model tiny-1 --data images --store store --novelty={rate}"));
        assert!(error.contains("option `novelty`") && error.contains("above 0 and below 1"), "{error}");
    }
    std::fs::create_dir(scene.path("other")).unwrap();
    std::fs::rename(scene.path("images/water"), scene.path("other/water")).unwrap();
    let ran = scene.run("adapt --model tiny-1 --data images --store store --novelty 0.1 --epochs 2 --threads 1");
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let info = &scene.run("info store/versions/000001.delta --json").objects()[0];
    assert!((info["head"]["novelty"]["false_alarm_rate"].as_f64().unwrap() - 0.1).abs() < 1e-6, "{info}");
    let answer = &scene.run("infer --model tiny-1 --store store --novelty --json other/water/water_1.png").objects()[0];
    assert_eq!(keys(answer), ["image", "novelty", "top"]);
    assert_eq!(keys(&answer["novelty"]), ["distance", "threshold", "unknown"]);
    let evaluation =
        &scene.run("eval --model tiny-1 --store store --data images --unknown other --json").objects()[0]["unknown"];
    assert_eq!(
        keys(evaluation),
        ["auroc", "detected", "false_alarms", "fpr_at_95_tpr", "known", "threshold", "unknown"]
    );
    assert_eq!((&evaluation["known"], &evaluation["unknown"]), (&json!(60), &json!(30)));
    let none = scene.refused("infer --model tiny-1 --novelty other/water/water_1.png");
    assert!(none.contains("records no threshold of novelty"), "{none}");
}

/// Catches: an agreement that nobody asked for, that isn't a share, or that isn't whole for the base itself.
#[test]
fn eval_tells_the_agreement_with_the_base_when_asked() {
    let scene = Scene::adapted();
    let ask = |store: &str| scene.run(&format!("eval --model tiny-1 {store} --data images --agreement --json"));
    let agreement = ask("--store store").objects()[0]["agreement"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&agreement), "{agreement}");
    let probe = scene.run("adapt --model tiny-1 --data images --store probe --method linear-probe --threads 1");
    assert_eq!(probe.status, 0, "{}", probe.stderr);
    assert_eq!(ask("--store probe").objects()[0]["agreement"], 1.0, "the probe leaves the backbone alone");
}

/// Catches: a script that can't tell what it looks at.
#[test]
fn info_tells_models_deltas_and_stores() {
    let scene = Scene::adapted();
    let info = |path: &str| scene.run(&format!("info {path} --json")).objects().remove(0);
    let (model, delta, store) = (info("tiny-1"), info("store/versions/000001.delta"), info("store"));
    assert_eq!((&model["kind"], &delta["kind"], &store["kind"]), (&json!("model"), &json!("delta"), &json!("store")));
    assert_eq!((&model["architecture"], &model["input_size"]), (&json!("efficientnet-tiny"), &json!(32)));
    assert_eq!(model["labels"].as_array().unwrap().len(), 10);
    let stages = model["stages"].as_array().unwrap();
    let sum: u64 = stages.iter().map(|stage| stage["parameters"].as_u64().unwrap()).sum();
    assert_eq!((json!(sum), stages.len()), (model["parameters"].clone(), 8));
    assert_eq!((&stages[0]["name"], &stages[0]["output"]), (&json!("stem"), &json!([16, 16, 8])));
    // 16 · 16 pixels, each 8 kernels of 3 · 3 · 3.
    assert_eq!((&stages[0]["flops"], &stages[0]["activation_bytes"]), (&json!(2 * 256 * 216), &json!(4 * 2048)));
    assert_eq!(delta["base"], model["id"]);
    assert_eq!((&delta["method"], &delta["labels"]), (&json!("tpgm-relative"), &json!(["grass", "sand", "water"])));
    let tensors = delta["tensors"].as_array().unwrap();
    assert!(tensors.iter().any(|tensor| tensor["kind"] == "replacement" && tensor["ball"].is_null()));
    let balls: Vec<&Value> =
        tensors.iter().map(|tensor| &tensor["ball"]).filter(|constraint| constraint.is_object()).collect();
    assert!(!balls.is_empty(), "TPGM holds differences in balls");
    for constraint in balls {
        assert!(
            constraint["distance"].as_f64().unwrap() <= constraint["radius"].as_f64().unwrap() * 1.001,
            "{constraint}"
        );
    }
    assert_eq!((&store["active"], &store["versions"][0]["state"]), (&json!(1), &json!("trial")));
}

/// Catches: an operation on the store that reports something else than what the store then says.
#[test]
fn the_store_is_managed_version_by_version() {
    let scene = Scene::adapted();
    let json = |arguments: &str| {
        let ran = scene.run(&format!("store {arguments} --json"));
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        ran.objects()
    };
    let states = || json("list store").iter().map(|version| version["state"].clone()).collect::<Vec<_>>();
    assert_eq!(json("add store store/versions/000001.delta"), [json!({"version": 2})]);
    assert_eq!(states(), ["trial", "candidate"]);
    assert_eq!(json("confirm store 1"), [json!({"confirmed": 1})]);
    assert_eq!(json("activate store 2"), [json!({"active": 2})]);
    assert_eq!(states(), ["confirmed", "trial"]);
    assert_eq!(json("rollback store"), [json!({"active": 1})]);
    assert_eq!(json("rollback store"), [json!({"active": null})]);
    assert_eq!(json("verify store"), [] as [Value; 0]);
    assert_eq!(keys(&json("list store")[0]), ["active", "bytes", "delta", "reason", "state", "version"]);

    std::fs::write(scene.path("store/versions/000002.delta"), b"cut").unwrap();
    let ran = scene.run("store verify store --json");
    let findings = ran.objects();
    assert_eq!((ran.status, findings.len()), (1, 1));
    assert_eq!(keys(&findings[0]), ["delta", "problem", "version"]);
    assert_eq!(findings[0]["version"], 2);
}

/// Catches: a history that leaves something out, a prune that doesn't say what it took, or a trial that images on a command line
/// don't count for.
#[test]
fn the_store_tells_its_history_and_is_pruned() {
    let scene = Scene::adapted();
    let json = |arguments: &str| {
        let ran = scene.run(&format!("{arguments} --json"));
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        ran.objects()
    };
    let images: String = (0..25).map(|index| format!(" images/sand/sand_{index}.png")).collect();
    (0..4).for_each(|_| drop(json(&format!("infer --model tiny-1 --store store{images}"))));
    json("store add store store/versions/000001.delta");
    json(&ADAPT.replace("--store", "--keep 2 --store"));
    let log = json("store log store");
    let changes: Vec<(&str, u64)> = log
        .iter()
        .map(|event| {
            let version = event["version"].as_u64().unwrap_or_else(|| event["versions"][0].as_u64().unwrap());
            (event["change"].as_str().unwrap(), version)
        })
        .collect();
    let expected =
        [("added", 1), ("activated", 1), ("confirmed", 1), ("added", 2), ("added", 3), ("activated", 3), ("pruned", 2)];
    assert_eq!(changes, expected);
    assert_eq!(log[2]["predictions"], 100);
    assert!(log.iter().all(|event| event["time"].as_u64() > Some(1_700_000_000)));
    json("store activate store 1");
    assert_eq!(json("store prune store --keep 1"), [json!({"removed": [], "bytes": 0})]);
    json("store add store store/versions/000001.delta");
    let removed = &json("store prune store --keep-bytes 1B")[0];
    assert_eq!(removed["removed"], json!([3]));
    assert!(removed["bytes"].as_u64() > Some(100));
}
