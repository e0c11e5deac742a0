//! Tests of values and labels: a small network, adapted to images with numbers, or with any number of labels, by every method.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use common::options;
use fieldfit_adapt::{
    AdaptError, AdaptRequest, ClassWeights, Classifier, Control, Event, Freeze, HeadMode, METHODS, OptimiserOptions,
    Options, Outcome, Reference, TeachRequest, adapt, metrics::Metrics, teach, under_base_head,
};
use fieldfit_data::{Augmentation, Dataset, FolderOptions, Frame, Loader, LoaderOptions};
use fieldfit_delta::{Codec, Delta, TensorKind};
use fieldfit_exec::Device;
use fieldfit_model::{Base, HeadOutputs, LabelThresholds, TargetScales, Weights};
use fieldfit_tensor::Task;
use fieldfit_tests::{shades, tiny};
use std::fs;
use tempfile::TempDir;

/// A base, and [`shades`] with values or labels.
struct Shades {
    folder: TempDir,
    base: Base,
    dataset: Dataset,
}

impl Shades {
    /// A table with these columns, and the cells of an image by its shades, 0..1.
    fn new(table: &str, columns: &str, cells: fn(f32, f32) -> String) -> Self {
        let folder = TempDir::new().unwrap();
        let base = Base::open(&tiny::base(folder.path(), 5)).unwrap();
        let path = folder.path().join("images");
        shades::write(&path, table, columns, cells);
        let dataset = Dataset::open(&path, &FolderOptions::default()).unwrap();
        Self { folder, base, dataset }
    }

    /// Values far from 0 and of different sizes, so that a unit that is lost shows.
    fn values() -> Self {
        Self::new("targets.csv", "depth [mm],slope", |red, blue| {
            format!("{},{}", 900.0 + 80.0 * red, 0.02 * (blue - red))
        })
    }

