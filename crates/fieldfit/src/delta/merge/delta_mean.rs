//! Delta mean: sums deltas one by one, and encodes their mean.

use super::merged_head::{HeadMean, MergedHead, mean_row_norm};
use super::{MergeError, MergeParent, MergedClass};
use crate::Error;
use crate::delta::file::{decoded, parse, read_for};
use crate::info::hex;
use fieldfit_delta::{Codec, Delta, HeadDescription, HeadOrigin, Header, Provenance, Record, TensorKind};
use fieldfit_model::{Base, DeltaHead, FeatureStatistics, HeadOutputs, TrainingResult, Weights, encode_delta_with};
use fieldfit_tensor::{Norm, Params, Task, TensorId};
use fieldfit_tpgm::project;
use std::fmt::Display;
use std::path::Path;

/// Maximum error of encoding a tensor's mean, relative to its L2 norm.
const MAX_ENCODING_ERROR: f64 = 0.02;
/// Digits of a parent's hash in the provenance.
const HASH_DIGITS: usize = 16;

/// Mean in progress: sums over the deltas so far.
pub(super) struct DeltaMean<'a> {
    base: &'a Base,
    /// Properties that every delta shares; `None` before the first.
    shared: Option<Shared>,
    /// Σ w·δ of each tensor; empty where no delta moved it.
    sums: Params<f64>,
    /// Σ w·γ of each tensor, in the network's order; `None` where a delta moved it without a radius.
    radii: Vec<Option<f64>>,
    /// Norm of all constraints; `None` before the first.
    norm: Option<Norm>,
    /// Largest codec of each tensor, in the network's order.
    codecs: Vec<Codec>,
    head: MergedHead,
    parents: Vec<MergeParent>,
    has_statistics: bool,
}

/// Encoded mean.
pub(super) struct EncodedMean {
    pub file: Vec<u8>,
    pub classes: Vec<MergedClass>,
    pub parents: Vec<MergeParent>,
    /// Whether a delta records feature statistics.
    pub drops_statistics: bool,
}

/// Properties in which deltas must agree to have a mean.
#[derive(Debug, Clone, Copy)]
struct Shared {
    task: Task,
    input_size: u32,
    crop: f32,
    origin: HeadOrigin,
}

impl<'a> DeltaMean<'a> {
    pub fn new(base: &'a Base) -> Self {
        let tensors = base.network().tensors.len();
        Self {
            base,
            shared: None,
            sums: Params::zeros_where(base.network(), |_| false),
            radii: vec![Some(0.0); tensors],
            norm: None,
            codecs: vec![Codec::ALL[0]; tensors],
            head: MergedHead::default(),
            parents: Vec::new(),
            has_statistics: false,
        }
    }

    /// Adds the delta in that file, with its share of the mean.
    ///
    /// # Errors
    /// If it cannot be read, does not fit the base or leaves its radii, was added before, or has no mean with those before.
    pub fn add(&mut self, path: &Path, share: f64) -> Result<(), Error> {
        let file = read_for(self.base, path)?;
        let delta = parse(path, &file)?;
        let adapted = Weights::adapted(self.base, &delta)
            .map_err(|source| MergeError::Unfit { path: path.to_owned(), source: Box::new(source) })?;
        let origin = self.check(path, &delta)?;
        for record in delta.records().filter(|record| record.kind == TensorKind::Difference) {
            // A delta that fits its base names its tensors.
            let Some(id) = self.base.network().find(record.name) else { continue };
            self.add_difference(path, id, &record, share)?;
        }
        let head_norm = match origin {
            HeadOrigin::Kept => None,
            HeadOrigin::Replaced => {
                self.head.add(path, &adapted, share, self.base)?;
                (adapted.outputs == HeadOutputs::Classes).then(|| mean_row_norm(&adapted))
            }
        };
        self.has_statistics |= FeatureStatistics::of_delta(&delta, self.base.network().head.features)
            .map_err(|source| MergeError::Unfit { path: path.to_owned(), source: Box::new(source) })?
            .is_some();
        let (hash, classes) = (hex(delta.hash()), adapted.labels.len());
        self.parents.push(MergeParent { path: path.to_owned(), hash, weight: share, classes, head_norm });
        Ok(())
    }

