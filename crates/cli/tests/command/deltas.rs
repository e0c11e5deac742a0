//! Tests of `delta` and `key`: guards against a signature, a policy or an export that does something else than it states.

use crate::scene::{ADAPT, Scene, keys};
use fieldfit_delta::Delta;
use fieldfit_durable::{Disk, commit_sealed, unseal};
use fieldfit_tests::tiny;
use safetensors::SafeTensors;
use serde_json::Value;
use std::fs;

const FILE: &str = "store/versions/000001.delta";

/// Catches: a way from one robot to another that loses the delta, its signer, or who is trusted.
#[test]
fn a_delta_goes_from_one_robot_to_another() {
    let scene = Scene::new();
    let device = scene.run("key new device.key");
    assert_eq!(device.status, 0, "{}", device.stderr);
    let key = device.stdout.trim();
    assert_eq!(scene.run("key show device.key").stdout.trim(), key);
    assert!(scene.refused("key new device.key").contains("where no file is"), "a key was overwritten");

    let ran = scene.run(&format!("{ADAPT} --key device.key"));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let info = &scene.run(&format!("info {FILE} --json")).objects()[0];
    assert_eq!((info["key"].as_str(), info["sequence"].as_u64()), (Some(key), Some(1)));
    assert!(info["fidelity"]["images"].as_u64().unwrap() > 0, "{info}");
    assert!(scene.run(&format!("info {FILE}")).stdout.contains(&format!("number 1 of the key {key}")));

    let packed = &scene.run(&format!("delta pack {FILE} delta.zst --json")).objects()[0];
    assert_eq!(packed["packed"].as_u64().unwrap(), fs::metadata(scene.path("delta.zst")).unwrap().len());
    scene.run("delta unpack delta.zst unpacked.delta");
    assert_eq!(fs::read(scene.path("unpacked.delta")).unwrap(), fs::read(scene.path(FILE)).unwrap());

    // Another store, which trusts that robot and nobody else.
    scene.run("adapt --model tiny-1 --data images --store other --epochs 1 --threads 1 --method linear-probe");
    fs::write(scene.path("other/trust.toml"), format!("require-signature = true\n[keys]\nrover = \"{key}\"")).unwrap();
    let verified = scene.run("delta verify delta.zst --trust other/trust.toml --model tiny-1");
    assert!(verified.stdout.contains("of rover") && verified.stdout.contains("ball"), "{}", verified.stdout);
    assert_eq!(scene.run("store add other delta.zst --json").objects()[0]["version"], 2);
    assert!(scene.refused("store add other delta.zst").contains("--replay"));
    assert_eq!(scene.run("store add other delta.zst --replay --json").objects()[0]["version"], 3);
    assert_eq!(scene.run("store activate other 2").status, 0);
    assert!(scene.refused("store add other other/versions/000001.delta").contains("not signed"));
    scene.run("key new stranger.key");
    scene.run(&format!("delta sign {FILE} --key stranger.key --out strange.delta"));
    assert!(scene.refused("store add other strange.delta").contains("rover"));
    assert!(scene.refused("delta verify strange.delta --trust other/trust.toml").contains("rover"));
}

