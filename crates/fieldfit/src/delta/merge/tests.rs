//! Tests of merged deltas: values, radii and heads against means computed in f64, and each reason to refuse.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot prepare its files has failed")]

use super::delta_mean::provenance;
use super::*;
use crate::delta::{pack, sign};
use crate::{Device, Frame, PixelFormat, Pixels, Runtime};
use fieldfit_delta::{
    Codec, Constraint, Delta, HeadDescription, HeadOrigin, NoveltyThreshold, Provenance, SecretKey, TensorData,
    TensorKind, encode,
};
use fieldfit_model::{
    CONSTRAINT_TOLERANCE, DeltaHead, FeatureStatistics, HeadOutputs, LabelThresholds, TargetScales, TrainingResult,
    Weights, encode_delta_with,
};
use fieldfit_tensor::{Matrix, Norm, Params, TensorId};
use fieldfit_tests::{message, tiny};
use fieldfit_tpgm::{distances, project};
use std::fs;

/// A base and deltas of it, in a folder.
struct Scene {
    folder: tempfile::TempDir,
    base: Base,
}

/// What a delta is made of.
struct Draft {
    delta: Params<f32>,
    radii: Vec<Option<f32>>,
    norm: Norm,
    codec: Codec,
    labels: Vec<String>,
    /// `[classes, features]`.
    rows: Vec<f32>,
    biases: Vec<f32>,
    input_size: u32,
    crop: f32,
    head: HeadDescription,
    statistics: FeatureStatistics,
    outputs: HeadOutputs,
    seed: u64,
}

