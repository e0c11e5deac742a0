//! Builder: what a runtime runs and how, before it is opened.

use crate::delta::file::{parse, read_for};
use crate::drift::DriftMonitor;
use crate::event::{Listener, Outbox};
use crate::fallback::{Fallback, Selected, require_base};
use crate::running::{Running, Serving};
use crate::runtime::{Swaps, all_cores};
use crate::status::{Activity, Reported, RuntimeReporter};
use crate::weights_monitor::WeightsMonitor;
use crate::{Error, Runtime, RuntimeEvent, Version};
use arc_swap::ArcSwap;
use fieldfit_adapt::novelty::NoveltyModel;
use fieldfit_delta::SecretKey;
use fieldfit_durable::Rehash;
use fieldfit_exec::{Device, Precision};
use fieldfit_model::{Base, BaseOptions, Weights};
use fieldfit_store::{ActiveVersion, Keep, Store, StoreError, TrialRules};
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Failures in a row after which a version is left, where nothing else is set.
const MAX_FAILURES: NonZeroU32 = NonZeroU32::new(3).unwrap();

/// Builder of a [`Runtime`].
#[derive(Debug, Clone)]
pub struct Builder {
    model: PathBuf,
    serving: Serving,
    store: Option<PathBuf>,
    create_store: bool,
    require_store: bool,
    delta: Option<PathBuf>,
    key: Option<SecretKey>,
    keep: Keep,
    rules: Option<TrialRules>,
    listener: Listener,
    drift_every: Option<NonZeroU32>,
    max_failures: NonZeroU32,
    memory_budget: Option<u64>,
    copied: bool,
    rehash: Option<Rehash>,
}

impl Builder {
    pub(crate) fn new(model: &Path) -> Self {
        Self {
            model: model.to_owned(),
            serving: Serving { device: all_cores(), precision: Precision::F32, base_answers: false, novelty: false },
            store: None,
            create_store: false,
            require_store: false,
            delta: None,
            key: None,
            keep: Keep::default(),
            rules: Some(TrialRules::default()),
            listener: Listener::default(),
            drift_every: None,
            max_failures: MAX_FAILURES,
            memory_budget: None,
            copied: false,
            rehash: None,
        }
    }

