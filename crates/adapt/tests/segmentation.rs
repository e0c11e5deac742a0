//! Tests of segmentation: a small network with a dense head, adapted to frames with masks by every method.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use common::{Field, options};
use fieldfit_adapt::{
    AdaptError, AdaptRequest, ClassWeights, Classifier, Control, Event, Freeze, HeadMode, METHODS, OptimiserOptions,
    Options, Outcome, Reference, TeachRequest, adapt, metrics::Metrics, teach, under_base_head,
};
use fieldfit_data::{Augmentation, Dataset, FolderOptions, Frame, Loader, LoaderOptions};
use fieldfit_delta::{Delta, HeadOrigin, TensorKind};
use fieldfit_exec::Device;
use fieldfit_model::{Base, Weights};
use fieldfit_tensor::Task;
use fieldfit_tests::scenes;
use tempfile::TempDir;

struct Scene {
    folder: TempDir,
    base: Base,
    dataset: Dataset,
}

impl Scene {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let base = Base::open(&scenes::base(folder.path())).unwrap();
        let path = folder.path().join("frames");
        scenes::frames(&path, 24, 5);
        let dataset = Dataset::open(&path, &FolderOptions::default()).unwrap();
        Self { folder, base, dataset }
    }

    fn request<'a>(&'a self, options: &'a Options) -> AdaptRequest<'a> {
        AdaptRequest {
            base: &self.base,
            dataset: &self.dataset,
            options,
            methods: &[],
            active: None,
            start: None,
            checkpoint: None,
        }
    }

    fn adapt(&self, options: &Options) -> Result<Outcome, AdaptError> {
        adapt(&self.request(options), &Control::new(), &mut |_| ())
    }

    /// Metrics of weights on all frames.
    fn measure(&self, weights: Weights) -> Metrics {
        let classifier = Classifier::new(&self.base, weights, Device::Cpu { threads: 1 }).unwrap();
        assert_eq!((classifier.task(), classifier.mask_size()), (Task::Segmentation, Some(scenes::INPUT)));
        let dataset = self.dataset.clone().with_labels(classifier.labels()).unwrap();
        let order: Vec<usize> = (0..dataset.samples.len()).collect();
        let options = LoaderOptions { mask_size: classifier.mask_size(), ..LoaderOptions::default() };
        let loader = Loader::new(&dataset, &order, classifier.preprocessor(), &options).unwrap();
        let mut metrics = Metrics::new(classifier.labels().len());
        for batch in classifier.run(loader.map(|batch| batch.map_err(AdaptError::from))) {
            let (batch, logits) = batch.unwrap();
            metrics.add(&batch, &logits);
        }
        metrics
    }
}

/// A few epochs at the size that the network was exported for.
fn fast(method: &str) -> Options {
    let optimiser = OptimiserOptions::adamw().with_learning_rate(1e-3);
    options(method).with_size(None).with_optimiser(optimiser).with_batch(4).with_epochs(6)
}

/// Catches: a method that does not end in a delta of the task that runs, a gate that counts images, a head whose rows are those of
/// other classes, a dense network that learns nothing.
#[test]
fn every_method_adapts_a_dense_network() {
    let scene = Scene::new();
    for entry in METHODS {
        let outcome = scene.adapt(&fast(entry.name)).unwrap_or_else(|error| panic!("{}: {error}", entry.name));
        let delta = Delta::parse(&outcome.delta).unwrap();
        assert_eq!((delta.header().task, delta.version()), (Task::Segmentation, 3), "{}", entry.name);
        assert!(delta.labels().eq(scenes::CLASSES), "{}", entry.name);
        let head = delta.records().find(|record| record.name == "head.weight").unwrap();
        let shape = head.shape.to_vec();
        assert_eq!((head.kind, shape), (TensorKind::Replacement, vec![3, 16, 1, 1]), "{}", entry.name);
        let gate = &outcome.gate;
        assert_eq!(gate.reference, Reference::Probe);
        // The border of a frame does not count.
        let pixels = gate.pixels.unwrap();
        assert!(pixels > 0 && pixels < gate.images * scenes::INPUT.iter().product::<usize>(), "{gate:?}");
        assert_eq!(gate.accepted, gate.after >= gate.before);
        assert!(gate.reason.contains("pixels"), "{}", gate.reason);
        let metrics = scene.measure(Weights::adapted(&scene.base, &delta).unwrap());
        // The largest class has less than half of the pixels. A head of random values has hardly begun to learn.
        let least = if entry.name == "full" { 0.5 } else { 0.8 };
        assert!(metrics.accuracy() > least, "{}: {}", entry.name, metrics.accuracy());
    }
}

/// Catches: threads or the order of loading in a result; a checkpoint of one run of a task that a resumed one does not go on
/// from is in `resume.rs`.
#[test]
fn the_same_seed_gives_the_same_bits() {
    let scene = Scene::new();
    let options = fast("tpgm-relative").with_augmentation(Augmentation::Robust);
    let [one, other] = [(); 2].map(|()| scene.adapt(&options).unwrap().delta);
    assert!(one == other);
}

