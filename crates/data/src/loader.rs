//! Batch loader: decodes, augments and batches images on background threads, in a fixed order.

use crate::augmentation::{Augmentation, Augmenter, Geometry, Key, Positions};
use crate::corruption::{Corruption, Severity};
use crate::dataset::Dataset;
use crate::decode;
use crate::error::DataError;
use crate::image_source::ImageSource;
use crate::labelling::Labelling;
use crate::mask::{self, Mask};
use crate::perturbation::Perturbation;
use crate::preprocessor::Preprocessor;
use crate::read_failures::{ReadFailure, ReadFailures};
use crate::rng::{Stream, rng};
use crate::target::{LabelSets, Masks, Target, TargetValues, Targets};
use crossbeam_channel::{Receiver, bounded};
use fieldfit_tensor::Images;
use image::RgbImage;
use rand::RngExt;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Number of batches that each thread may be ahead of the consumer.
const AHEAD: usize = 2;

/// Options of a [`Loader`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoaderOptions {
    /// Images in a batch.
    pub batch: usize,
    /// Augmentation; [`Augmentation::None`] for evaluation.
    pub augmentation: Augmentation,
    /// Corruption of every decoded image before anything else; `None` for images as they are. What is random in it follows
    /// from seed and sample, and is the same in every epoch.
    pub corruption: Option<(Corruption, Severity)>,
    /// Perturbation of every decoded image, after its corruption; `None` for none.
    pub perturbation: Option<Perturbation>,
    /// Seed: random changes follow from it, the epoch and the sample.
    pub seed: u64,
    /// Number of the pass over the data.
    pub epoch: u64,
    /// Whether a smaller last batch is left out.
    pub drop_last: bool,
    /// Number of background threads. Batches do not depend on it.
    pub threads: usize,
    /// Rows and columns of masks, which are resampled to the nearest pixel: those of the network's output. `None` for the
    /// images'.
    pub mask_size: Option<[usize; 2]>,
    /// Indices of the targets whose values a horizontal flip negates. Images that are labelled with values are flipped if it is
    /// given, and never cropped at random; others are both, whatever it is.
    pub negated_by_flips: Option<Vec<usize>>,
}

impl Default for LoaderOptions {
    /// Batches of 16 images as at inference, two threads.
    fn default() -> Self {
        Self {
            batch: 16,
            augmentation: Augmentation::None,
            corruption: None,
            perturbation: None,
            seed: 0,
            epoch: 0,
            drop_last: false,
            threads: 2,
            mask_size: None,
            negated_by_flips: None,
        }
    }
}

/// Batch of images with their targets.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The network's input, `[N, H, W, C]`.
    pub images: Images,
    /// Target of each image; masks are as large as [`LoaderOptions::mask_size`] says.
    pub targets: Targets,
    /// Index of each image in [`Dataset::samples`].
    pub samples: Vec<usize>,
}

/// Batch loader: an iterator over one pass of samples, whose batches background threads decode and augment ahead.
///
/// Order and content do not depend on the number of threads. An image that can't be read any more is an error, unless
/// failures are [recorded](Loader::recording). After an error the iterator ends. Dropping the loader ends its threads.
#[derive(Debug)]
pub struct Loader {
    /// One per thread: thread `t` makes the batches `t`, `t + threads`, …
    lanes: Vec<Receiver<Result<Loaded, DataError>>>,
    threads: Vec<JoinHandle<()>>,
    is_stopped: Arc<AtomicBool>,
    /// Number of batches received.
    next: usize,
    batches: usize,
    /// Number of images in the order.
    images: usize,
    /// Record of failures; without one, a failure ends the iterator.
    failures: Option<ReadFailures>,
    /// The first failure, until a batch is delivered.
    first_failure: Option<ReadFailure>,
    has_delivered: bool,
}

/// A batch as a thread makes it: without the images that could not be read.
#[derive(Debug)]
struct Loaded {
    batch: Batch,
    failures: Vec<(ReadFailure, DataError)>,
}

/// Image to load.
#[derive(Debug, Clone)]
struct Item {
    image: ImageSource,
    target: Target,
    sample: usize,
}

/// Thread that makes batches.
#[derive(Clone)]
struct Worker {
    items: Arc<Vec<Item>>,
    labelling: Labelling,
    /// Classes, targets or labels of the data set.
    classes: usize,
    options: LoaderOptions,
    preprocessor: Preprocessor,
    augmenter: Option<Augmenter>,
    is_stopped: Arc<AtomicBool>,
}

