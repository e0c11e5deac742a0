//! Tests of training that starts at a version: δ and head go on, and nothing of them is lost without a word.

#![allow(clippy::unwrap_used, reason = "a fixture that cannot be made ends the test")]

mod common;

use common::{Field, options};
use fieldfit_adapt::{
    AdaptError, AdaptRequest, Branches, Checkpointing, Coding, Control, Event, Freeze, HeadMode, OptimiserOptions,
    Options, Outcome, Reference, StartPoint, adapt,
};
use fieldfit_data::Dataset;
use fieldfit_delta::{Codec, Delta};
use fieldfit_model::Weights;

/// Options that start at the active version and keep δ as it is stored.
fn going_on(method: &str) -> Options {
    options(method).with_start(StartPoint::Active).with_coding(Coding::Kernels(Codec::F16))
}

/// The same with steps that are too short to change anything.
fn at_rest(method: &str) -> Options {
    going_on(method).with_optimiser(OptimiserOptions::sgd().with_learning_rate(1e-12))
}

/// Options that leave the base far behind.
fn far(options: Options) -> Options {
    let optimiser = OptimiserOptions::adamw().with_learning_rate(2e-3);
    options.with_optimiser(optimiser).with_coding(Coding::Kernels(Codec::F16))
}

fn continued(field: &Field, options: &Options, version: &[u8]) -> Result<Outcome, AdaptError> {
    let version = Delta::parse(version).unwrap();
    let request = AdaptRequest { active: Some(&version), start: Some(&version), ..field.request(options) };
    adapt(&request, &Control::new(), &mut |_| ())
}

/// The largest difference of two versions' backbones.
fn distance(field: &Field, one: &[u8], other: &[u8]) -> f32 {
    let weights = |delta: &[u8]| Weights::adapted(&field.base, &Delta::parse(delta).unwrap()).unwrap();
    let (one, other) = (weights(one), weights(other));
    let backbone = one.network.tensors().filter(|(_, spec)| !spec.role.is_head());
    let pairs = backbone.flat_map(|(id, _)| one.params[id].iter().zip(&other.params[id]));
    pairs.map(|(one, other)| (one - other).abs()).fold(0.0, f32::max)
}

fn with_classes(dataset: &Dataset, classes: &[&str]) -> Dataset {
    let mut dataset = dataset.clone();
    dataset.classes = classes.iter().map(|class| (*class).to_owned()).collect();
    dataset
}

/// Catches: a δ that starts at 0, is stored from the version on in place of from the base, or is counted once for each branch.
#[test]
fn a_run_that_learns_nothing_ends_at_its_start() {
    let field = Field::new(5);
    let first = field.adapt(&far(options("lp-ft"))).0.unwrap();
    let base = field.adapt(&options("linear-probe")).0.unwrap();
    assert!(distance(&field, &first.delta, &base.delta) > 1e-3);
    for options in [at_rest("lp-ft"), at_rest("full"), at_rest("lp-ft").with_branches(Branches::new(2))] {
        let second = continued(&field, &options, &first.delta).unwrap();
        let distance = distance(&field, &first.delta, &second.delta);
        assert!(distance < 1e-5, "{distance}");
        assert_eq!(second.gate.reference, Reference::Active);
    }
}

/// Catches: a day whose images lack a class, which the version then forgets; rows of a head under another class's name; a
/// version that is judged against a probe on features that it does not have.
#[test]
fn the_classes_are_those_of_both_days() {
    let mut field = Field::new(5);
    let first = field.adapt(&options("lp-ft")).0.unwrap();
    field.dataset = with_classes(&field.dataset, &["asphalt", "sand", "water"]);
    let second = continued(&field, &at_rest("lp-ft"), &first.delta).unwrap();
    let delta = Delta::parse(&second.delta).unwrap();
    assert_eq!(delta.labels().collect::<Vec<_>>(), ["grass", "sand", "water", "asphalt"]);
    assert_eq!(delta.header().parent, Some(Delta::parse(&first.delta).unwrap().hash()));
    assert_eq!(second.gate.reference, Reference::Probe);
    assert!(second.gate.reason.contains("the version that training started at"), "{}", second.gate.reason);
}

