//! Errors of a merge: why deltas have no mean.

use super::{MAX_MERGED_DELTAS, MIN_SHARE};
use fieldfit_model::ModelError;
use fieldfit_tensor::text::escape;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Error of deltas that cannot be merged. Nothing is written then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MergeError {
    /// Fewer than two deltas, or too many.
    #[error(
        "expected 2 to {MAX_MERGED_DELTAS} deltas to merge, found {found}: merge more in turn, weighted by their number"
    )]
    Count {
        /// Number of deltas.
        found: usize,
    },
    /// A number of weights unlike the number of deltas.
    #[error("expected {expected} weights, one for each delta, found {found}: give them in the order of the deltas")]
    WeightCount {
        /// Number of deltas.
        expected: usize,
        /// Number of weights.
        found: usize,
    },
    /// A weight that makes no mean.
    #[error(
        "weight of {}: expected a finite number above 0 and at least {MIN_SHARE} of all weights, found {found}: leave out a delta \
         that is not to count",
        path.display()
    )]
    Weight {
        /// The delta's file.
        path: PathBuf,
        /// The weight.
        found: f64,
    },
    /// A delta that is given twice.
    #[error("{} and {} are the same delta: give it once, with a larger weight if it is to count for more", first.display(), path.display())]
    Duplicate {
        /// The first file.
        first: PathBuf,
        /// The second file.
        path: PathBuf,
    },
    /// A delta that does not fit the base, or leaves its radii.
    #[error("{}: {source}", path.display())]
    Unfit {
        /// The delta's file.
        path: PathBuf,
        /// The cause.
        source: Box<ModelError>,
    },
    /// A delta that differs from the first in a property that has no mean.
    #[error("{}: expected the {property} of the first delta, {expected}, found {found}: merge deltas that agree", path.display())]
    Differs {
        /// The delta's file.
        path: PathBuf,
        /// The property.
        property: &'static str,
        /// The first delta's value.
        expected: String,
        /// This delta's value.
        found: String,
    },
    /// Two classes of one name in one delta.
    #[error("{}: two classes are named `{}`, expected a name of its own for each: adapt again", path.display(), escape(label))]
    DuplicateClass {
        /// The delta's file.
        path: PathBuf,
        /// The name.
        label: String,
    },
    /// A head of so many classes that the delta is longer than any for the base.
    #[error(
        "the merged delta has {found} bytes or more, and a delta of this base at most {limit}: merge deltas of fewer classes"
    )]
    Size {
        /// Bytes that it has at least.
        found: usize,
        /// Maximum for the base.
        limit: usize,
    },
}

impl MergeError {
    /// Returns the path that the error is about, if it is about one delta.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Weight { path, .. }
            | Self::Duplicate { path, .. }
            | Self::Unfit { path, .. }
            | Self::Differs { path, .. }
            | Self::DuplicateClass { path, .. } => Some(path),
            Self::Count { .. } | Self::WeightCount { .. } | Self::Size { .. } => None,
        }
    }
}
