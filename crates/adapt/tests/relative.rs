//! Tests of `tpgm-relative`: guards against shares that are learned by a wrong gradient, are not relative, or are not
//! shared.
#![allow(clippy::unwrap_used, reason = "a test that cannot make its runs has failed")]

mod common;

use common::{Field, options};
use fieldfit_adapt::{
    AdaptError, Event, HeadParams, Options, RelativeRadii, Sharing, TensorShare, TpgmOptions, TrainingState,
};
use fieldfit_delta::Delta;
use fieldfit_exec::{Executor, candle::Candle};
use fieldfit_tensor::{Images, Params};
use fieldfit_tests::tiny;
use std::collections::BTreeMap;

/// An adaptation that moved, and what it is judged by.
struct Moved<'a> {
    state: TrainingState<'a, f64>,
    executor: Candle<f64>,
    weights: Params<f64>,
    gradients: Params<f64>,
    images: Images,
}

const LABELS: [u32; 3] = [2, 0, 1];

impl<'a> Moved<'a> {
    fn new(field: &'a Field) -> Self {
        let network = field.base.network().with_classes(3);
        let features = network.head.features;
        let head =
            HeadParams { weight: (0..3 * features).map(|i| (i % 7) as f32 * 0.02).collect(), bias: vec![0.0; 3] };
        let mut state =
            TrainingState::new(&field.base, network.clone(), head, |id| network.tensor(id).role.is_trainable());
        for (position, value) in state.delta.buffers_mut().iter_mut().flatten().enumerate() {
            *value = ((position * 2_654_435_761 % 1999) as f64 / 999.5 - 1.0) * 2e-2;
        }
        let mut images = Images::zeros(3, 32, 32);
        images.values.iter_mut().enumerate().for_each(|(i, value)| *value = (i * 37 % 101) as f32 / 50.0 - 1.0);
        Self {
            executor: Candle::new(&network, candle_core::Device::Cpu),
            weights: state.weights(),
            gradients: state.delta.clone(),
            state,
            images,
        }
    }

    fn loss(&mut self, shares: &RelativeRadii) -> f64 {
        shares.merge_into(&self.state, &mut self.weights);
        self.executor.gradient(&self.weights, &self.images, &LABELS, &mut self.gradients).unwrap()
    }

    fn slopes(&mut self, shares: &RelativeRadii) -> Vec<f64> {
        self.loss(shares);
        let mut slopes = vec![0.0; shares.len()];
        shares.add_slopes(&self.state, &self.gradients, 1.0, &mut slopes);
        slopes
    }

    fn shares(&self, sharing: Sharing) -> RelativeRadii {
        let network = self.state.network();
        RelativeRadii::new(network, sharing, |id| network.tensor(id).role.is_trainable())
    }
}

/// The same shares, with that one moved by as much.
fn nudged(shares: &RelativeRadii, which: usize, by: f64) -> RelativeRadii {
    let mut nudged = shares.clone();
    let mut slopes = vec![0.0; shares.len()];
    slopes[which] = -by.signum();
    nudged.step(&slopes, by.abs());
    nudged
}

/// Catches: a gradient of the absolute radius, one that leaves out some of a share's tensors, or one of unprojected weights.
#[test]
fn slopes_are_those_of_the_loss() {
    let field = Field::new(7);
    let mut moved = Moved::new(&field);
    for sharing in Sharing::ALL {
        let mut shares = moved.shares(sharing);
        shares.step(&vec![1.0; shares.len()], 0.5);
        let slopes = moved.slopes(&shares);
        let tested: Vec<usize> = (0..shares.len()).filter(|&share| slopes[share] != 0.0).step_by(5).collect();
        assert!(!tested.is_empty());
        for which in tested {
            let (above, below) = (nudged(&shares, which, 1e-4), nudged(&shares, which, -1e-4));
            let expected = (moved.loss(&above) - moved.loss(&below)) / 2e-4;
            let slope = slopes[which];
            assert!(
                (slope - expected).abs() < 1e-5 + 1e-4 * slope.abs(),
                "{sharing:?} {which}: {slope}, not {expected}"
            );
        }
    }
}

