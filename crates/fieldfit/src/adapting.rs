//! From a folder of images to a version that runs, or that was refused.

use crate::runtime::{parse, read, read_for};
use crate::{Cost, Error, Runtime};
use fieldfit_adapt::{
    AdaptRequest, Checkpointing, Control, Event, GateFigures, Options, Outcome, adapt, peak_memory, remove_checkpoint,
};
use fieldfit_data::Dataset;
use fieldfit_store::{Store, StoreError};
use std::path::{Path, PathBuf};

/// The file in the store's work folder that an interrupted adaptation goes on from.
const CHECKPOINT: &str = "adapt.checkpoint";

/// What an adaptation came to. It is in the store, whatever the gate said.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapted {
    /// Its number in the store.
    pub version: u32,
    /// Its delta file.
    pub delta: PathBuf,
    /// The file's size.
    pub delta_bytes: u64,
    /// Whether the gate accepted it, so that it runs now.
    pub active: bool,
    /// Why, or why not.
    pub reason: String,
    /// Accuracies on the gate slice, of what ran before and of this version.
    pub gate: GateFigures,
    /// Wall time of the adaptation.
    pub seconds: f64,
    /// The most memory that the process has ever had resident, in bytes, where the system tells (Linux).
    pub peak: Option<u64>,
}

impl Adapted {
    /// The delta file's bytes.
    ///
    /// # Errors
    /// If the file can't be read any more.
    pub fn read(&self) -> Result<Vec<u8>, Error> {
        read(&self.delta)
    }

    /// What it took. The peak is the process's.
    pub const fn cost(&self) -> Cost {
        Cost { seconds: self.seconds, peak_bytes: self.peak }
    }
}

impl From<Adapted> for Event {
    fn from(adapted: Adapted) -> Self {
        let Adapted { version, delta, delta_bytes, active, reason, gate, seconds, peak } = adapted;
        Self::Done { version, delta, delta_bytes, active, reason, gate, seconds, peak }
    }
}

impl Runtime {
    /// Adapts the base to labelled images, stores what came of it, and runs it if it passes its gate.
    ///
    /// Frames go on being answered by what runs, from other threads, until the new version replaces it.
    ///
    /// # Errors
    /// As [`adapt_with`](Self::adapt_with).
    pub fn adapt(&self, images: &Dataset, options: &Options) -> Result<Adapted, Error> {
        self.adapt_with(images, options, false, &Control::new(), &mut |_| ())
    }

    /// As [`adapt`](Self::adapt), heard and stopped from outside.
    ///
    /// `resume` goes on from the checkpoint that an interrupted run left in the store. `events` hears everything; the
    /// last event, [`Event::Done`], says what is in the store and what runs.
    ///
    /// # Errors
    /// If there is no store, or it can't be written, or another adaptation is running in it; if options, images or checkpoint can't be used; if the run
    /// diverges or was stopped through `control` (it left a checkpoint then). Nothing was added to the store, and what
    /// ran goes on.
    pub fn adapt_with(
        &self,
        images: &Dataset,
        options: &Options,
        resume: bool,
        control: &Control,
        events: &mut dyn FnMut(Event),
    ) -> Result<Adapted, Error> {
        let store = self.store_to("keep an adaptation in")?;
        let work = store.work_dir()?;
        let checkpoint = work.path().join(CHECKPOINT);
        let outcome =
            self.train(store, images, options, Checkpointing { path: &checkpoint, resume }, control, events)?;
        let adapted = self.keep(store, outcome)?;
        remove_checkpoint(&checkpoint)?;
        events(adapted.clone().into());
        Ok(adapted)
    }

    fn train(
        &self,
        store: &Store,
        dataset: &Dataset,
        options: &Options,
        checkpoint: Checkpointing<'_>,
        control: &Control,
        events: &mut dyn FnMut(Event),
    ) -> Result<Outcome, Error> {
        let active = store.read_active()?;
        let active = active.as_ref().map(|(version, bytes)| parse(&store.delta_path(*version), bytes)).transpose()?;
        let request =
            AdaptRequest { base: self.base(), dataset, options, active: active.as_ref(), checkpoint: Some(checkpoint) };
        Ok(adapt(&request, control, events)?)
    }

    /// Puts the delta into the store, and runs it or says why not.
    fn keep(&self, store: &Store, outcome: Outcome) -> Result<Adapted, Error> {
        let Outcome { delta, gate, seconds, .. } = outcome;
        let version = match self.key() {
            Some(key) => store.add_signed(&delta, key)?,
            None => store.add(&delta)?,
        };
        if gate.accepted {
            self.activate(version)?;
        } else {
            store.refuse(version, &gate.reason)?;
        }
        let delta_bytes = store.version(version)?.bytes;
        // The adaptation is done, whatever comes of this.
        if let Err(error) = store.prune(self.kept()) {
            log::warn!("old versions stay in the store until the next adaptation: {error}");
        }
        Ok(Adapted {
            version,
            delta: store.delta_path(version),
            delta_bytes,
            active: gate.accepted,
            gate: gate.figures(),
            reason: gate.reason,
            seconds,
            peak: peak_memory(),
        })
    }

    /// Puts a delta that comes from elsewhere into the store, as a candidate; [`activate`](Self::activate) runs it.
    ///
    /// # Errors
    /// If there is no store, or it can't be written; if the file is no whole delta, is made for another base, leaves a
    /// ball, or the store's [trust file](Store::receive) doesn't let it in.
    pub fn add(&self, delta: &Path) -> Result<u32, Error> {
        let store = self.store_to("add a delta to")?;
        let bytes = read_for(self.base(), delta)?;
        crate::runtime::adapted(self.base(), delta, &bytes)?;
        Ok(store.receive(&bytes, false)?)
    }
}

/// Puts a delta that comes from elsewhere into a store, as a candidate, without looking at the base: activating it does.
/// With `replay`, also one that its signer has replaced by a newer one since.
///
/// # Errors
/// If the file can't be read, is no whole delta or made for another base than the store's others, or the store's
/// [trust file](Store::receive) doesn't let it in.
pub fn receive(store: &Store, delta: &Path, replay: bool) -> Result<u32, Error> {
    let bytes = read(delta)?;
    match store.receive(&bytes, replay) {
        Err(StoreError::Delta(source)) => Err(Error::Delta { path: delta.to_owned(), source }),
        other => Ok(other?),
    }
}
