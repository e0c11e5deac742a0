//! Tests of frames and swaps: a runtime must answer every frame with one whole version, whatever happens to it meanwhile.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use fieldfit::data::{Dataset, FolderOptions, ImageSet, Purpose};
use fieldfit::delta::Codec;
use fieldfit::model::Base;
use fieldfit::train::{AdaptError, Norm, Options, TeachError};
use fieldfit::{Device, Error, Frame, PixelFormat, Pixels, Prediction, Ranked, Runtime, Version};
use fieldfit_delta::Provenance;
use fieldfit_model::{TrainingResult, encode_delta};
use fieldfit_tensor::Params;
use fieldfit_tests::tiny;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const DEVICE: Device = Device::Cpu { threads: 1 };

/// A delta with a head of its own: other classes, other logits, another input size for every number.
fn head(base: &Base, number: usize) -> Vec<u8> {
    let head = base.network().head;
    let classes = number + 2;
    let labels: Vec<String> = (0..classes).map(|class| format!("{class} of head {number}")).collect();
    let weight: Vec<f32> =
        (0..classes * head.features).map(|index| ((index * (number + 7)) as f32 * 0.37).sin()).collect();
    let bias: Vec<f32> = (0..classes).map(|class| (class * number) as f32 * 0.25).collect();
    let change = TrainingResult {
        delta: &Params::zeros(base.network()),
        radii: &vec![None; base.network().tensors.len()],
        norm: Norm::Mars,
        head_weight: &weight,
        head_bias: &bias,
        labels: &labels,
        input_size: 24 + 8 * number as u32,
        crop: 0.875,
        codecs: &vec![Codec::F16; base.network().tensors.len()],
    };
    encode_delta(base, &change, Provenance::default(), None).unwrap()
}

/// A base, and a store with two versions of it, none of them active.
struct Scene {
    _folder: tempfile::TempDir,
    model: PathBuf,
    store: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (model, store) = (tiny::base(folder.path(), 1), folder.path().join("store"));
        let runtime = Runtime::builder(&model).store_or_new(&store).open().unwrap();
        for number in 1..=2 {
            let delta = folder.path().join("a.delta");
            std::fs::write(&delta, head(runtime.base(), number)).unwrap();
            assert_eq!(runtime.add(&delta).unwrap(), number as u32);
        }
        Self { _folder: folder, model, store }
    }

    fn open(&self) -> Runtime {
        // Trials write beside the swaps, and what they do is another file's.
        Runtime::builder(&self.model).device(DEVICE).store(&self.store).without_trials().open().unwrap()
    }
}

/// Says that something is over, also when a test fails: threads that wait for it would keep the failure back.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn frame(data: &[u8]) -> Frame<'_> {
    Frame::Pixels(Pixels::packed(data, PixelFormat::Rgb8, 40, 30))
}

fn pixels() -> Vec<u8> {
    (0..40 * 30 * 3).map(|index| (index * 7 % 251) as u8).collect()
}

/// All that a prediction says, to the bit.
fn said(prediction: &Prediction) -> Vec<(u32, String, u32)> {
    prediction.top().map(bits).collect()
}

/// All that a prediction says of the base's own classes, to the bit.
fn said_by_base(prediction: &Prediction) -> Option<Vec<(u32, String, u32)>> {
    Some(prediction.base()?.map(bits).collect())
}

fn bits(class: Ranked<'_>) -> (u32, String, u32) {
    (class.index, class.label.to_owned(), class.probability.to_bits())
}

/// Catches: a frame answered with the weights of one version and the labels, the input size or the number of another.
#[test]
fn every_frame_is_answered_by_one_whole_version_under_hundreds_of_swaps() {
    let scene = Scene::new();
    let data = pixels();
    let runtime = scene.open();
    let mut expected = vec![said(&runtime.infer(&frame(&data)).unwrap())];
    for version in 1..=2 {
        runtime.activate(version).unwrap();
        expected.push(said(&runtime.infer(&frame(&data)).unwrap()));
    }
    assert!(expected[1] != expected[2] && expected[0] != expected[1], "the versions can be told apart");

    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = || {
            let mut seen = [0_u32; 3];
            while !is_over.load(Ordering::Relaxed) {
                let prediction = runtime.infer(&frame(&data)).unwrap();
                let version = index(prediction.version());
                assert_eq!(said(&prediction), expected[version]);
                seen[version] += 1;
            }
            seen
        };
        let over = OnDrop(&is_over);
        let watchers = [scope.spawn(watch), scope.spawn(watch)];
        for swap in 0..300 {
            let version = match swap % 4 {
                3 => runtime.rollback().unwrap(),
                step => {
                    runtime.activate(step % 2 + 1).unwrap();
                    Version::Stored(step % 2 + 1)
                }
            };
            assert_eq!(runtime.infer(&frame(&data)).unwrap().version(), version, "the next frame sees the swap");
        }
        drop(over);
        for watcher in watchers {
            let seen = watcher.join().unwrap();
            assert!(seen[1] > 0 && seen[2] > 0, "{seen:?}: frames were answered by both");
        }
    });
}

