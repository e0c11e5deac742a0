//! Batches from background threads, in a fixed order.

use crate::augmentation::{Augmentation, Augmenter, Key};
use crate::corruption::{Corruption, Severity};
use crate::dataset::Dataset;
use crate::decode;
use crate::error::DataError;
use crate::generator::{Stream, generator};
use crate::preprocessor::Preprocessor;
use crossbeam_channel::{Receiver, bounded};
use fieldfit_tensor::Images;
use rand::RngExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Batches that each thread may be ahead of the consumer.
const AHEAD: usize = 2;

/// How batches are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoaderOptions {
    /// Images in a batch.
    pub batch: usize,
    /// Random changes; [`Augmentation::None`] to evaluate.
    pub augmentation: Augmentation,
    /// What is done to every decoded image before anything else; nothing to leave them as they are. What is random in
    /// it follows from seed and sample, and is the same in every epoch.
    pub corruption: Option<(Corruption, Severity)>,
    /// What random changes follow from, with the epoch and the sample.
    pub seed: u64,
    /// Which pass over the data this is.
    pub epoch: u64,
    /// Whether a last batch of fewer images is left out.
    pub drop_last: bool,
    /// Background threads. They change nothing about what is delivered.
    pub threads: usize,
}

impl Default for LoaderOptions {
    /// 16 images a batch, all of them as at inference, two threads.
    fn default() -> Self {
        Self {
            batch: 16,
            augmentation: Augmentation::None,
            corruption: None,
            seed: 0,
            epoch: 0,
            drop_last: false,
            threads: 2,
        }
    }
}

/// Images and their classes.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The network's input.
    pub images: Images,
    /// The class of each image.
    pub labels: Vec<u32>,
    /// Each image's position in [`Dataset::samples`].
    pub samples: Vec<usize>,
}

/// One pass over samples: an iterator of batches, decoded and augmented ahead in background threads.
///
/// Order and content are the same whatever the number of threads. After an error the iterator ends. Dropping it ends its
/// threads.
#[derive(Debug)]
pub struct Loader {
    /// One per thread: thread `t` makes the batches `t`, `t + threads`, …
    lanes: Vec<Receiver<Result<Batch, DataError>>>,
    threads: Vec<JoinHandle<()>>,
    is_stopped: Arc<AtomicBool>,
    next: usize,
    batches: usize,
}

/// An image to load.
#[derive(Debug, Clone)]
struct Item {
    path: PathBuf,
    class: u32,
    sample: usize,
}

/// What a thread needs to make batches.
#[derive(Clone)]
struct Worker {
    items: Arc<Vec<Item>>,
    options: LoaderOptions,
    preprocessor: Preprocessor,
    augmenter: Option<Augmenter>,
    is_stopped: Arc<AtomicBool>,
}

impl Loader {
    /// Starts loading those samples in that order (see [`shuffled`](crate::shuffled)).
    ///
    /// # Errors
    /// If a batch would be empty, there is no thread or it can't be started, or the order names a sample that the data
    /// set lacks.
    pub fn new(
        dataset: &Dataset,
        order: &[usize],
        preprocessor: &Preprocessor,
        options: &LoaderOptions,
    ) -> Result<Self, DataError> {
        let LoaderOptions { batch, threads, drop_last, .. } = *options;
        if batch == 0 || threads == 0 {
            return Err(DataError::Batches { batch, threads });
        }
        let batches = if drop_last { order.len() / batch } else { order.len().div_ceil(batch) };
        let is_stopped = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            items: Arc::new(items(dataset, order)?),
            options: options.clone(),
            preprocessor: preprocessor.clone(),
            augmenter: Augmenter::new(options.augmentation, preprocessor.size() as usize),
            is_stopped: is_stopped.clone(),
        };
        let mut loader = Self { lanes: Vec::new(), threads: Vec::new(), is_stopped, next: 0, batches };
        for first in 0..threads.min(batches) {
            loader.start(worker.clone(), first)?;
        }
        Ok(loader)
    }

    /// How many batches there are in all.
    pub const fn batches(&self) -> usize {
        self.batches
    }

    fn start(&mut self, mut worker: Worker, first: usize) -> Result<(), DataError> {
        let (sender, receiver) = bounded(AHEAD);
        let (batches, step) = (self.batches, worker.options.threads);
        let work = move || {
            for number in (first..batches).step_by(step) {
                let Some(batch) = worker.batch(number).transpose() else { return };
                if sender.send(batch).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name(format!("fieldfit-load-{first}")).spawn(work);
        self.threads.push(thread.map_err(|error| DataError::Thread { reason: error.to_string() })?);
        self.lanes.push(receiver);
        Ok(())
    }
}

impl Iterator for Loader {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.batches {
            return None;
        }
        let lane = &self.lanes[self.next % self.lanes.len()];
        let batch = lane.recv().unwrap_or_else(|_| {
            Err(DataError::Thread { reason: format!("it ended before batch {} was made", self.next) })
        });
        self.next = if batch.is_ok() { self.next + 1 } else { self.batches };
        Some(batch)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.batches - self.next;
        (left.min(1), Some(left))
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        self.lanes.clear();
        for thread in self.threads.drain(..) {
            // A thread that panicked has already been reported as an error by `next`.
            let _ = thread.join();
        }
    }
}

impl Worker {
    /// The batch of that number, or nothing if nobody wants it any more.
    fn batch(&mut self, number: usize) -> Result<Option<Batch>, DataError> {
        let items = Arc::clone(&self.items);
        let items = &items[number * self.options.batch..];
        let items = &items[..self.options.batch.min(items.len())];
        let side = self.preprocessor.size() as usize;
        let mut images = Images::zeros(items.len(), side, side);
        for (position, item) in items.iter().enumerate() {
            if self.is_stopped.load(Ordering::Relaxed) {
                return Ok(None);
            }
            self.load(item, images.image_mut(position))?;
        }
        let labels = items.iter().map(|item| item.class).collect();
        Ok(Some(Batch { images, labels, samples: items.iter().map(|item| item.sample).collect() }))
    }

    fn load(&mut self, item: &Item, out: &mut [f32]) -> Result<(), DataError> {
        let mut image = decode::open(&item.path)?;
        if let Some((corruption, severity)) = self.options.corruption {
            let seed = generator(Stream::CorruptionSeed, self.options.seed, 0, item.sample as u64).random();
            corruption.apply(severity, seed, &mut image).map_err(|error| error.of(&item.path))?;
        }
        let pixels = decode::pixels(&image);
        let key = Key { seed: self.options.seed, epoch: self.options.epoch, sample: item.sample as u64 };
        match &mut self.augmenter {
            None => self.preprocessor.prepare_pixels(&pixels, out),
            Some(augmenter) => augmenter.prepare(key, &pixels, &mut self.preprocessor, out),
        }
    }
}

fn items(dataset: &Dataset, order: &[usize]) -> Result<Vec<Item>, DataError> {
    let item = |index: &usize| match dataset.samples.get(*index) {
        Some(sample) => Ok(Item { path: sample.path.clone(), class: sample.class, sample: *index }),
        None => Err(DataError::NoSuchSample { index: *index, samples: dataset.samples.len() }),
    };
    order.iter().map(item).collect()
}