/// A value in [−1, 1) that two numbers give.
fn noise(seed: u64, index: usize) -> f32 {
    let mut z = (seed << 32 ^ index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((z ^ z >> 27) >> 40) as f32 / (1 << 23) as f32 - 1.0
}

impl Draft {
    /// One that moves every trainable tensor of the backbone to the edge of a ball of that radius, under a head of these labels.
    fn new(base: &Base, seed: u64, radius: f32, labels: &[&str]) -> Self {
        let network = base.network();
        let is_moved = |id: TensorId| network.tensor(id).role.is_trainable() && !network.tensor(id).role.is_head();
        let mut delta = Params::zeros_where(network, is_moved);
        for (id, spec) in network.tensors().filter(|(id, _)| is_moved(*id)) {
            let start = 1000 * id.index();
            delta[id].iter_mut().enumerate().for_each(|(index, value)| *value = noise(seed, start + index));
            project(Norm::L2, &mut delta[id], spec.rows(), radius);
        }
        let features = network.head.features;
        Self {
            radii: network.tensors().map(|(id, _)| is_moved(id).then_some(radius)).collect(),
            delta,
            norm: Norm::L2,
            codec: Codec::F32,
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            // Exact as f16.
            rows: (0..labels.len() * features).map(|index| (64.0 * noise(seed, index)).round() / 64.0).collect(),
            biases: (0..labels.len()).map(|class| class as f32 + seed as f32 / 4.0).collect(),
            input_size: 32,
            crop: 0.875,
            head: HeadDescription::default(),
            statistics: FeatureStatistics::default(),
            outputs: HeadOutputs::Classes,
            seed,
        }
    }

    /// One under the base's own head, whose rows it moves as well.
    fn kept(base: &Base, seed: u64, radius: f32) -> Self {
        let labels: Vec<&str> = base.labels().iter().map(String::as_str).collect();
        let mut draft = Self::new(base, seed, radius, &labels);
        draft.head.origin = HeadOrigin::Kept;
        let head = base.network().head.weight;
        let mut values: Vec<f32> = (0..base.network().tensor(head).len()).map(|index| noise(seed, index)).collect();
        project(Norm::L2, &mut values, base.network().tensor(head).rows(), radius);
        draft.delta.replace(head, values);
        draft.radii[head.index()] = Some(radius);
        draft
    }

    fn row_wise(mut self, base: &Base, radius: f32) -> Self {
        self.norm = Norm::Mars;
        for (id, spec) in base.network().tensors() {
            if self.radii[id.index()].is_some() {
                project(Norm::Mars, &mut self.delta[id], spec.rows(), radius);
            }
        }
        self
    }

    fn encode(&self, base: &Base) -> Vec<u8> {
        let codecs = vec![self.codec; base.network().tensors.len()];
        let result = TrainingResult {
            delta: &self.delta,
            radii: &self.radii,
            norm: self.norm,
            head_weight: &self.rows,
            head_bias: &self.biases,
            labels: &self.labels,
            input_size: self.input_size,
            crop: self.crop,
            codecs: &codecs,
        };
        let provenance = Provenance { seed: self.seed, ..Provenance::default() };
        let encoded = self.statistics.with_tensors(|statistics| {
            let head = DeltaHead { description: self.head, outputs: &self.outputs, statistics };
            encode_delta_with(base, &result, &head, provenance, None)
        });
        encoded.unwrap()
    }
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let base = Base::open(&tiny::base(folder.path(), 1)).unwrap();
        Self { folder, base }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, draft: &Draft) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, draft.encode(&self.base)).unwrap();
        path
    }

    /// Drafts of the labels, written and merged; returns the merged file.
    fn merged(&self, drafts: &[&Draft], weights: Option<&[f64]>) -> (Merged, Vec<u8>) {
        let paths: Vec<PathBuf> =
            drafts.iter().enumerate().map(|(index, draft)| self.write(&format!("{index}.delta"), draft)).collect();
        self.merge(&paths, weights)
    }

    fn merge(&self, paths: &[PathBuf], weights: Option<&[f64]>) -> (Merged, Vec<u8>) {
        let out = self.path("merged.delta");
        let merged = merge(paths, self.path("tiny-1"), weights, &out).unwrap();
        (merged, fs::read(out).unwrap())
    }

    /// The message of a merge that has to fail, which leaves the file that is at `out`.
    fn refused(&self, paths: &[PathBuf], weights: Option<&[f64]>) -> String {
        let out = self.path("kept.delta");
        // A delta, as its first bytes say: nothing else would be replaced by one.
        let earlier = b"\x89FFDELTA, an earlier one";
        fs::write(&out, earlier).unwrap();
        let error = merge(paths, self.path("tiny-1"), weights, &out).unwrap_err();
        assert_eq!(fs::read(out).unwrap(), earlier);
        message(&error)
    }

    fn id(&self, name: &str) -> TensorId {
        self.base.network().find(name).unwrap()
    }
}

/// The decoded values, by tensor.
fn values(file: &[u8]) -> Vec<(String, Vec<f32>, Option<Constraint>)> {
    let delta = Delta::parse(file).unwrap();
    let decoded = delta.records().map(|record| {
        let mut values = vec![0.0; record.len()];
        record.decode_into(&mut values).unwrap();
        (record.name.to_owned(), values, record.constraint)
    });
    decoded.collect()
}

/// ‖one − other‖ / ‖other‖.
fn relative_error(one: &[f32], other: &[f64]) -> f64 {
    let error: f64 = one.iter().zip(other).map(|(one, other)| (f64::from(*one) - other).powi(2)).sum();
    (error / other.iter().map(|value| value * value).sum::<f64>()).sqrt()
}

/// Σ w·v.
fn weighted(parts: &[(f64, &[f32])]) -> Vec<f64> {
    let length = parts.iter().map(|(_, values)| values.len()).max().unwrap();
    (0..length)
        .map(|index| parts.iter().map(|(w, values)| w * f64::from(values.get(index).copied().unwrap_or(0.0))).sum())
        .collect()
}

