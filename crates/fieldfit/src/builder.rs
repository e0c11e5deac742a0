//! Builder: what a runtime runs and how, before it is opened.

use crate::delta::file::{adapted, read_for};
use crate::drift::DriftMonitor;
use crate::event::{Listener, Outbox};
use crate::fallback::{Fallback, Selected, require_base};
use crate::running::Running;
use crate::runtime::{Swaps, all_cores};
use crate::{Error, Runtime, RuntimeEvent, Version};
use arc_swap::ArcSwap;
use fieldfit_delta::SecretKey;
use fieldfit_exec::Device;
use fieldfit_model::{Base, BaseOptions, Weights};
use fieldfit_store::{ActiveVersion, Keep, Store, TrialRules};
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

/// Failures in a row after which a version is left, where nothing else is set.
const MAX_FAILURES: NonZeroU32 = NonZeroU32::new(3).unwrap();

/// Builder of a [`Runtime`].
#[derive(Debug, Clone)]
pub struct Builder {
    model: PathBuf,
    device: Device,
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
}

impl Builder {
    pub(crate) fn new(model: &Path) -> Self {
        Self {
            model: model.to_owned(),
            device: all_cores(),
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
        }
    }

    /// Sets the device. Without it, the CPU on all its cores.
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
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

    /// Sets whether to read the base's weights to memory instead of mapping them: for file systems on which somebody may
    /// truncate or rewrite them under a map, which would end the process. Costs the weights' size.
    #[must_use]
    pub fn copy_base(mut self, copied: bool) -> Self {
        self.copied = copied;
        self
    }

    /// Maps and verifies the base, and prepares the version that runs first.
    ///
    /// With a store this is its active version; if that cannot run, the last confirmed version; at last the base.
    /// [`Runtime::version`] says which, and a [`RuntimeEvent`] why.
    ///
    /// # Errors
    /// If the base or the delta cannot be read, base, delta and store do not belong together, the store is missing, or the
    /// device is unavailable.
    pub fn open(mut self) -> Result<Runtime, Error> {
        self.listener = std::mem::take(&mut self.listener).started();
        let outbox = Outbox::default();
        let (store, degraded) = self.open_store(&outbox)?;
        let base = verified(&self.model, self.copied, store.as_ref())?;
        let (selected, degraded) = match (&self.delta, &store) {
            (None, Some(store)) => self.select(&base, store, degraded, &outbox)?,
            (Some(path), store) => {
                store.as_ref().map_or(Ok(()), |store| fix_base(&base, store))?;
                let weights = adapted(&base, path, &read_for(&base, path)?)?;
                let running = Running::new(Version::File, &base, weights, self.device)?;
                let view = store.as_ref().map_or(Ok(ActiveVersion::default()), Store::active_version)?;
                (Selected { running, view, trial: None, awaited: None }, degraded)
            }
            (None, None) => (of_base(&base, self.device)?, degraded),
        };
        let runtime = self.into_runtime(base, store, selected, degraded);
        outbox.deliver(&runtime.listener);
        Ok(runtime)
    }

    /// Opens the store, if there is to be one; without it, whether it is unavailable.
    fn open_store(&self, outbox: &Outbox) -> Result<(Option<Store>, bool), Error> {
        let opened = match &self.store {
            Some(path) if self.create_store => Store::create_or_open(path),
            Some(path) => Store::open(path),
            None => return Ok((None, false)),
        };
        match opened {
            Ok(store) => Ok((Some(store), false)),
            Err(error) => self.degrade(error.into(), outbox).map(|()| (None, true)),
        }
    }

    fn select(&self, base: &Base, store: &Store, degraded: bool, outbox: &Outbox) -> Result<(Selected, bool), Error> {
        let fallback = Fallback {
            base,
            device: self.device,
            store,
            rules: self.rules,
            memory_budget: self.memory_budget,
            failed: &BTreeSet::new(),
            listener: &self.listener,
            outbox,
        };
        match fix_base(base, store).and_then(|()| fallback.select()) {
            Ok(selected) => Ok((selected, degraded)),
            Err(error) => {
                self.degrade(error, outbox)?;
                Ok((of_base(base, self.device)?, true))
            }
        }
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

    fn into_runtime(self, base: Base, store: Option<Store>, selected: Selected, degraded: bool) -> Runtime {
        let Selected { running, view, trial, awaited } = selected;
        let drift = DriftMonitor::new(running.version(), self.drift_every);
        Runtime {
            base,
            device: self.device,
            store_path: self.store,
            store: store.map_or_else(OnceLock::new, OnceLock::from),
            delta: self.delta,
            key: self.key,
            keep: self.keep,
            rules: self.rules,
            listener: self.listener,
            max_failures: self.max_failures,
            memory_budget: self.memory_budget,
            running: ArcSwap::from_pointee(running),
            swaps: Mutex::new(Swaps::new(view, trial, awaited, degraded)),
            drift,
            base_agreement: Mutex::default(),
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

/// The base as it is, without a store.
fn of_base(base: &Base, device: Device) -> Result<Selected, Error> {
    let running = Running::new(Version::Base, base, Weights::of_base(base), device)?;
    Ok(Selected { running, view: ActiveVersion::default(), trial: None, awaited: None })
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
