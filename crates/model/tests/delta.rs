//! Tests of delta encoding and merging: decoded values stay in their ball, and invalid deltas are rejected.
#![allow(clippy::unwrap_used, reason = "a test that cannot prepare its files has failed")]

mod support;

use fieldfit_delta::{
    Codec, Constraint, Delta, HeadDescription, HeadOrigin, Header, Provenance, Task, TensorData as Stored, TensorKind,
    encode,
};
use fieldfit_model::import::{ImportRequest, import};
use fieldfit_model::{
    Base, CONSTRAINT_TOLERANCE, ModelError, TrainingResult, Weights, encode_delta, most_delta_bytes, most_delta_values,
};
use fieldfit_tensor::{Dtype, Norm, Params};
use fieldfit_tests::tiny;
use fieldfit_tpgm::{distances, project};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use support::{Model, find};

/// A new head of two classes and a δ around a base.
struct Run {
    delta: Params<f32>,
    radii: Vec<Option<f32>>,
    head_weight: Vec<f32>,
    head_bias: Vec<f32>,
    labels: Vec<String>,
}

impl Run {
    /// A run that moved nothing.
    fn still(base: &Base) -> Self {
        let features = base.network().head.features;
        Self {
            delta: Params::zeros(base.network()),
            radii: vec![None; base.network().tensors.len()],
            head_weight: (0..2 * features).map(|index| index as f32 / 256.0).collect(),
            head_bias: vec![0.5, -0.5],
            labels: vec!["cat".into(), "dog".into()],
        }
    }

    /// A run that moved every trainable tensor of the backbone to the edge of a ball of that size.
    fn to_the_edge(base: &Base, norm: Norm, radius: f32, seed: u64) -> Self {
        let mut run = Self::still(base);
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        for (id, spec) in base.network().tensors() {
            if spec.role.is_trainable() && !spec.role.is_head() {
                run.delta[id].iter_mut().for_each(|value| *value = random.random_range(-1.0..1.0));
                project(norm, &mut run.delta[id], spec.rows(), radius);
                run.radii[id.index()] = Some(radius);
            }
        }
        run
    }

    fn change<'a>(&'a self, norm: Norm, codecs: &'a [Codec]) -> TrainingResult<'a> {
        let Self { delta, radii, head_weight, head_bias, labels } = self;
        TrainingResult { delta, radii, norm, head_weight, head_bias, labels, input_size: 96, crop: 0.875, codecs }
    }

    fn encode(&self, base: &Base, norm: Norm, codec: Codec) -> Result<Vec<u8>, ModelError> {
        let of_shape = |shape: &[usize]| if shape.len() < 2 { Codec::F16 } else { codec };
        let codecs: Vec<_> = base.network().tensors().map(|(_, spec)| of_shape(&spec.shape)).collect();
        encode_delta(base, &self.change(norm, &codecs), Provenance::default(), Some([3; 32]))
    }
}

fn adapted(base: &Base, file: &[u8]) -> Result<Weights, ModelError> {
    Weights::adapted(base, &Delta::parse(file)?)
}

/// Catches: values added to the wrong tensor, a head left behind, an unmoved tensor that costs bytes.
#[test]
fn a_change_comes_back_as_it_was() {
    let model = Model::new();
    let base = model.open().unwrap();
    let mut run = Run::still(&base);
    let moved = base.network().find("_blocks.1._expand_conv.weight").unwrap();
    run.delta[moved].iter_mut().enumerate().for_each(|(index, value)| *value = index as f32 / 1024.0);
    run.radii[moved.index()] = Some(100.0);
    let file = run.encode(&base, Norm::L2, Codec::F16).unwrap();
    let delta = Delta::parse(&file).unwrap();

    let names: Vec<&str> = delta.records().map(|record| record.name).collect();
    assert_eq!(names, ["_blocks.1._expand_conv.weight", "_fc.weight", "_fc.bias"]);
    let header = delta.header();
    assert_eq!((header.base, header.parent, header.input_size, header.classes), (base.id().0, Some([3; 32]), 96, 2));

    let weights = Weights::adapted(&base, &delta).unwrap();
    assert_eq!(weights.labels, run.labels);
    assert_eq!((weights.input_size, weights.crop), (96, 0.875));
    assert_eq!(weights.network, base.network().with_classes(2));
    assert_eq!(weights.params[weights.network.head.weight], run.head_weight);
    assert_eq!(weights.params[weights.network.head.bias], run.head_bias);
    let theta = base.params::<f32>();
    for (id, spec) in base.network().tensors().filter(|(_, spec)| !spec.role.is_head()) {
        for (index, &value) in weights.params[id].iter().enumerate() {
            assert_eq!(value, theta[id][index] + run.delta[id][index], "{}", spec.name);
        }
    }
}