fn index(version: Version) -> usize {
    match version {
        Version::Base => 0,
        Version::Stored(number) => number as usize,
        Version::File => panic!("no delta file was opened"),
    }
}

/// Catches: an adaptation that blocks frames, shows a version before its verdict, or leaves it unseen after.
#[test]
fn frames_are_answered_while_another_thread_adapts() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny::base(folder.path(), 2);
    tiny::images(&folder.path().join("images"), 30, 5);
    let images = Dataset::open(&folder.path().join("images"), &FolderOptions::default()).unwrap();
    let runtime = Runtime::builder(model).device(DEVICE).store_or_new(folder.path().join("store")).open().unwrap();
    let options = Options::default().with_epochs(2).with_device(DEVICE);
    let data = pixels();
    thread::scope(|scope| {
        let adaptation = scope.spawn(|| runtime.adapt(&images, &options).unwrap());
        let mut versions = Vec::new();
        while !adaptation.is_finished() {
            let prediction = runtime.infer(&frame(&data)).unwrap();
            let is_base = prediction.version() == Version::Base;
            assert_eq!(prediction.top().len(), if is_base { 10 } else { 3 }, "labels of the version that answers");
            versions.push(prediction.version());
        }
        let adapted = adaptation.join().unwrap();
        assert!(adapted.active, "{}", adapted.reason);
        versions.dedup();
        assert!(versions == [Version::Base] || versions == [Version::Base, Version::Stored(1)], "{versions:?}");
        assert_eq!(runtime.infer(&frame(&data)).unwrap().version(), Version::Stored(1));
        assert_eq!(std::fs::metadata(&adapted.delta).unwrap().len(), adapted.delta_bytes);
    });
}

/// Catches: a runtime that never notices what another process did to the store, or does the work again when nothing
/// changed.
#[test]
fn a_second_runtime_sees_an_activation_when_it_polls() {
    let scene = Scene::new();
    let (ours, theirs) = (scene.open(), scene.open());
    assert_eq!(ours.poll().unwrap(), None);
    theirs.activate(2).unwrap();
    assert_eq!(ours.version(), Version::Base, "nothing changes before it polls");
    assert_eq!(ours.poll().unwrap(), Some(Version::Stored(2)));
    assert_eq!(ours.poll().unwrap(), None);
    assert_eq!(&*ours.labels(), &*theirs.labels());
    theirs.rollback().unwrap();
    assert_eq!(ours.poll().unwrap(), Some(Version::Base));
}

/// Catches: a delta for another base, a damaged version or a number that isn't there becoming active, or ending what
/// ran.
#[test]
fn what_ran_goes_on_when_an_activation_is_refused() {
    let scene = Scene::new();
    let runtime = scene.open();
    runtime.activate(1).unwrap();
    let before = runtime.infer(&frame(&pixels())).unwrap();

    let other = tiny::base(scene.store.parent().unwrap(), 9);
    let foreign = scene.store.with_file_name("foreign.delta");
    std::fs::write(&foreign, head(&Base::open(&other).unwrap(), 1)).unwrap();
    let error = runtime.add(&foreign).unwrap_err();
    assert!(error.to_string().contains(&runtime.base().id().to_string()), "names the base: {error}");

    flip_a_bit(&runtime.store().unwrap().delta_path(2));
    assert!(matches!(runtime.activate(2).unwrap_err(), Error::Store(_)));
    assert!(runtime.activate(7).unwrap_err().to_string().contains('7'));

    let after = runtime.infer(&frame(&pixels())).unwrap();
    assert_eq!((before.version(), said(&before)), (after.version(), said(&after)));
    assert_eq!(scene.open().version(), Version::Stored(1), "nor did the store change");
}