    /// Sets the device. Without it, the CPU on all its cores.
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.serving.device = device;
        self
    }

    /// Sets the precision of inference. Without it, f32. int8 runs on the CPU, and takes the scales of activations from what
    /// an adaptation for int8 recorded, else from the base's [calibration](Runtime::calibrate).
    #[must_use]
    pub fn precision(mut self, precision: Precision) -> Self {
        self.serving.precision = precision;
        self
    }

    /// Sets the store, which must exist: its active version runs, and adaptations are kept there.
    #[must_use]
    pub fn store(mut self, path: impl AsRef<Path>) -> Self {
        self.store = Some(path.as_ref().to_owned());
        self.create_store = false;
        self
    }

    /// Sets the store as [`store`](Self::store) does, and creates it if it is missing.
    #[must_use]
    pub fn store_or_new(mut self, path: impl AsRef<Path>) -> Self {
        self.store = Some(path.as_ref().to_owned());
        self.create_store = true;
        self
    }

    /// Makes a store whose state is damaged or unreadable an error of [`open`](Self::open). Without it, the base runs
    /// then, [`RuntimeEvent::StoreUnavailable`] is delivered and [`Runtime::is_degraded`] is true, until
    /// [`Runtime::poll`] finds the store restored. A missing store is always an error.
    #[must_use]
    pub fn require_store(mut self) -> Self {
        self.require_store = true;
        self
    }

    /// Runs this delta file until the first swap, whatever version is active in the store.
    #[must_use]
    pub fn delta(mut self, path: impl AsRef<Path>) -> Self {
        self.delta = Some(path.as_ref().to_owned());
        self
    }

    /// Sets the key that signs the adaptations that are made here.
    #[must_use]
    pub fn key(mut self, key: SecretKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Sets what the store keeps: older versions are removed after each adaptation. Without it, all stay.
    #[must_use]
    pub fn keep(mut self, keep: Keep) -> Self {
        self.keep = keep;
        self
    }

    /// Sets the rules of trials. Without them, [`TrialRules::default`].
    #[must_use]
    pub fn trials(mut self, rules: TrialRules) -> Self {
        self.rules = Some(rules);
        self
    }

    /// Counts neither starts nor predictions of a version on trial: for tools that adapt or measure, and answer none of the
    /// robot's frames.
    #[must_use]
    pub fn without_trials(mut self) -> Self {
        self.rules = None;
        self
    }

    /// Sets the listener for runtime events.
    ///
    /// An event of a call ([`Runtime::poll`], [`activate`](Runtime::activate), …) is delivered on the thread of that call,
    /// once all locks are released; one that arises on a frame's or a trial's thread, on a thread of the runtime's. The
    /// listener may call the runtime. Its panics are caught and logged.
    #[must_use]
    pub fn on_event(mut self, listener: impl Fn(&RuntimeEvent) + Send + Sync + 'static) -> Self {
        self.listener = Listener::new(listener);
        self
    }

    /// Delivers [`RuntimeEvent::Drift`] once every so many frames.
    #[must_use]
    pub fn drift_every(mut self, frames: NonZeroU32) -> Self {
        self.drift_every = Some(frames);
        self
    }

    /// Sets after how many failures in a row (logits that are not finite, a network that cannot be computed) a version is
    /// quarantined and left while the program runs, also a confirmed one. Without it, 3. A frame that cannot be decoded
    /// is not a failure, nor is one at which the base fails, too.
    #[must_use]
    pub fn max_failures(mut self, failures: NonZeroU32) -> Self {
        self.max_failures = failures;
        self
    }

    /// Sets the most bytes that a version of the store may take to run: its weights, also while they are prepared, and the
    /// activations of one frame. A version that needs more is neither activated nor run. A swap has two versions in memory.
    #[must_use]
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.memory_budget = Some(bytes);
        self
    }

    /// Sets whether predictions also rank the base's own classes, [`Prediction::base`](crate::Prediction::base): old and new
    /// classes by one model. Off by default.
    ///
    /// The features of the running version's backbone are multiplied by the base's head, too: one matrix product a frame,
    /// and that head in memory. [`open`](Self::open) refuses a base without a head.
    #[must_use]
    pub fn base_answers(mut self, wanted: bool) -> Self {
        self.serving.base_answers = wanted;
        self
    }

    /// Sets whether predictions have the novelty of their frames, [`Prediction::novelty`](crate::Prediction::novelty), where
    /// the version records a threshold. Off by default: the features are put out by a further head, of as many values as
    /// features squared, and compared with each class mean.
    #[must_use]
    pub fn novelty(mut self, wanted: bool) -> Self {
        self.serving.novelty = wanted;
        self
    }

    /// Sets whether to read the base's weights to memory instead of mapping them: for file systems on which somebody may
    /// truncate or rewrite them under a map, which would end the process. Costs the weights' size.
    #[must_use]
    pub fn copy_base(mut self, copied: bool) -> Self {
        self.copied = copied;
        self
    }

    /// Hashes the mapped weights again and again at that rate, on a thread beside the frames, and delivers
    /// [`RuntimeEvent::BaseAltered`] once they have changed. From then on, swaps and adaptations are refused; frames are
    /// answered with what was prepared before.
    ///
    /// Off by default: it costs a thread and keeps the whole file in the page cache, and an imported file is read-only. It
    /// finds what the file's times do not show, and a start with a store therefore does not see: writes through a shared
    /// mapping of another program, writes below the file system, and media that lose bits. A
    /// [copied](Self::copy_base) base is not hashed again.
    #[must_use]
    pub fn rehash(mut self, rate: Rehash) -> Self {
        self.rehash = Some(rate);
        self
    }

    /// Maps and verifies the base, and prepares the version that runs first.
    ///
    /// With a store this is its active version; if that cannot run, the last confirmed version; at last the base.
    /// [`Runtime::version`] says which, and a [`RuntimeEvent`] why.
    ///
    /// # Errors
    /// If the base or the delta cannot be read, base, delta and store do not belong together, the store is missing, the
    /// device is unavailable, or a base without a head is to [answer](Self::base_answers).
    pub fn open(mut self) -> Result<Runtime, Error> {
        self.listener = std::mem::take(&mut self.listener).started();
        let outbox = Outbox::default();
        let (store, is_degraded) = self.open_store(&outbox)?;
        let usable = store.as_ref().filter(|_| !is_degraded);
        let mut base = verified(&self.model, self.copied, usable)?;
        if self.serving.base_answers && base.network().is_headless() {
            return Err(Error::NoBaseAnswers { path: self.model });
        }
        let (selected, is_degraded) = match self.select(&base, usable, &outbox) {
            Ok(selected) => (selected, is_degraded),
            // The state was usable when the store was opened, and no longer is.
            Err(error) => {
                self.degrade(error, &outbox)?;
                (self.select(&base, None, &outbox)?, true)
            }
        };
        let monitor = self.monitor(&mut base, store.as_ref());
        let runtime = self.into_runtime(base, store, selected, is_degraded, monitor);
        outbox.deliver(&runtime.listener);
        Ok(runtime)
    }

    /// Opens the store, if there is to be one, and returns whether it is unavailable.
    fn open_store(&self, outbox: &Outbox) -> Result<(Option<Store>, bool), Error> {
        let Some(path) = &self.store else { return Ok((None, false)) };
        let (store, unusable) = match Store::open_degraded(path) {
            Err(StoreError::Missing { .. }) if self.create_store => (Store::create_or_open(path)?, None),
            opened => opened?,
        };
        let is_degraded = unusable.map_or(Ok(false), |error| self.degrade(error.into(), outbox).map(|()| true))?;
        Ok((Some(store), is_degraded))
    }

    /// Selects what runs first; without a usable store, the delta file or the base.
    fn select(&self, base: &Base, store: Option<&Store>, outbox: &Outbox) -> Result<Selected, Error> {
        store.map_or(Ok(()), |store| fix_base(base, store))?;
        let running = match (&self.delta, store) {
            (None, Some(store)) => {
                let failed = &BTreeSet::new();
                let (serving, rules, memory_budget, listener) =
                    (self.serving, self.rules, self.memory_budget, &self.listener);
                return Fallback { base, serving, store, rules, memory_budget, failed, listener, outbox }.select();
            }
            (Some(path), _) => {
                let bytes = read_for(base, path)?;
                let delta = parse(path, &bytes)?;
                let novelty = NoveltyModel::of_delta(&delta, base.network().head.features)?;
                Running::new(Version::File, base, Weights::adapted(base, &delta)?, novelty, self.serving)?
            }
            (None, None) => Running::new(Version::Base, base, Weights::of_base(base), None, self.serving)?,
        };
        let view = store.map_or(Ok(ActiveVersion::default()), Store::active_version)?;
        Ok(Selected { running, view, trial: None, awaited: None })
    }

    /// Lets an unavailable store pass, unless it is required; any other error stays one.
    fn degrade(&self, error: Error, outbox: &Outbox) -> Result<(), Error> {
        match &error {
            Error::Store(store) if store.is_unusable_state() && !self.require_store => {
                outbox.push(RuntimeEvent::StoreUnavailable { reason: error.to_string() });
                Ok(())
            }
            _ => Err(error),
        }
    }

    /// Starts to hash the mapped weights again, if that is set.
    fn monitor(&self, base: &mut Base, store: Option<&Store>) -> Option<WeightsMonitor> {
        let (rate, file) = self.rehash.zip(base.take_mapped_file())?;
        WeightsMonitor::begin(file, rate, store.cloned(), self.listener.clone())
            .inspect_err(|error| log::error!("the base's weights are not hashed again: {error}"))
            .ok()
    }

    fn into_runtime(
        self,
        base: Base,
        store: Option<Store>,
        selected: Selected,
        is_degraded: bool,
        monitor: Option<WeightsMonitor>,
    ) -> Runtime {
        let Selected { running, view, trial, awaited } = selected;
        let drift = Arc::new(DriftMonitor::new(running.version(), self.drift_every));
        let (running, activity) = (Arc::new(ArcSwap::from_pointee(running)), Arc::new(Activity::default()));
        let reported = Reported { activity: activity.clone(), running: running.clone(), drift: drift.clone() };
        let reporter = store.clone().and_then(|store| {
            let begun = RuntimeReporter::begin(store, reported);
            begun.inspect_err(|error| log::warn!("what runs is not shown to processes that watch: {error}")).ok()
        });
        Runtime {
            base,
            serving: self.serving,
            store,
            delta: self.delta,
            key: self.key,
            keep: self.keep,
            rules: self.rules,
            listener: self.listener,
            max_failures: self.max_failures,
            memory_budget: self.memory_budget,
            running,
            swaps: Mutex::new(Swaps::new(view, trial, awaited, is_degraded)),
            drift,
            activity,
            base_agreement: Mutex::default(),
            monitor,
            _reporter: reporter,
        }
    }
}

/// Fixes the store's base, so that candidates for another one cannot.
///
/// # Errors
/// If the store is another base's, or cannot be read.
fn fix_base(base: &Base, store: &Store) -> Result<(), Error> {
    require_base(base, store)?;
    // Where the store cannot be written, another start fixes it.
    store.fix_base(&base.id().0).unwrap_or_else(|error| log::debug!("the store's base is not fixed: {error}"));
    Ok(())
}

/// Opens the base. The store caches which file was verified, so that the next start need not hash it again.
fn verified(model: &Path, copied: bool, store: Option<&Store>) -> Result<Base, Error> {
    let known = store.and_then(Store::verification);
    let base = Base::open_as(model, BaseOptions::default().with_copied(copied).with_verification(known))?;
    if let Some((store, verification)) = store.zip(base.verification().filter(|_| base.verification() != known)) {
        // Nothing depends on it: where the store cannot be written, the next start hashes again.
        let kept = store.keep_verification(&verification);
        kept.unwrap_or_else(|error| log::debug!("the base's verification is not cached: {error}"));
    }
    Ok(base)
}