/// Catches: a base that runs under other labels than its own, another size or another head.
#[test]
fn a_base_runs_as_it_is() {
    let model = Model::new();
    let base = model.open().unwrap();
    let weights = Weights::of_base(&base);
    assert_eq!(weights.labels, base.labels());
    assert_eq!((weights.input_size, weights.crop), (32, 0.875));
    assert_eq!(weights.params, base.params());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Catches: rounding that pushes δ out of its constraint: on the edge, in radii down to where halves are subnormal and vanish.
    #[test]
    fn what_is_decoded_stays_in_its_ball(seed in any::<u64>(), exponent in -9.0..1.0_f32, is_row_wise: bool, codec in 0..Codec::ALL.len()) {
        thread_local!(static MODEL: Model = Model::new());
        let norm = if is_row_wise { Norm::Mars } else { Norm::L2 };
        let codec = Codec::ALL[codec];
        let radius = 10_f32.powf(exponent);
        MODEL.with(|model| {
            let base = model.open().unwrap();
            let file = Run::to_the_edge(&base, norm, radius, seed).encode(&base, norm, codec).unwrap();
            for record in Delta::parse(&file).unwrap().records().filter(|record| record.kind == TensorKind::Difference) {
                let constraint = record.constraint.unwrap();
                let (mut values, mut norms) = (vec![0.0; record.len()], Vec::new());
                record.decode_into(&mut values).unwrap();
                distances(norm, &values, record.rows(), &mut norms);
                let furthest = norms.into_iter().fold(0.0, f32::max);
                assert_eq!((constraint.radius, constraint.distance), (radius, furthest));
                assert!(furthest > 0.0 && furthest <= radius * (1.0 + CONSTRAINT_TOLERANCE), "{furthest} in {radius}");
            }
            adapted(&base, &file).unwrap();
        });
    }
}

/// Catches: shrinking that throws away more than rounding took: a δ on the edge of a ball of ordinary size stays there.
#[test]
fn what_is_decoded_is_still_what_was_learned() {
    let model = Model::new();
    let base = model.open().unwrap();
    for (norm, codec, error) in [(Norm::Mars, Codec::F16, 1e-3), (Norm::L2, Codec::Int8, 2e-2)] {
        let run = Run::to_the_edge(&base, norm, 0.5, 1);
        let weights = adapted(&base, &run.encode(&base, norm, codec).unwrap()).unwrap();
        let theta = base.params::<f32>();
        for (id, spec) in base.network().tensors().filter(|(id, _)| run.radii[id.index()].is_some()) {
            let moved = weights.params[id].iter().zip(&theta[id]).map(|(new, old)| new - old);
            let off: f32 = moved.zip(&run.delta[id]).map(|(found, meant)| (found - meant).powi(2)).sum::<f32>().sqrt();
            let length: f32 = run.delta[id].iter().map(|value| value * value).sum::<f32>().sqrt();
            assert!(off <= error * length, "{} under {codec:?}: {off} of {length}", spec.name);
        }
    }
}