fn flip_a_bit(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(path, bytes).unwrap();
}

/// Catches: a store, a delta file or a base that is opened as something else than it is.
#[test]
fn a_runtime_runs_what_it_was_opened_with() {
    let scene = Scene::new();
    assert_eq!(Runtime::open(&scene.model, DEVICE).unwrap().version(), Version::Base);
    let delta = scene.open().store().unwrap().delta_path(2);
    let file = Runtime::builder(&scene.model).device(DEVICE).delta(delta).open().unwrap();
    assert_eq!(file.version(), Version::File);
    assert_eq!(file.labels()[0], "0 of head 2");
    let error = file.rollback().unwrap_err();
    assert!(matches!(error, Error::NoStore { .. }), "{error}");
    scene.open().activate(2).unwrap();
    assert_eq!(scene.open().version(), Version::Stored(2));
}

/// Catches: a start that hashes the whole base although an earlier one has, because nobody remembered; one that fails
/// where the store can't be written.
#[test]
fn a_store_remembers_that_its_base_is_whole() {
    let (model, folder) =
        (Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/efficientnet-lite0"), tempfile::tempdir());
    let store = folder.as_ref().unwrap().path().join("store");
    let open = || Runtime::builder(&model).device(DEVICE).store_or_new(&store).open().unwrap();
    let runtime = open();
    let proof = runtime.base().verification().unwrap();
    assert_eq!(runtime.store().unwrap().verification(), Some(proof));
    assert_eq!(open().base().verification(), Some(proof));

    std::fs::write(store.join("proof"), "nothing that was ever kept").unwrap();
    assert_eq!(runtime.store().unwrap().verification(), None);
    assert_eq!(open().store().unwrap().verification(), Some(proof), "damage is mended by the next start");
}

/// Catches: a copied base that answers otherwise, or is mapped all the same.
#[test]
fn a_copied_base_answers_alike() {
    let scene = Scene::new();
    let data = pixels();
    let answer = |copied| {
        let runtime = Runtime::builder(&scene.model).device(DEVICE).copy_base(copied).open().unwrap();
        said(&runtime.infer(&frame(&data)).unwrap())
    };
    assert_eq!(answer(true), answer(false));
}

/// Catches: base answers from the rows of the new head, of another version, or from features that moved where none did;
/// new answers that change because the base answers too.
#[test]
fn the_base_answers_beside_a_version() {
    let scene = Scene::new();
    let data = pixels();
    let open = |wanted| {
        let builder = Runtime::builder(&scene.model).device(DEVICE).store(&scene.store).without_trials();
        builder.base_answers(wanted).open().unwrap()
    };
    let (plain, beside) = (open(false), open(true));
    let of_base = beside.infer(&frame(&data)).unwrap();
    assert_eq!(said_by_base(&of_base), Some(said(&of_base)), "the base answers for itself");
    for version in 1..=2 {
        plain.activate(version).unwrap();
        beside.activate(version).unwrap();
        let (alone, both) = (plain.infer(&frame(&data)).unwrap(), beside.infer(&frame(&data)).unwrap());
        assert_eq!((said(&alone), said_by_base(&alone)), (said(&both), None));
        assert_eq!(both.version(), Version::Stored(version));
        let base = said_by_base(&both).unwrap();
        assert_eq!(base.len(), 10);
        // Version 1 has the base's input size, and neither moves the backbone.
        assert_eq!(base == said(&of_base), version == 1);
    }
}

/// Encoded images of a class, in order.
fn encoded(folder: &Path, class: &str) -> Vec<Vec<u8>> {
    (0..30).map(|index| std::fs::read(folder.join(format!("{class}/{class}_{index}.png"))).unwrap()).collect()
}

fn frames(images: &[Vec<u8>]) -> Vec<Frame<'_>> {
    images.iter().map(|bytes| Frame::Encoded(bytes)).collect()
}

/// Number of images that get this class.
fn recognised(runtime: &Runtime, class: &str, images: &[Vec<u8>]) -> usize {
    let is_right = |bytes: &&Vec<u8>| runtime.infer(&Frame::Encoded(bytes)).unwrap().best().unwrap().label == class;
    images.iter().filter(is_right).count()
}

