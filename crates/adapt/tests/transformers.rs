//! Tests of adapting transformers: guards against a method that assumes convolutions, a tensor that
//! no ball holds, and rows that the trainer and the file count differently.

#![allow(clippy::unwrap_used, reason = "helpers of tests may end them")]

mod common;

use common::{Field, options};
use fieldfit_adapt::{METHODS, OptimiserOptions, Options};
use fieldfit_delta::{Delta, TensorKind};
use fieldfit_model::Weights;

fn fast(method: &str, size: u32) -> Options {
    let optimiser = OptimiserOptions::sgd().with_learning_rate(1e-2);
    options(method).with_optimiser(optimiser).with_epochs(1).with_size(Some(size))
}

/// Every tensor of the backbone that moved is in the file with its ball, in the rows that the network counts.
fn check_constraints(field: &Field, delta: &Delta, is_constrained: bool) {
    // The head is replaced by one of as many rows as there are new classes.
    let network = field.base.network().with_classes(delta.header().classes as usize);
    for record in delta.records() {
        let spec = network.tensor(network.find(record.name).unwrap());
        assert_eq!(record.rows(), spec.rows(), "{}", record.name);
        assert_eq!(
            record.constraint.is_some(),
            is_constrained && record.kind == TensorKind::Difference,
            "{}",
            record.name
        );
        if let Some(constraint) = record.constraint {
            assert!(constraint.distance <= constraint.radius * 1.001, "{}: {constraint:?}", record.name);
        }
    }
}

/// Catches: a method that can't train tokens, positions, registers or LayerScale, or whose delta doesn't run.
#[test]
fn every_method_adapts_a_transformer() {
    let field = Field::of("vit-micro", 16, 3);
    for entry in METHODS {
        let outcome = field.adapt(&fast(entry.name, 24)).0.unwrap();
        let delta = Delta::parse(&outcome.delta).unwrap();
        assert_eq!(delta.header().provenance.method, entry.name);
        let network = field.base.network().with_classes(delta.header().classes as usize);
        for record in delta.records() {
            let spec = network.tensor(network.find(record.name).unwrap());
            assert_eq!(record.rows(), spec.rows(), "{} under {}", record.name, entry.name);
        }
        Weights::adapted(&field.base, &delta).unwrap();
    }
}

/// Catches: TPGM on DeiT-Ti as published, whose positions are resampled from 14 × 14 patches to 6 × 6: every kind of tensor moves, and
/// none leaves its ball.
#[test]
fn deit_tiny_adapts_at_96_pixels() {
    let field = Field::of("deit-tiny", 8, 3);
    for method in ["linear-probe", "tpgm", "tpgm-post-hoc"] {
        let settings = if method == "tpgm-post-hoc" { [("steps".to_owned(), 3.0)].into() } else { [].into() };
        let outcome = field.adapt(&fast(method, 96).with_settings(settings)).0.unwrap();
        let delta = Delta::parse(&outcome.delta).unwrap();
        check_constraints(&field, &delta, true);
        Weights::adapted(&field.base, &delta).unwrap();
        let moved = |name: &str| delta.records().any(|record| record.name == name);
        let kinds = [
            "cls_token",
            "pos_embed",
            "patch_embed.proj.weight",
            "patch_embed.proj.bias",
            "blocks.0.norm1.weight",
            "blocks.5.attn.qkv.weight",
            "blocks.11.attn.proj.bias",
            "blocks.11.mlp.fc2.weight",
            "norm.bias",
        ];
        assert!(moved("head.weight"), "{method}");
        let expected = method != "linear-probe";
        assert!(kinds.iter().all(|name| moved(name) == expected), "{method}");
    }
}
