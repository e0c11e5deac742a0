//! Tests of the published methods against their papers: guards against a ball that is left, a head that is held, a
//! kernel that trains, a strength of 0 that still has an effect.
#![allow(clippy::unwrap_used, reason = "a test that cannot make its runs has failed")]

mod common;

use common::{Field, options};
use fieldfit_adapt::{Coding, Event, OptimiserOptions, Options, TpgmOptions, under_base_head};
use fieldfit_data::{Loader, LoaderOptions, Preprocessor};
use fieldfit_delta::{Codec, Delta, TensorKind};
use fieldfit_exec::{kl_divergence, prepare, softmax};
use fieldfit_model::Weights;
use fieldfit_tensor::{Norm, Params};
use fieldfit_tpgm::distances;
use std::collections::BTreeMap;

/// Fast enough to leave a ball in a few steps.
const OPTIMISERS: [OptimiserOptions; 2] =
    [OptimiserOptions::sgd().with_learning_rate(1e-2), OptimiserOptions::adamw().with_learning_rate(1e-3)];
/// Every tensor of the backbone, and none of the head.
const BACKBONE: &str = "_[!f]*";

fn set(method: &str, settings: &[(&str, f64)], optimiser: OptimiserOptions) -> Options {
    let settings = settings.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
    options(method).with_settings(settings).with_optimiser(optimiser)
}

fn excluding(pattern: &str, options: Options) -> Options {
    options.with_tpgm(TpgmOptions::default().with_exclude(vec![pattern.into()]))
}

fn run(field: &Field, options: &Options) -> Vec<u8> {
    field.adapt(options).0.unwrap().delta
}

/// What is stored of every tensor, to the bit.
fn payloads(delta: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let delta = Delta::parse(delta).unwrap();
    delta.records().map(|record| (record.name.to_owned(), record.payload.to_vec())).collect()
}

/// Σ‖δ‖² of the backbone as it is stored.
fn squared_distance(field: &Field, delta: &[u8]) -> f64 {
    let weights = Weights::adapted(&field.base, &Delta::parse(delta).unwrap()).unwrap();
    let base: Params<f32> = field.base.params();
    let backbone = field.base.network().tensors().filter(|(_, spec)| !spec.role.is_head());
    let square = |(a, b): (&f32, &f32)| f64::from(a - b).powi(2);
    backbone.map(|(id, _)| weights.params[id].iter().zip(&base[id]).map(square).sum::<f64>()).sum()
}

/// Catches: a ball that is left after the last projection or by the codec, one around an excluded tensor or the head, and radii
/// that hold nothing back; under either optimiser.
#[test]
fn what_is_held_stays_in_its_ball_and_what_is_free_has_none() {
    let field = Field::new(5);
    for optimiser in OPTIMISERS {
        for options in [set("mars-sp", &[("radius", 1e-3)], optimiser), set("ftp", &[], optimiser)] {
            let options = options.with_coding(Coding::Kernels(Codec::F16));
            let delta = run(&field, &excluding("_blocks.1.*", options.clone()));
            let (mut held, mut full) = (0, 0);
            for record in Delta::parse(&delta).unwrap().records() {
                let free = record.kind == TensorKind::Replacement || record.name.starts_with("_blocks.1.");
                assert_eq!(record.constraint.is_none(), free, "{} under {}", record.name, options.method);
                if let Some(constraint) = record.constraint {
                    assert!(constraint.distance <= constraint.radius * 1.001, "{}: {constraint:?}", record.name);
                    assert!(constraint.radius > 1e-4, "{} was never learned: {constraint:?}", record.name);
                    held += 1;
                    full += usize::from(constraint.distance > 0.9 * constraint.radius);
                }
            }
            assert!(held > 5 && full * 2 > held, "{}: {full} radii of {held} are full", options.method);
        }
    }
}

/// Catches: a fixed radius that moves with the weights, is measured by another norm, or is no share of the base's.
#[test]
fn the_radius_of_mars_sp_is_its_share_of_the_base() {
    let field = Field::new(5);
    let delta = run(&field, &set("mars-sp", &[("radius", 0.003)], OPTIMISERS[0]));
    let (base, network) = (field.base.params::<f32>(), field.base.network());
    let mut norms = Vec::new();
    for record in Delta::parse(&delta).unwrap().records().filter(|record| record.kind == TensorKind::Difference) {
        let id = network.find(record.name).unwrap();
        distances(Norm::Mars, &base[id], network.tensor(id).rows(), &mut norms);
        let expected = 0.003 * norms.iter().copied().fold(0.0, f32::max);
        let radius = record.constraint.unwrap().radius;
        assert!((radius / expected - 1.0).abs() < 1e-5, "{}: {radius}, not {expected}", record.name);
    }
}

