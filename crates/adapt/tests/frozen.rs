//! Tests of frozen stages: they do not train, are computed once per view, and leave the result unchanged.
#![allow(clippy::unwrap_used, reason = "a test that cannot make its runs has failed")]

mod common;

use common::{Field, options};
use fieldfit_adapt::{AdaptError, Event, Freeze, METHODS, MemoryPlan, Options, plan_memory};
use fieldfit_delta::{Delta, TensorKind};
use std::collections::BTreeSet;
use std::fs;

fn frozen(method: &str, stage: &str, views: u32) -> Options {
    options(method).with_freeze(Some(Freeze::new(stage, views)))
}

fn stored(delta: &[u8]) -> BTreeSet<String> {
    let delta = Delta::parse(delta).unwrap();
    delta
        .records()
        .filter(|record| record.kind != TensorKind::Replacement)
        .map(|record| record.name.to_owned())
        .collect()
}

fn planned(events: &[Event]) -> MemoryPlan {
    events.iter().find_map(|event| if let Event::Memory(plan) = event { Some(*plan) } else { None }).unwrap()
}

/// Catches: a method that moves what is frozen, gives it a radius, or stops learning what comes behind it.
#[test]
fn whatever_the_method_frozen_stages_stay_the_bases() {
    let field = Field::new(4);
    for entry in METHODS.iter().filter(|entry| entry.name != "linear-probe") {
        let (free, (held, events)) =
            (field.adapt(&options(entry.name)).0, field.adapt(&frozen(entry.name, "block0", 1)));
        let (free, held) = (stored(&free.unwrap().delta), stored(&held.unwrap().delta));
        let of_beginning =
            |name: &String| ["_conv_stem.", "_bn0.", "_blocks.0."].iter().any(|start| name.starts_with(start));
        assert!(free.iter().any(of_beginning), "{}: {free:?}", entry.name);
        let behind: BTreeSet<_> = free.into_iter().filter(|name| !of_beginning(name)).collect();
        assert_eq!(held, behind, "{}", entry.name);
        let shared = events.iter().filter_map(|event| match event {
            Event::Shares { tensors } => Some(tensors),
            _ => None,
        });
        assert!(shared.flatten().all(|share| share.stage > 1), "{}", entry.name);
        assert!(
            events.iter().any(|event| matches!(event, Event::Frozen { stages, .. } if stages == &["stem", "block0"]))
        );
    }
}

/// Catches: images that are decoded and computed again in later epochs: after the first, there are none any more.
#[test]
fn a_view_is_computed_once() {
    let field = Field::new(4);
    let options = frozen("lp-ft", "stem", 1);
    let whole = field.adapt(&options).0.unwrap();
    let gate: BTreeSet<_> = field.dataset.split(&options.fractions).unwrap().gate.into_iter().collect();
    let validation: BTreeSet<_> = field.dataset.split(&options.fractions).unwrap().validation.into_iter().collect();
    let checkpoint = field.folder.path().join("checkpoint");
    let outcome = field.adapt_until(&options, &checkpoint, false, |event| {
        if matches!(event, Event::Epoch { epoch: 1, .. }) {
            let trained = (0..field.dataset.samples.len())
                .filter(|sample| !gate.contains(sample) && !validation.contains(sample));
            trained.for_each(|sample| fs::remove_file(field.dataset.samples[sample].image.path().unwrap()).unwrap());
        }
        false
    });
    assert_eq!(outcome.unwrap().delta, whole.delta);
}

/// Catches: a budget that doesn't move activations into a file, a file whose values are others, or a plan that counts it as memory.
#[test]
fn a_budget_moves_activations_into_a_file_that_gives_the_same_bits() {
    let field = Field::new(4);
    let options = frozen("tpgm-relative", "block0", 2).with_micro_batch(Some(4));
    let (free, events) = field.adapt(&options);
    let plan = planned(&events);
    assert_eq!(plan.frozen_file, 0);
    let tight = options.clone().with_memory_budget(Some(plan.total - 1));
    let (tight, events) = field.adapt(&tight);
    let other = planned(&events);
    assert_eq!((plan.passes(), plan.frozen), (other.passes(), other.frozen + other.frozen_file));
    assert!(other.frozen_file > 0 && other.total < plan.total);
    assert!(events.iter().any(|event| matches!(event, Event::Frozen { in_file: true, .. })));
    assert_eq!(free.unwrap().delta, tight.unwrap().delta);
}

/// Catches: a plan that still pays for what isn't computed any more, or forgets views.
#[test]
fn the_plan_follows_what_is_frozen() {
    let field = Field::new(4);
    let plan = |options: Options| plan_memory(&field.base, 3, 30, &options.with_size(Some(64))).unwrap();
    let (free, one, three) =
        (plan(options("lp-ft")), plan(frozen("lp-ft", "block0", 1)), plan(frozen("lp-ft", "block0", 2)));
    assert_eq!((free.frozen, free.frozen_file), (0, 0));
    assert!(one.activations < free.activations && one.optimiser < free.optimiser && one.delta < free.delta);
    let train = 30 - (30.0_f64 * 0.2 / 0.8).ceil() as u64;
    assert_eq!(three.frozen - one.frozen, train * shape_bytes(&field));
}

/// Of one image of 64 pixels behind `block0`.
fn shape_bytes(field: &Field) -> u64 {
    4 * field.base.network().section_shapes(64, 64).unwrap()[1].len() as u64
}

/// Catches: a stage that there isn't, or the last, behind which nothing is left to compute; no views at all.
#[test]
fn what_cannot_be_frozen_is_refused_by_name() {
    let field = Field::new(4);
    for stage in ["block99", "pool", ""] {
        let (refused, events) = field.adapt(&frozen("lp-ft", stage, 1));
        let Err(AdaptError::Stage { name, known }) = refused else { panic!("{stage}") };
        assert_eq!(name, stage);
        assert!(known.contains(&"block0".to_owned()) && !known.contains(&"pool".to_owned()) && events.is_empty());
    }
    assert!(matches!(field.adapt(&frozen("lp-ft", "stem", 0)).0, Err(AdaptError::Option { name: "views", .. })));
    field.adapt(&frozen("linear-probe", "stem", 1)).0.unwrap();
}
