//! Tests of the gate and of what leads to it: reference, verdict, memory plan, codecs. Guards against a verdict on
//! something else than what will run.

#![allow(clippy::unwrap_used, reason = "a fixture that cannot be made ends the test")]

mod common;

use common::{Field, options};
use fieldfit_adapt::metrics::{agreeing, predictions};
use fieldfit_adapt::{
    AdaptError, AdaptRequest, Classifier, Coding, Control, Event, MemoryPlan, OptimiserOptions, Options, Reference,
    adapt, gate_again, plan_memory, under_base_head,
};
use fieldfit_delta::{Codec, Delta};
use fieldfit_exec::Device;
use fieldfit_model::Weights;
use fieldfit_tensor::Images;
use serde_json::{Value, json};

fn with_active(field: &Field, options: &Options, active: &[u8]) -> fieldfit_adapt::Outcome {
    let active = Delta::parse(active).unwrap();
    let request = AdaptRequest { active: Some(&active), ..field.request(options) };
    adapt(&request, &Control::new(), &mut |_| ()).unwrap()
}

/// Catches: a gate that compares with the probe although a better version runs, or a delta that doesn't know its parent.
#[test]
fn the_active_version_is_the_reference_where_it_has_the_classes() {
    let field = Field::new(5);
    let first = field.adapt(&options("lp-ft")).0.unwrap();
    assert_eq!(first.gate.reference, Reference::Probe);
    let hopeless = OptimiserOptions::sgd().with_learning_rate(1e-12);
    let second = with_active(&field, &options("full").with_optimiser(hopeless), &first.delta);
    assert_eq!(second.gate.reference, Reference::Active);
    assert_eq!(second.gate.before, first.gate.after);
    assert!(!second.gate.accepted && second.gate.reason.contains("the active version"));
    let parent = Delta::parse(&second.delta).unwrap().header().parent;
    assert_eq!(parent, Some(Delta::parse(&first.delta).unwrap().hash()));
}

/// Catches: the same classes in another order are the same classes; other classes are not.
#[test]
fn the_references_labels_are_matched_by_name() {
    let mut field = Field::new(5);
    let first = field.adapt(&options("linear-probe")).0.unwrap();
    let names = field.dataset.classes.clone();
    let reversed: Vec<_> = names.iter().rev().cloned().collect();
    let other: Vec<_> = names.iter().map(|name| format!("{name}s")).collect();

    field.dataset = field.dataset.with_labels(&reversed).unwrap();
    let same = with_active(&field, &options("linear-probe"), &first.delta);
    assert_eq!((same.gate.reference, same.gate.before), (Reference::Active, first.gate.after));
    field.dataset.classes = other;
    let renamed = with_active(&field, &options("linear-probe"), &first.delta);
    assert_eq!(renamed.gate.reference, Reference::Probe);
}

fn images(count: usize) -> Images {
    let mut images = Images::zeros(count, 32, 32);
    for (index, value) in images.values.iter_mut().enumerate() {
        *value = ((index * 29) % 97) as f32 / 48.0 - 1.0;
    }
    images
}

/// Catches: a retention that is measured under the wrong head: a probe has forgotten nothing, and must agree on every
/// image.
#[test]
fn an_untouched_backbone_agrees_with_its_base() {
    let field = Field::new(5);
    let base = Weights::of_base(&field.base);
    let probe = field.adapt(&options("linear-probe")).0.unwrap();
    let probe = Weights::adapted(&field.base, &Delta::parse(&probe.delta).unwrap()).unwrap();
    let returned = under_base_head(&probe, &field.base);
    assert_eq!(returned.params, base.params);
    assert_eq!(returned.labels, base.labels);

    let mut other = base.clone();
    other.params[base.network.head.bias].fill(-1e6);
    other.params[base.network.head.bias][7] = 1e6;
    let device = Device::Cpu { threads: 1 };
    let images = images(3);
    let predicted = |weights: &Weights| {
        let logits = Classifier::new(&field.base, weights.clone(), device).unwrap().logits(&images).unwrap();
        predictions(&logits, 0..logits.columns).collect::<Vec<_>>()
    };
    assert_eq!(agreeing(predicted(&base), predicted(&returned)), 3);
    assert!(agreeing(predicted(&base), predicted(&other)) < 3);
}

/// Catches: a plan that forgets what an optimiser keeps, or counts activations for a method that computes no gradient.
#[test]
fn the_memory_plan_follows_the_method_and_the_optimiser() {
    let field = Field::new(5);
    let plan = |options: &Options| -> MemoryPlan {
        let (_, events) = field.adapt(options);
        events.iter().find_map(|event| if let Event::Memory(plan) = event { Some(*plan) } else { None }).unwrap()
    };
    let adam = plan(&options("lp-ft"));
    let sgd = plan(&options("lp-ft").with_optimiser(OptimiserOptions::sgd()));
    let probe = plan(&options("linear-probe"));
    assert_eq!(adam.optimiser, 2 * adam.delta);
    assert_eq!(sgd.optimiser, sgd.delta);
    assert_eq!((probe.delta, probe.activations), (0, 0));
    let wider = plan(&options("lp-ft").with_micro_batch(Some(8)));
    assert_eq!((wider.micro_batch, wider.kernels), (8, adam.kernels));
    assert!(
        2 * wider.activations > 3 * adam.activations,
        "{} for 8 at once, {} for 4",
        wider.activations,
        adam.activations
    );
    let parts = adam.always() + adam.training().max(adam.probing + adam.images).max(adam.judging);
    assert_eq!(adam.total, parts);
}