/// Catches: relativeRadii that no step can open or close, that leave 0..1, or that take back a bit of what they let through whole.
#[test]
fn open_shares_leave_every_bit_and_closed_ones_nothing() {
    let field = Field::new(7);
    let network = field.base.network().with_classes(3);
    let head = HeadParams { weight: vec![0.1; 3 * network.head.features], bias: vec![0.0; 3] };
    let trains = |id| network.tensor(id).role.is_trainable();
    for (slope, kept) in [(-1.0, 1.0), (1.0, 0.0)] {
        let mut state = TrainingState::<f32>::new(&field.base, network.clone(), head.clone(), trains);
        state.delta.buffers_mut().iter_mut().flatten().enumerate().for_each(|(i, value)| *value = i as f32 * 1e-4);
        let before = state.delta.clone();
        let mut shares = RelativeRadii::new(&network, Sharing::Stage, trains);
        (0..8).for_each(|_| shares.step(&vec![slope; shares.len()], 0.2));
        shares.project(&mut state);
        if kept == 1.0 {
            assert_eq!(state.delta, before);
        }
        assert!(
            state
                .delta
                .buffers()
                .iter()
                .flatten()
                .zip(before.buffers().iter().flatten())
                .all(|(after, before)| (f64::from(*after) - kept * f64::from(*before)).abs()
                    <= 2e-8 * f64::from(*before))
        );
        assert!(shares.list(&network).iter().all(|share| (share.share - kept).abs() < 1e-7));
    }
}

fn relative(settings: &[(&str, f64)]) -> Options {
    let settings = settings.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
    options("tpgm-relative").with_settings(settings)
}

fn shares(events: &[Event]) -> Vec<TensorShare> {
    let shares = events.iter().find_map(|event| match event {
        Event::Shares { tensors } => Some(tensors.clone()),
        _ => None,
    });
    shares.unwrap()
}

/// Catches: radii that are each tensor's own where a stage was to have one, or one for all where each stage was.
#[test]
fn tensors_share_as_they_are_told() {
    let field = Field::new(7);
    for (sharing, expected) in [(Sharing::Network, 1), (Sharing::Stage, 5), (Sharing::Tensor, 10)] {
        let options = relative(&[]).with_tpgm(TpgmOptions::default().with_sharing(sharing));
        let (outcome, events) = field.adapt(&options);
        outcome.unwrap();
        let list = shares(&events);
        let different: std::collections::BTreeSet<_> = list.iter().map(|share| share.share.to_bits()).collect();
        match sharing {
            Sharing::Network => assert_eq!(different.len(), expected),
            _ => assert!(different.len() >= expected, "{sharing:?}: {list:?}"),
        }
        if sharing == Sharing::Stage {
            let mut stages: BTreeMap<usize, f64> = BTreeMap::new();
            assert!(list.iter().all(|share| *stages.entry(share.stage).or_insert(share.share) == share.share));
        }
    }
}

/// Catches: a base whose answers count for nothing, or so little that the strength makes no difference.
#[test]
fn the_more_the_base_counts_the_less_is_kept() {
    let field = Field::new(7);
    let mean = |strength: f64| {
        let (outcome, events) = field.adapt(&relative(&[("retention", strength), ("steps", 20.0)]));
        outcome.unwrap();
        let list = shares(&events);
        let backbone = list.iter().filter(|share| !share.tensor.starts_with("_fc")).map(|share| share.share);
        backbone.clone().sum::<f64>() / backbone.count() as f64
    };
    let (free, held) = (mean(0.0), mean(1e6));
    assert!(free > 0.5 && held < 0.5 * free, "{free} without, {held} with");
}

