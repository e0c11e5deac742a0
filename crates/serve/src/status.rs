//! Status: everything that the page shows at one moment.

use crate::version_details::{DetailsCache, VersionDetails};
use fieldfit_collect::{Contents, Statistics};
use fieldfit_store::{AdaptationStatus, RuntimeStatus, Store, StoreError, VersionEntry};
use serde::Serialize;
use std::path::Path;

/// What runs, trains and is stored.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// Name of the store's folder.
    pub store: String,
    /// The active version; `None` is the base.
    pub active: Option<u32>,
    /// Number of changes of the active version.
    pub generation: u64,
    /// The versions, ascending.
    pub versions: Vec<VersionStatus>,
    /// Bytes of the versions' files.
    pub bytes: u64,
    /// Processes that answer frames.
    pub runtimes: Vec<RuntimeFigures>,
    /// The adaptation that runs, or the last one.
    pub adaptation: Option<AdaptationStatus>,
    /// Whether that adaptation still runs.
    pub adapting: bool,
    /// Whether it was asked to pause.
    pub pause_wanted: bool,
    /// Numbers of the collection, if there is one.
    pub collection: Option<Statistics>,
}

/// A process that answers frames.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RuntimeFigures {
    /// What it published.
    #[serde(flatten)]
    pub runtime: RuntimeStatus,
    /// Time that half of the frames stay within, in seconds; `None` if that is above every bound.
    pub median: Option<f64>,
    /// Time that 99 of 100 frames stay within, in seconds; `None` if that is above every bound.
    pub percentile_99: Option<f64>,
}

impl From<RuntimeStatus> for RuntimeFigures {
    fn from(runtime: RuntimeStatus) -> Self {
        let [median, percentile_99] = [0.5, 0.99].map(|share| runtime.latency.quantile(share));
        Self { runtime, median, percentile_99 }
    }
}

/// A version of the store.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct VersionStatus {
    /// Its number.
    pub version: u32,
    /// The name of its state.
    pub state: &'static str,
    /// Why it is refused or quarantined, if it is.
    pub reason: Option<String>,
    /// Predictions of its trial, if it is on one.
    pub trial_predictions: Option<u32>,
    /// Size of its delta file, in bytes.
    pub bytes: u64,
    /// What its file says of itself; `None` if that cannot be read.
    pub details: Option<VersionDetails>,
}

impl Status {
    /// Reads the status of a store and a collection. A collection that cannot be read now is none.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(crate) fn read(
        store: &Store,
        collection: Option<&Path>,
        details: &mut DetailsCache,
    ) -> Result<Self, StoreError> {
        let entries = store.versions()?;
        details.keep(&entries.iter().map(|entry| entry.version).collect::<Vec<_>>());
        let adaptation = store.adaptation()?;
        Ok(Self {
            store: store.path().file_name().unwrap_or_default().to_string_lossy().into_owned(),
            active: store.active()?,
            generation: store.generation()?,
            bytes: entries.iter().map(|entry| entry.bytes).sum(),
            versions: entries.iter().map(|entry| VersionStatus::of(entry, details.of(store, entry.version))).collect(),
            runtimes: store.runtimes()?.into_iter().map(RuntimeFigures::from).collect(),
            adapting: adaptation.as_ref().is_some_and(AdaptationStatus::is_running),
            adaptation,
            pause_wanted: store.is_pause_wanted(),
            collection: collection.and_then(|path| Contents::read(path).ok()).map(|contents| contents.statistics()),
        })
    }
}

impl VersionStatus {
    fn of(entry: &VersionEntry, details: Option<VersionDetails>) -> Self {
        Self {
            version: entry.version,
            state: entry.state.name(),
            reason: entry.state.reason().map(str::to_owned),
            trial_predictions: entry.state.trial().map(|trial| trial.predictions),
            bytes: entry.bytes,
            details,
        }
    }
}
