//! The runtime: what answers frames, and how what answers is replaced.

use crate::base_agreement::BaseAgreement;
use crate::deferred_drop::DeferredDrop;
use crate::delta::file::{adapted, read, read_for};
use crate::drift::DriftMonitor;
use crate::event::Listener;
use crate::fallback::{Fallback, Selected};
use crate::running::Running;
use crate::trial::Trial;
use crate::{Error, Prediction, RuntimeEvent, Version};
use arc_swap::ArcSwap;
use fieldfit_data::Frame;
use fieldfit_delta::SecretKey;
use fieldfit_exec::Device;
use fieldfit_model::{Base, BaseOptions, Weights};
use fieldfit_store::{Keep, Store, TrialRules};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a swap waits for frames that still compute with the old weights, before it leaves freeing them to the next
/// swap or poll.
const PATIENCE: Duration = Duration::from_secs(1);

/// A base model and the adaptation that runs on it, shared by as many threads as there are.
///
/// Each call of [`infer`](Self::infer) answers with one version, whole: weights, labels and preprocessing are replaced
/// together, by one pointer, between two frames. Everything that replaces them ([`adapt`](Self::adapt),
/// [`activate`](Self::activate), [`rollback`](Self::rollback), [`poll`](Self::poll)) prepares the new weights and
/// frees the old ones on its own thread.
pub struct Runtime {
    base: Base,
    device: Device,
    store: Option<Store>,
    delta: Option<PathBuf>,
    key: Option<SecretKey>,
    keep: Keep,
    rules: Option<TrialRules>,
    listener: Listener,
    active: ArcSwap<Running>,
    swaps: Mutex<Swaps>,
    pub(crate) drift: DriftMonitor,
    /// The base agreement of what runs, once it was asked for.
    pub(crate) base_agreement: Mutex<Option<Arc<BaseAgreement>>>,
}

/// What only one swap at a time may touch.
struct Swaps {
    /// The store's generation that the active weights were made from, or one before it.
    generation: u64,
    /// The trial of what runs, if it is on one.
    trial: Option<Trial>,
    /// As [`Selected::awaited`].
    awaited: Option<u32>,
    retired: DeferredDrop<Running>,
}

/// Says what a [`Runtime`] runs, before it is opened.
#[derive(Debug, Clone)]
pub struct Builder {
    model: PathBuf,
    device: Device,
    store: Option<PathBuf>,
    create_store: bool,
    delta: Option<PathBuf>,
    key: Option<SecretKey>,
    keep: Keep,
    rules: Option<TrialRules>,
    listener: Listener,
    drift_every: Option<NonZeroU32>,
    copied: bool,
}

impl Builder {
    /// What computes. Without it, the CPU on all its cores.
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Runs the store's active version, and keeps adaptations there. The store has to exist.
    #[must_use]
    pub fn store(mut self, path: impl AsRef<Path>) -> Self {
        self.store = Some(path.as_ref().to_owned());
        self.create_store = false;
        self
    }

    /// As [`store`](Self::store); makes the store if there is none.
    #[must_use]
    pub fn store_or_new(mut self, path: impl AsRef<Path>) -> Self {
        self.store = Some(path.as_ref().to_owned());
        self.create_store = true;
        self
    }

    /// Runs that delta file until the first swap, whatever the store has active.
    #[must_use]
    pub fn delta(mut self, path: impl AsRef<Path>) -> Self {
        self.delta = Some(path.as_ref().to_owned());
        self
    }

