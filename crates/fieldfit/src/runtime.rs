//! Runtime: answers frames with one version of a model, and replaces the version while frames keep flowing.

use crate::base_agreement::BaseAgreement;
use crate::deferred_drop::DeferredDrop;
use crate::delta::file::{adapted, read};
use crate::drift::DriftMonitor;
use crate::event::{Listener, Outbox};
use crate::fallback::{Fallback, Selected};
use crate::running::{Running, Serving, Unanswered};
use crate::status::{Activity, RuntimeReporter};
use crate::trial::Trial;
use crate::weights_monitor::WeightsMonitor;
use crate::{Builder, Error, Estimate, Prediction, RuntimeEvent, Segmentation, Tags, Version};
use arc_swap::ArcSwap;
use fieldfit_adapt::Placement;
use fieldfit_data::Frame;
use fieldfit_delta::SecretKey;
use fieldfit_exec::{Device, Precision};
use fieldfit_model::{Base, Weights};
use fieldfit_store::{ActiveVersion, Keep, Store, TrialRules};
use fieldfit_tensor::Task;
use std::collections::BTreeSet;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

/// Timeout of a swap that waits for frames that still compute with the old weights, before it leaves freeing them to
/// the next swap or poll.
const PATIENCE: Duration = Duration::from_secs(1);

/// Most frames that [`Runtime::infer_batch`] computes in one pass.
pub const FRAMES_PER_PASS: NonZeroUsize = NonZeroUsize::new(8).unwrap();

/// Runtime of a base model and the adaptation that runs on it, shared by any number of threads.
///
/// Each call of [`infer`](Self::infer) answers with one version, whole: weights, labels and preprocessing are replaced
/// together, by one pointer, between two frames. What replaces them ([`adaptation`](Self::adaptation),
/// [`activate`](Self::activate), [`rollback`](Self::rollback), [`poll`](Self::poll)) prepares the new weights and frees the
/// old ones on its own thread.
pub struct Runtime {
    pub(crate) base: Base,
    pub(crate) serving: Serving,
    /// The store, if there is one.
    pub(crate) store: Option<Store>,
    pub(crate) delta: Option<PathBuf>,
    pub(crate) key: Option<SecretKey>,
    pub(crate) keep: Keep,
    pub(crate) rules: Option<TrialRules>,
    pub(crate) listener: Listener,
    pub(crate) max_failures: NonZeroU32,
    pub(crate) memory_budget: Option<u64>,
    pub(crate) running: Arc<ArcSwap<Running>>,
    pub(crate) swaps: Mutex<Swaps>,
    pub(crate) drift: Arc<DriftMonitor>,
    pub(crate) activity: Arc<Activity>,
    /// The base agreement of what runs, once it was asked for.
    pub(crate) base_agreement: Mutex<Option<Arc<BaseAgreement>>>,
    /// What hashes the mapped weights again, if that is set.
    pub(crate) monitor: Option<WeightsMonitor>,
    /// What tells processes that watch the store what runs here, if there is a store.
    pub(crate) _reporter: Option<RuntimeReporter>,
}

/// A compile-time assertion: threads share a runtime.
const _: fn() = || {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<Runtime>();
};

/// State that one swap at a time may change.
pub(crate) struct Swaps {
    /// The store when the running version was selected, or earlier.
    view: ActiveVersion,
    /// The trial of what runs, if it is on one.
    trial: Option<Trial>,
    /// Awaited version, as [`Selected::awaited`].
    awaited: Option<u32>,
    /// Whether the base runs because the store is unavailable.
    is_degraded: bool,
    /// Versions that failed at frames in this process.
    failed: BTreeSet<u32>,
    replaced: DeferredDrop<Running>,
}

impl Swaps {
    pub const fn new(view: ActiveVersion, trial: Option<Trial>, awaited: Option<u32>, is_degraded: bool) -> Self {
        Self { view, trial, awaited, is_degraded, failed: BTreeSet::new(), replaced: DeferredDrop::new() }
    }
}

/// Task that an answer requires of the version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TaskRequirement {
    /// The task.
    pub task: Task,
    /// What they are to do.
    pub action: &'static str,
}

