//! Tests of frames and swaps: a runtime must answer every frame with one whole version, whatever happens to it meanwhile.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use fieldfit::data::{Dataset, FolderOptions};
use fieldfit::delta::Codec;
use fieldfit::model::Base;
use fieldfit::train::{Norm, Options};
use fieldfit::{Device, Error, Frame, PixelFormat, Pixels, Prediction, Runtime, Version};
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
    prediction.top().map(|class| (class.index, class.label.to_owned(), class.probability.to_bits())).collect()
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