/// Catches: a mean that is a sum, a share of weights that do not add up to 1, a re-encoding that loses what each codec stores.
#[test]
fn the_mean_of_equal_deltas_is_the_delta() {
    let scene = Scene::new();
    for codec in Codec::ALL {
        let mut draft = Draft::new(&scene.base, 1, 0.5, &["cat", "dog"]);
        draft.codec = codec;
        let one = draft.encode(&scene.base);
        draft.seed = 2;
        let paths = [scene.path("one.delta"), scene.write("other.delta", &draft)];
        fs::write(&paths[0], &one).unwrap();
        let (_, merged) = scene.merge(&paths, Some(&[3.0, 1.0]));
        for ((name, found, constraint), (expected_name, expected, expected_constraint)) in
            values(&merged).into_iter().zip(values(&one))
        {
            assert_eq!(name, expected_name);
            let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
            assert!(relative_error(&found, &expected) < 1e-2, "{name} as {codec:?}");
            let radius = |constraint: Option<Constraint>| constraint.map(|constraint| constraint.radius);
            assert_eq!(radius(constraint), radius(expected_constraint), "{name}");
        }
        assert_eq!(Delta::parse(&merged).unwrap().header().tensors, Delta::parse(&one).unwrap().header().tensors);
    }
}

/// Catches: weights that are not honoured or go to another delta, a tensor left out by a delta that counts as missing instead of 0,
/// radii that are another mean than the values, a radius where a delta has none.
#[test]
fn weights_are_honoured() {
    let scene = Scene::new();
    let [moved_once, free] = ["_conv_stem.weight", "_bn1.weight"].map(|name| scene.id(name));
    let mut drafts =
        [(1, 0.5), (2, 0.25), (3, 2.0)].map(|(seed, radius)| Draft::new(&scene.base, seed, radius, &["cat", "dog"]));
    for draft in &mut drafts[1..] {
        draft.delta.replace(moved_once, Vec::new());
        draft.radii[moved_once.index()] = None;
    }
    drafts[1].radii[free.index()] = None;
    let (merged, file) = scene.merged(&[&drafts[0], &drafts[1], &drafts[2]], Some(&[1.0, 2.0, 5.0]));
    let shares = [0.125, 0.25, 0.625];
    assert_eq!(merged.parents.iter().map(|parent| parent.weight).collect::<Vec<_>>(), shares);
    for (name, found, constraint) in values(&file) {
        let id = scene.id(&name);
        let spec = scene.base.network().tensor(id);
        let of = |draft: &Draft| match (spec.role.is_head(), id == scene.base.network().head.weight) {
            (false, _) => draft.delta[id].to_vec(),
            (true, true) => draft.rows.clone(),
            (true, false) => draft.biases.clone(),
        };
        let parts = drafts.each_ref().map(of);
        let expected = weighted(&[0, 1, 2].map(|index| (shares[index], &parts[index][..])));
        let tolerance = if spec.role.is_head() { 1e-3 } else { 1e-6 };
        assert!(relative_error(&found, &expected) < tolerance, "{name}");
        let radius = match id {
            id if id == moved_once => Some(0.125 * 0.5),
            id if id == free || spec.role.is_head() => None,
            _ => Some(0.125 * 0.5 + 0.25 * 0.25 + 0.625 * 2.0),
        };
        assert_eq!(constraint.map(|constraint| constraint.radius), radius, "{name}");
    }
}

/// Catches: a mean that leaves the ball of the mean radius, before or after encoding, in either norm and for each codec; a codec that
/// loses more of the mean than it may.
#[test]
fn the_mean_lies_in_the_ball_of_the_mean_radius() {
    let scene = Scene::new();
    for (case, codec) in Codec::ALL.into_iter().enumerate() {
        for is_row_wise in [false, true] {
            let radii = [0.5, 0.02];
            let drafts = [0, 1].map(|index| {
                let mut draft = Draft::new(&scene.base, (10 * case + index) as u64, radii[index], &["cat", "dog"]);
                draft.codec = codec;
                if is_row_wise { draft.row_wise(&scene.base, radii[index]) } else { draft }
            });
            let inputs = drafts.each_ref().map(|draft| values(&draft.encode(&scene.base)));
            let (_, file) = scene.merged(&[&drafts[0], &drafts[1]], Some(&[1.0, 3.0]));
            let radius = 0.25 * 0.5 + 0.75 * 0.02;
            for (name, found, constraint) in values(&file).into_iter().filter(|(_, _, constraint)| constraint.is_some())
            {
                let (constraint, rows) = (constraint.unwrap(), scene.base.network().tensor(scene.id(&name)).rows());
                assert_eq!((constraint.radius, constraint.norm), (radius, drafts[0].norm), "{name}");
                let mut norms = Vec::new();
                distances(constraint.norm, &found, rows, &mut norms);
                assert!(norms.iter().all(|norm| *norm <= radius * (1.0 + CONSTRAINT_TOLERANCE)), "{name}: {norms:?}");
                let part = |index: usize| inputs[index].iter().find(|(other, ..)| *other == name);
                let parts = [0, 1].map(|index| part(index).map_or(&[][..], |(_, values, _)| values));
                let expected = weighted(&[(0.25, parts[0]), (0.75, parts[1])]);
                assert!(relative_error(&found, &expected) < 0.021, "{name} as {codec:?}");
            }
        }
    }
}

