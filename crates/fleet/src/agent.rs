//! Agent: stands beside a robot's store and shares its versions over a carrier.

use crate::{
    carrier::Carrier,
    error::{CarrierError, FleetError},
    judge::Judge,
    key::{Digest, Key, RobotId},
    policy::Policy,
    state::AgentState,
    sync_report::SyncReport,
};
use fieldfit_delta::SecretKey;
use fieldfit_durable::{Disk, Lock, create_folder, lock};
use fieldfit_store::{FLEET, Store, TRUST_FILE, Trust, unix_time};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// Clock of an agent: seconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// How long an agent waits for another one of the same store, which may be judging.
const PATIENCE: Duration = Duration::from_secs(2);
/// The lock of a store's agents.
const LOCK: &str = "lock";

/// Agent of a robot: its store, the carrier, and the base whose deltas it shares.
///
/// It remembers what it does in `STORE/fleet`. Killed at any instant, its next call goes on from there.
#[derive(Clone)]
pub struct Agent<'a> {
    pub(crate) store: &'a Store,
    pub(crate) carrier: &'a dyn Carrier,
    pub(crate) robot: RobotId,
    pub(crate) base: Digest,
    clock: Clock,
}

impl<'a> Agent<'a> {
    /// Returns the agent of a robot.
    ///
    /// # Errors
    /// [`FleetError::NoBase`] if the store is for no base yet; if its state cannot be read.
    pub fn new(store: &'a Store, carrier: &'a dyn Carrier, robot: RobotId) -> Result<Self, FleetError> {
        let base = store.base()?.ok_or_else(|| FleetError::NoBase { path: store.path().to_owned() })?;
        let clock: Clock = Arc::new(|| unix_time() as u64);
        Ok(Self { store, carrier, robot, base: Digest(base), clock })
    }

    /// Sets the clock, which expiry goes by. Without it, the system's.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Returns the identity of the base whose deltas are shared.
    pub const fn base(&self) -> &Digest {
        &self.base
    }

    /// Returns the robot's id.
    pub const fn robot(&self) -> &RobotId {
        &self.robot
    }

    /// Obeys recalls, receives deltas as candidates, and lets the judge, if there is one, decide which of them runs, on trial.
    ///
    /// What is wrong with single objects is in the report and stops nothing. An interrupted call is continued by the next one.
    ///
    /// # Errors
    /// [`FleetError::NoKeys`] if the trust file lists no keys; [`FleetError::Carrier`] if the carrier is unavailable; if the store
    /// or the gate's images cannot be used now. What was done until then stays.
    pub fn sync(&self, policy: &Policy, judge: Option<&dyn Judge>) -> Result<SyncReport, FleetError> {
        let _lock = self.lock()?;
        let trust = self.trust()?;
        let mut state = AgentState::load(self.store)?;
        let mut report = SyncReport::default();
        self.obey_recalls(&mut state, &trust, &mut report)?;
        self.receive(policy, &trust, &mut state, &mut report)?;
        if let Some(judge) = judge {
            self.select(policy, judge, &mut state, &mut report)?;
        }
        report.pruned = self.store.prune(policy.keep)?.versions;
        report.active = self.store.active()?;
        Ok(report)
    }

    pub(crate) fn now(&self) -> u64 {
        (self.clock)()
    }

    /// The lock that keeps a second agent of the store away.
    pub(crate) fn lock(&self) -> Result<Lock, FleetError> {
        let folder = folder(self.store);
        create_folder(&Disk, &folder)?;
        Ok(lock(&Disk, &folder.join(LOCK), PATIENCE)?)
    }

    /// The store's trust policy, which must list keys.
    pub(crate) fn trust(&self) -> Result<Trust, FleetError> {
        let trust = self.store.trust()?;
        if trust.keys.is_empty() { Err(FleetError::NoKeys { path: self.trust_path() }) } else { Ok(trust) }
    }

    /// The store's trust policy, which must list that key: what it signs would else be believed by no robot.
    pub(crate) fn trust_listing(&self, key: &SecretKey) -> Result<Trust, FleetError> {
        let (trust, public) = (self.trust()?, key.public());
        match trust.keys.values().any(|listed| *listed == public) {
            true => Ok(trust),
            false => Err(FleetError::OwnKey { key: public.to_string(), path: self.trust_path() }),
        }
    }

    /// Returns what the carrier has under a key; the inner error describes an object that is too long.
    pub(crate) fn get_or_problem(&self, key: &Key, limit: usize) -> Result<Result<Vec<Vec<u8>>, String>, CarrierError> {
        match self.carrier.get(key, limit) {
            Ok(objects) => Ok(Ok(objects)),
            Err(error @ CarrierError::TooLarge { .. }) => Ok(Err(error.to_string())),
            Err(error) => Err(error),
        }
    }

    fn trust_path(&self) -> PathBuf {
        self.store.path().join(TRUST_FILE)
    }
}

/// The folder of a store's agents.
pub(crate) fn folder(store: &Store) -> PathBuf {
    store.path().join(FLEET)
}
