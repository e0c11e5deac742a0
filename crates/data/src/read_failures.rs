//! Read failures: images that became unreadable while a data set is in use, counted over all loaders of a run.

use crate::dataset::{Dataset, reason};
use crate::error::DataError;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Number of failures that an error names.
const NAMED: usize = 5;

/// An image that was readable when its data set was opened and is not any more.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadFailure {
    /// Its index in [`Dataset::samples`].
    pub sample: usize,
    /// Its file.
    pub path: PathBuf,
    /// The error in words.
    pub reason: String,
}

/// Record of the images of one data set that became unreadable, shared by the loaders of a run.
///
/// Each image counts once, however often it is asked for. More than [`Dataset::spare_images`] are an error.
#[derive(Debug, Clone)]
pub struct ReadFailures(Arc<Mutex<Record>>);

#[derive(Debug)]
struct Record {
    allowed: usize,
    by_sample: BTreeMap<usize, ReadFailure>,
    /// Failures that [`ReadFailures::take_new`] has not returned yet.
    new: Vec<ReadFailure>,
}

impl ReadFailures {
    /// Empty record for a data set.
    pub fn new(dataset: &Dataset) -> Self {
        let allowed = dataset.spare_images();
        Self(Arc::new(Mutex::new(Record { allowed, by_sample: BTreeMap::new(), new: Vec::new() })))
    }

    /// Number of different images that failed so far.
    pub fn count(&self) -> usize {
        self.record().by_sample.len()
    }

    /// Whether the image of this index failed.
    pub fn contains(&self, sample: usize) -> bool {
        self.record().by_sample.contains_key(&sample)
    }

    /// Failures since the last call, in the order in which batches brought them: for events.
    pub fn take_new(&self) -> Vec<ReadFailure> {
        std::mem::take(&mut self.record().new)
    }

    /// Adds a failure.
    ///
    /// # Errors
    /// [`DataError::TooManyFailures`] if the data set can't spare this image.
    pub(crate) fn add(&self, failure: ReadFailure) -> Result<(), DataError> {
        let record = &mut *self.record();
        if record.by_sample.insert(failure.sample, failure.clone()).is_none() {
            record.new.push(failure);
        }
        let failed = record.by_sample.len();
        if failed <= record.allowed {
            return Ok(());
        }
        let first = record.by_sample.values().take(NAMED).cloned().collect();
        Err(DataError::TooManyFailures { failed, allowed: record.allowed, first })
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReadFailure {
    pub(crate) fn new(sample: usize, path: PathBuf, error: &DataError) -> Self {
        Self { sample, path, reason: reason(error) }
    }
}

impl fmt::Display for ReadFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.path.display(), self.reason)
    }
}