/// Catches: the mean of signs, half of which are zeros, stored as signs again; a codec for everything that is larger than it must be.
#[test]
fn a_mean_takes_the_smallest_codec_that_keeps_it() {
    let scene = Scene::new();
    let stem = scene.id("_conv_stem.weight");
    let sign = |seed: u64| {
        let mut draft = Draft::new(&scene.base, seed, 0.5, &["cat", "dog"]);
        draft.codec = Codec::Sign;
        // One scale for all rows.
        draft.delta[stem].iter_mut().for_each(|value| *value = 0.0078125 * value.signum());
        draft
    };
    let codec = |file: &[u8]| {
        let delta = Delta::parse(file).unwrap();
        delta.records().find(|record| record.name == "_conv_stem.weight").unwrap().codec
    };
    let again = Draft { seed: 3, ..sign(1) };
    assert_eq!(codec(&scene.merged(&[&sign(1), &again], None).1), Codec::Sign);
    assert_eq!(codec(&scene.merged(&[&sign(1), &sign(2)], None).1), Codec::Ternary);
    let half = Draft { codec: Codec::F16, ..Draft::new(&scene.base, 4, 0.5, &["cat", "dog"]) };
    assert_eq!(codec(&scene.merged(&[&sign(1), &half], None).1), Codec::F16);
}

/// Catches: rows that go to another class where deltas name their classes in another order, a class that one delta lacks and that
/// counts as 0, an order of classes that depends on their names.
#[test]
fn heads_are_merged_by_the_names_of_their_classes() {
    let scene = Scene::new();
    let features = scene.base.network().head.features;
    let one = Draft::new(&scene.base, 1, 0.5, &["dog", "cat", "owl"]);
    let other = Draft::new(&scene.base, 2, 0.5, &["owl", "bee", "dog"]);
    let (merged, file) = scene.merged(&[&one, &other], Some(&[3.0, 1.0]));
    let classes: Vec<(&str, usize)> = merged.classes.iter().map(|class| (class.label.as_str(), class.deltas)).collect();
    assert_eq!(classes, [("dog", 2), ("cat", 1), ("owl", 2), ("bee", 1)]);
    let weights = Weights::adapted(&scene.base, &Delta::parse(&file).unwrap()).unwrap();
    assert_eq!(weights.labels, ["dog", "cat", "owl", "bee"]);
    let row =
        |draft: &Draft, class: usize| [&draft.rows[class * features..][..features], &[draft.biases[class]]].concat();
    let expected = [
        weighted(&[(0.75, &row(&one, 0)), (0.25, &row(&other, 2))]),
        weighted(&[(1.0, &row(&one, 1))]),
        weighted(&[(0.75, &row(&one, 2)), (0.25, &row(&other, 0))]),
        weighted(&[(1.0, &row(&other, 1))]),
    ];
    let head = weights.network.head;
    for (class, expected) in expected.iter().enumerate() {
        let found = [&weights.params[head.weight][class * features..][..features], &[weights.params[head.bias][class]]]
            .concat();
        assert!(relative_error(&found, expected) < 1e-3, "class {class}");
        let is_alone = merged.classes[class].deltas == 1;
        assert!(!is_alone || weighted(&[(1.0, &found)]) == *expected, "class {class} is as its delta has it");
    }
    let norm = |draft: &Draft| {
        let norms =
            draft.rows.chunks(features).map(|row| row.iter().map(|value| f64::from(value * value)).sum::<f64>().sqrt());
        norms.sum::<f64>() / 3.0
    };
    for (parent, draft) in merged.parents.iter().zip([&one, &other]) {
        assert!((parent.head_norm.unwrap() - norm(draft)).abs() < 1e-4, "{parent:?}");
    }
}