/// Catches: a head that is pulled to, or held around, an origin that it doesn't have: with nothing else to hold, the strongest
/// setting must be LP-FT.
#[test]
fn the_head_is_free_of_every_constraint() {
    let field = Field::new(5);
    for optimiser in OPTIMISERS {
        let plain = payloads(&run(&field, &set("lp-ft", &[], optimiser)));
        let strongest: [(&str, &[(&str, f64)]); 4] =
            [("l2-sp", &[("strength", 100.0)]), ("mars-sp", &[("radius", 0.0)]), ("spd", &[]), ("ftp", &[])];
        for (method, settings) in strongest {
            let free = excluding(BACKBONE, set(method, settings, optimiser));
            assert_eq!(payloads(&run(&field, &free)), plain, "{method}");
            assert_ne!(payloads(&run(&field, &set(method, settings, optimiser))), plain, "{method} does nothing");
        }
    }
}

/// Catches: a penalty or decay that does something at a strength of 0, or the same at any other.
#[test]
fn a_strength_of_0_is_plain_fine_tuning_to_the_bit() {
    let field = Field::new(5);
    for optimiser in OPTIMISERS {
        let plain = run(&field, &set("lp-ft", &[], optimiser));
        for (method, strong) in [("l2-sp", 10.0), ("spd", 1.0), ("lwf", 100.0)] {
            let at = |strength: f64| run(&field, &set(method, &[("strength", strength)], optimiser));
            assert_eq!(payloads(&at(0.0)), payloads(&plain), "{method}");
            let (weakly, strongly) =
                (squared_distance(&field, &at(strong / 4.0)), squared_distance(&field, &at(strong)));
            assert!(strongly < weakly && weakly < squared_distance(&field, &plain), "{method}: {strongly}, {weakly}");
        }
    }
}

/// Mean divergence of what the stored network says under the base's own head from what the base says, over all images.
fn forgotten(field: &Field, delta: &[u8]) -> f64 {
    let weights = Weights::adapted(&field.base, &Delta::parse(delta).unwrap()).unwrap();
    let preprocessor = Preprocessor::new(field.base.preprocessing(), weights.input_size, weights.crop).unwrap();
    let [adapted, base] = [under_base_head(&weights, &field.base), Weights::of_base(&field.base)]
        .map(|weights| prepare(options("lwf").device, &weights.network, &weights.params).unwrap());
    let all: Vec<usize> = (0..field.dataset.samples.len()).collect();
    let mut sum = 0.0;
    for batch in Loader::new(&field.dataset, &all, &preprocessor, &LoaderOptions::default()).unwrap() {
        let images = batch.unwrap().images;
        let (mut adapted, mut base) = (adapted.logits(&images).unwrap(), base.logits(&images).unwrap());
        let columns = base.columns;
        let rows = adapted.values.chunks_exact_mut(columns).zip(base.values.chunks_exact_mut(columns));
        for (adapted, base) in rows {
            softmax(base);
            sum += kl_divergence(adapted, base);
        }
    }
    sum / all.len() as f64
}

/// Catches: a base that isn't asked, that is asked about other images or at other weights than its own, or whose head's rows are taken
/// for the new one's.
#[test]
fn the_more_the_base_counts_the_less_is_forgotten() {
    let field = Field::new(5);
    for (method, setting) in [("lwf", "strength"), ("tpgm-relative", "training-retention")] {
        let at = |strength: f64| {
            let fixed = [(setting, strength), ("retention", 0.0)];
            let settings = &fixed[..if method == "lwf" { 1 } else { 2 }];
            run(&field, &set(method, settings, OPTIMISERS[1]))
        };
        let [free, barely, weakly, strongly] = [0.0, 1e-9, 1.0, 100.0].map(|strength| forgotten(&field, &at(strength)));
        assert!((barely / free - 1.0).abs() < 0.05, "{method}: two heads alone change {free} to {barely}");
        assert!(strongly < 0.5 * weakly && weakly < 0.97 * free, "{method}: {free}, {weakly}, {strongly}");
    }
}