/// Catches: a kept head that is replaced, or classes that are not the base's; retention that is measured against nothing.
#[test]
fn a_dense_head_can_be_kept() {
    let scene = Scene::new();
    let outcome = scene.adapt(&fast("tpgm").with_head(HeadMode::Keep)).unwrap();
    let delta = Delta::parse(&outcome.delta).unwrap();
    assert_eq!((delta.header().head.origin, outcome.gate.reference), (HeadOrigin::Kept, Reference::Base));
    assert!(delta.labels().eq(scenes::LABELS));
    assert!(delta.records().all(|record| record.kind == TensorKind::Difference));
    let weights = Weights::adapted(&scene.base, &delta).unwrap();
    let before = scene.measure(Weights::of_base(&scene.base));
    assert!(scene.measure(weights.clone()).accuracy() > before.accuracy());
    // Under the base's own head it is the base's network again.
    assert_eq!(under_base_head(&weights, &scene.base).network, *scene.base.network());
}

/// Catches: retention that does not pull a dense network back: more of it must keep more of the base's answers.
#[test]
fn retention_holds_pixels_back() {
    let scene = Scene::new();
    let kept = |strength: f64| {
        let options = fast("lwf").with_settings([("strength".to_owned(), strength)].into());
        let outcome = scene.adapt(&options).unwrap();
        let weights = Weights::adapted(&scene.base, &Delta::parse(&outcome.delta).unwrap()).unwrap();
        let classifier = |weights| Classifier::new(&scene.base, weights, Device::Cpu { threads: 1 }).unwrap();
        let (base, adapted) =
            (classifier(Weights::of_base(&scene.base)), classifier(under_base_head(&weights, &scene.base)));
        let frame = std::fs::read(scene.folder.path().join("frames/images/frame_00.png")).unwrap();
        let answers = |classifier: &Classifier| {
            classifier.with_input(|input| {
                input.preprocess(&Frame::Encoded(&frame)).unwrap();
                let logits = classifier.logits(input.images()).unwrap();
                fieldfit_adapt::metrics::predictions(&logits, 0..5).collect::<Vec<_>>()
            })
        };
        let (base, adapted) = (answers(&base), answers(&adapted));
        base.iter().zip(&adapted).filter(|(one, other)| one == other).count()
    };
    let (free, held) = (kept(0.0), kept(100.0));
    assert!(held > free, "{held} of {} pixels, {free} without", scenes::INPUT.iter().product::<usize>());
}

/// Catches: frozen stages whose masks are those of another view, or a head that is frozen with them; classes that are weighted by
/// images.
#[test]
fn stages_are_frozen_and_classes_weighted() {
    let scene = Scene::new();
    let stage = scene.base.network().graph.sections[0].name.clone();
    let options = fast("full").with_freeze(Some(Freeze::new(stage, 2))).with_class_weights(ClassWeights::Balanced);
    let outcome = scene.adapt(&options).unwrap();
    let delta = Delta::parse(&outcome.delta).unwrap();
    assert!(delta.records().any(|record| record.name == "head.weight"));
    let last = scene.base.network().graph.sections.last().unwrap().name.clone();
    let error = scene.adapt(&fast("full").with_freeze(Some(Freeze::new(last, 2)))).unwrap_err();
    assert!(matches!(error, AdaptError::Stage { .. }), "{error}");
}

/// Catches: what a task does not have, done all the same or refused without its name.
#[test]
fn what_a_task_does_not_have_is_refused() {
    let (scene, field) = (Scene::new(), Field::new(3));
    let options = fast("full");
    let refused = |request: AdaptRequest<'_>| adapt(&request, &Control::new(), &mut |_| ()).unwrap_err().to_string();
    let error = refused(AdaptRequest { dataset: &field.dataset, ..scene.request(&options) });
    assert!(error.contains("labelled for classification, but the base does segmentation"), "{error}");
    let error = refused(AdaptRequest { base: &field.base, ..scene.request(&options) });
    assert!(error.contains("labelled for segmentation, but the base does classification"), "{error}");
    let novel = fast("full").with_novelty(Some(0.05));
    let error = refused(scene.request(&novel));
    assert!(error.contains("threshold of novelty is not available for segmentation"), "{error}");
    let frame = std::fs::read(scene.folder.path().join("frames/images/frame_00.png")).unwrap();
    let (class, frames, device) = ("dog", &[Frame::Encoded(&frame)], Device::Cpu { threads: 1 });
    let taught = teach(&TeachRequest { base: &scene.base, active: None, class, frames, known: None, device });
    assert!(matches!(taught, Err(AdaptError::Task { task: Task::Segmentation, .. })), "{taught:?}");
    // A delta of one task for a base of another.
    let outcome = scene.adapt(&fast("linear-probe")).unwrap();
    assert!(Weights::adapted(&field.base, &Delta::parse(&outcome.delta).unwrap()).is_err());
}

/// Catches: a plan that leaves out what a dense network takes: its answers, and its outputs.
#[test]
fn the_plan_counts_the_answers_of_pixels() {
    let scene = Scene::new();
    let plan = |method: &str| {
        let (options, mut planned) = (fast(method), None);
        adapt(&scene.request(&options), &Control::new(), &mut |event| {
            if let Event::Memory(plan) = event {
                planned = Some(plan);
            }
        })
        .unwrap();
        planned.unwrap()
    };
    let pixels = scenes::INPUT.iter().product::<usize>() as u64;
    let images = scene.dataset.samples.len() as u64;
    let answers = plan("tpgm-relative").retention;
    assert!(answers > images / 2 * pixels * 5 * 4, "{answers} bytes for {pixels} pixels an image");
    assert_eq!(plan("lp-ft").retention, 0);
}