/// Catches: a result that went back to its start without a word, or not quite.
#[test]
fn a_base_that_must_not_be_forgotten_at_all_is_not_left() {
    let field = Field::new(7);
    let tpgm = TpgmOptions::default().with_sharing(Sharing::Network);
    let (outcome, events) = field.adapt(&relative(&[("retention", 1e12)]).with_tpgm(tpgm));
    assert!(shares(&events).iter().all(|share| share.share < 1e-6));
    assert!(events.iter().any(|event| matches!(event, Event::Degenerate { reason } if reason.contains("closed"))));
    let delta = outcome.unwrap().delta;
    let delta = Delta::parse(&delta).unwrap();
    let distances = delta.records().filter_map(|record| record.constraint).map(|constraint| constraint.distance);
    assert!(distances.fold(0.0, f32::max) < 1e-4);
}

/// Catches: a default that retains augmented images, at every step, or nothing; a given strength that no longer means them, as it
/// did before there was a default; shares of δ that are drawn where none are asked for, or are always whole.
#[test]
fn clean_images_are_retained_while_weights_train_unless_told_otherwise() {
    let field = Field::new(7);
    let delta = |settings: &[(&str, f64)]| field.adapt(&relative(settings)).0.unwrap().delta;
    let payloads = |settings: &[(&str, f64)]| -> Vec<Vec<u8>> {
        let delta = delta(settings);
        Delta::parse(&delta).unwrap().records().map(|record| record.payload.to_vec()).collect()
    };
    let default = payloads(&[]);
    assert_eq!(default, payloads(&[("training-retention", 0.1), ("training-clean", 1.0)]));
    assert_eq!(default, payloads(&[("training-clean", 1.0)]));
    assert_eq!(default, payloads(&[("training-share", 1.0)]));
    assert_ne!(default, payloads(&[("training-share", 0.3)]));
    assert_ne!(default, payloads(&[("training-retention", 0.0)]));
    let augmented = payloads(&[("training-retention", 0.1)]);
    assert_eq!(augmented, payloads(&[("training-retention", 0.1), ("training-clean", 0.0)]));
    assert_ne!(default, augmented);
}

/// Catches: what an excluded tensor learned is taken back, or the others' is not.
#[test]
fn excluded_tensors_keep_all_that_they_learned() {
    let field = Field::new(7);
    let payloads = |options: &Options| -> BTreeMap<String, Vec<u8>> {
        let delta = field.adapt(options).0.unwrap().delta;
        let delta = Delta::parse(&delta).unwrap();
        delta.records().map(|record| (record.name.to_owned(), record.payload.to_vec())).collect()
    };
    let free = payloads(&options("lp-ft"));
    let exclude = vec!["_blocks.1.*".to_owned()];
    let tpgm = TpgmOptions::default().with_exclude(exclude);
    let held = payloads(&relative(&[("training-retention", 0.0), ("retention", 1e6)]).with_tpgm(tpgm));
    for (name, payload) in free.iter().filter(|(name, _)| !name.starts_with("_fc")) {
        assert_eq!(held.get(name) == Some(payload), name.starts_with("_blocks.1."), "{name}");
    }
}

/// Catches: retained images that nobody looks at, that must have classes, or that a method ignores without a word.
#[test]
fn images_without_labels_can_stand_for_the_world() {
    let field = Field::new(7);
    let world = field.folder.path().join("world");
    tiny::images(&world.join("deep/down"), 4, 9);
    let retaining = |method: &str| options(method).with_retain(Some(world.clone()));
    let (with, events) = field.adapt(&retaining("tpgm-relative"));
    assert_ne!(with.unwrap().delta, field.adapt(&relative(&[])).0.unwrap().delta);
    assert!(shares(&events).iter().all(|share| (0.0..=1.0).contains(&share.share)));
    let (refused, events) = field.adapt(&retaining("lp-ft"));
    assert!(matches!(refused, Err(AdaptError::Option { name: "retain", .. })) && events.is_empty());
    let nowhere = relative(&[]).with_retain(Some(field.folder.path().join("none")));
    assert!(matches!(field.adapt(&nowhere).0, Err(AdaptError::Data(_))));
}