    /// Signs the adaptations that are made here by that key.
    #[must_use]
    pub fn key(mut self, key: SecretKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Removes old versions from the store after each adaptation, until the rest is within that. Without it, all stay.
    #[must_use]
    pub fn keep(mut self, keep: Keep) -> Self {
        self.keep = keep;
        self
    }

    /// How versions on trial prove themselves here. Without it, as by [`TrialRules::default`].
    #[must_use]
    pub fn trials(mut self, rules: TrialRules) -> Self {
        self.rules = Some(rules);
        self
    }

    /// Counts neither starts nor predictions of a version on trial: for tools that adapt or measure, and answer no frames
    /// of the robot's.
    #[must_use]
    pub fn without_trials(mut self) -> Self {
        self.rules = None;
        self
    }

    /// Hears what the runtime does by itself: swaps, fallbacks, confirmations. Called on the thread where that happens,
    /// which waits for it.
    #[must_use]
    pub fn on_event(mut self, hear: impl Fn(&RuntimeEvent) + Send + Sync + 'static) -> Self {
        self.listener = Listener::new(hear);
        self
    }

    /// Tells [`RuntimeEvent::Drift`] after every so many frames, on the thread that answered the last of them.
    #[must_use]
    pub fn drift_every(mut self, frames: NonZeroU32) -> Self {
        self.drift_every = Some(frames);
        self
    }

    /// Whether to read the base's weights to memory instead of mapping them: for file systems on which somebody may
    /// truncate or rewrite them under a map, which would end the process. Costs the weights' size.
    #[must_use]
    pub fn copy_base(mut self, copied: bool) -> Self {
        self.copied = copied;
        self
    }

    /// Maps and verifies the base, and prepares the weights that run first.
    ///
    /// With a store these are the active version's, or if it can't be run, the last confirmed version's, at last the
    /// base's: [`Runtime::version`] tells, and a [`RuntimeEvent`] why.
    ///
    /// # Errors
    /// If the base, the delta or the store's state can't be read or don't belong together, or the device isn't there.
    pub fn open(self) -> Result<Runtime, Error> {
        let store = match &self.store {
            Some(path) if self.create_store => Some(Store::create_or_open(path)?),
            Some(path) => Some(Store::open(path)?),
            None => None,
        };
        let base = proven(&self.model, self.copied, store.as_ref())?;
        let Self { device, delta, key, keep, rules, listener, drift_every, .. } = self;
        let served = match (&delta, &store) {
            (None, Some(store)) => Fallback { base: &base, device, store, rules, listener: &listener }.select()?,
            (Some(path), store) => {
                let weights = adapted(&base, path, &read_for(&base, path)?)?;
                let active = Running::new(Version::File, &base, weights, device)?;
                let generation = store.as_ref().map_or(Ok(0), Store::generation)?;
                Selected { active, generation, trial: None, awaited: None }
            }
            (None, None) => {
                let active = Running::new(Version::Base, &base, Weights::of_base(&base), device)?;
                Selected { active, generation: 0, trial: None, awaited: None }
            }
        };
        let Selected { active, generation, trial, awaited } = served;
        let swaps = Mutex::new(Swaps { generation, trial, awaited, retired: DeferredDrop::new() });
        let drift = DriftMonitor::new(active.version(), drift_every);
        let (active, base_agreement) = (ArcSwap::from_pointee(active), Mutex::default());
        Ok(Runtime { base, device, store, delta, key, keep, rules, listener, active, swaps, drift, base_agreement })
    }
}

impl Runtime {
    /// Runs the base in that model folder, without a store.
    ///
    /// # Errors
    /// As [`Builder::open`].
    pub fn open(model: impl AsRef<Path>, device: Device) -> Result<Self, Error> {
        Self::builder(model).device(device).open()
    }

    /// Says step by step what to run, starting from the base in that model folder.
    pub fn builder(model: impl AsRef<Path>) -> Builder {
        Builder {
            model: model.as_ref().to_owned(),
            device: all_cores(),
            store: None,
            create_store: false,
            delta: None,
            key: None,
            keep: Keep::default(),
            rules: Some(TrialRules::default()),
            listener: Listener::default(),
            drift_every: None,
            copied: false,
        }
    }

    /// The base, mapped.
    pub const fn base(&self) -> &Base {
        &self.base
    }

    /// What computes.
    pub const fn device(&self) -> Device {
        self.device
    }

    /// Where adaptations are kept, if anywhere.
    pub const fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    /// What signs the adaptations that are made here, if anything does.
    pub(crate) fn key(&self) -> Option<&SecretKey> {
        self.key.as_ref()
    }

    /// How much of the store stays after an adaptation.
    pub(crate) const fn kept(&self) -> Keep {
        self.keep
    }

    /// What would answer a frame now.
    pub fn version(&self) -> Version {
        self.active.load().version()
    }

    /// The class names of what would answer a frame now, in the order of the head's outputs.
    pub fn labels(&self) -> Arc<[String]> {
        self.active.load().labels().clone()
    }

    /// What the frame shows.
    ///
    /// # Errors
    /// If the frame is malformed or can't be decoded, the device fails, or what runs is a base without a head.
    pub fn infer(&self, frame: &Frame<'_>) -> Result<Prediction, Error> {
        let active = self.active.load();
        if active.labels().is_empty() {
            return Err(Error::Headless { path: self.base.path().to_owned(), action: "answer a frame" });
        }
        let prediction = active.infer(frame)?;
        if let Some(drift) = self.drift.answered(&prediction) {
            self.listener.tell(RuntimeEvent::Drift(drift));
        }
        Ok(prediction)
    }

    /// Refuses what only the base's own head can answer.
    pub(crate) fn needs_base_head(&self, action: &'static str) -> Result<(), Error> {
        match self.base.network().is_headless() {
            true => Err(Error::Headless { path: self.base.path().to_owned(), action }),
            false => Ok(()),
        }
    }

    /// Makes a version of the store the active one, here and for every other process that polls. Unless it was confirmed
    /// before, it is on trial from then on.
    ///
    /// # Errors
    /// If there is no store or no such version, or it is damaged, made for another base, fails its self-check, or was
    /// refused or quarantined. What ran before goes on.
    pub fn activate(&self, version: u32) -> Result<(), Error> {
        let store = self.store_to("activate a version of")?;
        let server = self.server(store);
        let mut swaps = self.swapping();
        let next = server.load(Some(version))?;
        store.activate(version)?;
        self.replace(&mut swaps, server.select_ready(Some(next))?);
        Ok(())
    }

