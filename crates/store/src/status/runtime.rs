//! Runtime status: what each process that answers frames by a store's versions does.

use super::{LatencyHistogram, parse, unix_time, write};
use crate::{Store, StoreError};
use fieldfit_durable::{create_folder, list, remove};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::process;

/// The folder of the runtimes' status files. Runtimes write there only while it exists.
pub(crate) const RUNTIMES: &str = "runtimes";
/// File that a watcher touches; without it, or when it is old, nobody watches.
const WATCHED: &str = "watched";
/// A watcher that has not been heard of for so long, in seconds, is gone.
const WATCH_EXPIRY: f64 = 30.0;
/// A status that has not been renewed for so long, in seconds, is one of a process that has ended.
const STATUS_EXPIRY: f64 = 10.0;
/// Most status files that are read.
const MOST_RUNTIMES: usize = 64;

/// Status of a process that answers frames.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuntimeStatus {
    /// Its process number.
    pub process: u32,
    /// When it began, in seconds since 1970.
    pub started: f64,
    /// When this was written, in seconds since 1970.
    pub updated: f64,
    /// The version of the store that runs; `None` for the base, or a delta file.
    pub version: Option<u32>,
    /// What runs, in words.
    pub running: String,
    /// What it answers about a frame.
    pub task: String,
    /// Frames that were answered.
    pub frames: u64,
    /// Frames that were not.
    pub failures: u64,
    /// The time that answered frames took.
    pub latency: LatencyHistogram,
    /// Mean probability of the top class over the latest frames, 0..1.
    pub confidence: Option<f64>,
    /// Share of the latest frames that were compared to which the base's class is given, 0..1.
    pub agreement: Option<f64>,
    /// Frames in that comparison.
    pub compared: usize,
}

impl Store {
    /// Lets runtimes know that somebody watches, for the next half minute.
    ///
    /// # Errors
    /// [`StoreError::Durable`] if the folder can't be written.
    pub fn watch_runtimes(&self) -> Result<(), StoreError> {
        create_folder(&*self.files, &self.runtimes_path())?;
        write(&*self.files, &self.runtimes_path().join(WATCHED), &unix_time())
    }

    /// Returns whether somebody watches, so that a status is worth writing.
    pub fn is_watched(&self) -> bool {
        let watched: Option<f64> = parse(&*self.files, &self.runtimes_path().join(WATCHED)).unwrap_or_default();
        watched.is_some_and(|at| (unix_time() - at).abs() < WATCH_EXPIRY)
    }

    /// Publishes the status of a runtime of this process, in place of its last one. `runtime` tells runtimes of one process
    /// apart.
    ///
    /// # Errors
    /// [`StoreError::Durable`] if it can't be written.
    pub fn publish_runtime(&self, runtime: u32, status: &RuntimeStatus) -> Result<(), StoreError> {
        write(&*self.files, &self.status_path(runtime), status)
    }

    /// Removes the status of a runtime that ends.
    ///
    /// # Errors
    /// [`StoreError::Durable`] if it can't be removed.
    pub fn remove_runtime(&self, runtime: u32) -> Result<(), StoreError> {
        Ok(remove(&*self.files, &self.status_path(runtime))?)
    }

    /// Returns the runtimes that have published a status within the last seconds, in the order of their process numbers, and
    /// removes the files of others.
    ///
    /// # Errors
    /// [`StoreError::Durable`] if the folder can't be read.
    pub fn runtimes(&self) -> Result<Vec<RuntimeStatus>, StoreError> {
        let folder = self.runtimes_path();
        let names = match list(&*self.files, &folder) {
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            names => names?,
        };
        let mut runtimes = Vec::new();
        for name in names.iter().filter(|name| name.to_str().is_some_and(|name| name.ends_with(".json"))) {
            let path = folder.join(name);
            match parse::<RuntimeStatus>(&*self.files, &path)? {
                Some(status) if (unix_time() - status.updated).abs() < STATUS_EXPIRY => runtimes.push(status),
                Some(_) => remove(&*self.files, &path)?,
                None => {}
            }
            if runtimes.len() == MOST_RUNTIMES {
                break;
            }
        }
        runtimes.sort_by(|one, other| one.process.cmp(&other.process).then(one.started.total_cmp(&other.started)));
        Ok(runtimes)
    }

    fn runtimes_path(&self) -> PathBuf {
        self.path().join(RUNTIMES)
    }

    fn status_path(&self, runtime: u32) -> PathBuf {
        self.runtimes_path().join(format!("{}-{runtime}.json", process::id()))
    }
}