/// Catches: a trainer that forgot to project: encoding must not hide it.
#[test]
fn a_delta_that_was_not_projected_is_refused() {
    let model = Model::new();
    let base = model.open().unwrap();
    let mut run = Run::to_the_edge(&base, Norm::L2, 0.5, 1);
    let id = base.network().find("_bn1.weight").unwrap();
    run.delta[id][3] += 1.0;
    let error = run.encode(&base, Norm::L2, Codec::F16).unwrap_err();
    assert!(matches!(&error, ModelError::OutsideBall { name, .. } if name == "_bn1.weight"), "{error:?}");
}

/// Catches: a run whose weights are NaN stored as an adaptation.
#[test]
fn a_delta_that_is_not_finite_is_refused() {
    let model = Model::new();
    let base = model.open().unwrap();
    for radius in [None, Some(1.0)] {
        let mut run = Run::still(&base);
        let id = base.network().find("_conv_stem.weight").unwrap();
        (run.delta[id][5], run.radii[id.index()]) = (f32::NAN, radius);
        let error = run.encode(&base, Norm::Mars, Codec::Int8).unwrap_err();
        assert!(error.to_string().contains("_conv_stem.weight"), "{error}");
    }
}

/// Catches: a movement that the codec rounds to nothing, stored as a tensor of zeros.
#[test]
fn what_rounds_to_nothing_is_not_stored() {
    let model = Model::new();
    let base = model.open().unwrap();
    let mut run = Run::still(&base);
    let id = base.network().find("_bn1.weight").unwrap();
    run.delta[id].fill(1e-9);
    let file = run.encode(&base, Norm::L2, Codec::F16).unwrap();
    assert_eq!(Delta::parse(&file).unwrap().records().count(), 2);
}

