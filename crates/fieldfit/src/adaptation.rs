//! Adaptation: trains on labelled images, stores the delta with the gate's verdict, and activates it if accepted.

use crate::classifier::Classifier;
use crate::comparison::Cost;
use crate::delta::file::{parse, read, read_for};
use crate::evaluation::evaluate;
use crate::execution_plan::plan_version;
use crate::image_set::ImageSet;
use crate::{Error, Runtime, Version};
use fieldfit_adapt::{
    AdaptRequest, Checkpointing, Control, Event, Gate, GateFigures, Options, Outcome, Reference, adapt, peak_memory,
    remove_checkpoint,
};
use fieldfit_data::Dataset;
use fieldfit_delta::Delta;
use fieldfit_model::Weights;
use fieldfit_store::{ActiveVersion, Store, StoreError, Verdict};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Name of the checkpoint in the store's work folder.
const CHECKPOINT: &str = "adapt.checkpoint";

/// Result of an adaptation. It is in the store, whatever the gate decided.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Adapted {
    /// Its number in the store.
    pub version: u32,
    /// Its delta file.
    pub delta: PathBuf,
    /// The file's size, in bytes.
    pub delta_bytes: u64,
    /// Whether the gate accepted it, so that it runs now.
    pub active: bool,
    /// Why, or why not.
    pub reason: String,
    /// Accuracies on the gate slice, of the reference and of this version.
    pub gate: GateFigures,
    /// Wall time of the adaptation, in seconds.
    pub seconds: f64,
    /// Peak resident memory of the process, in bytes, where the system reports it (Linux).
    pub peak: Option<u64>,
}

impl Adapted {
    /// Reads the delta file.
    ///
    /// # Errors
    /// If the file cannot be read any more.
    pub fn read(&self) -> Result<Vec<u8>, Error> {
        read(&self.delta)
    }

    /// Returns the cost of the run. The peak is the process's.
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

/// An adaptation to be run: a builder for the run's options, control and listener.
#[must_use = "an adaptation runs when `run` is called"]
pub struct Adaptation<'a> {
    runtime: &'a Runtime,
    images: &'a Dataset,
    options: Options,
    control: Control,
    resume: bool,
    on_event: Box<dyn FnMut(Event) + 'a>,
}

impl<'a> Adaptation<'a> {
    /// Sets the options. Without them, [`Options::default`].
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Sets the control that pauses and stops the run from other threads.
    pub fn control(mut self, control: &Control) -> Self {
        self.control = control.clone();
        self
    }

    /// Sets whether to resume from the checkpoint that an interrupted run left in the store.
    pub fn resume(mut self, resume: bool) -> Self {
        self.resume = resume;
        self
    }

    /// Sets the listener. It is called on the thread that calls [`run`](Self::run), which waits for it; the last event,
    /// [`Event::Done`], says what is in the store and what runs.
    pub fn on_event(mut self, listener: impl FnMut(Event) + 'a) -> Self {
        self.on_event = Box::new(listener);
        self
    }

    /// Adapts the base to the images, stores the delta with the gate's verdict, and runs it if it was accepted.
    ///
    /// Other threads go on being answered by what runs, until the new version replaces it.
    ///
    /// # Errors
    /// If there is no store, it cannot be written, or another adaptation is running in it; if options, images or
    /// checkpoint cannot be used; if the run diverges or is stopped (it leaves a checkpoint then). Nothing is added to the
    /// store then, and what ran goes on.
    pub fn run(mut self) -> Result<Adapted, Error> {
        let store = self.runtime.store_to("keep an adaptation in")?;
        let work = store.work_dir()?;
        let checkpoint = work.path().join(CHECKPOINT);
        let mut compared_with = store.active_version()?;
        let mut outcome = self.train(store, Checkpointing { path: &checkpoint, resume: self.resume })?;
        let version = loop {
            match self.runtime.store_judged(store, &outcome, compared_with)? {
                Some(version) => break version,
                None => {
                    compared_with = store.active_version()?;
                    self.gate_again(store, &mut outcome)?;
                }
            }
        };
        let adapted = self.runtime.adapted(store, version, outcome)?;
        remove_checkpoint(&checkpoint)?;
        (self.on_event)(adapted.clone().into());
        Ok(adapted)
    }

    fn train(&mut self, store: &Store, checkpoint: Checkpointing<'_>) -> Result<Outcome, Error> {
        let active = store.read_active()?;
        let active = active.as_ref().map(|(version, bytes)| parse(&store.delta_path(*version), bytes)).transpose()?;
        let request = AdaptRequest {
            base: self.runtime.base(),
            dataset: self.images,
            options: &self.options,
            active: active.as_ref(),
            checkpoint: Some(checkpoint),
        };
        Ok(adapt(&request, &self.control, &mut self.on_event)?)
    }