/// Catches: a budget that is ignored, that costs more speed than it must, or that is only noticed once memory is taken.
#[test]
fn a_budget_makes_batches_smaller_then_stages_twice_and_then_refuses() {
    let field = Field::new(5);
    // Large images, so that activations are what counts.
    let plan = |budget: Option<u64>| {
        let options = options("lp-ft").with_size(Some(128)).with_memory_budget(budget);
        plan_memory(&field.base, 3, 30, &options)
    };
    let mut chosen = vec![plan(None).unwrap()];
    let refusal = loop {
        match plan(Some(chosen.last().unwrap().total - 1)) {
            Ok(smaller) => chosen.push(smaller),
            Err(error) => break error,
        }
    };
    assert!(chosen.is_sorted_by(|a, b| a.total > b.total));
    let passes: Vec<_> = chosen.iter().map(|plan| (plan.micro_batch, plan.recomputed_stages)).collect();
    assert_eq!(passes[..3], [(4, 0), (2, 0), (1, 0)]);
    assert!(passes.len() > 3 && passes[3..].iter().all(|&(at_once, twice)| at_once == 1 && twice > 0), "{passes:?}");
    let smallest = chosen.last().unwrap();
    let AdaptError::Budget { least, micro_batch, .. } = refusal else { panic!("{refusal}") };
    assert_eq!((least, micro_batch), (smallest.total, 1));

    let (refused, events) = field.adapt(&options("lp-ft").with_memory_budget(Some(1 << 20)));
    assert!(matches!(refused, Err(AdaptError::Budget { .. })));
    assert_eq!(events, [], "refused before anything was done");
}

/// Catches: events that a consumer of the command's lines can't read, or a run that keeps quiet about a phase.
#[test]
fn events_are_tagged_json_and_come_in_order() {
    let field = Field::new(5);
    let (outcome, events) = field.adapt(&options("tpgm"));
    outcome.unwrap();
    let lines: Vec<Value> = events.iter().map(|event| serde_json::to_value(event).unwrap()).collect();
    let mut names: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    names.dedup();
    assert_eq!(names[..5], ["plan", "memory", "progress", "probe", "radii"]);
    assert_eq!(names[names.len() - 5..], ["epoch", "progress", "coded", "progress", "gate"]);
    assert_eq!(lines[0]["classes"], json!(["grass", "sand", "water"]));
    let step = lines.iter().find(|line| line["event"] == "step").unwrap();
    assert!(step["loss"].is_f64() && step["learning_rate"].is_f64() && step["step"] == 1);
    let read: Vec<Event> = lines.into_iter().map(|line| serde_json::from_value(line).unwrap()).collect();
    assert_eq!(read, events);
}

/// Catches: a file that is chosen for its size alone, whose cost isn't the one that is told, or that is judged as another.
#[test]
fn the_smallest_file_that_says_the_same_is_chosen() {
    let field = Field::new(5);
    let coded = |coding| {
        let (outcome, events) = field.adapt(&options("full").with_coding(coding));
        let fidelity = events.iter().find_map(|event| match event {
            Event::Coded(fidelity) => Some(*fidelity),
            _ => None,
        });
        (outcome.unwrap().delta, fidelity)
    };
    let (auto, fidelity) = coded(Coding::Auto);
    let fidelity = fidelity.unwrap();
    let (exact, untold) = coded(Coding::Kernels(Codec::F32));
    assert_eq!(untold, None, "one codec for all is nobody's choice");
    assert!(auto.len() * 2 < exact.len(), "{} of {} bytes", auto.len(), exact.len());
    assert!(f64::from(fidelity.changed) <= Coding::CHANGED * f64::from(fidelity.images), "{fidelity:?}");
    assert!(f64::from(fidelity.divergence) <= Coding::DIVERGENCE, "{fidelity:?}");
    assert!(fidelity.divergence > 0.0, "a network that is compared with itself: {fidelity:?}");
    let made = Delta::parse(&auto).unwrap().header().provenance.clone();
    assert!(made.options.contains("codec=auto"), "{made:?}");
    assert_eq!(made.fidelity, Some(fidelity));
}

/// Catches: a verdict that stands although the version that it compares with was replaced while training went on.
#[test]
fn a_result_is_judged_again_against_what_is_active_now() {
    let field = Field::new(5);
    let better = field.adapt(&options("lp-ft")).0.unwrap();
    let hopeless = OptimiserOptions::sgd().with_learning_rate(1e-12);
    let worse = options("full").with_optimiser(hopeless);
    let first = field.adapt(&worse).0.unwrap();
    assert_eq!(first.gate.reference, Reference::Probe);

    let active = Delta::parse(&better.delta).unwrap();
    let request = AdaptRequest { active: Some(&active), ..field.request(&worse) };
    let again = gate_again(&request, &first, &Control::new(), &mut |_| ()).unwrap();
    assert_eq!((again.reference, again.before, again.after), (Reference::Active, better.gate.after, first.gate.after));
    assert!(!again.accepted);
    let alone = gate_again(&field.request(&worse), &first, &Control::new(), &mut |_| ()).unwrap();
    assert_eq!(alone, first.gate, "without an active version, the verdict is the first one");
}