impl Loader {
    /// Starts loading the samples of these indices in this order (see [`shuffled`](crate::shuffled)).
    ///
    /// # Errors
    /// If the batch size or the number of threads is 0, a thread can't be started, or an index is beyond the data set's end or its
    /// targets'.
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
        let targets = dataset.classes.len();
        let mut negated = options.negated_by_flips.iter().flatten();
        if dataset.labelling == Labelling::Values
            && let Some(&found) = negated.find(|target| **target >= targets)
        {
            return Err(DataError::NegatedTarget { found, targets });
        }
        let batches = if drop_last { order.len() / batch } else { order.len().div_ceil(batch) };
        let is_stopped = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            items: Arc::new(items(dataset, order)?),
            labelling: dataset.labelling.clone(),
            classes: dataset.classes.len(),
            options: options.clone(),
            preprocessor: preprocessor.clone(),
            augmenter: Augmenter::new(options.augmentation, preprocessor.input()),
            is_stopped: is_stopped.clone(),
        };
        let mut loader = Self {
            lanes: Vec::new(),
            threads: Vec::new(),
            is_stopped,
            next: 0,
            batches,
            images: order.len(),
            failures: None,
            first_failure: None,
            has_delivered: false,
        };
        for first in 0..threads.min(batches) {
            loader.start(worker.clone(), first)?;
        }
        Ok(loader)
    }

    /// Skips images that can't be read any more and records them, instead of ending with the error.
    ///
    /// The batch of such an image is smaller; a batch without images is passed over. The iterator still ends with an error
    /// when the data set can't spare as many images ([`DataError::TooManyFailures`], over all loaders with the same record),
    /// or when no image of the whole order could be read ([`DataError::NoImageLeft`]). Which batch brings an error does not
    /// depend on the number of threads.
    pub fn recording(mut self, failures: &ReadFailures) -> Self {
        self.failures = Some(failures.clone());
        self
    }

    /// Number of batches in all.
    pub const fn batches(&self) -> usize {
        self.batches
    }

    fn receive(&mut self) -> Result<Loaded, DataError> {
        let lane = &self.lanes[self.next % self.lanes.len()];
        let ended = |_| DataError::Thread { reason: format!("it ended before batch {} was made", self.next) };
        let loaded = lane.recv().map_err(ended)?;
        self.next += 1;
        loaded
    }

    /// Takes the batch, and records its failures or returns the first of them.
    fn record(&mut self, loaded: Loaded) -> Result<Batch, DataError> {
        for (failure, error) in loaded.failures {
            let Some(failures) = &self.failures else { return Err(error) };
            self.first_failure.get_or_insert_with(|| failure.clone());
            failures.add(failure)?;
        }
        Ok(loaded.batch)
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
        while self.next < self.batches {
            let batch = self.receive().and_then(|loaded| self.record(loaded));
            match batch {
                Ok(batch) if batch.samples.is_empty() => {}
                Ok(batch) => {
                    self.has_delivered = true;
                    return Some(Ok(batch));
                }
                Err(error) => {
                    (self.next, self.first_failure) = (self.batches, None);
                    return Some(Err(error));
                }
            }
        }
        let first = self.first_failure.take()?;
        (!self.has_delivered).then_some(Err(DataError::NoImageLeft { images: self.images, first }))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.batches - self.next;
        (left.min(1), Some(left.max(1)))
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
    /// Makes the batch of that number; `None` if the loader was dropped.
    fn batch(&mut self, number: usize) -> Result<Option<Loaded>, DataError> {
        let items = Arc::clone(&self.items);
        let items = &items[number * self.options.batch..];
        let items = &items[..self.options.batch.min(items.len())];
        let [height, width] = self.preprocessor.input();
        let mut images = Images::zeros(items.len(), height, width);
        let (mut samples, mut failures) = (Vec::new(), Vec::new());
        let mut targets = match self.labelling {
            Labelling::Classes => Targets::Classes(Vec::new()),
            Labelling::Masks(_) => {
                let [height, width] = self.options.mask_size.unwrap_or([height, width]);
                Targets::Masks(Masks { height, width, values: Vec::new() })
            }
            Labelling::Values => Targets::Values(TargetValues { targets: self.classes, values: Vec::new() }),
            Labelling::Labels { .. } => Targets::Labels(LabelSets { labels: self.classes, values: Vec::new() }),
        };
        for item in items {
            if self.is_stopped.load(Ordering::Relaxed) {
                return Ok(None);
            }
            match (self.open(item), item.image.path()) {
                (Ok((image, mask)), _) => {
                    let geometry = self.prepare(item, image, images.image_mut(samples.len()))?;
                    self.add_target(item, mask.as_ref(), &geometry, &mut targets)?;
                    samples.push(item.sample);
                }
                (Err(error), Some(path)) => failures.push((ReadFailure::new(item.sample, path.into(), &error), error)),
                // What was decoded once from memory does not change there.
                (Err(error), None) => return Err(error),
            }
        }
        images.values.truncate(samples.len() * self.preprocessor.values());
        images.count = samples.len();
        Ok(Some(Loaded { batch: Batch { images, targets, samples }, failures }))
    }

    /// Decodes an image, and its mask if it has one.
    fn open<'i>(&self, item: &'i Item) -> Result<(Cow<'i, RgbImage>, Option<Mask>), DataError> {
        let image = item.image.decode()?;
        let mask = match (&item.target, self.labelling.encoding()) {
            (Target::Mask(file), Some(encoding)) => Some(mask::open(&file.path, encoding, image.dimensions())?.0),
            (Target::Mask(_) | Target::Class(_) | Target::Values(_) | Target::Labels(_), _) => None,
        };
        Ok((image, mask))
    }

    /// Appends the target of an image that lies so in its input.
    fn add_target(
        &self,
        item: &Item,
        mask: Option<&Mask>,
        geometry: &Geometry,
        targets: &mut Targets,
    ) -> Result<(), DataError> {
        match (targets, &item.target, mask) {
            (Targets::Classes(classes), Target::Class(class), _) => classes.push(*class),
            (Targets::Masks(masks), _, Some(mask)) => {
                let (start, size) = (masks.values.len(), [masks.height, masks.width]);
                masks.values.resize(start + masks.area(), Masks::IGNORED);
                mask.augment(geometry, self.preprocessor.input(), size, &mut masks.values[start..]);
            }
            (Targets::Values(values), Target::Values(own), _) => {
                let start = values.values.len();
                values.values.extend_from_slice(own);
                if geometry.is_flipped {
                    let negated = self.options.negated_by_flips.iter().flatten();
                    negated.for_each(|target| values.values[start + target] *= -1.0);
                }
            }
            (Targets::Labels(sets), Target::Labels(own), _) => sets.push(own),
            (Targets::Classes(_) | Targets::Masks(_) | Targets::Values(_) | Targets::Labels(_), _, _) => {
                return Err(DataError::MixedTargets { image: item.image.to_string() });
            }
        }
        Ok(())
    }

    /// Corrupts and augments a decoded image as the options say, and writes it as the network's input; returns how it lies
    /// there.
    fn prepare(&mut self, item: &Item, mut image: Cow<'_, RgbImage>, out: &mut [f32]) -> Result<Geometry, DataError> {
        if let Some((corruption, severity)) = self.options.corruption {
            if self.labelling.is_positional() && corruption.moves_pixels() {
                return Err(DataError::MovesPixels { corruption: corruption.name() });
            }
            let seed = rng(Stream::CorruptionSeed, self.options.seed, 0, item.sample as u64).random();
            corruption.apply(severity, seed, image.to_mut()).map_err(|error| item.image.error(error))?;
        }
        if let Some(perturbation) = self.options.perturbation {
            perturbation.apply(image.to_mut()).map_err(|error| item.image.error(error))?;
        }
        let pixels = decode::pixels(&image);
        let key = Key { seed: self.options.seed, epoch: self.options.epoch, sample: item.sample as u64 };
        let positions = match (&self.labelling, &self.options.negated_by_flips) {
            (Labelling::Classes | Labelling::Masks(_) | Labelling::Labels { .. }, _) => Positions::Any,
            (Labelling::Values, Some(_)) => Positions::Flipped,
            (Labelling::Values, None) => Positions::Fixed,
        };
        match &mut self.augmenter {
            None => {
                self.preprocessor.prepare_pixels(&pixels, out)?;
                let window = self.preprocessor.window(pixels.width, pixels.height);
                Ok(Geometry { window, is_flipped: false, erased: None })
            }
            Some(augmenter) => augmenter.prepare((key, positions), &pixels, &mut self.preprocessor, out),
        }
    }
}

fn items(dataset: &Dataset, order: &[usize]) -> Result<Vec<Item>, DataError> {
    let item = |index: &usize| match dataset.samples.get(*index) {
        Some(sample) => Ok(Item { image: sample.image.clone(), target: sample.target.clone(), sample: *index }),
        None => Err(DataError::NoSuchSample { index: *index, samples: dataset.samples.len() }),
    };
    order.iter().map(item).collect()
}