    /// Confirms what runs, if it is a version of the store on trial, without waiting for more predictions.
    ///
    /// # Errors
    /// If there is no store, or it can't be written.
    pub fn confirm(&self) -> Result<(), Error> {
        let store = self.store_to("confirm a version of")?;
        // While nothing can replace it.
        let _swaps = self.swapping();
        match self.version() {
            Version::Stored(version) => Ok(store.confirm(version)?),
            Version::Base | Version::File => Ok(()),
        }
    }

    /// Goes back to the version that was active before, at last to the base. A version that was not confirmed is on trial
    /// again.
    ///
    /// # Errors
    /// If there is no store, or it can't be written, or the base runs.
    pub fn rollback(&self) -> Result<Version, Error> {
        let store = self.store_to("roll back in")?;
        let mut swaps = self.swapping();
        store.rollback()?;
        let served = self.server(store).select()?;
        Ok(self.replace(&mut swaps, served))
    }

    /// Looks whether the store's active version has changed, by this process or another, and runs it if so; also one that
    /// could not be tried here, once it is confirmed.
    ///
    /// Cheap when nothing has changed. When something has, it prepares the weights on the calling thread: call it from
    /// another one than the frames'. Without a store there is nothing to see.
    ///
    /// A version that can't be run is quarantined, and the last confirmed one runs, as in [`Builder::open`].
    ///
    /// # Errors
    /// If the store can't be read. What ran before goes on.
    pub fn poll(&self) -> Result<Option<Version>, Error> {
        let Some(store) = &self.store else { return Ok(None) };
        let mut swaps = self.swapping();
        let has_proved_itself = match swaps.awaited {
            Some(version) => store.confirmed()?.contains(&version),
            None => false,
        };
        if store.generation()? == swaps.generation && !has_proved_itself {
            swaps.retired.free();
            return Ok(None);
        }
        let served = self.server(store).select()?;
        Ok(Some(self.replace(&mut swaps, served)))
    }

    /// What runs now, for work that spans many images with one version.
    pub(crate) fn running(&self) -> Arc<Running> {
        self.active.load_full()
    }

    /// The weights of what runs now, whole.
    pub(crate) fn weights(&self) -> Result<(Version, Weights), Error> {
        let version = self.version();
        let weights = match (version, &self.store, &self.delta) {
            (Version::Stored(number), Some(store), _) => {
                adapted(&self.base, &store.delta_path(number), &store.read(number)?)?
            }
            (Version::File, _, Some(path)) => adapted(&self.base, path, &read(path)?)?,
            _ => Weights::of_base(&self.base),
        };
        Ok((version, weights))
    }

    pub(crate) fn store_to(&self, action: &'static str) -> Result<&Store, Error> {
        self.store.as_ref().ok_or(Error::NoStore { action })
    }

    fn server<'a>(&'a self, store: &'a Store) -> Fallback<'a> {
        Fallback { base: &self.base, device: self.device, store, rules: self.rules, listener: &self.listener }
    }

    fn swapping(&self) -> MutexGuard<'_, Swaps> {
        self.swaps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The swap: one pointer. From here on every frame that starts sees the new version, which is returned.
    fn replace(&self, swaps: &mut Swaps, served: Selected) -> Version {
        let Selected { active, generation, trial, awaited } = served;
        let to = active.version();
        let replaced = self.active.swap(Arc::new(active));
        self.drift.begin(to);
        *self.base_agreement.lock().unwrap_or_else(PoisonError::into_inner) = None;
        swaps.generation = generation;
        swaps.trial = trial;
        swaps.awaited = awaited;
        self.listener.tell(RuntimeEvent::Swapped { from: replaced.version(), to });
        swaps.retired.retire(replaced, PATIENCE);
        to
    }
}

/// The CPU, on all the cores that this process may use.
pub fn all_cores() -> Device {
    Device::Cpu { threads: cores() }
}

/// Cores that this process may use.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// The base in that folder. The store remembers which file was proven whole, so that the next start needn't hash it again.
fn proven(model: &Path, copied: bool, store: Option<&Store>) -> Result<Base, Error> {
    let known = store.and_then(Store::verification);
    let base = Base::open_as(model, BaseOptions { copied, verification: known })?;
    if let Some((store, verification)) = store.zip(base.verification().filter(|_| base.verification() != known)) {
        // Nothing depends on it: where the store can't be written, the next start hashes again.
        let kept = store.keep_verification(&verification);
        kept.unwrap_or_else(|error| log::debug!("the base's verification is not kept: {error}"));
    }
    Ok(base)
}