    /// Judges the delta against the version that is active now, where that has the same classes; the verdict against the
    /// version of before stays where it does not.
    fn gate_again(&mut self, store: &Store, outcome: &mut Outcome) -> Result<(), Error> {
        let Some((version, bytes)) = store.read_active()? else { return Ok(()) };
        let path = store.delta_path(version);
        let (active, made) = (parse(&path, &bytes)?, parse(Path::new("the new delta"), &outcome.delta)?);
        if active.labels().collect::<BTreeSet<_>>() != made.labels().collect::<BTreeSet<_>>() {
            return Ok(());
        }
        let order = self.images.split(&self.options.fractions)?.gate;
        let gate = ImageSet { order, ..ImageSet::of("gate", self.images.clone()) };
        let correct = |delta: &Delta<'_>| {
            let weights = Weights::adapted(self.runtime.base(), delta)?;
            let classifier = Classifier::new(self.runtime.base(), weights, self.options.device)?;
            Ok::<_, Error>(evaluate(&classifier, Version::Stored(version), &gate, &mut |_, _| ())?.correct)
        };
        let (images, before, after) = (gate.order.len(), correct(&active)?, correct(&made)?);
        let accepted = after >= before;
        let reason = match accepted {
            true => format!("{after} of {images} gate images correct, {before} by version {version}"),
            false => {
                format!("only {after} of {images} gate images correct, fewer than the {before} by version {version}")
            }
        };
        outcome.gate = Gate { images, before, after, reference: Reference::Active, accepted, reason };
        (self.on_event)(Event::Gate(outcome.gate.clone()));
        Ok(())
    }
}

impl Runtime {
    /// Begins an adaptation of the base to labelled images; [`Adaptation::run`] runs it.
    pub fn adaptation<'a>(&'a self, images: &'a Dataset) -> Adaptation<'a> {
        Adaptation {
            runtime: self,
            images,
            options: Options::default(),
            control: Control::new(),
            resume: false,
            on_event: Box::new(|_| ()),
        }
    }

    /// Adapts the base to labelled images with these options: short for [`adaptation`](Self::adaptation).
    ///
    /// # Errors
    /// As [`Adaptation::run`].
    pub fn adapt(&self, images: &Dataset, options: &Options) -> Result<Adapted, Error> {
        self.adaptation(images).options(options.clone()).run()
    }

    /// Stores a judged delta and activates or refuses it, unless another version is active than the gate compared with.
    fn store_judged(
        &self,
        store: &Store,
        outcome: &Outcome,
        compared_with: ActiveVersion,
    ) -> Result<Option<u32>, Error> {
        self.swap(|swaps, outbox| {
            // A refusal is stored with its delta; what passed is a candidate until it is ready to run.
            let verdict = match outcome.gate.accepted {
                true => Verdict::Candidate,
                false => Verdict::Refuse { reason: &outcome.gate.reason },
            };
            let version = match store.add_judged(&outcome.delta, self.key(), verdict, Some(&compared_with)) {
                Err(StoreError::ActiveChanged { .. }) => return Ok(None),
                version => version?,
            };
            if outcome.gate.accepted {
                self.activate_in(swaps, store, version, outbox)?;
            }
            Ok(Some(version))
        })
    }

    /// Prunes the store, and describes what was added to it.
    fn adapted(&self, store: &Store, version: u32, outcome: Outcome) -> Result<Adapted, Error> {
        let Outcome { gate, seconds, .. } = outcome;
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

    /// Adds a delta from elsewhere to the store, as a candidate; [`activate`](Self::activate) runs it.
    ///
    /// # Errors
    /// If there is no store, or it cannot be written; if the file is not a whole delta, is made for another base, leaves a
    /// radius, or is rejected by the store's [trust file](Store::receive).
    pub fn add(&self, delta: impl AsRef<Path>) -> Result<u32, Error> {
        let delta = delta.as_ref();
        let store = self.store_to("add a delta to")?;
        let bytes = read_for(self.base(), delta)?;
        let parsed = parse(delta, &bytes)?;
        plan_version(self.base(), parsed.header())?;
        Weights::adapted(self.base(), &parsed)?;
        Ok(store.receive_for(Some(&self.base().id().0), &bytes, false)?)
    }
}

/// Adds a delta from elsewhere to a store, as a candidate, without the base's weights: activating it verifies it against
/// them. With `replay`, also one whose signer has sent a newer one since.
///
/// # Errors
/// If the file cannot be read, is not a whole delta or made for another base than the store's, or is rejected by the
/// store's [trust file](Store::receive).
pub fn receive(store: &Store, delta: impl AsRef<Path>, replay: bool) -> Result<u32, Error> {
    let delta = delta.as_ref();
    let bytes = read(delta)?;
    match store.receive(&bytes, replay) {
        Err(StoreError::Delta(source)) => Err(Error::Delta { path: delta.to_owned(), source }),
        other => Ok(other?),
    }
}