    /// Checks that a delta has a mean with those before, and returns the origin of its head.
    fn check(&mut self, path: &Path, delta: &Delta<'_>) -> Result<HeadOrigin, MergeError> {
        let hash = hex(delta.hash());
        if let Some(first) = self.parents.iter().find(|parent| parent.hash == hash) {
            return Err(MergeError::Duplicate { first: first.path.clone(), path: path.to_owned() });
        }
        let &Header { task, input_size, crop, head: HeadDescription { origin, .. }, .. } = delta.header();
        let shared = *self.shared.get_or_insert(Shared { task, input_size, crop, origin });
        require_same(path, "task", shared.task, task)?;
        require_same(path, "input size", shared.input_size, input_size)?;
        require_same(path, "crop", shared.crop, crop)?;
        require_same(path, "head", origin_name(shared.origin), origin_name(origin))?;
        for constraint in delta.records().filter_map(|record| record.constraint) {
            let norm = *self.norm.get_or_insert(constraint.norm);
            require_same(path, "norm", norm_name(norm), norm_name(constraint.norm))?;
        }
        Ok(origin)
    }

    fn add_difference(&mut self, path: &Path, id: TensorId, record: &Record<'_>, share: f64) -> Result<(), Error> {
        let values = decoded(path, record)?;
        if !self.sums.contains(id) {
            self.sums.replace(id, vec![0.0; values.len()]);
        }
        self.sums[id].iter_mut().zip(&values).for_each(|(sum, value)| *sum += share * f64::from(*value));
        let radius = record.constraint.map(|constraint| share * f64::from(constraint.radius));
        let sum = &mut self.radii[id.index()];
        *sum = sum.zip(radius).map(|(sum, radius)| sum + radius);
        let codec = &mut self.codecs[id.index()];
        *codec = larger(*codec, record.codec);
        Ok(())
    }

    /// Encodes the mean of the deltas. The encoder checks that what is decoded lies in the ball of the mean radius.
    ///
    /// # Errors
    /// If the mean exceeds a limit of the file format.
    pub fn encode(mut self) -> Result<EncodedMean, Error> {
        let Some(Shared { task, input_size, crop, origin }) = self.shared else {
            return Err(MergeError::Count { found: 0 }.into());
        };
        let radii: Vec<Option<f32>> = self.radii.iter().map(|radius| radius.map(|radius| radius as f32)).collect();
        let norm = self.norm.unwrap_or(Norm::L2);
        let delta = self.take_mean(norm, &radii);
        let (HeadMean { weight, bias, labels, outputs }, classes) = self.head_of(origin, task);
        let result = TrainingResult {
            delta: &delta,
            radii: &radii,
            norm,
            head_weight: &weight,
            head_bias: &bias,
            labels: &labels,
            input_size,
            crop,
            codecs: &self.codecs,
        };
        let description = HeadDescription { origin, ..HeadDescription::default() };
        let head = DeltaHead { description, outputs: &outputs, statistics: &[] };
        let file = encode_delta_with(self.base, &result, &head, provenance(&self.parents), None)?;
        Ok(EncodedMean { file, classes, parents: self.parents, drops_statistics: self.has_statistics })
    }

