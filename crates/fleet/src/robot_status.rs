//! Status: what a robot runs, for people, and what a fleet has.

use crate::{
    agent::Agent,
    card::{Card, MAX_CARD_BYTES},
    error::FleetError,
    key::{Digest, Folder, Key, RobotId},
    recall::{MAX_RECALL_BYTES, Recall},
    statement::{Statement, StatementError, open},
    sync_report::Problem,
};
use fieldfit_store::{Trust, VersionState};
use fieldfit_tensor::text::find_unprintable;
use serde::{Deserialize, Serialize};

/// Maximum bytes of a status.
pub const MAX_STATUS_BYTES: usize = 8 << 10;

/// Status of a robot. It is not signed: whoever can write to the carrier can forge it, and nothing depends on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RobotStatus {
    /// The robot.
    pub robot: RobotId,
    /// Number of the active version in its store; `None` is the base.
    pub version: Option<u32>,
    /// Hash of the active version's file.
    pub delta: Option<Digest>,
    /// State of the active version: `base`, `trial` or `confirmed`.
    pub state: String,
    /// Predictions that a version on trial has completed.
    pub predictions: Option<u32>,
    /// Share of the latest frames that the active version and the base agree on, 0..1, if a runtime tells it.
    pub agreement: Option<f64>,
    /// Recalls that the robot obeys.
    pub recalls: usize,
    /// When, by the robot's clock, in seconds since 1970.
    pub at: u64,
}

impl RobotStatus {
    fn check(&self) -> Result<(), StatementError> {
        match self.state.len() <= 32 && find_unprintable(&self.state).is_none() {
            true => Ok(()),
            false => Err(StatementError::Field { field: "state", expected: "printable text of at most 32 bytes" }),
        }
    }
}

/// Delta that a fleet's carrier offers.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct OfferedDelta {
    /// Its card.
    #[serde(flatten)]
    pub card: Card,
    /// Name of the card's signer in the trust file.
    pub by: String,
    /// Whether it may no longer be taken, by this robot's clock.
    pub expired: bool,
}

/// What a fleet's carrier has, as far as this robot believes it.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct FleetStatus {
    /// Deltas that are offered.
    pub deltas: Vec<OfferedDelta>,
    /// Recalls.
    pub recalls: Vec<Recall>,
    /// Statuses of robots; not signed.
    pub robots: Vec<RobotStatus>,
    /// Objects that are not believed.
    pub problems: Vec<Problem>,
}

impl Agent<'_> {
    /// Tells the fleet what this robot runs.
    ///
    /// # Errors
    /// If the store cannot be read, or the carrier is unavailable.
    pub fn report_status(&self) -> Result<RobotStatus, FleetError> {
        let status = self.robot_status()?;
        let text = serde_json::to_vec(&status)
            .map_err(|error| StatementError::Malformed { kind: "application/json", reason: error.to_string() })?;
        self.carrier.put(&Key::Status(self.base, self.robot.clone()), &text)?;
        Ok(status)
    }

    fn robot_status(&self) -> Result<RobotStatus, FleetError> {
        let active = self.store.active_version()?;
        let entry = active.version.map(|version| self.store.version(version)).transpose()?;
        let state = entry.as_ref().map_or("base", |entry| entry.state.name()).to_owned();
        let predictions = match entry.as_ref().map(|entry| &entry.state) {
            Some(VersionState::Trial(trial)) => Some(trial.predictions),
            _ => None,
        };
        let runtimes = self.store.runtimes().unwrap_or_default();
        Ok(RobotStatus {
            robot: self.robot.clone(),
            version: active.version,
            delta: active.hash.map(Digest),
            state,
            predictions,
            agreement: runtimes.iter().find_map(|runtime| runtime.agreement),
            recalls: crate::state::AgentState::load(self.store)?.recalls.len(),
            at: self.now(),
        })
    }

    /// Returns what the carrier has for this base. Objects that are not believed are listed with the reason.
    ///
    /// # Errors
    /// [`FleetError::NoKeys`]; if the carrier is unavailable.
    pub fn status(&self) -> Result<FleetStatus, FleetError> {
        let trust = self.trust()?;
        let mut status = FleetStatus::default();
        for key in self.carrier.list(&self.base, Folder::Cards)? {
            let card = self.believed::<Card>(&key, MAX_CARD_BYTES, &trust, &mut status.problems)?;
            status.deltas.extend(card.map(|(card, by)| OfferedDelta {
                expired: card.is_expired(self.now()),
                card,
                by,
            }));
        }
        for key in self.carrier.list(&self.base, Folder::Recalls)? {
            let recall = self.believed::<Recall>(&key, MAX_RECALL_BYTES, &trust, &mut status.problems)?;
            status.recalls.extend(recall.map(|(recall, _)| recall));
        }
        for key in self.carrier.list(&self.base, Folder::Robots)? {
            match self.read_status(&key)? {
                Ok(robot) => status.robots.extend(robot),
                Err(reason) => status.problems.push(Problem { key: key.to_string(), reason }),
            }
        }
        Ok(status)
    }

    /// Reads a signed statement, or lists why it is not believed.
    fn believed<T: Statement>(
        &self,
        key: &Key,
        limit: usize,
        trust: &Trust,
        problems: &mut Vec<Problem>,
    ) -> Result<Option<(T, String)>, FleetError> {
        let mut reason = None;
        for envelope in self.get_or_problem(key, limit)?.unwrap_or_else(|problem| {
            reason = Some(problem);
            Vec::new()
        }) {
            match open::<T>(&envelope, trust) {
                Ok(signed) => return Ok(Some((signed.statement, signed.signer))),
                Err(error) => reason = Some(error.to_string()),
            }
        }
        problems.extend(reason.map(|reason| Problem { key: key.to_string(), reason }));
        Ok(None)
    }

    /// Reads a robot's status; the inner error says why it is none.
    fn read_status(&self, key: &Key) -> Result<Result<Option<RobotStatus>, String>, FleetError> {
        let texts = match self.get_or_problem(key, MAX_STATUS_BYTES)? {
            Ok(texts) => texts,
            Err(reason) => return Ok(Err(reason)),
        };
        let Some(text) = texts.first() else { return Ok(Ok(None)) };
        let status: RobotStatus = match serde_json::from_slice(text) {
            Ok(status) => status,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let is_under_its_name = *key == Key::Status(self.base, status.robot.clone());
        Ok(match status.check() {
            Ok(()) if is_under_its_name => Ok(Some(status)),
            Ok(()) => Err("it names another robot".to_owned()),
            Err(error) => Err(error.to_string()),
        })
    }
}
