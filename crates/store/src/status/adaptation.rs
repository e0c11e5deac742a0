//! Adaptation status: how far the adaptation of a store has come, and whether somebody wants it to pause.

use super::{parse, unix_time, write};
use crate::store::WORK;
use crate::{Store, StoreError};
use fieldfit_durable::{create_folder, publish, remove};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The file of the status, in the work folder.
const STATUS: &str = "status.json";
/// The file that exists while an adaptation is to pause, in the work folder.
const PAUSE: &str = "pause";

/// An adaptation without a result that has not renewed its status for so long, in seconds, has ended without a word.
const EXPIRY: f64 = 60.0;

/// Status of the adaptation that runs in a store, or of the last one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct AdaptationStatus {
    /// Its process number.
    pub process: u32,
    /// When it began, in seconds since 1970.
    pub started: f64,
    /// When this was written, in seconds since 1970.
    pub updated: f64,
    /// The method's name.
    pub method: String,
    /// What it is doing.
    pub phase: AdaptationPhase,
    /// Whether it waits, by its control, its guard or [`Store::pause_adaptation`].
    pub paused: bool,
    /// Share of the phase that is done, 0..1.
    pub done: f64,
    /// Optimiser steps done.
    pub step: u64,
    /// Optimiser steps in all.
    pub steps: u64,
    /// Training losses, in nats; of a long run, evenly spaced ones.
    pub losses: Vec<StepLoss>,
    /// Ends of epochs.
    pub epochs: Vec<EpochStatus>,
    /// Mean share of δ that the radii let through, 0..1, after each radius step.
    pub shares: Vec<f64>,
    /// How it ended; `None` while it runs, and where it ended without a word.
    pub result: Option<AdaptationResult>,
}

impl AdaptationStatus {
    /// Returns whether the adaptation runs, or waits.
    pub fn is_running(&self) -> bool {
        self.result.is_none() && (unix_time() - self.updated).abs() < EXPIRY
    }
}

/// Phase of an adaptation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdaptationPhase {
    /// Images are opened and planned for.
    #[default]
    Starting,
    /// Features of the base, for the linear probe.
    Features,
    /// Optimiser steps.
    Training,
    /// The validation slice, for radii, shares or the file's codec.
    Validation,
    /// The gate slice.
    Gate,
    /// It has ended.
    Ended,
}

/// Training loss at a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StepLoss {
    /// The step, from 1.
    pub step: u64,
    /// The loss, in nats.
    pub loss: f64,
}

/// End of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EpochStatus {
    /// The epoch, from 1.
    pub epoch: u32,
    /// Accuracy on the validation slice, 0..1.
    pub accuracy: f64,
}

/// End of an adaptation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum AdaptationResult {
    /// A version was stored.
    Stored {
        /// Its number.
        version: u32,
        /// Whether the gate accepted it, so that it runs.
        active: bool,
        /// The verdict in words.
        reason: String,
        /// The gate's figure for what ran before, 0..1.
        before: f64,
        /// The gate's figure for this version, 0..1.
        after: f64,
    },
    /// It failed, or was stopped.
    Failed {
        /// The error.
        reason: String,
    },
}

impl Store {
    /// Publishes the status of the adaptation that runs, by whoever holds the [work folder](Self::work_dir).
    ///
    /// # Errors
    /// [`StoreError::Durable`] if it can't be written.
    pub fn publish_adaptation(&self, status: &AdaptationStatus) -> Result<(), StoreError> {
        write(&*self.files, &self.work_path(STATUS), status)
    }

    /// Returns the status of the adaptation that runs, or of the last one; `None` if there was none.
    ///
    /// # Errors
    /// [`StoreError::Durable`] if it can't be read.
    pub fn adaptation(&self) -> Result<Option<AdaptationStatus>, StoreError> {
        Ok(parse(&*self.files, &self.work_path(STATUS))?)
    }

    /// Asks the adaptation that runs, in whichever process, to pause or to go on. It looks between two batches.
    ///
    /// # Errors
    /// [`StoreError::Durable`] if the work folder can't be written.
    pub fn pause_adaptation(&self, wanted: bool) -> Result<(), StoreError> {
        if wanted {
            create_folder(&*self.files, &self.path().join(WORK))?;
            return Ok(publish(&*self.files, &self.work_path(PAUSE), &[])?);
        }
        Ok(remove(&*self.files, &self.work_path(PAUSE))?)
    }

    /// Returns whether somebody wants the adaptation to pause.
    pub fn is_pause_wanted(&self) -> bool {
        self.files.entry_type(&self.work_path(PAUSE)).is_ok_and(|found| found.is_some())
    }

    fn work_path(&self, name: &str) -> PathBuf {
        self.path().join(WORK).join(name)
    }
}