/// Catches: a kernel that trains all the same, or an affine tensor that doesn't.
#[test]
fn bitfit_leaves_every_kernel_to_the_bit_and_moves_all_else() {
    let field = Field::new(5);
    let delta = run(&field, &set("bitfit", &[], OPTIMISERS[1]));
    let weights = Weights::adapted(&field.base, &Delta::parse(&delta).unwrap()).unwrap();
    let (stored, base) = (payloads(&delta), field.base.params::<f32>());
    for (id, spec) in field.base.network().tensors().filter(|(_, spec)| !spec.role.is_head()) {
        let trains = spec.role.is_trainable() && spec.shape.len() == 1;
        assert_eq!(stored.contains_key(&spec.name), trains, "{}", spec.name);
        assert_eq!(weights.params[id] == base[id], !trains, "{}", spec.name);
    }
    assert_ne!(stored["_fc.weight"], payloads(&run(&field, &options("linear-probe")))["_fc.weight"]);
}

/// Catches: ends that are swapped, and a head that stays behind or goes back to something else than the probe.
#[test]
fn the_ends_of_wise_ft_are_the_probe_and_lp_ft() {
    let field = Field::new(5);
    let at = |alpha: f64| payloads(&run(&field, &set("wise-ft", &[("alpha", alpha)], OPTIMISERS[0])));
    assert_eq!(at(1.0), payloads(&run(&field, &set("lp-ft", &[], OPTIMISERS[0]))));
    assert_eq!(at(0.0), payloads(&run(&field, &set("linear-probe", &[], OPTIMISERS[0]))));
}

/// Catches: an α that is chosen on other images, not the best, not told, or not the one that is stored.
#[test]
fn wise_ft_chooses_the_alpha_with_the_least_loss_on_the_validation_slice() {
    let field = Field::new(5);
    // Long and fast enough for the way back to be worth something.
    let options = |settings: &[_]| set("wise-ft", settings, OPTIMISERS[0].with_learning_rate(3e-2)).with_epochs(6);
    let (outcome, events) = field.adapt(&options(&[]));
    let told: Vec<_> = events.iter().filter(|event| matches!(event, Event::Interpolation { .. })).collect();
    let [Event::Interpolation { alpha, losses }] = told[..] else { unreachable!("{told:?}") };
    let least = losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(losses.len(), 11);
    assert_eq!(*alpha, losses.iter().position(|&loss| loss == least).unwrap() as f64 / 10.0);
    assert_eq!(payloads(&outcome.unwrap().delta), payloads(&run(&field, &options(&[("alpha", *alpha)]))));
    for (index, told) in losses.iter().enumerate().step_by(5) {
        let stored = run(&field, &options(&[("alpha", index as f64 / 10.0)]));
        let loss = validation_loss(&field, &stored);
        assert!((loss - told).abs() < 1e-3, "at {index}/10: {told}, not {loss}");
    }
    assert!((losses[10] - losses[0]).abs() > 1e-2, "the ends must differ for this test to mean anything: {losses:?}");
}

/// Mean cross-entropy of what the file decodes to.
fn validation_loss(field: &Field, delta: &[u8]) -> f64 {
    let weights = Weights::adapted(&field.base, &Delta::parse(delta).unwrap()).unwrap();
    let options = options("wise-ft");
    let slice = field.dataset.split(&options.fractions).unwrap().validation;
    let preprocessor = Preprocessor::new(field.base.preprocessing(), weights.input_size, weights.crop).unwrap();
    let prepared = prepare(options.device, &weights.network, &weights.params).unwrap();
    let (mut sum, mut images) = (0.0, 0.0);
    let loader = LoaderOptions { batch: 4, ..LoaderOptions::default() };
    for batch in Loader::new(&field.dataset, &slice, &preprocessor, &loader).unwrap() {
        let batch = batch.unwrap();
        let logits = prepared.logits(&batch.images).unwrap();
        for (row, &label) in batch.targets.classes().iter().enumerate() {
            let total: f64 = logits.row(row).iter().map(|&logit| f64::from(logit).exp()).sum();
            sum += total.ln() - f64::from(logits.row(row)[label as usize]);
            images += 1.0;
        }
    }
    sum / images
}

/// Catches: a setting that the delta doesn't tell of, given or not.
#[test]
fn provenance_tells_the_settings() {
    let field = Field::new(5);
    let told = |settings| {
        let delta = run(&field, &set("l2-sp", settings, OPTIMISERS[0]));
        Delta::parse(&delta).unwrap().header().provenance.options.to_string()
    };
    assert!(told(&[]).starts_with("method=l2-sp strength=0.1 "), "{}", told(&[]));
    assert!(told(&[("strength", 0.5)]).contains("strength=0.5 "));
}
