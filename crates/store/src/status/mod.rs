//! Status files: what runs and what trains at this moment, for processes that watch.
//!
//! They are written often and worth nothing after a power cut: replaced in one step, never waited for, and read by
//! nothing that decides which version runs.

mod adaptation;
mod latency;
mod runtime;

pub(crate) use runtime::RUNTIMES;

pub use adaptation::{AdaptationPhase, AdaptationResult, AdaptationStatus, EpochStatus, StepLoss};
pub use latency::{LATENCY_BOUNDS, LatencyHistogram};
pub use runtime::RuntimeStatus;

use crate::StoreError;
use fieldfit_durable::{DurableError, FileSystem, publish, read};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::time::SystemTime;

/// The longest status file that is read, in bytes.
const LIMIT: u64 = 1 << 20;

/// Writes a status.
fn write(files: &dyn FileSystem, path: &Path, status: &impl Serialize) -> Result<(), StoreError> {
    let bytes = serde_json::to_vec(status).map_err(StoreError::Serialize)?;
    Ok(publish(files, path, &bytes)?)
}

/// Reads a status; `None` where there is none, or what is there is not whole or of another version of this crate.
fn parse<T: DeserializeOwned>(files: &dyn FileSystem, path: &Path) -> Result<Option<T>, DurableError> {
    match read(files, path, LIMIT) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the seconds since 1970 by this machine's clock, as statuses have them.
pub fn unix_time() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
