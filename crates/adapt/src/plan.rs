//! What a run is going to do, before it does any of it.

use crate::{AdaptError, Event, Head, MemoryPlan, Method, Request, memory, method};
use fieldfit_data::{Dataset, FolderOptions, Purpose, Split, shuffled};
use fieldfit_nets::Network;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::path::Path;

/// The stream of the run's generator that a random head is drawn from.
const HEAD_STREAM: u64 = 1;

/// Retained images that are looked at: each costs as much as a validation image in every radius step.
pub(crate) const MOST_RETAINED: usize = 256;

/// The decisions that follow from a request alone.
pub(crate) struct Plan {
    pub split: Split,
    /// The base's backbone under a head for the new classes.
    pub network: Network,
    pub size: u32,
    pub steps_per_epoch: u64,
    pub steps: u64,
    pub memory: MemoryPlan,
    pub retained: Option<Retained>,
}

/// Images on which the base's predictions are to stay what they are.
pub(crate) struct Retained {
    pub images: Dataset,
    /// Those that are looked at.
    pub order: Vec<usize>,
}

impl Retained {
    /// At most [`MOST_RETAINED`] of the folder's images, drawn by the run's seed.
    fn open(folder: &Path, seed: u64) -> Result<Self, AdaptError> {
        let images = Dataset::open(folder, &FolderOptions { purpose: Purpose::Unlabelled, group: None })?;
        let all: Vec<usize> = (0..images.samples.len()).collect();
        let mut order = shuffled(&all, seed, 0);
        order.truncate(MOST_RETAINED);
        Ok(Self { images, order })
    }
}

impl Plan {
    /// Checks the options and divides the images.
    pub fn new(request: &Request<'_>) -> Result<(Self, Box<dyn Method>), AdaptError> {
        let options = request.options;
        options.validate()?;
        let network = request.base.network().with_classes(request.dataset.classes.len());
        let method = method(options, &network)?;
        let split = request.dataset.split(&options.fractions)?;
        let steps_per_epoch = split.train.len().div_ceil(options.batch) as u64;
        let trains = network.tensors().any(|(_, spec)| method.trains(spec));
        let steps = if trains { steps_per_epoch * u64::from(options.epochs) } else { 0 };
        let size = options.size.unwrap_or(request.base.preprocessing().size);
        let retained = retained(request, method.as_ref())?;
        let learned = split.train.len() + split.validation.len();
        let memory = memory::plan(request.base, &network, method.as_ref(), learned, options)?;
        Ok((Self { split, network, size, steps_per_epoch, steps, memory, retained }, method))
    }

    /// The plan as it is told.
    pub fn event(&self, request: &Request<'_>) -> Event {
        let Split { train, validation, gate, notes, .. } = &self.split;
        Event::Plan {
            method: request.options.method.clone(),
            classes: request.dataset.classes.clone(),
            train: train.len(),
            validation: validation.len(),
            gate: gate.len(),
            skipped: request.dataset.skipped.len(),
            notes: request.dataset.notes.iter().chain(notes).cloned().collect(),
            steps: self.steps,
            size: self.size,
        }
    }

    /// A head of small random values, uniform in ±1/√features as PyTorch's linear layers start.
    pub fn random_head(&self, seed: u64) -> Head {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(HEAD_STREAM);
        let bound = 1.0 / (self.network.head.features as f32).sqrt();
        let mut draw = |count: usize| (0..count).map(|_| random.random_range(-bound..=bound)).collect();
        let classes = self.network.head.classes;
        Head { weight: draw(classes * self.network.head.features), bias: draw(classes) }
    }
}

/// The images that the options name, for a method that asks the base about them.
fn retained(request: &Request<'_>, method: &dyn Method) -> Result<Option<Retained>, AdaptError> {
    let options = request.options;
    let Some(folder) = &options.retain else { return Ok(None) };
    let refused = |expected| AdaptError::Option { name: "retain", found: folder.display().to_string(), expected };
    if !method.asks_base() {
        return Err(refused("nothing: this method doesn't compare with the base's predictions"));
    }
    if request.base.network().is_headless() {
        return Err(refused("nothing: this base has no head, so that it predicts nothing that could be retained"));
    }
    Retained::open(folder, options.seed).map(Some)
}