/// Catches: a delta that is run on weights it was not made for.
#[test]
fn a_delta_for_another_base_is_refused() {
    let model = Model::new();
    let base = model.open().unwrap();
    let file = Run::still(&base).encode(&base, Norm::L2, Codec::F16).unwrap();
    let other = Base::open(&tiny::base(model.temporary.path(), 8)).unwrap();
    let error = adapted(&other, &file).unwrap_err();
    assert!(
        matches!(&error, ModelError::DeltaBase { expected, found, .. } if *expected == other.id() && *found == base.id()),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(text.contains(&base.id().to_string()) && text.contains("tiny-8"), "{text}");
}

/// Catches: a file that was damaged in transport.
#[test]
fn a_delta_cut_short_or_with_a_flipped_bit_is_refused() {
    let model = Model::new();
    let base = model.open().unwrap();
    let file = Run::to_the_edge(&base, Norm::Mars, 0.5, 1).encode(&base, Norm::Mars, Codec::Int8).unwrap();
    for length in (0..file.len()).step_by(131).chain([file.len() - 1]) {
        assert!(matches!(adapted(&base, &file[..length]).unwrap_err(), ModelError::Delta(_)), "{length} bytes");
    }
    for position in (0..file.len()).step_by(131) {
        let mut damaged = file.clone();
        damaged[position] ^= 0x10;
        assert!(matches!(adapted(&base, &damaged).unwrap_err(), ModelError::Delta(_)), "byte {position}");
    }
}

/// Encodes tensors of anyone's making, besides a head.
fn forged(base: &Base, tensors: &[Stored<'_>], has_head: bool) -> Vec<u8> {
    let features = base.network().head.features;
    let (weight, bias, labels) = (vec![0.25; features], [0.5], ["cat"]);
    let head = |name, shape, values| Stored {
        name,
        shape,
        kind: TensorKind::Replacement,
        constraint: None,
        codec: Codec::F16,
        values,
    };
    let shape = [1, features];
    let mut all = tensors.to_vec();
    if has_head {
        all.extend([head("_fc.weight", &shape, &weight), head("_fc.bias", &[1], &bias)]);
    }
    encode(&header(base, 1), &labels, &all).unwrap()
}

/// Catches: a kept head under labels of somebody else's, one that is replaced all the same, and statistics taken for weights.
#[test]
fn a_kept_head_is_the_bases_and_moves_by_differences() {
    let model = Model::new();
    let base = model.open().unwrap();
    let labels: Vec<&str> = base.labels().iter().map(String::as_str).collect();
    let head = HeadDescription { origin: HeadOrigin::Kept, ..HeadDescription::default() };
    let kept = |labels: &[&str], tensors: &[Stored<'_>]| {
        adapted(&base, &encode(&Header { head, ..header(&base, labels.len()) }, labels, tensors).unwrap())
    };
    assert_eq!(kept(&labels, &[]).unwrap().params, base.params());
    let values = vec![0.25_f32; labels.len()];
    let shape = [labels.len()];
    let bias = |name, kind| Stored { name, shape: &shape, kind, constraint: None, codec: Codec::F16, values: &values };
    let moved = kept(&labels, &[bias("_fc.bias", TensorKind::Difference)]).unwrap();
    let start = base.params::<f32>();
    let id = base.network().head.bias;
    assert!(moved.params[id].iter().zip(&start[id]).all(|(moved, start)| *moved == start + 0.25));
    assert_eq!(kept(&labels, &[bias("features.other", TensorKind::Statistic)]).unwrap().params, start);

    let replaced = kept(&labels, &[bias("_fc.bias", TensorKind::Replacement)]).unwrap_err();
    assert!(matches!(replaced, ModelError::DeltaKind { .. }), "{replaced}");
    let mut renamed = labels.clone();
    renamed.reverse();
    for labels in [&renamed[..], &labels[1..]] {
        let error = kept(labels, &[]).unwrap_err();
        assert!(matches!(error, ModelError::DeltaKeptHead { .. }), "{error}");
    }
}

/// The header of a delta for that base.
fn header(base: &Base, classes: usize) -> Header {
    Header {
        base: base.id().0,
        parent: None,
        task: Task::Classification,
        input_size: 32,
        crop: 1.0,
        classes: classes as u32,
        tensors: 0,
        provenance: Provenance::default(),
        head: HeadDescription::default(),
    }
}

/// Catches: a file that claims a ball it doesn't keep: the promise of staying near the base would be worth nothing.
#[test]
fn a_ball_is_checked_on_load() {
    let model = Model::new();
    let base = model.open().unwrap();
    let values = [0.125_f32; 8];
    let distance = (8.0 * 0.125_f32 * 0.125).sqrt();
    let with_radius = |norm, radius| {
        let constraint = Some(Constraint { norm, radius, distance: 0.0 });
        let (name, shape) = ("_bn0.weight", [8]);
        let tensor = Stored {
            name,
            shape: &shape,
            kind: TensorKind::Difference,
            constraint,
            codec: Codec::F16,
            values: &values,
        };
        adapted(&base, &forged(&base, &[tensor], true))
    };
    for (norm, distance) in [(fieldfit_tensor::Norm::L2, distance), (fieldfit_tensor::Norm::Mars, 1.0)] {
        with_radius(norm, distance).unwrap();
        let error = with_radius(norm, distance * 0.998).unwrap_err();
        assert!(matches!(&error, ModelError::OutsideBall { name, .. } if name == "_bn0.weight"), "{error:?}");
    }
}

/// Catches: a record that writes past a tensor, into running statistics, or around the ball.
#[test]
fn records_change_what_they_may() {
    let model = Model::new();
    let base = model.open().unwrap();
    let refused = |name: &str, shape: &[usize], kind| {
        let values = vec![0.25_f32; shape.iter().product()];
        let tensor = Stored { name, shape, kind, constraint: None, codec: Codec::F16, values: &values };
        adapted(&base, &forged(&base, &[tensor], !name.starts_with("_fc"))).unwrap_err()
    };
    let error = refused("_blocks.9._bn0.weight", &[8], TensorKind::Difference);
    assert!(matches!(&error, ModelError::DeltaTensor { name, .. } if name == "_blocks.9._bn0.weight"), "{error:?}");
    for shape in [[7].as_slice(), &[2, 4], &[9]] {
        let error = refused("_bn0.weight", shape, TensorKind::Difference);
        assert!(matches!(&error, ModelError::DeltaShape { found, .. } if found == shape), "{error:?}");
    }
    for (name, shape, kind) in [
        ("_bn0.running_var", [8].as_slice(), TensorKind::Difference),
        ("_bn0.weight", &[8], TensorKind::Replacement),
        ("_fc.bias", &[1], TensorKind::Difference),
    ] {
        let error = refused(name, shape, kind);
        assert!(matches!(&error, ModelError::DeltaKind { name: n, .. } if n == name), "{error:?}");
    }
    let error = refused("_fc.bias", &[1], TensorKind::Replacement);
    assert!(matches!(&error, ModelError::DeltaHead { name } if name == "_fc.weight"), "{error:?}");
}

/// Catches: a sum of two finite numbers that isn't.
#[test]
fn merged_weights_are_finite() {
    let model = Model::new();
    let mut tensors = support::read_tensors(&model.temporary.path().join("tiny-7.safetensors"));
    find(&mut tensors, "_conv_stem.weight").bytes[8..12].copy_from_slice(&f32::MAX.to_le_bytes());
    let (weights, out) = (model.temporary.path().join("large.safetensors"), model.temporary.path().join("large"));
    let labels = model.labels();
    std::fs::write(&weights, support::serialise(&tensors)).unwrap();
    import(&ImportRequest::new(&weights, &out).of("efficientnet-tiny", &labels).with_dtype(Dtype::F32)).unwrap();
    let base = Base::open(&out).unwrap();
    let (shape, values) = ([8, 3, 3, 3], [9e37_f32; 216]);
    let (name, kind, codec) = ("_conv_stem.weight", TensorKind::Difference, Codec::Int8);
    let tensor = Stored { name, shape: &shape, kind, constraint: None, codec, values: &values };
    let error = adapted(&base, &forged(&base, &[tensor], true)).unwrap_err();
    assert!(matches!(&error, ModelError::DeltaNotFinite { name: n, index: 2 } if n == name), "{error:?}");
}

/// Catches: a file that takes a robot's memory before anyone asks what it is for: labels that no model needs.
#[test]
fn a_delta_longer_than_any_for_its_base_is_refused() {
    let model = Model::new();
    let base = model.open().unwrap();
    let label = "x".repeat(256);
    let labels = vec![label.as_str(); most_delta_bytes(&base) / 256 + 1];
    let file = encode(&header(&base, labels.len()), &labels, &[]).unwrap();
    let refused = Weights::adapted(&base, &Delta::parse(&file).unwrap()).unwrap_err();
    assert!(matches!(refused, ModelError::DeltaLength { found, .. } if found == file.len()), "{refused:?}");
}

/// Catches: a few bytes of a file that take a robot's memory: a head of many classes, all zeros, which cost nothing.
#[test]
fn a_delta_of_more_values_than_any_for_its_base_is_refused() {
    let model = Model::new();
    let base = model.open().unwrap();
    let features = base.network().head.features;
    let classes = most_delta_values(&base) / (features + 1) + 1;
    let (weight, bias) = (vec![0.0; classes * features], vec![0.0; classes]);
    let (weight_shape, bias_shape) = ([classes, features], [classes]);
    let head = |name, shape, values| Stored {
        name,
        shape,
        kind: TensorKind::Replacement,
        constraint: None,
        codec: Codec::Sparse,
        values,
    };
    let tensors = [head("_fc.weight", &weight_shape[..], &weight[..]), head("_fc.bias", &bias_shape, &bias)];
    let labels: Vec<String> = (0..classes).map(|class| class.to_string()).collect();
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let file = encode(&header(&base, classes), &labels, &tensors).unwrap();
    assert!(file.len() < most_delta_bytes(&base) / 2, "{} bytes", file.len());
    let refused = adapted(&base, &file).unwrap_err();
    assert!(
        matches!(refused, ModelError::DeltaValues { found, .. } if found == classes * (features + 1)),
        "{refused:?}"
    );
}
