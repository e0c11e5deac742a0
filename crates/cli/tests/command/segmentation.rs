//! Tests of segmentation by the command: import, adapt, eval, infer, and a store that is opened again.

use crate::scene::{Scene, keys};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use fieldfit_tests::scenes;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const ADAPT: &str = "adapt --model segmentation --data frames --store pixels --method lp-ft --augment none --epochs 10 \
                     --batch 4 --lr 0.001 --threads 1";

fn scene() -> Scene {
    let scene = Scene::new();
    scenes::base(scene.folder());
    scenes::frames(&scene.path("frames"), 24, 5);
    scenes::frames(&scene.path("later"), 6, 6);
    scene
}

/// Returns the files of a folder of images and masks.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = ["images", "masks"].map(|name| fs::read_dir(folder.join(name)).unwrap());
    let paths = files.into_iter().flatten().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Catches: a task that is lost between import, training, store, evaluation and answers; masks of another size than their
/// frames; files that other tools do not read as masks.
#[test]
fn pixels_from_import_to_masks() {
    let scene = scene();
    let file = scenes::network_file();
    let labels = "pixel-labels.txt";
    let imported = scene.run(&format!("import {} --out again --labels {labels}", file.display()));
    assert_eq!(imported.status, 0, "{}", imported.stderr);
    assert!(imported.stdout.contains("the head is `head.weight`, which classifies each pixel"), "{}", imported.stdout);
    assert!(imported.stdout.contains("input: 24×32 px, the whole frame"), "{}", imported.stdout);

    let adapted = scene.run(ADAPT);
    assert_eq!(adapted.status, 0, "{}{}", adapted.stdout, adapted.stderr);
    assert!(adapted.stdout.contains("pixels of"), "{}", adapted.stdout);

    let model = "--model segmentation --store pixels --threads 1";
    let measured = scene.run(&format!("eval {model} --data later --agreement --shift corruptions --json"));
    assert_eq!(measured.status, 0, "{}", measured.stderr);
    let report = &measured.objects()[0];
    let pixels = &report["segmentation"];
    assert_eq!(keys(pixels), ["mean_iou", "per_class", "pixels"]);
    assert!(pixels["mean_iou"].as_f64().unwrap() > 0.5, "{pixels}");
    assert_eq!(keys(&pixels["per_class"]), ["car", "road", "sky"]);
    assert_eq!(keys(&pixels["per_class"]["car"]), ["correct", "iou", "pixels"]);
    assert!(report["agreement"].as_f64().is_some_and(|share| (0.0..=1.0).contains(&share)));
    let shifts = report["shifts"].as_object().unwrap();
    assert!(shifts.len() == 9 && !shifts.keys().any(|name| name.starts_with("rotation")), "{shifts:?}");
    let text = scene.run(&format!("eval {model} --data later")).stdout;
    assert!(text.contains("IoU") && text.contains("car"), "{text}");

    let answered = scene.run(&format!("infer {model} --masks masks later/images --json"));
    assert_eq!(answered.status, 0, "{}", answered.stderr);
    let answers = answered.objects();
    assert_eq!((answers.len(), keys(&answers[0]).join(" ")), (6, "classes image mask overlay".to_owned()));
    let share: f64 =
        answers[0]["classes"].as_array().unwrap().iter().map(|class| class["share"].as_f64().unwrap()).sum();
    assert!((share - 1.0).abs() < 1e-9, "{share}");
    for (file, size) in [("masks/frame_00.png", (44, 30)), ("masks/frame_05.overlay.png", (44, 30))] {
        assert_eq!(image::image_dimensions(scene.path(file)).unwrap(), size, "{file}");
    }
    // Masks replace those of an earlier run, and neither the images nor the labelled masks of a data set.
    let before = contents(&scene.path("later"));
    for folder in ["later/images", "later/masks"] {
        let ran = scene.run(&format!("infer {model} --masks {folder} later/images"));
        assert!(ran.status == 1 && ran.stderr.contains("is not a mask that `infer` wrote"), "{}", ran.stderr);
    }
    assert!(contents(&scene.path("later")).iter().all(|(path, bytes)| before.get(path).is_none_or(|old| old == bytes)));
    assert_eq!(scene.run(&format!("infer {model} --masks masks later/images --quiet")).status, 0);
    // The masks that were written are masks of a data set again.
    fs::create_dir(scene.path("round")).unwrap();
    fs::rename(scene.path("masks"), scene.path("round/masks")).unwrap();
    fs::rename(scene.path("later/images"), scene.path("round/images")).unwrap();
    fs::write(scene.path("round/classes.txt"), scenes::CLASSES.join("\n")).unwrap();
    let own = &scene.run(&format!("eval {model} --data round --json")).objects()[0];
    assert!(own["accuracy"].as_f64().unwrap() > 0.99, "{own}");
}