    /// Takes the sums as f32 and chooses the codec of each. The deltas lie in their balls up to the tolerance of encoding; their mean
    /// is projected onto its own.
    fn take_mean(&mut self, norm: Norm, radii: &[Option<f32>]) -> Params<f32> {
        let network = self.base.network();
        let mut delta = Params::zeros_where(network, |_| false);
        for (id, spec) in network.tensors().filter(|(id, _)| self.sums.contains(*id)).collect::<Vec<_>>() {
            let sums = std::mem::take(&mut self.sums.buffers_mut()[id.index()]);
            let mut mean: Vec<f32> = sums.into_iter().map(|sum| sum as f32).collect();
            if let Some(radius) = radii[id.index()] {
                project(norm, &mut mean, spec.rows(), radius);
            }
            let codec = &mut self.codecs[id.index()];
            *codec = codec_of(&mean, spec.rows(), *codec);
            delta.replace(id, mean);
        }
        delta
    }

    /// The head of the mean, and its classes. A kept head is among the differences.
    fn head_of(&self, origin: HeadOrigin, task: Task) -> (HeadMean, Vec<MergedClass>) {
        match origin {
            HeadOrigin::Replaced => (self.head.mean(task), self.head.classes()),
            HeadOrigin::Kept => {
                let labels = self.base.labels().to_vec();
                let class = |label: &String| MergedClass { label: label.clone(), deltas: self.parents.len() };
                let classes = labels.iter().map(class).collect();
                let (weight, bias, outputs) = (Vec::new(), Vec::new(), HeadOutputs::Classes);
                (HeadMean { weight, bias, labels, outputs }, classes)
            }
        }
    }
}

fn require_same<T: PartialEq + Display>(
    path: &Path,
    property: &'static str,
    expected: T,
    found: T,
) -> Result<(), MergeError> {
    if expected == found {
        return Ok(());
    }
    let (expected, found) = (expected.to_string(), found.to_string());
    Err(MergeError::Differs { path: path.to_owned(), property, expected, found })
}

const fn origin_name(origin: HeadOrigin) -> &'static str {
    match origin {
        HeadOrigin::Replaced => "one of its own classes",
        HeadOrigin::Kept => "the base's, kept",
    }
}

const fn norm_name(norm: Norm) -> &'static str {
    match norm {
        Norm::L2 => "L2",
        Norm::Mars => "MARS",
    }
}

/// Returns the codec of a mean, `[rows, …]`: `least`, or the next larger one whose error is small enough. Means take more values
/// than the deltas do: that of two signs may be 0.
fn codec_of(mean: &[f32], rows: usize, least: Codec) -> Codec {
    let mut candidates = Codec::ALL.into_iter().skip_while(|codec| *codec != least);
    candidates.find(|codec| is_accurate(*codec, mean, rows)).unwrap_or(Codec::F32)
}

/// Whether a codec keeps values within [`MAX_ENCODING_ERROR`]; a codec whose range they leave does not.
fn is_accurate(codec: Codec, values: &[f32], rows: usize) -> bool {
    let Ok(decoded) = codec.decoded(values, rows) else { return false };
    let error: f64 = decoded.iter().zip(values).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    let norm: f64 = values.iter().map(|value| f64::from(*value).powi(2)).sum();
    error.sqrt() <= MAX_ENCODING_ERROR * norm.sqrt()
}

/// Returns the codec of the larger size.
fn larger(one: Codec, other: Codec) -> Codec {
    let position = |codec: Codec| Codec::ALL.iter().position(|listed| *listed == codec);
    if position(one) >= position(other) { one } else { other }
}

/// Provenance of a mean: the hash of each delta, cut, and its share. Slices and figures are the deltas' own, and left out.
pub(super) fn provenance(parents: &[MergeParent]) -> Provenance {
    let parents = parents.iter().map(|parent| format!("{}:{:.6}", &parent.hash[..HASH_DIGITS], parent.weight));
    let options = format!("parents={}", parents.collect::<Vec<_>>().join(","));
    let mut provenance = Provenance::default();
    // Each fits its field: as many parents as a merge may have take less than 1024 bytes.
    let _ = provenance.fieldfit.push_str(env!("CARGO_PKG_VERSION"));
    let _ = provenance.method.push_str("merge");
    let _ = provenance.options.push_str(&options);
    provenance
}