/// Catches: a signature in place of an earlier one that keeps the earlier, a number that is not the one asked for, or a secret that
/// anyone may read.
#[test]
fn a_delta_is_signed_by_the_key_and_number_asked_for() {
    let scene = Scene::adapted();
    scene.run("key new a.key");
    scene.run("key new b.key");
    let before = Delta::parse(&fs::read(scene.path(FILE)).unwrap()).unwrap().hash();
    for (key, sequence) in [("a.key", 3), ("b.key", 1)] {
        let arguments = format!("delta sign {FILE} --key {key} --sequence {sequence} --out signed.delta --json");
        let signed = &scene.run(&arguments).objects()[0];
        let file = fs::read(scene.path("signed.delta")).unwrap();
        let delta = Delta::parse(&file).unwrap();
        let signature = delta.signature().unwrap();
        assert_eq!((delta.hash(), signature.sequence), (before, sequence));
        assert_eq!(signed["key"], signature.key.to_string());
        assert_eq!(scene.run(&format!("key show {key}")).stdout.trim(), signature.key.to_string());
    }
    assert!(scene.refused(&format!("delta sign {FILE} --key images/sand/sand_0.png")).contains("cannot read"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(scene.path("a.key"), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(scene.refused("key show a.key").contains("chmod 600"));
    }
}

/// Catches: two deltas that are signed within one second and have one number, so that the second is a replay; one signature
/// with the greatest number that ends a key; a key without a number left that is told only after training.
#[test]
fn numbers_grow_and_no_signature_ends_a_key() {
    let scene = Scene::adapted();
    scene.run("key new device.key");
    let sign = |out: &str, more: &str| {
        let ran = scene.run(&format!("delta sign {FILE} --key device.key --out {out} {more}"));
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        scene.run(&format!("info {out} --json")).objects()[0]["sequence"].as_u64().unwrap()
    };
    let numbers: Vec<u64> = (0..4).map(|number| sign(&format!("{number}.delta"), "")).collect();
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    for number in 0..4 {
        assert_eq!(scene.run(&format!("store add store {number}.delta")).status, 0, "{number} is no replay");
    }

    sign("last.delta", "--sequence 18446744073709551615");
    let error = scene.refused("store add store last.delta");
    assert!(error.contains("number 18446744073709551615") && error.contains("sign it again"), "{error}");
    let ran = scene.run(&format!("{ADAPT} --key device.key"));
    assert_eq!(ran.status, 0, "the key goes on: {}", ran.stderr);

    // As a store of an earlier version may have it.
    let key = scene.run("key show device.key").stdout.trim().to_owned();
    let (path, kind) = (scene.path("store/state"), *b"FFSTATE2");
    let sealed = fs::read(&path).unwrap();
    let mut state: Value = serde_json::from_slice(unseal(kind, &sealed).unwrap()).unwrap();
    state["sequences"][&key] = u64::MAX.into();
    commit_sealed(&Disk, &path, kind, &serde_json::to_vec(&state).unwrap()).unwrap();
    let error = scene.refused(&format!("{ADAPT} --key device.key"));
    assert!(error.contains(&key) && error.contains("key new"), "{error}");
    assert!(!error.contains("epoch"), "before the work: {error}");
}

/// Catches: a comparison that mixes up its sides, or calls different deltas alike.
#[test]
fn two_deltas_are_compared_tensor_by_tensor() {
    let scene = Scene::adapted();
    scene.run(&format!("{ADAPT} --seed 1 --codec int8"));
    let same = &scene.run(&format!("delta diff {FILE} {FILE} --json")).objects()[0];
    for tensor in same["tensors"].as_array().unwrap() {
        assert_eq!(tensor["difference"], 0.0, "{tensor}");
        assert!((tensor["cosine"].as_f64().unwrap() - 1.0).abs() < 1e-9, "{tensor}");
    }
    let diff = &scene.run(&format!("delta diff {FILE} store/versions/000002.delta --json")).objects()[0];
    assert_eq!((diff["same_base"].as_bool(), diff["same_labels"].as_bool()), (Some(true), Some(true)));
    let tensors = diff["tensors"].as_array().unwrap();
    let figure = |tensor: &serde_json::Value, name: &str| tensor[name].as_f64().unwrap();
    assert!(tensors.iter().any(|tensor| tensor["right_codec"] == "int8"), "{diff}");
    for tensor in tensors.iter().filter(|tensor| !tensor["cosine"].is_null()) {
        let (left, right, cosine) = (figure(tensor, "left"), figure(tensor, "right"), figure(tensor, "cosine"));
        let expected = (left * left + right * right - 2.0 * left * right * cosine).sqrt();
        assert!((figure(tensor, "difference") - expected).abs() < 1e-4 * (left + right), "{tensor}");
    }
    let text = scene.run(&format!("delta diff {FILE} store/versions/000002.delta")).stdout;
    assert!(text.contains("base: the same") && text.contains("cosine"), "{text}");
}

/// Catches: an export whose tensors are not those that run, or a rounding that undoes the adaptation and isn't told.
#[test]
fn exports_hold_what_runs() {
    let scene = Scene::adapted();
    let ran = scene.run(&format!("delta export {FILE} --model tiny-1 --out merged.safetensors"));
    assert!(ran.stdout.contains("merged.safetensors"), "{}{}", ran.stdout, ran.stderr);
    scene.run(&format!("delta export {FILE} --out plain.safetensors"));
    let (merged, plain) =
        (fs::read(scene.path("merged.safetensors")).unwrap(), fs::read(scene.path("plain.safetensors")).unwrap());
    let (merged, plain) = (SafeTensors::deserialize(&merged).unwrap(), SafeTensors::deserialize(&plain).unwrap());
    let floats =
        |bytes: &[u8]| -> Vec<f32> { bytes.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect() };

    let base = fieldfit::model::Base::open(&scene.path("tiny-1")).unwrap();
    let about: serde_json::Value = serde_json::from_slice(&fs::read(scene.path("plain.json")).unwrap()).unwrap();
    assert_eq!(about["base"], base.id().to_string());
    for tensor in about["tensors"].as_array().unwrap() {
        let name = tensor["name"].as_str().unwrap();
        let (merged, plain) = (floats(merged.tensor(name).unwrap().data()), floats(plain.tensor(name).unwrap().data()));
        let mut expected = plain.clone();
        if tensor["kind"] == "difference" {
            let mut start = vec![0.0; plain.len()];
            base.tensor(base.network().find(name).unwrap()).copy_into(&mut start);
            expected.iter_mut().zip(&start).for_each(|(value, start)| *value += start);
        }
        assert_eq!(merged, expected, "{name}");
    }
    assert_eq!(merged.names().len(), base.network().tensors.len());

    let rounded = scene.run(&format!("delta export {FILE} --model tiny-1 --dtype bf16 --out rounded.safetensors"));
    assert!(rounded.stderr.contains("rounding rivals"), "{}", rounded.stderr);
}

/// Catches: an exported model that forgets its labels, input size, crop or normalisation, and so answers otherwise when it is
/// imported again.
#[test]
fn an_exported_model_is_imported_again_and_gives_the_same_answers() {
    let scene = Scene::new();
    let ran = scene.run(&format!("{ADAPT} --size 48"));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    scene.run(&format!("delta export {FILE} --model tiny-1 --out merged.safetensors"));
    let ran = scene.run("import merged.safetensors --arch efficientnet-tiny --dtype f32 --out again");
    assert!(ran.status == 0 && ran.stdout.contains("48 px"), "{}{}", ran.stdout, ran.stderr);
    let infer = |model: &str| scene.run(&format!("infer --json images {model}")).stdout;
    let adapted = infer("--model tiny-1 --store store");
    assert!(adapted.contains("\"water\""), "{adapted}");
    assert_eq!(infer("--model again"), adapted);
}

/// A scene with the deltas of two robots in `a.delta` and `b.delta`: one knows grass and sand, the other sand and water.
fn two_robots() -> Scene {
    let scene = Scene::new();
    for (robot, missing) in [("a", "water"), ("b", "grass")] {
        fs::rename(scene.path("images").join(missing), scene.path("missing")).unwrap();
        let ran = scene.run(&format!(
            "adapt --model tiny-1 --data images --store store-{robot} --method linear-probe --seed 7 --threads 1"
        ));
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        fs::copy(scene.path(&format!("store-{robot}/versions/000001.delta")), scene.path(&format!("{robot}.delta")))
            .unwrap();
        fs::rename(scene.path("missing"), scene.path("images").join(missing)).unwrap();
    }
    scene
}

const MERGE: &str = "delta merge a.delta b.delta --model tiny-1 --out merged.delta";

/// Catches: what two robots learned that a third cannot run, weights that are lost between command and library, a report that says
/// something else than the file.
#[test]
fn deltas_of_two_robots_are_merged_for_a_third() {
    let scene = two_robots();
    let merged = &scene.run(&format!("{MERGE} --weights 3,1 --json")).objects()[0];
    assert_eq!(keys(merged), ["bytes", "classes", "drops_statistics", "hash", "parents", "tensors"]);
    let classes: Vec<(&str, u64)> = merged["classes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|class| (class["label"].as_str().unwrap(), class["deltas"].as_u64().unwrap()))
        .collect();
    assert_eq!(classes, [("grass", 1), ("sand", 2), ("water", 1)]);
    assert_eq!(keys(&merged["parents"][0]), ["classes", "hash", "head_norm", "path", "weight"]);
    for (parent, (path, weight)) in
        merged["parents"].as_array().unwrap().iter().zip([("a.delta", 0.75), ("b.delta", 0.25)])
    {
        let info = &scene.run(&format!("info {path} --json")).objects()[0];
        assert_eq!(
            (&parent["path"], &parent["weight"], &parent["hash"]),
            (&path.into(), &weight.into(), &info["hash"])
        );
    }
    let info = &scene.run("info merged.delta --json").objects()[0];
    assert_eq!((&info["hash"], &info["bytes"], &info["method"]), (&merged["hash"], &merged["bytes"], &"merge".into()));
    assert!(info["options"].as_str().unwrap().ends_with(":0.250000"), "{info}");

    assert_eq!(scene.run("delta verify merged.delta --model tiny-1").status, 0);
    let evaluation = &scene.run("eval --model tiny-1 --delta merged.delta --data images --json").objects()[0];
    assert_eq!(keys(&evaluation["per_class"]), ["grass", "sand", "water"]);
    assert!(evaluation["accuracy"].as_f64().unwrap() > 0.6, "{evaluation}");
    assert_eq!(scene.run("store add store-a merged.delta --json").objects()[0]["version"], 2);

    let text = scene.run(MERGE).stdout;
    assert!(text.contains("3 classes, 1 of them known to several deltas") && text.contains("0.5000"), "{text}");
}

/// Catches: deltas that have no mean merged all the same, or half a file where a merge fails.
#[test]
fn deltas_that_have_no_mean_are_refused() {
    let scene = two_robots();
    let cases = [
        ("delta merge a.delta --model tiny-1 --out merged.delta", "expected 2 to 32 deltas to merge, found 1"),
        ("delta merge a.delta a.delta --model tiny-1 --out merged.delta", "are the same delta"),
        ("delta merge a.delta none.delta --model tiny-1 --out merged.delta", "none.delta"),
        (&format!("{MERGE} --weights 1,2,3"), "expected 2 weights, one for each delta, found 3"),
        (&format!("{MERGE} --weights 1,1e-9"), "weight of b.delta"),
    ];
    for (arguments, expected) in cases {
        let error = scene.refused(arguments);
        assert!(error.contains(expected), "{arguments}: {error}");
    }
    tiny::base(scene.folder(), 2);
    let error = scene.refused(&MERGE.replace("tiny-1", "tiny-2"));
    assert!(error.contains("a.delta: the delta is for base"), "{error}");
    let error = &scene.run(&format!("{} --json", MERGE.replace("tiny-1", "tiny-2"))).objects()[0];
    assert_eq!(error["path"], "a.delta", "{error}");
    assert!(!scene.path("merged.delta").exists());
}
