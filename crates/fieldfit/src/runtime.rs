//! The runtime: what answers frames, and how what answers is replaced.

use crate::active::Active;
use crate::retired::Retired;
use crate::{Error, Prediction, Version};
use arc_swap::ArcSwap;
use fieldfit_data::Frame;
use fieldfit_delta::limits::MAX_FILE_BYTES;
use fieldfit_delta::transport::unpack;
use fieldfit_delta::{Delta, Record, SecretKey};
use fieldfit_exec::Device;
use fieldfit_model::{Base, Weights, most_delta_bytes};
use fieldfit_store::Store;
use std::fs::File;
use std::io::Read;
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
    active: ArcSwap<Active>,
    swaps: Mutex<Swaps>,
}

/// What only one swap at a time may touch.
struct Swaps {
    /// The store's generation that the active weights were made from, or one before it.
    generation: u64,
    retired: Retired<Active>,
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
    pub fn store(mut self, path: impl Into<PathBuf>) -> Self {
        self.store = Some(path.into());
        self.create_store = false;
        self
    }

    /// As [`store`](Self::store); makes the store if there is none.
    #[must_use]
    pub fn store_or_new(mut self, path: impl Into<PathBuf>) -> Self {
        self.store = Some(path.into());
        self.create_store = true;
        self
    }

    /// Runs that delta file until the first swap, whatever the store has active.
    #[must_use]
    pub fn delta(mut self, path: impl Into<PathBuf>) -> Self {
        self.delta = Some(path.into());
        self
    }

    /// Signs the adaptations that are made here by that key.
    #[must_use]
    pub fn key(mut self, key: SecretKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Maps and verifies the base, and prepares the weights that run first.
    ///
    /// # Errors
    /// If the base, the store or the delta can't be read or don't belong together, or the device isn't there.
    pub fn open(self) -> Result<Runtime, Error> {
        let base = Base::open(&self.model)?;
        let store = match &self.store {
            Some(path) if self.create_store => Some(Store::create_or_open(path)?),
            Some(path) => Some(Store::open(path)?),
            None => None,
        };
        let generation = store.as_ref().map_or(Ok(0), Store::generation)?;
        let (version, weights) = match (&self.delta, &store) {
            (Some(path), _) => (Version::File, adapted(&base, path, &read_for(&base, path)?)?),
            (None, Some(store)) => stored(&base, store, store.active()?)?,
            (None, None) => (Version::Base, Weights::of_base(&base)),
        };
        let active = Active::new(version, weights, base.preprocessing(), self.device)?;
        let swaps = Mutex::new(Swaps { generation, retired: Retired::new() });
        Ok(Runtime {
            base,
            device: self.device,
            store,
            delta: self.delta,
            key: self.key,
            active: ArcSwap::from_pointee(active),
            swaps,
        })
    }
}

impl Runtime {
    /// Runs the base in that model folder, without a store.
    ///
    /// # Errors
    /// As [`Builder::open`].
    pub fn open(model: impl Into<PathBuf>, device: Device) -> Result<Self, Error> {
        Self::builder(model).device(device).open()
    }

