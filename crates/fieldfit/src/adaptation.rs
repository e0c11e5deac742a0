//! Adaptation: trains on labelled images, stores the delta with the gate's verdict, and activates it if accepted.

use crate::comparison::Cost;
use crate::delta::file::{parse, read, read_for};
use crate::execution_plan::plan_version;
use crate::status::AdaptationReporter;
use crate::{Error, Runtime};
use fieldfit_adapt::{
    AdaptRequest, Checkpointing, Control, Event, GateFigures, MethodEntry, Options, Outcome, StartPoint, adapt,
    gate_again, peak_memory, remove_checkpoint,
};
use fieldfit_data::Dataset;
use fieldfit_delta::Delta;
use fieldfit_model::Weights;
use fieldfit_store::{ActiveVersion, Store, StoreError, Verdict, WorkDir};

use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    /// Reason of the verdict.
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
    /// Custom method, which then trains.
    custom: Option<MethodEntry>,
    control: Control,
    resume: bool,
    on_event: Box<dyn FnMut(Event) + 'a>,
}

impl<'a> Adaptation<'a> {
    /// Sets the options, but for the precision, which is the runtime's: the gate judges what will run. Without them,
    /// [`Options::default`].
    pub fn options(mut self, options: Options) -> Self {
        self.options = options.with_precision(self.runtime.precision());
        self
    }

    /// Sets a custom method, which trains in place of the one that the options name; the options' `settings` are its
    /// own. The checkpoint and the delta record its name.
    ///
    /// It is called on the thread that calls [`run`](Self::run), or on one that the run starts if the options set a
    /// niceness. A panic of the method unwinds out of `run`: nothing is stored, what ran goes on, and the checkpoint
    /// of the last epoch remains.
    pub fn method(mut self, method: MethodEntry) -> Self {
        self.custom = Some(method);
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
        self.runtime.check_base()?;
        if let Some(method) = &self.custom {
            self.options.method = method.name.to_owned();
        }
        let store = self.runtime.store_to("keep an adaptation in")?;
        if let Some(key) = self.runtime.key() {
            // Before the work: a key without a number left could not sign the result.
            store.next_sequence(key.public())?;
        }
        let work = store.work_dir()?;
        let reporter = Arc::new(AdaptationReporter::begin(store, &self.options));
        self.report_to(&reporter);
        self.run_in(store, &work).inspect_err(|error| reporter.fail(error))
    }

    /// Lets a reporter hear of every event, and hold the run back.
    fn report_to(&mut self, reporter: &Arc<AdaptationReporter>) {
        let mut on_event = mem::replace(&mut self.on_event, Box::new(|_| ()));
        let heard = reporter.clone();
        self.on_event = Box::new(move |event| {
            heard.note(&event);
            on_event(event);
        });
        let asked = reporter.clone();
        self.control = self.control.clone().also_guarded_by(move || asked.pace());
    }

    /// Runs in a claimed work folder.
    fn run_in(&mut self, store: &Store, work: &WorkDir) -> Result<Adapted, Error> {
        let checkpoint = work.path().join(CHECKPOINT);
        let mut compared_with = store.active_version()?;
        let start = self.start(store)?;
        let start = start.as_ref().map(|(version, bytes)| parse(&store.delta_path(*version), bytes)).transpose()?;
        let checkpointing = Checkpointing { path: &checkpoint, resume: self.resume };
        let mut outcome = self.train(store, start.as_ref(), checkpointing)?;
        let version = loop {
            match self.runtime.store_judged(store, &mut outcome, &compared_with)? {
                Some(version) => break version,
                None => {
                    compared_with = store.active_version()?;
                    self.judge_again(store, start.as_ref(), &mut outcome)?;
                }
            }
        };
        let adapted = self.runtime.adapted(store, version, outcome)?;
        remove_checkpoint(&checkpoint)?;
        (self.on_event)(adapted.clone().into());
        Ok(adapted)
    }

    /// Returns the version that training starts at and its delta; `None` for the base.
    fn start(&self, store: &Store) -> Result<Option<(u32, Vec<u8>)>, Error> {
        Ok(match self.options.start {
            StartPoint::Base => None,
            StartPoint::Active => store.read_active()?,
        })
    }

    fn train(
        &mut self,
        store: &Store,
        start: Option<&Delta<'_>>,
        checkpoint: Checkpointing<'_>,
    ) -> Result<Outcome, Error> {
        self.request(store, (start, Some(checkpoint)), |request, control, on_event| {
            Ok(adapt(request, control, on_event)?)
        })
    }

    /// Judges the delta against the version that is active now.
    fn judge_again(&mut self, store: &Store, start: Option<&Delta<'_>>, outcome: &mut Outcome) -> Result<(), Error> {
        outcome.gate = self.request(store, (start, None), |request, control, on_event| {
            Ok(gate_again(request, outcome, control, on_event)?)
        })?;
        Ok(())
    }

    /// Calls `work` with the request of this adaptation, from that start, against the version that is active now.
    fn request<R>(
        &mut self,
        store: &Store,
        (start, checkpoint): (Option<&Delta<'_>>, Option<Checkpointing<'_>>),
        work: impl FnOnce(&AdaptRequest<'_>, &Control, &mut dyn FnMut(Event)) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let active = store.read_active()?;
        let active = active.as_ref().map(|(version, bytes)| parse(&store.delta_path(*version), bytes)).transpose()?;
        let request = AdaptRequest {
            base: self.runtime.base(),
            dataset: self.images,
            options: &self.options,
            methods: self.custom.as_slice(),
            active: active.as_ref(),
            start,
            checkpoint,
        };
        work(&request, &self.control, &mut self.on_event)
    }
}

impl Runtime {
    /// Begins an adaptation of the base to labelled images; [`Adaptation::run`] runs it.
    pub fn adaptation<'a>(&'a self, images: &'a Dataset) -> Adaptation<'a> {
        Adaptation {
            runtime: self,
            images,
            options: Options::default().with_precision(self.precision()),
            custom: None,
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

    /// Stores a delta with its verdict in one commit and runs it if it was accepted, unless another version is active than
    /// the gate compared with. A delta that was accepted and cannot run here is stored as refused.
    pub(crate) fn store_judged(
        &self,
        store: &Store,
        outcome: &mut Outcome,
        compared_with: &ActiveVersion,
    ) -> Result<Option<u32>, Error> {
        self.swap(|swaps, outbox| {
            let ready = match outcome.gate.accepted.then(|| self.prepare(store, &outcome.delta, outbox)).transpose() {
                Ok(ready) => ready,
                Err(error) => {
                    (outcome.gate.accepted, outcome.gate.reason) = (false, error.to_string());
                    None
                }
            };
            let verdict = match ready {
                Some(_) => Verdict::Activate,
                None => Verdict::Refuse { reason: &outcome.gate.reason },
            };
            let version = match store.add_judged(&outcome.delta, self.key(), verdict, Some(compared_with)) {
                Err(StoreError::ActiveChanged { .. }) => return Ok(None),
                version => version?,
            };
            ready.map_or(Ok(()), |ready| self.run_activated(swaps, store, version, ready, outbox))?;
            Ok(Some(version))
        })
    }

    /// Prunes the store, and describes what was added to it.
    pub(crate) fn adapted(&self, store: &Store, version: u32, outcome: Outcome) -> Result<Adapted, Error> {
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
        plan_version(self.base(), parsed.header(), self.precision(), 0)?;
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