/// Catches: a head that is learned anew: a class without images would have a row of zeros.
#[test]
fn rows_of_classes_without_images_go_on() {
    let mut field = Field::new(5);
    let first = field.adapt(&options("lp-ft")).0.unwrap();
    field.dataset.samples.retain(|sample| sample.target != fieldfit_data::Target::Class(0));
    let second = continued(&field, &at_rest("lp-ft"), &first.delta).unwrap();
    let row = |delta: &[u8]| {
        let weights = Weights::adapted(&field.base, &Delta::parse(delta).unwrap()).unwrap();
        let head = weights.network.head;
        weights.params[head.weight][..head.features].to_vec()
    };
    let (before, after) = (row(&first.delta), row(&second.delta));
    let product: f32 = before.iter().zip(&after).map(|(before, after)| before * after).sum();
    let lengths = |row: &[f32]| row.iter().map(|value| value * value).sum::<f32>().sqrt();
    assert!(product > 0.5 * lengths(&before) * lengths(&after), "{product}");
}

/// Catches: what the version learned that is dropped without a word, a start that is none, a head under labels that it does not
/// have.
#[test]
fn what_would_be_lost_is_refused() {
    let field = Field::new(5);
    let first = field.adapt(&options("lp-ft")).0.unwrap();
    for options in
        [going_on("bitfit"), going_on("linear-probe"), going_on("lp-ft").with_freeze(Some(Freeze::new("stem", 1)))]
    {
        let refused = continued(&field, &options, &first.delta);
        assert!(matches!(refused, Err(AdaptError::UntrainedStart { .. })), "{refused:?}");
    }
    let Err(none) = field.adapt(&going_on("lp-ft")).0 else { panic!("a start at a version that there is not") };
    assert!(none.to_string().contains("no version is active"), "{none}");
    let mut named = Field::new(5);
    named.dataset = with_classes(&named.dataset, &["thing 0", "thing 1", "thing 2"]);
    let kept = continued(&named, &going_on("lp-ft").with_head(HeadMode::Keep), &first.delta);
    assert!(matches!(kept, Err(AdaptError::Option { name: "start", .. })), "{kept:?}");
}

/// Catches: a kept head that goes on from the base's in place of the version's.
#[test]
fn a_kept_head_goes_on_too() {
    let mut field = Field::new(5);
    field.dataset = with_classes(&field.dataset, &["thing 0", "thing 1", "thing 2"]);
    let keep = |options: Options| options.with_head(HeadMode::Keep);
    let first = field.adapt(&far(keep(options("lp-ft")))).0.unwrap();
    let second = continued(&field, &keep(at_rest("lp-ft")), &first.delta).unwrap();
    let bias = |delta: &[u8]| {
        let weights = Weights::adapted(&field.base, &Delta::parse(delta).unwrap()).unwrap();
        weights.params[weights.network.head.bias].to_vec()
    };
    let (base, before, after) = (field.base.params(), bias(&first.delta), bias(&second.delta));
    let distance = |one: &[f32], other: &[f32]| one.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(distance(&base[field.base.network().head.bias], &before) > 1e-3);
    assert!(distance(&before, &after) < 1e-5);
}

/// Catches: a resumed run that starts at the base, or goes on from another version than the one it began with.
#[test]
fn an_interrupted_run_resumes_to_the_same_bits() {
    let field = Field::new(5);
    let first = field.adapt(&options("lp-ft")).0.unwrap();
    let other = field.adapt(&options("lp-ft").with_seed(1)).0.unwrap();
    let options = going_on("tpgm-relative").with_branches(Branches::new(2));
    let whole = continued(&field, &options, &first.delta).unwrap();
    let path = field.folder.path().join("checkpoint");
    let run = |version: &[u8], resume: bool, stop: &mut dyn FnMut(&Event) -> bool| {
        let version = Delta::parse(version).unwrap();
        let (checkpoint, control) = (Some(Checkpointing { path: &path, resume }), Control::new());
        let request =
            AdaptRequest { active: Some(&version), start: Some(&version), checkpoint, ..field.request(&options) };
        adapt(&request, &control, &mut |event| {
            if stop(&event) {
                control.stop();
            }
        })
    };
    let is_late = |event: &Event| matches!(event, Event::Step { step, steps, .. } if *step == steps / 2 + 2);
    assert!(matches!(run(&first.delta, false, &mut { is_late }), Err(AdaptError::Interrupted { .. })));
    let foreign = run(&other.delta, true, &mut |_| false);
    assert!(matches!(foreign, Err(AdaptError::OtherCheckpoint { .. })), "{foreign:?}");
    assert_eq!(run(&first.delta, true, &mut |_| false).unwrap().delta, whole.delta);
}