/// Catches: a version of pixels that a store does not give back, or that a rollback leaves in place.
#[test]
fn a_store_of_pixels_is_opened_again() {
    let scene = scene();
    assert_eq!(scene.run(ADAPT).status, 0);
    let info = scene.run("info pixels --json");
    assert_eq!(info.status, 0, "{}", info.stderr);
    let delta = &scene.run("info pixels/versions/1.ffdelta --json");
    let delta = if delta.status == 0 { delta.objects()[0].clone() } else { info.objects()[0].clone() };
    assert!(delta["task"].is_null() || delta["task"] == "segmentation", "{delta}");
    let frame = "frames/images/frame_01.png";
    let answer =
        |arguments: &str| scene.run(&format!("infer --model segmentation --threads 1 {arguments} {frame} --json"));
    let (own, base) = (answer("--store pixels"), answer(""));
    assert!(own.stdout.contains("\"sky\"") && base.status == 0 && own.stdout != base.stdout);
    assert_eq!(scene.run("store rollback pixels").status, 0);
    assert_eq!(answer("--store pixels").stdout, base.stdout);
}

/// Catches: a page without frames, truth and answer side by side; pictures of another frame or with rows and columns exchanged;
/// frames in another order than by their share of right pixels.
#[test]
fn a_comparison_shows_frames_with_truth_and_answer() {
    let scene = scene();
    let data =
        "--model segmentation --data frames --shift later=later --methods linear-probe,lp-ft --seeds 1 --epochs 1";
    let compared = scene.run(&format!("compare {data} --batch 4 --threads 1 --jsonl runs.jsonl --out page.html"));
    assert_eq!(compared.status, 0, "{}", compared.stderr);
    let page = fs::read_to_string(scene.path("page.html")).unwrap();
    assert!(page.contains("<h2>Segmented frames</h2>") && page.contains("Mean IoU in distribution"));

    let log = fs::read_to_string(scene.path("runs.jsonl")).unwrap();
    let run: serde_json::Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    assert_eq!(run["colours"], serde_json::json!(["#000000", "#800000", "#008000"]));
    let frames = run["shifts"][0]["frames"].as_array().unwrap();
    let shares: Vec<f64> = frames.iter().map(|frame| frame["accuracy"].as_f64().unwrap()).collect();
    assert!(shares.len() == 3 && shares.is_sorted(), "{shares:?}");
    let is_sky = |pixel: [u8; 3]| pixel[2] > pixel[0] + 30;
    for frame in frames {
        let [picture, truth, answer] = ["frame", "truth", "answer"].map(|name| decoded(frame[name].as_str().unwrap()));
        let [width, height] = [truth.width(), truth.height()];
        assert_eq!((answer.width(), answer.height()), (width, height));
        assert_eq!((picture.width() > picture.height(), width > height), (true, true));
        let beside = |x: u32, y: u32| picture.get_pixel(x * picture.width() / width, y * picture.height() / height).0;
        let pixels = truth.enumerate_pixels().filter(|(_, _, class)| class.0 != VOID);
        let agreeing = pixels.filter(|(x, y, class)| is_sky(beside(*x, *y)) == (class.0 == SKY)).count();
        assert!(agreeing as f64 > 0.85 * f64::from(width * height), "{agreeing} of {width} × {height}");
    }
}

/// Colours of the sky and of pixels that do not count.
const SKY: [u8; 3] = [0, 0, 0];
const VOID: [u8; 3] = [224, 224, 192];

/// Decodes a picture by its data URI.
fn decoded(uri: &str) -> image::RgbImage {
    let bytes = BASE64_STANDARD.decode(uri.split_once(',').unwrap().1).unwrap();
    image::load_from_memory(&bytes).unwrap().into_rgb8()
}

/// Catches: questions of another task that get an answer, or an error without what to do.
#[test]
fn questions_of_another_task_are_refused() {
    let scene = scene();
    let frame = "frames/images/frame_01.png";
    let error = scene.refused(&format!("infer --model tiny-1 --masks masks {frame}"));
    assert!(error.contains("does classification, and cannot write masks"), "{error}");
    assert!(!scene.path("masks").exists());
    let error = scene.refused("adapt --model tiny-1 --data frames --store other --threads 1");
    assert!(error.contains("labelled for segmentation, but the base does classification"), "{error}");
    let error = scene.refused("adapt --model segmentation --data images --store another --threads 1");
    assert!(error.contains("labelled for classification, but the base does segmentation"), "{error}");
    let error = scene.refused(&format!("teach --model segmentation --store taught dog {frame} --threads 1"));
    assert!(error.contains("is not available for segmentation"), "{error}");
}