/// Catches: a kept head that is dropped, replaced, or not averaged like any tensor.
#[test]
fn kept_heads_are_averaged_as_any_tensor() {
    let scene = Scene::new();
    let drafts = [1, 2].map(|seed| Draft::kept(&scene.base, seed, 0.5));
    let (merged, file) = scene.merged(&[&drafts[0], &drafts[1]], None);
    let delta = Delta::parse(&file).unwrap();
    assert_eq!((delta.header().head.origin, merged.classes.len()), (HeadOrigin::Kept, scene.base.labels().len()));
    assert!(merged.classes.iter().all(|class| class.deltas == 2));
    assert!(merged.parents.iter().all(|parent| parent.head_norm.is_none()));
    let head = scene.base.network().head.weight;
    let (_, found, constraint) = values(&file).into_iter().find(|(name, ..)| scene.id(name) == head).unwrap();
    let expected = weighted(&drafts.each_ref().map(|draft| (0.5, &draft.delta[head])));
    assert!(relative_error(&found, &expected) < 1e-6);
    assert_eq!(constraint.unwrap().radius, 0.5);
    Weights::adapted(&scene.base, &delta).unwrap();
}

/// Catches: a mean that depends on which delta comes first.
#[test]
fn the_order_of_the_deltas_orders_the_classes_alone() {
    let scene = Scene::new();
    let drafts = [(1, ["dog", "cat"]), (2, ["cat", "owl"]), (3, ["bee", "dog"])]
        .map(|(seed, labels)| Draft::new(&scene.base, seed, 0.5, &labels));
    let [one, two, three] = &drafts;
    let weights_of = |file: &[u8]| Weights::adapted(&scene.base, &Delta::parse(file).unwrap()).unwrap();
    let (_, file) = scene.merged(&[one, two, three], Some(&[1.0, 2.0, 5.0]));
    let (_, turned) = scene.merged(&[three, one, two], Some(&[5.0, 1.0, 2.0]));
    let (first, second) = (weights_of(&file), weights_of(&turned));
    let head = first.network.head;
    for (id, spec) in first.network.tensors().filter(|(_, spec)| !spec.role.is_head()) {
        let expected: Vec<f64> = first.params[id].iter().copied().map(f64::from).collect();
        assert!(relative_error(&second.params[id], &expected) < 1e-6, "{}", spec.name);
    }
    assert_eq!(second.labels, ["bee", "dog", "cat", "owl"]);
    for (class, label) in first.labels.iter().enumerate() {
        let other = second.labels.iter().position(|other| other == label).unwrap();
        let row = |weights: &Weights, class: usize| {
            weights.params[head.weight][class * head.features..][..head.features].to_vec()
        };
        let expected: Vec<f64> = row(&first, class).into_iter().map(f64::from).collect();
        assert!(relative_error(&row(&second, other), &expected) < 1e-3, "{label}");
    }
}

