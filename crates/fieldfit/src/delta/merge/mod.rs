//! Delta merge: the weighted mean of deltas of one base, tensor by tensor, under a head of all their classes.
//!
//! The mean of points of balls around θ0 lies in the ball of the mean radius: for weights wᵢ ≥ 0 of sum 1,
//! ‖Σ wᵢ·δᵢ‖ ≤ Σ wᵢ·‖δᵢ‖ ≤ Σ wᵢ·γᵢ, in any norm, over a tensor or over each of its rows. A delta that leaves a tensor out is at
//! θ0 there, in the ball of radius 0. Running statistics of norm layers are the base's in every delta, and so in their mean.

mod delta_mean;
mod error;
mod merged_head;
#[cfg(test)]
mod tests;

pub use error::MergeError;

use super::file::{parse, runnable};
use crate::Error;
use crate::info::hex;
use crate::output_file::{OutputKind, check_output, refuse_inputs, write_output};
use delta_mean::{DeltaMean, EncodedMean};
use fieldfit_model::{Base, most_delta_bytes};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Maximum number of deltas of one merge: the provenance has room for as many hashes.
pub const MAX_MERGED_DELTAS: usize = 32;
/// Minimum share of a delta in the sum of the weights.
const MIN_SHARE: f64 = 1e-6;

/// Result of a merge.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Merged {
    /// The merged delta's identity, in hexadecimal.
    pub hash: String,
    /// Size of its file, in bytes.
    pub bytes: u64,
    /// Number of tensors in it, its head's included.
    pub tensors: usize,
    /// Its classes, in the order of its logits: the first delta's, then those that each further delta adds.
    pub classes: Vec<MergedClass>,
    /// The deltas that it is the mean of, in the order given.
    pub parents: Vec<MergeParent>,
    /// Whether a delta records feature statistics, with or without a threshold of novelty: the merged delta has none.
    pub drops_statistics: bool,
}

/// Class of a merged delta.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MergedClass {
    /// Its name.
    pub label: String,
    /// Number of deltas that know it, whose rows were averaged.
    pub deltas: usize,
}

/// Delta that was merged.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MergeParent {
    /// The file.
    pub path: PathBuf,
    /// The delta's identity, in hexadecimal.
    pub hash: String,
    /// Its share of the mean, 0..1; all shares add up to 1.
    pub weight: f64,
    /// Number of its classes.
    pub classes: usize,
    /// Mean L2 norm of the rows of its head, `[classes, features]`; `None` if it keeps the base's head, or its outputs do not exclude
    /// each other. Heads of different norms have logits of different scales.
    pub head_norm: Option<f64>,
}

/// Merges deltas of one base into the mean of their differences, weighted equally or by `weights`, and writes it to `out`.
///
/// - A radius is the mean of the deltas' radii, 0 where a delta leaves the tensor out. A tensor that a delta moves without a radius
///   has none.
/// - A head is that of the union of the classes, by name. The row and the bias of a class are the weighted mean over the deltas that
///   know it, as they are stored: heads are not rescaled to each other. A head that every delta keeps is averaged as any tensor.
/// - Targets are averaged in their units, under the mean of their means and deviations; labels have the mean of their thresholds.
/// - A tensor has the largest of the deltas' codecs, or the next larger one that changes the mean by at most 2 % of its norm.
/// - Feature statistics, and the threshold of novelty that depends on them, are left out: they describe the features of another
///   backbone. Taught classes become classes like the others.
/// - The provenance lists the deltas' hashes and shares. The result is not signed and has passed no gate.
///
/// Holds one sum in f64 and one delta at a time in memory. The same files and weights give the same bytes.
///
/// # Errors
/// [`Error::Merge`] if the deltas have no mean, or one does not fit the base or leaves its radii; if a file cannot be read or is not
/// a delta, the result cannot run, or `out` cannot be written. A previous file is still there then.
pub fn merge(
    deltas: &[impl AsRef<Path>],
    model: impl AsRef<Path>,
    weights: Option<&[f64]>,
    out: impl AsRef<Path>,
) -> Result<Merged, Error> {
    let out = out.as_ref();
    check_output(out, OutputKind::Delta)?;
    let paths: Vec<&Path> = deltas.iter().map(AsRef::as_ref).collect();
    refuse_inputs(out, &paths)?;
    let shares = shares(&paths, weights)?;
    let base = Base::open(model.as_ref())?;
    let mut mean = DeltaMean::new(&base);
    for (path, share) in paths.into_iter().zip(shares) {
        mean.add(path, share)?;
    }
    let EncodedMean { file, classes, parents, drops_statistics } = mean.encode()?;
    check_size(file.len(), &base)?;
    let delta = parse(out, &file)?;
    runnable(&base, &delta)?;
    let (hash, tensors) = (hex(delta.hash()), delta.header().tensors as usize);
    write_output(out, OutputKind::Delta, &file)?;
    Ok(Merged { hash, bytes: file.len() as u64, tensors, classes, parents, drops_statistics })
}

/// Returns each delta's share of the sum of the weights; without weights, all alike.
fn shares(paths: &[&Path], weights: Option<&[f64]>) -> Result<Vec<f64>, MergeError> {
    let found = paths.len();
    if !(2..=MAX_MERGED_DELTAS).contains(&found) {
        return Err(MergeError::Count { found });
    }
    let equal = vec![1.0; found];
    let weights = weights.unwrap_or(&equal);
    if weights.len() != found {
        return Err(MergeError::WeightCount { expected: found, found: weights.len() });
    }
    let sum: f64 = weights.iter().sum();
    let refused = |holds: &dyn Fn(f64) -> bool| paths.iter().zip(weights).find(|(_, weight)| !holds(**weight));
    let is_number = |weight: f64| weight.is_finite() && weight > 0.0;
    match refused(&is_number).or_else(|| refused(&|weight| weight / sum >= MIN_SHARE)) {
        Some((path, &found)) => Err(MergeError::Weight { path: path.to_path_buf(), found }),
        None => Ok(weights.iter().map(|weight| weight / sum).collect()),
    }
}

/// Checks that a merged delta of that many bytes, or more, is no longer than any for its base.
fn check_size(found: usize, base: &Base) -> Result<(), MergeError> {
    let limit = most_delta_bytes(base);
    if found > limit { Err(MergeError::Size { found, limit }) } else { Ok(()) }
}