    fn labels() -> Self {
        Self::new("labels.csv", "red,blue", |red, blue| format!("{},{}", u8::from(red > 0.5), u8::from(blue > 0.5)))
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

    fn refused(&self, options: &Options) -> String {
        self.adapt(options).unwrap_err().to_string()
    }

    fn classifier(&self, delta: &[u8]) -> Classifier {
        let weights = Weights::adapted(&self.base, &Delta::parse(delta).unwrap()).unwrap();
        Classifier::new(&self.base, weights, Device::Cpu { threads: 1 }).unwrap()
    }

    /// Metrics of a delta on all images.
    fn measure(&self, delta: &[u8]) -> Metrics {
        let classifier = self.classifier(delta);
        let order: Vec<usize> = (0..self.dataset.samples.len()).collect();
        let loader = Loader::new(&self.dataset, &order, classifier.preprocessor(), &LoaderOptions::default()).unwrap();
        let mut metrics = Metrics::of(classifier.head_outputs(), 2);
        for batch in classifier.run(loader.map(|batch| batch.map_err(AdaptError::from))) {
            let (batch, outputs) = batch.unwrap();
            metrics.add(&batch, &outputs);
        }
        metrics
    }
}

fn fast(method: &str) -> Options {
    let optimiser = OptimiserOptions::adamw().with_learning_rate(1e-3);
    options(method).with_optimiser(optimiser).with_epochs(4)
}

/// Catches: a method that does not end in a delta of the task, values that come out in standard deviations, a target whose unit is
/// another's, a gate that counts right answers where there are none, a head that does not learn.
#[test]
fn every_method_learns_values() {
    let shades = Shades::values();
    for entry in METHODS {
        let outcome = shades.adapt(&fast(entry.name)).unwrap_or_else(|error| panic!("{}: {error}", entry.name));
        let delta = Delta::parse(&outcome.delta).unwrap();
        assert_eq!((delta.header().task, delta.version()), (Task::Regression, 4), "{}", entry.name);
        assert!(delta.labels().eq(["depth [mm]", "slope"]), "{}", entry.name);
        let errors = outcome.gate.errors.unwrap();
        assert_eq!(outcome.gate.reference, Reference::Probe);
        assert_eq!(outcome.gate.accepted, errors.after <= errors.before + 1e-3, "{}: {:?}", entry.name, outcome.gate);
        assert!(outcome.gate.accepted || entry.name != "linear-probe", "it is the reference");
        let metrics = shades.measure(&outcome.delta);
        // The mean of each value is off by 0.87 standard deviations. A head of random values has hardly begun to learn.
        let most = if entry.name == "full" { 1.2 } else { 0.6 };
        assert!(metrics.mean_error() < most, "{}: {}", entry.name, metrics.mean_error());
        let [depth, slope] =
            [0, 1].map(|target| metrics.values.as_ref().unwrap().targets[target].mean_absolute_error());
        assert!(depth > 0.1 && slope < 0.02, "{}: {depth} mm and {slope}", entry.name);
    }
}

/// Catches: labels that exclude each other, a threshold that is not chosen or not stored, a gate that counts images.
#[test]
fn every_method_learns_labels() {
    let shades = Shades::labels();
    for entry in METHODS {
        let outcome = shades.adapt(&fast(entry.name)).unwrap_or_else(|error| panic!("{}: {error}", entry.name));
        let delta = Delta::parse(&outcome.delta).unwrap();
        assert_eq!((delta.header().task, delta.version()), (Task::MultiLabel, 4), "{}", entry.name);
        let gate = &outcome.gate;
        assert_eq!(gate.labels, Some(2 * gate.images), "{}", entry.name);
        assert!(gate.reason.contains(&format!("{} labels of {} gate images", 2 * gate.images, gate.images)));
        let metrics = shades.measure(&outcome.delta);
        let least = if entry.name == "full" { 0.4 } else { 0.8 };
        assert!(metrics.accuracy() > least, "{}: {}", entry.name, metrics.accuracy());
        let HeadOutputs::Labels(LabelThresholds(thresholds)) = shades.classifier(&outcome.delta).head_outputs().clone()
        else {
            panic!("{}: outputs of another task", entry.name)
        };
        assert_eq!(thresholds.len(), 2);
    }
}

/// Catches: scales that are those of all images or lost in the file, an answer of the classifier that is not in units, codecs that
/// are searched by answers in standard deviations against answers in units.
#[test]
fn values_are_stored_with_their_scales() {
    let shades = Shades::values();
    let mut events = Vec::new();
    let options = fast("tpgm");
    let outcome = adapt(&shades.request(&options), &Control::new(), &mut |event| events.push(event)).unwrap();
    let delta = Delta::parse(&outcome.delta).unwrap();
    let scales = delta.records().filter(|record| record.kind == TensorKind::Statistic);
    assert!(
        scales
            .map(|record| (record.name, record.codec))
            .eq(["targets.mean", "targets.deviation"].map(|name| (name, Codec::F32)))
    );
    let HeadOutputs::Values(TargetScales { means, deviations }) =
        shades.classifier(&outcome.delta).head_outputs().clone()
    else {
        panic!("outputs of another task")
    };
    assert!((means[0] - 940.0).abs() < 10.0 && (15.0..35.0).contains(&deviations[0]), "{means:?} {deviations:?}");
    let fidelity = events.iter().find_map(|event| match event {
        Event::Coded(fidelity) => Some(*fidelity),
        _ => None,
    });
    let fidelity = fidelity.unwrap();
    assert!(fidelity.divergence <= 5e-4 && fidelity.images > 0, "{fidelity:?}");
    // Retention is that of the base's own classes, whatever the new head answers.
    let weights = Weights::adapted(&shades.base, &delta).unwrap();
    assert_eq!(under_base_head(&weights, &shades.base).task(), Task::Classification);
}

/// Catches: threads, or the order of loading, in a result; a checkpoint of such a run that a resumed one does not go on from; flips
/// that are not resumed with the run's.
#[test]
fn the_same_seed_gives_the_same_bits() {
    let shades = Shades::values();
    let options = fast("tpgm-relative").with_augmentation(Augmentation::Robust);
    let options = options.with_flip_negates(Some(vec!["slope".into()]));
    let [one, other] = [(); 2].map(|()| shades.adapt(&options).unwrap().delta);
    assert!(one == other);
    let checkpoint = shades.folder.path().join("run.checkpoint");
    let run = |resume: bool, control: &Control, listen: &mut dyn FnMut(Event)| {
        let checkpoint = Some(fieldfit_adapt::Checkpointing { path: &checkpoint, resume });
        adapt(&AdaptRequest { checkpoint, ..shades.request(&options) }, control, listen)
    };
    let control = Control::new();
    let stopped = run(false, &control, &mut |event| {
        if matches!(event, Event::Step { step: 7, .. }) {
            control.stop();
        }
    });
    assert!(matches!(stopped, Err(AdaptError::Interrupted { checkpoint: Some(_) })), "{stopped:?}");
    assert!(run(true, &Control::new(), &mut |_| ()).unwrap().delta == one);
}

/// Catches: an active version of other targets, or in another order, that the gate compares value by value; one whose units are
/// taken for the new one's.
#[test]
fn the_gate_compares_with_the_active_version() {
    let shades = Shades::values();
    let first = shades.adapt(&fast("lp-ft")).unwrap().delta;
    let active = Delta::parse(&first).unwrap();
    let options = fast("linear-probe");
    let request = AdaptRequest { active: Some(&active), ..shades.request(&options) };
    let gate = adapt(&request, &Control::new(), &mut |_| ()).unwrap().gate;
    assert_eq!(gate.reference, Reference::Active);
    let errors = gate.errors.unwrap();
    assert!(errors.before < 0.6 && errors.after < 0.6, "{gate:?}");
    // The same images with their columns in another order.
    let swapped = Shades::new("targets.csv", "slope,depth [mm]", |red, blue| {
        format!("{},{}", 0.02 * (blue - red), 900.0 + 80.0 * red)
    });
    let request = AdaptRequest { active: Some(&active), ..swapped.request(&options) };
    let other = adapt(&request, &Control::new(), &mut |_| ()).unwrap().gate;
    assert_eq!(other.reference, Reference::Active);
    assert!((other.errors.unwrap().before - errors.before).abs() < 1e-6, "{other:?}");
    // Labels of the same names are not values.
    let labels = Shades::new("labels.csv", "depth [mm],slope", |red, blue| {
        format!("{},{}", u8::from(red > 0.5), u8::from(blue > 0.5))
    });
    let request = AdaptRequest { active: Some(&active), ..labels.request(&options) };
    assert_eq!(adapt(&request, &Control::new(), &mut |_| ()).unwrap().gate.reference, Reference::Probe);
}

/// Catches: frozen stages whose values are those of another view, or of retained images, which have none; labels weighted by
/// classes that exclude each other.
#[test]
fn stages_are_frozen_and_labels_weighted() {
    let shades = Shades::values();
    let stage = shades.base.network().graph.sections[0].name.clone();
    let retained = shades.folder.path().join("retained");
    tiny::images(&retained, 6, 4);
    let options = fast("tpgm-relative").with_retain(Some(retained)).with_freeze(Some(Freeze::new(stage, 2)));
    let frozen = options.with_flip_negates(Some(vec!["slope".into()]));
    let outcome = shades.adapt(&frozen).unwrap();
    assert!(shades.measure(&outcome.delta).mean_error() < 0.7);
    let labels = Shades::labels();
    let balanced = fast("lp-ft").with_class_weights(ClassWeights::Balanced);
    assert!(labels.measure(&labels.adapt(&balanced).unwrap().delta).accuracy() > 0.8);
}

/// Catches: what a task does not have, done all the same or refused without its name and what to do.
#[test]
fn what_a_task_does_not_have_is_refused() {
    let (values, labels) = (Shades::values(), Shades::labels());
    for (shades, task) in [(&values, "regression"), (&labels, "multi-label classification")] {
        for (options, what) in [
            (fast("tpgm").with_head(HeadMode::Keep), "the base's own head"),
            (fast("tpgm").with_novelty(Some(0.05)), "a threshold of novelty"),
        ] {
            let error = shades.refused(&options);
            assert!(error.contains(&format!("{what} is not available for {task}")), "{error}");
        }
    }
    let error = values.refused(&fast("tpgm").with_class_weights(ClassWeights::Balanced));
    assert!(error.contains("a weight of each class is not available for regression"), "{error}");
    let error = values.refused(&fast("tpgm").with_flip_negates(Some(vec!["tilt".into()])));
    assert!(error.contains("there is no target `tilt`: expected one of depth [mm], slope"), "{error}");
    let error = labels.refused(&fast("tpgm").with_flip_negates(Some(Vec::new())));
    assert!(error.contains("flips negate is not available for multi-label"), "{error}");
    let constant = Shades::new("targets.csv", "depth,slope", |red, _| format!("{red},4"));
    let error = constant.refused(&fast("tpgm"));
    assert!(error.contains("target `slope` is 4 on each of"), "{error}");
    let outcome = values.adapt(&fast("linear-probe")).unwrap();
    let active = Delta::parse(&outcome.delta).unwrap();
    let image = fs::read(values.folder.path().join("images/0.png")).unwrap();
    let (class, frames, device) = ("dog", &[Frame::Encoded(&image)], Device::Cpu { threads: 1 });
    let taught = teach(&TeachRequest { base: &values.base, active: Some(&active), class, frames, known: None, device });
    assert!(matches!(taught, Err(AdaptError::Task { task: Task::Regression, .. })), "{taught:?}");
}