/// Catches: bytes that depend on a clock, an earlier file, a signature or a frame around a delta.
#[test]
fn the_same_deltas_and_weights_give_the_same_bytes() {
    let scene = Scene::new();
    let paths =
        [1, 2].map(|seed| scene.write(&format!("{seed}.delta"), &Draft::new(&scene.base, seed, 0.5, &["cat", "dog"])));
    let (merged, file) = scene.merge(&paths, None);
    assert_eq!((merged.bytes as usize, &merged.hash), (file.len(), &hex(Delta::parse(&file).unwrap().hash())));
    assert_eq!(scene.merge(&paths, None), (merged, file.clone()));
    let [packed, signed] = ["packed.zst", "signed.delta"].map(|name| scene.path(name));
    pack(&paths[0], &packed).unwrap();
    sign(&paths[1], &SecretKey::from_seed(&[7; 32]), Some(1), &signed).unwrap();
    let (merged, again) = scene.merge(&[packed, signed], Some(&[2.0, 2.0]));
    assert_eq!(again, file);
    assert!(Delta::parse(&file).unwrap().signature().is_none());
    let options = Delta::parse(&file).unwrap().header().provenance.options.to_string();
    let expected = merged.parents.iter().map(|parent| format!("{}:0.500000", &parent.hash[..16])).collect::<Vec<_>>();
    assert_eq!(options, format!("parents={}", expected.join(",")));
}

/// Catches: parents of a large merge that do not fit the provenance and vanish from it.
#[test]
fn the_provenance_has_room_for_every_parent() {
    let parent = |index: usize| MergeParent {
        path: PathBuf::new(),
        hash: format!("{index:064x}"),
        weight: 1.0 / MAX_MERGED_DELTAS as f64,
        classes: 2,
        head_norm: None,
    };
    let made = provenance(&(0..MAX_MERGED_DELTAS).map(parent).collect::<Vec<_>>());
    assert_eq!(made.options.matches(':').count(), MAX_MERGED_DELTAS);
    assert_eq!((made.method.as_str(), made.fieldfit.as_str()), ("merge", env!("CARGO_PKG_VERSION")));
}

/// Catches: statistics of one backbone, and a threshold that depends on them, recorded for another; taught classes that are then said
/// to be means.
#[test]
fn statistics_are_left_out() {
    let scene = Scene::new();
    let plain = Draft::new(&scene.base, 1, 0.5, &["cat", "dog"]);
    let mut taught = Draft::new(&scene.base, 2, 0.5, &["cat", "dog"]);
    let features = scene.base.network().head.features;
    taught.statistics.means = Matrix { rows: 2, columns: features, values: vec![0.5; 2 * features] };
    taught.head.taught = 1;
    taught.head.novelty = Some(NoveltyThreshold { distance: 3.0, false_alarm_rate: 0.05 });
    let (merged, file) = scene.merged(&[&plain, &taught], None);
    assert!(merged.drops_statistics);
    let delta = Delta::parse(&file).unwrap();
    assert_eq!(delta.header().head, HeadDescription::default());
    assert!(delta.records().all(|record| record.kind != TensorKind::Statistic));
    let again = Draft { seed: 3, ..plain };
    assert!(!scene.merged(&[&Draft::new(&scene.base, 1, 0.5, &["cat", "dog"]), &again], None).0.drops_statistics);
}

/// Catches: a merged delta that no runtime opens, or that answers with other classes.
#[test]
fn a_runtime_runs_a_merged_delta() {
    let scene = Scene::new();
    let one = Draft::new(&scene.base, 1, 0.05, &["dog", "cat"]);
    let other = Draft::new(&scene.base, 2, 0.05, &["cat", "owl"]);
    scene.merged(&[&one, &other], None);
    let builder = Runtime::builder(scene.path("tiny-1")).device(Device::Cpu { threads: 1 });
    let runtime = builder.delta(scene.path("merged.delta")).open().unwrap();
    let frame = vec![90_u8; 40 * 30 * 3];
    let answer = runtime.infer(&Frame::Pixels(Pixels::packed(&frame, PixelFormat::Rgb8, 40, 30))).unwrap();
    let mut labels: Vec<&str> = answer.top().map(|candidate| candidate.label).collect();
    labels.sort_unstable();
    assert_eq!(labels, ["cat", "dog", "owl"]);
}

