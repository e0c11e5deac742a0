//! Store of adaptations on disk: versions, trials, activation, rollback, pruning.
//!
//! A [`Store`] is a folder of delta files, numbered from 1, and one small file that says which of them runs. Whatever
//! happens to a process or its power, whoever opens the store next finds what was before an operation or what was to be
//! after it. One process writes at a time, kept apart by a lock that dies with its holder; any number of them read, without
//! locks, also from a read-only file system. `README.md` beside this crate has the layout and the reasons.
//!
//! The store never holds the base, and knows it only by its hash: all that runs from one store is made for one base, which
//! the runtime that opens the store fixes, or the first activation.
//!
//! ```no_run
//! use fieldfit_store::Store;
//!
//! let store = Store::create_or_open("robot.store")?;
//! let version = store.add(&std::fs::read("night.delta")?)?;
//! // On trial from here on, until it is confirmed.
//! store.activate(version)?;
//! assert_eq!(store.active()?, Some(version));
//! store.rollback()?;
//! assert_eq!(store.active()?, None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod history;
mod incoming;
mod prune;
mod record;
mod status;
mod store;
mod trial;
mod trust;
mod verdict;
mod verification_cache;
mod verify;
mod version;

pub use error::{Problem, StoreError};
pub use history::{HISTORY, HistoryEntry, Transition};
pub use prune::{Keep, Pruned};
pub use status::{
    AdaptationPhase, AdaptationResult, AdaptationStatus, EpochStatus, LATENCY_BOUNDS, LatencyHistogram, RuntimeStatus,
    StepLoss, unix_time,
};
pub use store::{FLEET, SERVE_TOKEN, Store, TRUST_FILE, WorkDir};
pub use trial::{Start, TrialProgress, TrialRules, Undecided, current_boot};
pub use trust::Trust;
pub use verdict::{ActiveVersion, Verdict};
pub use verify::Finding;
pub use version::{Trial, VersionEntry, VersionState};