/// The cause of a lesson that failed.
fn refused(result: Result<fieldfit::train::Adapted, Error>) -> TeachError {
    match result.unwrap_err() {
        Error::Adapt(AdaptError::Teach(error)) => error,
        error => panic!("{error}"),
    }
}

/// Catches: a taught class that no frame gets, or every frame; one that takes the place of another; a removal of the wrong
/// row; a lesson that bypasses store, trial or rollback; a second class of one name, an image that counts twice.
#[test]
fn classes_are_taught_one_by_one_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (model, images) = (tiny::base(folder.path(), 2), folder.path().join("images"));
    tiny::images(&images, 30, 5);
    let runtime = Runtime::builder(model).device(DEVICE).store_or_new(folder.path().join("store")).open().unwrap();
    let classes = tiny::CLASSES.map(|class| (class, encoded(&images, class)));
    for (number, (class, images)) in (1..).zip(&classes) {
        let taught = runtime.teach(class, &frames(&images[..12])).run().unwrap();
        assert!(taught.active && taught.version == number, "{}", taught.reason);
        assert_eq!(runtime.version(), Version::Stored(number));
    }
    assert_eq!(*runtime.labels(), tiny::CLASSES.map(str::to_owned));
    let right: usize = classes.iter().map(|(class, images)| recognised(&runtime, class, &images[12..])).sum();
    assert!(right >= 40, "{right} of 54, where chance gives 18");

    let (water, sand) = (&classes[2].1, &classes[1].1);
    assert!(matches!(refused(runtime.teach("water", &frames(water)).run()), TeachError::Exists { .. }));
    assert!(matches!(refused(runtime.teach("mud", &[]).run()), TeachError::NoImages { .. }));
    assert!(matches!(refused(runtime.teach(" mud", &frames(sand)).run()), TeachError::Name { .. }));
    let twice = [&water[..3], &water[1..2]].concat();
    assert!(matches!(refused(runtime.teach("mud", &frames(&twice)).run()), TeachError::Twice { first: 2, second: 4 }));
    let broken = [water[0].clone(), b"no image".to_vec()];
    assert!(matches!(refused(runtime.teach("mud", &frames(&broken)).run()), TeachError::Image { number: 2, .. }));
    assert!(matches!(refused(runtime.remove_taught("mud")), TeachError::NotTaught { .. }));
    assert_eq!(runtime.version(), Version::Stored(3), "what ran goes on");

    assert!(runtime.remove_taught("sand").unwrap().active);
    assert_eq!(*runtime.labels(), ["grass", "water"].map(str::to_owned));
    let kept = recognised(&runtime, "water", &water[12..]);
    assert!(kept >= 14, "{kept} of 18, where chance gives 9");
    assert_eq!(runtime.rollback().unwrap(), Version::Stored(3));
    let back = recognised(&runtime, "sand", &sand[12..]);
    assert!(back >= 11, "{back} of 18, where chance gives 6");
}

/// Catches: a class taught to an adapted version at another scale than its trained rows, a backbone that moves meanwhile, and
/// means that are made up where none are known.
#[test]
fn a_class_is_taught_to_an_adapted_version() {
    let folder = tempfile::tempdir().unwrap();
    let (model, images) = (tiny::base(folder.path(), 2), folder.path().join("images"));
    tiny::images(&images, 30, 5);
    let water = encoded(&images, "water");
    std::fs::rename(images.join("water"), folder.path().join("water")).unwrap();
    let known = Dataset::open(&images, &FolderOptions::default()).unwrap();
    let runtime = Runtime::builder(model).device(DEVICE).store_or_new(folder.path().join("store")).open().unwrap();
    let adapted = runtime.adapt(&known, &Options::default().with_epochs(2).with_device(DEVICE)).unwrap();
    assert!(adapted.active, "{}", adapted.reason);

    let unknown = refused(runtime.teach("water", &frames(&water[..12])).run());
    assert!(matches!(&unknown, TeachError::NoMeans { missing: 2, class } if class == "grass"), "{unknown}");
    let taught = runtime.teach("water", &frames(&water[..20])).known(&known).run().unwrap();
    assert!(taught.active, "{}", taught.reason);
    assert_eq!(*runtime.labels(), tiny::CLASSES.map(str::to_owned));
    let right: usize =
        ["grass", "sand"].iter().map(|class| recognised(&runtime, class, &encoded(&images, class))).sum();
    assert!(right >= 54, "{right} of 60 of the known classes");
    // Features of random weights tell little of a third class. A row of too small a scale would recognise none of it, one of too
    // large a scale take the others' images.
    let new = recognised(&runtime, "water", &water[..20]);
    assert!(new >= 3, "{new} of 20");

    let differences = |version: u32| {
        let bytes = runtime.store().unwrap().read(version).unwrap();
        let delta = fieldfit_delta::Delta::parse(&bytes).unwrap();
        let moved = delta.records().filter(|record| record.constraint.is_some());
        moved.map(|record| (record.name.to_owned(), record.payload.to_vec())).collect::<Vec<_>>()
    };
    assert!(!differences(1).is_empty());
    assert_eq!(differences(1), differences(2), "the backbone is the adapted one's, to the byte");
    assert!(
        matches!(refused(runtime.remove_taught("sand")), TeachError::NotTaught { taught, .. } if taught == ["water"])
    );
}