/// Catches: a mean of one delta, of more than its provenance lists, or by weights that make none.
#[test]
fn numbers_and_weights_that_make_no_mean_are_refused() {
    let scene = Scene::new();
    let paths =
        [1, 2].map(|seed| scene.write(&format!("{seed}.delta"), &Draft::new(&scene.base, seed, 0.5, &["cat", "dog"])));
    assert!(scene.refused(&paths[..1], None).contains("expected 2 to 32 deltas to merge, found 1"));
    assert!(scene.refused(&[], None).contains("found 0"));
    assert!(scene.refused(&vec![paths[0].clone(); 33], None).contains("found 33"));
    assert!(scene.refused(&paths, Some(&[1.0])).contains("expected 2 weights, one for each delta, found 1"));
    let second = [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-9].map(|weight| ([1.0, weight], "2.delta"));
    let first = [([1.0, 1e300], "1.delta"), ([f64::MAX; 2], "1.delta"), ([-1.0; 2], "1.delta")];
    for (weights, path) in second.into_iter().chain(first) {
        let error = scene.refused(&paths, Some(&weights));
        let expected = "expected a finite number above 0 and at least 0.000001 of all weights, found";
        assert!(
            error.contains("weight of ") && error.contains(path) && error.contains(expected),
            "{weights:?}: {error}"
        );
    }
    let error = scene.refused(&[paths[0].clone(), paths[0].clone()], None);
    assert!(error.contains("are the same delta: give it once"), "{error}");
}

/// Catches: deltas merged that differ in what has no mean, and an error that does not name the file.
#[test]
fn deltas_that_do_not_agree_are_refused() {
    let scene = Scene::new();
    let labels = ["cat", "dog"];
    let draft = || Draft::new(&scene.base, 2, 0.5, &labels);
    let first = scene.write("first.delta", &Draft::new(&scene.base, 1, 0.5, &labels));
    let others = [
        (Draft { input_size: 48, ..draft() }, "expected the input size of the first delta, 32, found 48"),
        (Draft { crop: 1.0, ..draft() }, "expected the crop of the first delta, 0.875, found 1"),
        (draft().row_wise(&scene.base, 0.5), "expected the norm of the first delta, L2, found MARS"),
        (
            Draft::kept(&scene.base, 2, 0.5),
            "expected the head of the first delta, one of its own classes, found the base's, kept",
        ),
        (Draft::new(&scene.base, 2, 0.5, &["cat", "cat"]), "two classes are named `cat`"),
    ];
    for (other, expected) in others {
        let error = scene.refused(&[first.clone(), scene.write("other.delta", &other)], None);
        assert!(error.contains("other.delta") && error.contains(expected), "{error}");
    }
}

/// Catches: a delta of another base, one outside its radius, a damaged one, or a missing one merged into the mean, or not named.
#[test]
fn deltas_that_do_not_fit_are_refused() {
    let scene = Scene::new();
    let first = scene.write("first.delta", &Draft::new(&scene.base, 1, 0.5, &["cat", "dog"]));
    let other = scene.path("other.delta");
    let refused = |expected: &str| {
        let error = scene.refused(&[first.clone(), other.clone()], None);
        assert!(error.contains("other.delta") && error.contains(expected), "{error}");
    };
    refused("cannot read");
    let foreign = Base::open(&tiny::base(scene.folder.path(), 2)).unwrap();
    fs::write(&other, Draft::new(&foreign, 2, 0.5, &["cat", "dog"]).encode(&foreign)).unwrap();
    refused("the delta is for base");
    fs::write(&other, &fs::read(&first).unwrap()[..500]).unwrap();
    refused("found 500");
    fs::write(&other, b"no delta").unwrap();
    refused("not a delta file");

    // A file that states a radius which its values leave.
    let file = fs::read(&first).unwrap();
    let delta = Delta::parse(&file).unwrap();
    let (values, labels) = (values(&file), delta.labels().collect::<Vec<_>>());
    let shapes: Vec<Vec<usize>> =
        delta.records().map(|record| record.shape.iter().map(|side| *side as usize).collect()).collect();
    let tensors: Vec<TensorData<'_>> = (values.iter().zip(&shapes).zip(delta.records()))
        .map(|(((name, values, constraint), shape), record)| TensorData {
            name,
            shape,
            kind: record.kind,
            constraint: constraint.map(|constraint| Constraint { radius: constraint.radius / 2.0, ..constraint }),
            codec: Codec::F32,
            values,
        })
        .collect();
    fs::write(&other, encode(delta.header(), &labels, &tensors).unwrap()).unwrap();
    refused("expected at most its radius 0.25");
}