    /// Says step by step what to run, starting from the base in that model folder.
    pub fn builder(model: impl Into<PathBuf>) -> Builder {
        Builder { model: model.into(), device: all_cores(), store: None, create_store: false, delta: None, key: None }
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

    /// The delta file that [`Version::File`] means.
    pub(crate) fn delta_file(&self) -> Option<&Path> {
        self.delta.as_deref()
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
    /// If the frame is malformed or can't be decoded, or the device fails.
    pub fn infer(&self, frame: &Frame<'_>) -> Result<Prediction, Error> {
        self.active.load().infer(frame)
    }

    /// Makes a version of the store the active one, here and for every other process that polls.
    ///
    /// # Errors
    /// If there is no store or no such version, or it is damaged, made for another base, or refused by its gate. What
    /// ran before goes on.
    pub fn activate(&self, version: u32) -> Result<(), Error> {
        let store = self.store_to("activate a version of")?;
        let mut swaps = self.swapping();
        let next = self.prepare(stored(&self.base, store, Some(version))?)?;
        store.activate(version)?;
        self.replace(&mut swaps, next, store.generation()?);
        Ok(())
    }

    /// Goes back to the version that was active before, at last to the base.
    ///
    /// # Errors
    /// If there is no store, or it can't be written, or what was active before is damaged.
    pub fn rollback(&self) -> Result<Version, Error> {
        let store = self.store_to("roll back in")?;
        let mut swaps = self.swapping();
        let target = store.rollback()?;
        let next = self.prepare(stored(&self.base, store, target)?)?;
        let version = next.version();
        self.replace(&mut swaps, next, store.generation()?);
        Ok(version)
    }

    /// Looks whether the store's active version has changed, by this process or another, and runs it if so.
    ///
    /// Cheap when nothing has changed. When something has, it prepares the weights on the calling thread: call it from
    /// another one than the frames'. Without a store there is nothing to see.
    ///
    /// # Errors
    /// If the store can't be read, or the version that became active is damaged or made for another base. What ran
    /// before goes on.
    pub fn poll(&self) -> Result<Option<Version>, Error> {
        let Some(store) = &self.store else { return Ok(None) };
        let mut swaps = self.swapping();
        let generation = store.generation()?;
        if generation == swaps.generation {
            swaps.retired.free();
            return Ok(None);
        }
        let next = self.prepare(stored(&self.base, store, store.active()?)?)?;
        let version = next.version();
        self.replace(&mut swaps, next, generation);
        Ok(Some(version))
    }

    /// What runs now, for work that spans many images with one version.
    pub(crate) fn active(&self) -> Arc<Active> {
        self.active.load_full()
    }

    pub(crate) fn store_to(&self, action: &'static str) -> Result<&Store, Error> {
        self.store.as_ref().ok_or(Error::NoStore { action })
    }

    fn prepare(&self, (version, weights): (Version, Weights)) -> Result<Active, Error> {
        Active::new(version, weights, self.base.preprocessing(), self.device)
    }

    fn swapping(&self) -> MutexGuard<'_, Swaps> {
        self.swaps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The swap: one pointer. From here on every frame that starts sees the new version.
    fn replace(&self, swaps: &mut Swaps, next: Active, generation: u64) {
        log::info!("{} runs now", next.version());
        let replaced = self.active.swap(Arc::new(next));
        swaps.generation = generation;
        swaps.retired.retire(replaced, PATIENCE);
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

/// The weights of a version of the store, or of the base.
fn stored(base: &Base, store: &Store, version: Option<u32>) -> Result<(Version, Weights), Error> {
    match version {
        None => Ok((Version::Base, Weights::of_base(base))),
        Some(number) => {
            let weights = adapted(base, &store.delta_path(number), &store.read(number)?)?;
            Ok((Version::Stored(number), weights))
        }
    }
}

/// The base's weights with the delta in those bytes, read from that path.
pub(crate) fn adapted(base: &Base, path: &Path, bytes: &[u8]) -> Result<Weights, Error> {
    Ok(Weights::adapted(base, &parse(path, bytes)?)?)
}

pub(crate) fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<Delta<'a>, Error> {
    Delta::parse(bytes).map_err(|source| Error::Delta { path: path.to_owned(), source: source.into() })
}

/// The values of a record of the delta at that path.
pub(crate) fn decoded(path: &Path, record: &Record<'_>) -> Result<Vec<f32>, Error> {
    let mut values = vec![0.0; record.len()];
    let decoded = record.decode_into(&mut values);
    decoded.map_err(|source| Error::Delta { path: path.to_owned(), source: source.into() })?;
    Ok(values)
}

/// The delta for that base in that file, unpacked if it is packed; not yet verified.
pub(crate) fn read_for(base: &Base, path: &Path) -> Result<Vec<u8>, Error> {
    read_up_to(path, most_delta_bytes(base))
}

/// The delta in that file, unpacked if it is packed; not yet verified.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    read_up_to(path, MAX_FILE_BYTES)
}

fn read_up_to(path: &Path, limit: usize) -> Result<Vec<u8>, Error> {
    let unreadable = |source| Error::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?.len();
    if found > limit as u64 {
        return Err(Error::TooLong { path: path.to_owned(), limit, found });
    }
    file.take(limit as u64).read_to_end(&mut bytes).map_err(unreadable)?;
    unpack(bytes, limit).map_err(|source| Error::Transport { path: path.to_owned(), source: source.into() })
}