impl TaskRequirement {
    /// Refuses a version of another task.
    pub fn check(self, found: Task) -> Result<(), Error> {
        let Self { task, action } = self;
        if found == task { Ok(()) } else { Err(Error::OtherTask { found, action }) }
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

    /// Returns a builder for a runtime on the base in that model folder.
    pub fn builder(model: impl AsRef<Path>) -> Builder {
        Builder::new(model.as_ref())
    }

    /// Returns the base, mapped.
    pub const fn base(&self) -> &Base {
        &self.base
    }

    /// Returns the device.
    pub const fn device(&self) -> Device {
        self.serving.device
    }

    /// Returns the precision that the running version is inferred in: f32 for a base that was never calibrated, where a store's
    /// versions are int8.
    pub fn running_precision(&self) -> Precision {
        self.running().precision()
    }

    /// Returns the precision that versions are to be inferred in.
    pub const fn precision(&self) -> Precision {
        self.serving.precision
    }

    /// Returns where versions run.
    pub(crate) const fn placement(&self) -> Placement {
        self.serving.placement()
    }

    /// Returns the store, if there is one. While it is [unavailable](Self::is_degraded), each of its calls returns what is
    /// wrong with its state.
    pub fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    /// Returns whether the base runs because the store's state is damaged or unreadable. [`poll`](Self::poll) tries the
    /// store again.
    pub fn is_degraded(&self) -> bool {
        self.swapping().is_degraded
    }

    /// The key that signs the adaptations that are made here, if there is one.
    pub(crate) fn key(&self) -> Option<&SecretKey> {
        self.key.as_ref()
    }

    /// Returns the retention limits of the store after an adaptation.
    pub(crate) const fn kept(&self) -> Keep {
        self.keep
    }

    /// Returns the running version.
    pub fn version(&self) -> Version {
        self.running.load().version()
    }

    /// Returns the class names of the running version, in the order of the head's outputs.
    pub fn labels(&self) -> Arc<[String]> {
        self.running.load().labels().clone()
    }

    /// Returns the number of values of [`embed`](Self::embed): the features of the base's network, the same for every version.
    pub const fn embedding_len(&self) -> usize {
        self.base.network().head.features
    }

    /// Classifies a frame.
    ///
    /// A version of the store that fails at [so many](Builder::max_failures) frames in a row is quarantined, and the last
    /// confirmed one answers the next frame.
    ///
    /// # Errors
    /// If the frame is malformed or cannot be decoded, the device fails, a logit is not finite, or a base without a head
    /// runs; [`Error::OtherTask`] if the model [classifies pixels](Self::segment).
    pub fn infer(&self, frame: &Frame<'_>) -> Result<Prediction, Error> {
        self.classify(slice::from_ref(frame), |running| running.infer(frame), slice::from_ref)
    }

    /// Names the class of each pixel of a frame.
    ///
    /// The network sees the whole frame, resized to its input. A version that fails is left as [`infer`](Self::infer) leaves
    /// it. [Drift](Self::drift) does not count these answers.
    ///
    /// # Errors
    /// If the frame is malformed or cannot be decoded, the device fails, or a logit is not finite; [`Error::OtherTask`] if the
    /// model [classifies whole frames](Self::infer).
    pub fn segment(&self, frame: &Frame<'_>) -> Result<Segmentation, Error> {
        let required = TaskRequirement { task: Task::Segmentation, action: "name the classes of pixels" };
        self.answer(slice::from_ref(frame), Some(required), |running| running.segment(frame))
    }

    /// Estimates the values of a frame's targets, in their units.
    ///
    /// A version that fails is left as [`infer`](Self::infer) leaves it. [Drift](Self::drift) does not count these answers.
    ///
    /// # Errors
    /// If the frame is malformed or cannot be decoded, the device fails, or a value is not finite; [`Error::OtherTask`] if what
    /// runs is of another task: the base itself has no targets.
    pub fn estimate(&self, frame: &Frame<'_>) -> Result<Estimate, Error> {
        let required = TaskRequirement { task: Task::Regression, action: "estimate values" };
        self.answer(slice::from_ref(frame), Some(required), |running| running.estimate(frame))
    }

    /// Tells which labels a frame has, any number of them.
    ///
    /// A version that fails is left as [`infer`](Self::infer) leaves it. [Drift](Self::drift) does not count these answers.
    ///
    /// # Errors
    /// If the frame is malformed or cannot be decoded, the device fails, or a logit is not finite; [`Error::OtherTask`] if what
    /// runs is of another task: the classes of the base itself exclude each other.
    pub fn tag(&self, frame: &Frame<'_>) -> Result<Tags, Error> {
        let required = TaskRequirement { task: Task::MultiLabel, action: "tell labels that do not exclude each other" };
        self.answer(slice::from_ref(frame), Some(required), |running| running.tag(frame))
    }

    /// Returns what the running version answers about a frame. A base classifies; a version of it may be of another
    /// [task](Task).
    pub fn task(&self) -> Task {
        self.running.load().task()
    }

    /// Classifies a frame, and writes the probability of every class, 0..1, f32, in the order of the
    /// [labels](Prediction::labels). `scores` has as many values as the running version has [`labels`](Self::labels).
    ///
    /// The same pass as [`infer`](Self::infer), and the same bits.
    ///
    /// # Errors
    /// As [`infer`](Self::infer); [`Error::BufferLength`] if `scores` has another length, also because a swap to other
    /// classes came between.
    pub fn scores(&self, frame: &Frame<'_>, scores: &mut [f32]) -> Result<Prediction, Error> {
        self.classify(slice::from_ref(frame), |running| running.scores(frame, scores), slice::from_ref)
    }

    /// Classifies frames with one version, and replaces the contents of `predictions` by theirs, in the frames' order. They are
    /// the bits of [`infer`](Self::infer). Reusing the vector for as many frames, it does not grow again.
    ///
    /// Frames are computed [`FRAMES_PER_PASS`] at a time, which takes the memory of as many activations; one at a time if there is a
    /// [memory budget](Builder::memory_budget), which counts those of one.
    ///
    /// # Errors
    /// As [`infer`](Self::infer); [`Error::BatchFrame`] names a frame that cannot be used. `predictions` is empty then.
    pub fn infer_batch(&self, frames: &[Frame<'_>], predictions: &mut Vec<Prediction>) -> Result<(), Error> {
        let pass = if self.memory_budget.is_some() { NonZeroUsize::MIN } else { FRAMES_PER_PASS };
        predictions.clear();
        let answered = self.classify(
            frames,
            |running| running.infer_batch(frames, pass, predictions).map(|()| &mut *predictions),
            |predictions| predictions.as_slice(),
        );
        answered.map(drop).inspect_err(|_| predictions.clear())
    }

    /// Computes the features of a frame, which the head reads, f32, and writes them. `features` has
    /// [`embedding_len`](Self::embedding_len) values. Returns the version that answered: features of two versions differ.
    ///
    /// Also a base without a head has features. What fails counts as in [`infer`](Self::infer), and a frame that is answered
    /// counts for a trial, but not for [drift](Self::drift).
    ///
    /// # Errors
    /// If the frame is malformed or cannot be decoded, the device fails, or a feature is not finite;
    /// [`Error::BufferLength`] if `features` has another length.
    pub fn embed(&self, frame: &Frame<'_>, features: &mut [f32]) -> Result<Version, Error> {
        let (found, expected) = (self.base.network().task(), self.embedding_len());
        if found.is_dense() {
            return Err(Error::OtherTask { found, action: "compute the features of a frame" });
        }
        self.answer(slice::from_ref(frame), None, |running| running.embed(frame, features, expected))
    }

    /// Answers frames by the head of what runs, and counts the predictions for drift.
    fn classify<R>(
        &self,
        frames: &[Frame<'_>],
        answer: impl FnOnce(&Running) -> Result<R, Unanswered>,
        predictions: impl FnOnce(&R) -> &[Prediction],
    ) -> Result<R, Error> {
        let required = TaskRequirement { task: Task::Classification, action: "rank the classes of a frame" };
        let answered = self.answer(frames, Some(required), |running| match running.labels().is_empty() {
            true => {
                Err(Unanswered::Caller(Error::Headless { path: self.base.path().to_owned(), action: "answer a frame" }))
            }
            false => answer(running),
        })?;
        for drift in predictions(&answered).iter().filter_map(|prediction| self.drift.answered(prediction)) {
            self.listener.post(RuntimeEvent::Drift(drift));
        }
        Ok(answered)
    }

    /// Answers frames by what runs, if it is of the required task, and leaves a version that fails.
    fn answer<R>(
        &self,
        frames: &[Frame<'_>],
        required: Option<TaskRequirement>,
        answer: impl FnOnce(&Running) -> Result<R, Unanswered>,
    ) -> Result<R, Error> {
        let running = self.running.load();
        required.map_or(Ok(()), |required| required.check(running.task()))?;
        let started = Instant::now();
        let answered = answer(&running);
        match &answered {
            Ok(_) => self.activity.answered(frames.len(), started.elapsed()),
            Err(_) => self.activity.failed(frames.len()),
        }
        match answered {
            Ok(answered) => Ok(answered),
            Err(Unanswered::Caller(error)) => Err(error),
            Err(Unanswered::Version { error, frame, failures }) => {
                let version = running.version();
                // What is left is freed by the swap only once no frame holds it.
                drop(running);
                if let Version::Stored(version) = version
                    && failures >= self.max_failures.get()
                {
                    self.leave(version, &error, &frames[frame]);
                }
                Err(error)
            }
        }
    }

    /// Leaves a version that fails at frames, unless the base fails, too. If another swap goes on, the next failure tries
    /// again: a frame does not wait for a swap.
    fn leave(&self, version: u32, error: &Error, frame: &Frame<'_>) {
        let mut swaps = match self.swaps.try_lock() {
            Ok(swaps) => swaps,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let (Some(store), running) = (self.store(), self.running.load_full()) else { return };
        if running.version() != Version::Stored(version) {
            return;
        }
        let (outbox, mut failed) = (Outbox::default(), swaps.failed.clone());
        failed.insert(version);
        let fallback = self.fallback(store, &failed, &outbox);
        if fallback.base_fails_at(frame) {
            return running.tally().excuse();
        }
        drop(running);
        let selected = match fallback.quarantine(version, error) {
            Ok(()) => fallback.select(),
            Err(unwritten) => fallback.select_confirmed(&unwritten),
        };
        swaps.failed.insert(version);
        let (selected, is_degraded) = match selected {
            Err(Error::Store(error)) if error.is_unusable_state() => {
                outbox.push(RuntimeEvent::StoreUnavailable { reason: error.to_string() });
                (fallback.select_base(), true)
            }
            selected => (selected, false),
        };
        match selected {
            Ok(selected) => {
                self.replace(&mut swaps, selected, Duration::ZERO, &outbox);
                swaps.is_degraded = is_degraded;
            }
            Err(error) => log::error!("version {version} fails, and nothing else can run: {error}"),
        }
        drop(swaps);
        outbox.post(&self.listener);
    }

    /// Refuses what only the base's own head can answer.
    pub(crate) fn needs_base_head(&self, action: &'static str) -> Result<(), Error> {
        match self.base.network().is_headless() {
            true => Err(Error::Headless { path: self.base.path().to_owned(), action }),
            false => Ok(()),
        }
    }

    /// Activates a version of the store, here and for every other process that polls. Unless it was confirmed before, it is
    /// on trial from then on.
    ///
    /// # Errors
    /// If there is no store or no such version; if the version is damaged, made for another base, cannot run on it or within
    /// the [memory budget](Builder::memory_budget), gives logits that are not finite, or was refused or quarantined. What
    /// ran before goes on.
    pub fn activate(&self, version: u32) -> Result<(), Error> {
        let store = self.store_to("activate a version of")?;
        self.swap(|swaps, outbox| {
            let next = self.fallback(store, &BTreeSet::new(), outbox).load(Some(version))?;
            store.activate(version)?;
            self.run_activated(swaps, store, version, next, outbox)
        })
    }

    /// Prepares a delta that is not in the store yet, as it will run.
    pub(crate) fn prepare(&self, store: &Store, delta: &[u8], outbox: &Outbox) -> Result<Running, Error> {
        self.fallback(store, &BTreeSet::new(), outbox).prepare(Version::File, Path::new("the new delta"), delta)
    }

    /// Runs the version that has just been activated in the store, and is ready.
    pub(crate) fn run_activated(
        &self,
        swaps: &mut Swaps,
        store: &Store,
        version: u32,
        mut ready: Running,
        outbox: &Outbox,
    ) -> Result<(), Error> {
        ready.set_version(Version::Stored(version));
        swaps.failed.remove(&version);
        let failed = swaps.failed.clone();
        let selected = self.fallback(store, &failed, outbox).select_ready(Some(ready))?;
        self.replace(swaps, selected, PATIENCE, outbox);
        Ok(())
    }

    /// Confirms the running version, if it is a version of the store on trial, without waiting for more predictions.
    ///
    /// # Errors
    /// If there is no store, or it cannot be written.
    pub fn confirm(&self) -> Result<(), Error> {
        let store = self.store_to("confirm a version of")?;
        // While nothing can replace it.
        let _swaps = self.swapping();
        match self.version() {
            Version::Stored(version) => Ok(store.confirm(version)?),
            Version::Base | Version::File => Ok(()),
        }
    }

    /// Rolls back to the version that was active before, at last to the base, and returns it. A version that was not
    /// confirmed is on trial again.
    ///
    /// # Errors
    /// If there is no store, it cannot be written, or the base is active.
    pub fn rollback(&self) -> Result<Version, Error> {
        let store = self.store_to("roll back in")?;
        self.swap(|swaps, outbox| {
            store.rollback()?;
            let failed = swaps.failed.clone();
            let selected = self.fallback(store, &failed, outbox).select()?;
            Ok(self.replace(swaps, selected, PATIENCE, outbox))
        })
    }

    /// Runs the store's active version if it has changed, by this process or another; also one that could not be tried
    /// here, once it is confirmed. Returns the version that runs since, or `None` if nothing has changed.
    ///
    /// Cheap when nothing has changed. When something has, it prepares the weights on the calling thread: call it from
    /// another one than the frames'. Without a store, returns `None`.
    ///
    /// A version that cannot run is quarantined, and the last confirmed one runs, as in [`Builder::open`]. A store that was
    /// unavailable is opened again.
    ///
    /// # Errors
    /// If the store cannot be read. What ran before goes on.
    pub fn poll(&self) -> Result<Option<Version>, Error> {
        let Some(store) = &self.store else { return Ok(None) };
        self.swap(|swaps, outbox| {
            let has_proved_itself = match swaps.awaited {
                Some(version) => store.confirmed()?.contains(&version),
                None => false,
            };
            if store.active_version()? == swaps.view && !has_proved_itself && !swaps.is_degraded {
                swaps.replaced.free();
                return Ok(None);
            }
            let failed = swaps.failed.clone();
            let selected = self.fallback(store, &failed, outbox).select()?;
            Ok(Some(self.replace(swaps, selected, PATIENCE, outbox)))
        })
    }

    /// Refuses weights that changed under their map.
    ///
    /// # Errors
    /// [`ModelError::Altered`](fieldfit_model::ModelError::Altered).
    pub(crate) fn check_base(&self) -> Result<(), Error> {
        self.monitor.as_ref().map_or(Ok(()), WeightsMonitor::check)
    }

    /// Returns the running version, for work that spans many images with one version.
    pub(crate) fn running(&self) -> Arc<Running> {
        self.running.load_full()
    }

    /// The weights of what runs now, whole.
    pub(crate) fn weights(&self) -> Result<(Version, Weights), Error> {
        self.check_base()?;
        let version = self.version();
        let weights = match self.delta_of(version)? {
            Some((path, bytes)) => adapted(&self.base, &path, &bytes)?,
            None => Weights::of_base(&self.base),
        };
        Ok((version, weights))
    }

    /// The delta file of a version, with its path; `None` of the base.
    pub(crate) fn delta_of(&self, version: Version) -> Result<Option<(PathBuf, Vec<u8>)>, Error> {
        Ok(match (version, self.store(), &self.delta) {
            (Version::Stored(number), Some(store), _) => Some((store.delta_path(number), store.read(number)?)),
            (Version::File, _, Some(path)) => Some((path.clone(), read(path)?)),
            _ => None,
        })
    }

    pub(crate) fn store_to(&self, action: &'static str) -> Result<&Store, Error> {
        self.store().ok_or(Error::NoStore { action })
    }

    fn fallback<'a>(&'a self, store: &'a Store, failed: &'a BTreeSet<u32>, outbox: &'a Outbox) -> Fallback<'a> {
        Fallback {
            base: &self.base,
            serving: self.serving,
            store,
            rules: self.rules,
            memory_budget: self.memory_budget,
            failed,
            listener: &self.listener,
            outbox,
        }
    }

    fn swapping(&self) -> MutexGuard<'_, Swaps> {
        self.swaps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does work that may replace the running version, one at a time, and delivers its events once the lock is released.
    pub(crate) fn swap<R>(&self, work: impl FnOnce(&mut Swaps, &Outbox) -> Result<R, Error>) -> Result<R, Error> {
        self.check_base()?;
        let outbox = Outbox::default();
        let result = work(&mut self.swapping(), &outbox);
        outbox.deliver(&self.listener);
        result
    }

    /// Swaps one pointer: every frame that starts from here on is answered by the selected version, which is returned.
    fn replace(&self, swaps: &mut Swaps, selected: Selected, patience: Duration, outbox: &Outbox) -> Version {
        let Selected { running, view, trial, awaited } = selected;
        let to = running.version();
        let replaced = self.running.swap(Arc::new(running));
        self.drift.begin(to);
        *self.base_agreement.lock().unwrap_or_else(PoisonError::into_inner) = None;
        swaps.view = view;
        swaps.trial = trial;
        swaps.awaited = awaited;
        swaps.is_degraded = false;
        outbox.push(RuntimeEvent::Swapped { from: replaced.version(), to });
        swaps.replaced.retire(replaced, patience);
        to
    }
}

/// Returns the CPU, on all the cores that this process may use.
pub fn all_cores() -> Device {
    Device::Cpu { threads: cores() }
}

/// Cores that this process may use.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