/// Catches: a head of so many classes that the merged delta is refused wherever it is to run.
#[test]
fn more_classes_than_a_delta_has_room_for_are_refused() {
    let scene = Scene::new();
    let features = scene.base.network().head.features;
    let most = most_delta_bytes(&scene.base) / (2 * (features + 1)) * 3 / 5;
    let paths = ["a", "b"].map(|name| {
        let labels: Vec<String> = (0..most).map(|class| format!("{name}{class}")).collect();
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let mut draft = Draft::new(&scene.base, 1, 0.5, &labels);
        draft.codec = Codec::Sign;
        scene.write(name, &draft)
    });
    let error = scene.refused(&paths, None);
    assert!(error.contains("merge deltas of fewer classes"), "{error}");
    let folder = merge(&paths, scene.path("tiny-1"), None, scene.path("tiny-1")).unwrap_err();
    assert!(message(&folder).contains("found a folder"), "{folder}");
}

/// Catches: targets averaged in standard deviations of different sizes, means that are scaled or lost, a threshold of one parent.
#[test]
fn targets_are_averaged_in_units_and_labels_with_their_thresholds() {
    let scene = Scene::new();
    let features = scene.base.network().head.features;
    let draft = |seed, outputs| Draft { outputs, ..Draft::new(&scene.base, seed, 0.5, &["tilt [deg]", "fill"]) };
    let scales =
        |means: [f32; 2], deviations: [f32; 2]| TargetScales { means: means.into(), deviations: deviations.into() };
    let one = draft(1, HeadOutputs::Values(scales([10.0, 0.5], [2.0, 0.25])));
    let other = draft(2, HeadOutputs::Values(scales([30.0, 0.7], [8.0, 0.75])));
    let (_, file) = scene.merged(&[&one, &other], Some(&[1.0, 3.0]));
    let weights = |file: &[u8]| Weights::adapted(&scene.base, &Delta::parse(file).unwrap()).unwrap();
    let merged = weights(&file);
    let HeadOutputs::Values(found) = &merged.outputs else { panic!("values become {:?}", merged.outputs) };
    assert!((found.means[0] - 25.0).abs() < 1e-5 && (found.deviations[1] - 0.625).abs() < 1e-6, "{found:?}");
    let parents = [&one, &other].map(|draft| weights(&draft.encode(&scene.base)));
    let head = merged.network.head;
    for (id, length) in [(head.weight, 2 * features), (head.bias, 2)] {
        for index in 0..length {
            let [one, other] = [0, 1].map(|parent| parents[parent].params[id][index]);
            let (expected, found) = (0.25 * one + 0.75 * other, merged.params[id][index]);
            assert!((found - expected).abs() < 2e-3 * expected.abs().max(8.0), "{index}: {found}, not {expected}");
        }
    }
    let one = draft(1, HeadOutputs::Labels(LabelThresholds(vec![0.25, 0.5])));
    let other = draft(2, HeadOutputs::Labels(LabelThresholds(vec![0.75, 0.5])));
    let (_, file) = scene.merged(&[&one, &other], None);
    assert_eq!(weights(&file).outputs, HeadOutputs::Labels(LabelThresholds(vec![0.5; 2])));
    let classes = scene.write("classes.delta", &draft(3, HeadOutputs::Classes));
    let labels = scene.write("labels.delta", &one);
    let error = scene.refused(&[labels, classes], None);
    assert!(
        error.contains("expected the task of the first delta, multi-label classification, found classification"),
        "{error}"
    );
}
