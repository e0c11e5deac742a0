//! Fallback: selects the version that runs, from the active one over the confirmed ones to the base.

use crate::delta::file::parse;
use crate::event::Listener;
use crate::running::Running;
use crate::trial::Trial;
use crate::{Error, RuntimeEvent, Version};
use fieldfit_exec::Device;
use fieldfit_model::{Base, BaseId, ModelError, Weights};
use fieldfit_store::{Problem, Start, Store, StoreError, TrialRules, current_boot};

/// Prepares versions of a store.
pub(crate) struct Fallback<'a> {
    pub base: &'a Base,
    pub device: Device,
    pub store: &'a Store,
    /// `None` if what runs here is not what is on trial: nothing is counted then.
    pub rules: Option<TrialRules>,
    pub listener: &'a Listener,
}

/// What is to run, ready.
pub(crate) struct Selected {
    pub active: Running,
    /// The store's generation that it was made from, or one before it.
    pub generation: u64,
    pub trial: Option<Trial>,
    /// The store's active version, if that is not what runs because its trial can't be recorded here: once somebody else has
    /// confirmed it, it can.
    pub awaited: Option<u32>,
}

impl Fallback<'_> {
    /// The active version, tried; if it fails, it is quarantined, and so on back to the base.
    ///
    /// If the store can't be written, no trial can be recorded: then the last confirmed version that can be run.
    ///
    /// # Errors
    /// If the store can't be read or is another base's, or the device isn't there.
    pub fn select(&self) -> Result<Selected, Error> {
        self.select_ready(None)
    }

    /// As [`select`](Self::select); `ready` is used if it is what is to run.
    pub fn select_ready(&self, mut ready: Option<Running>) -> Result<Selected, Error> {
        self.require_base()?;
        loop {
            let start = match self.start() {
                Err(StoreError::Durable(error)) => return self.select_confirmed(&error),
                start => start?,
            };
            let ready = ready.take_if(|ready| start.version.map(Version::Stored) == Some(ready.version()));
            match ready.map_or_else(|| self.load(start.version), Ok) {
                Ok(active) => return Ok(self.selected(active, start)),
                // It was pruned, after something else had become active.
                Err(Error::Store(StoreError::Unknown { .. })) => {}
                Err(error) => match (start.version, blame(&error)) {
                    (Some(version), Blame::Version) => {
                        if let Err(error) = self.quarantine(version, &error) {
                            return self.select_confirmed(&error);
                        }
                    }
                    (Some(_), Blame::Reading) => return self.select_confirmed(&error),
                    _ => return Err(error),
                },
            }
        }
    }

    /// A version of the store, or the base, ready and checked; nothing is recorded.
    pub fn load(&self, version: Option<u32>) -> Result<Running, Error> {
        let ready = |version, weights| Running::new(version, self.base, weights, self.device);
        let Some(number) = version else { return ready(Version::Base, Weights::of_base(self.base)) };
        let bytes = self.store.read(number)?;
        let delta = parse(&self.store.delta_path(number), &bytes)?;
        let active = ready(Version::Stored(number), Weights::adapted(self.base, &delta)?)?;
        active.check()?;
        Ok(active)
    }

    /// What the store says is to run, with its trial's start recorded if it is to be.
    fn start(&self) -> Result<Start, StoreError> {
        match self.rules {
            Some(rules) => self.store.start(rules, current_boot().as_deref()),
            None => Ok(Start { generation: self.store.generation()?, version: self.store.active()?, undecided: None }),
        }
    }

    /// Puts weights that are ready together with the start that was recorded for them.
    fn selected(&self, mut active: Running, start: Start) -> Selected {
        let trial = self.rules.zip(start.undecided).map(|(rules, undecided)| {
            let trial = Trial::new(self.store.clone(), rules, undecided, self.listener.clone());
            active.count(trial.tally());
            trial
        });
        Selected { active, generation: start.generation, trial, awaited: None }
    }

    fn quarantine(&self, version: u32, error: &Error) -> Result<(), StoreError> {
        let reason = error.to_string();
        self.store.quarantine(version, &reason)?;
        self.listener.tell(RuntimeEvent::FellBack { version, reason });
        Ok(())
    }

    /// The last confirmed version that can be run; at last the base.
    fn select_confirmed(&self, reason: &dyn std::error::Error) -> Result<Selected, Error> {
        self.listener.tell(RuntimeEvent::Unrecorded { reason: reason.to_string() });
        let (generation, confirmed) = (self.store.generation()?, self.store.confirmed()?);
        let awaited = self.store.active()?.filter(|active| !confirmed.contains(active));
        for version in confirmed {
            match self.load(Some(version)) {
                Err(error) if blame(&error) != Blame::Other => log::warn!("version {version} is passed over: {error}"),
                active => return Ok(Selected { active: active?, generation, trial: None, awaited }),
            }
        }
        Ok(Selected { active: self.load(None)?, generation, trial: None, awaited })
    }

    /// Another model than the store's is a mistake of whoever opens it, and says nothing of its versions.
    fn require_base(&self) -> Result<(), Error> {
        let expected = self.base.id();
        match self.store.base()?.map(BaseId) {
            Some(found) if found != expected => {
                Err(ModelError::DeltaBase { name: self.base.manifest().name.clone(), expected, found }.into())
            }
            _ => Ok(()),
        }
    }
}

/// Whose fault it is that a version can't be run.
#[derive(Debug, PartialEq, Eq)]
enum Blame {
    /// The version's: it will never run.
    Version,
    /// The medium's or the system's: it can't be read now.
    Reading,
    /// Neither's: nothing would run.
    Other,
}

fn blame(error: &Error) -> Blame {
    match error {
        Error::Store(StoreError::Damaged { problem: Problem::Unreadable(_), .. } | StoreError::Durable(_)) => {
            Blame::Reading
        }
        Error::Store(StoreError::Damaged { .. })
        | Error::Delta { .. }
        | Error::Model(_)
        | Error::Data(_)
        | Error::Logit { .. } => Blame::Version,
        _ => Blame::Other,
    }
}