/// Catches: distances of other features than the version's, a threshold that is not the recorded one, a novelty that nobody asked
/// for or that a version without a threshold makes up; a taught class that stays unknown.
#[test]
fn an_image_of_another_thing_is_unknown_until_it_is_taught() {
    let folder = tempfile::tempdir().unwrap();
    let (model, images, store) =
        (tiny::base(folder.path(), 2), folder.path().join("images"), folder.path().join("store"));
    tiny::images(&images, 30, 5);
    let water = encoded(&images, "water");
    std::fs::create_dir(folder.path().join("other")).unwrap();
    std::fs::rename(images.join("water"), folder.path().join("other/water")).unwrap();
    let known = Dataset::open(&images, &FolderOptions::default()).unwrap();
    let other = Dataset::open(&folder.path().join("other"), &FolderOptions::new(Purpose::Unlabelled)).unwrap();
    let open = |novelty| {
        let builder = Runtime::builder(&model).device(DEVICE).store_or_new(&store).without_trials();
        builder.novelty(novelty).open().unwrap()
    };
    let runtime = open(true);
    let novelty = |runtime: &Runtime, bytes: &[u8]| runtime.infer(&Frame::Encoded(bytes)).unwrap().novelty();
    assert_eq!(novelty(&runtime, &water[0]), None, "the base records none");
    let sets = (ImageSet::of("known", known.clone()), ImageSet::of("other", other));
    let none = runtime.evaluate_novelty(&sets.0, &sets.1, &mut |_, _| ()).unwrap_err();
    assert!(matches!(none, Error::NoNovelty { version: Version::Base }), "{none}");

    let options = Options::default().with_epochs(2).with_device(DEVICE).with_novelty(Some(0.1));
    let adapted = runtime.adapt(&known, &options).unwrap();
    assert!(adapted.active && runtime.has_novelty_threshold().unwrap(), "{}", adapted.reason);
    let evaluation = runtime.evaluate_novelty(&sets.0, &sets.1, &mut |_, _| ()).unwrap();
    assert_eq!((evaluation.known, evaluation.unknown), (60, 30));
    assert!(evaluation.auroc > 0.9 && evaluation.detected > 0.4 && evaluation.false_alarms < 0.3, "{evaluation:?}");

    let flagged = |runtime: &Runtime| {
        let is_unknown = |bytes: &&Vec<u8>| novelty(runtime, bytes).unwrap().is_unknown();
        water.iter().filter(is_unknown).count()
    };
    let found = novelty(&runtime, &water[0]).unwrap();
    assert_eq!((f64::from(found.threshold), found.false_alarm_rate), (evaluation.threshold, 0.1));
    assert_eq!(flagged(&runtime) as f64 / 30.0, evaluation.detected, "frames and sets are measured alike");
    let plain = open(false);
    let [with, without] = [&runtime, &plain].map(|runtime| runtime.infer(&Frame::Encoded(&water[0])).unwrap());
    assert_eq!((said(&with), without.novelty()), (said(&without), None), "the classes are ranked alike");

    // The version records its class means, so that no image of them is needed.
    let mean =
        |runtime: &Runtime| water.iter().map(|bytes| novelty(runtime, bytes).unwrap().distance).sum::<f32>() / 30.0;
    let before = mean(&runtime);
    let taught = runtime.teach("water", &frames(&water[..16])).run().unwrap();
    assert!(taught.active, "{}", taught.reason);
    let after = mean(&runtime);
    assert!(1.2 * after < before, "{after}, and {before} before");
}
