//! What a run is going to do, before it does any of it.

use crate::memory::Learned;
use crate::{AdaptError, Event, HeadParams, MemoryPlan, Method, Options, Request, memory, method};
use fieldfit_data::{Dataset, FolderOptions, Purpose, Split, shuffled};
use fieldfit_exec::ExecError;
use fieldfit_nets::{Network, Shape};
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
    /// How many of its first stages are frozen and therefore computed once; 0 where nothing else trains either.
    pub frozen: usize,
    /// Which tensors train, by [`TensorId::index`](fieldfit_tensor::TensorId::index).
    pub trained: Vec<bool>,
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
        let trained = trained(method.as_ref(), &network, options)?;
        let trains = trained.contains(&true);
        let steps = if trains { steps_per_epoch * u64::from(options.epochs) } else { 0 };
        let frozen = if trains { options.frozen_stages(&network)? } else { 0 };
        let size = options.size.unwrap_or(request.base.preprocessing().size);
        let retained = retained(request, method.as_ref())?;
        let learned = Learned { train: split.train.len(), validation: split.validation.len() };
        let memory = memory::plan(request.base, &network, method.as_ref(), learned, options)?;
        Ok((Self { split, network, frozen, trained, size, steps_per_epoch, steps, memory, retained }, method))
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
            skipped: request.dataset.unreadable(),
            notes: request.dataset.notes.iter().chain(notes).cloned().chain(self.retained_note()).collect(),
            steps: self.steps,
            size: self.size,
        }
    }

    /// Note on the files that are left out of the retained images.
    fn retained_note(&self) -> Option<String> {
        Some(format!("retained images: {}", self.retained.as_ref()?.images.skip_summary()?))
    }

    /// What the frozen stages make of one image; nothing where none are.
    pub fn frozen_shape(&self) -> Result<Option<Shape>, AdaptError> {
        Ok(shape_after(&self.network, self.frozen, self.size as usize)?)
    }

    /// What is frozen as it is told, if something is.
    pub fn frozen_event(&self, options: &Options) -> Result<Option<Event>, AdaptError> {
        let (Some(freeze), Some(shape)) = (&options.freeze, self.frozen_shape()?) else { return Ok(None) };
        Ok(Some(Event::Frozen {
            stages: self.network.stages[..self.frozen].iter().map(|stage| stage.name.clone()).collect(),
            views: freeze.views,
            image_bytes: (shape.len() * size_of::<f32>()) as u64,
            in_file: self.memory.frozen_file > 0,
        }))
    }

    /// A head of small random values, uniform in ±1/√features as PyTorch's linear layers start.
    pub fn random_head(&self, seed: u64) -> HeadParams {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(HEAD_STREAM);
        let bound = 1.0 / (self.network.head.features as f32).sqrt();
        let mut draw = |count: usize| (0..count).map(|_| random.random_range(-bound..=bound)).collect();
        let classes = self.network.head.classes;
        HeadParams { weight: draw(classes * self.network.head.features), bias: draw(classes) }
    }
}

/// Which tensors train, by [`TensorId::index`](fieldfit_tensor::TensorId::index): the method's, behind what is frozen.
pub(crate) fn trained(method: &dyn Method, network: &Network, options: &Options) -> Result<Vec<bool>, AdaptError> {
    let (stages, frozen) = (network.stage_of_each_tensor(), options.frozen_stages(network)?);
    Ok(network.tensors().map(|(id, spec)| method.trains(spec) && stages[id.index()] >= frozen).collect())
}

/// What the network's first `stages` stages make of an image of that side; nothing where they are none.
pub(crate) fn shape_after(network: &Network, stages: usize, side: usize) -> Result<Option<Shape>, ExecError> {
    Ok(network.before(stages).shapes(side, side)?.last().and_then(|stage| stage.last()).copied())
}

/// The images that the options name, for a method that asks the base about them after training.
fn retained(request: &Request<'_>, method: &dyn Method) -> Result<Option<Retained>, AdaptError> {
    let options = request.options;
    let Some(folder) = &options.retain else { return Ok(None) };
    let refused = |expected| AdaptError::Option { name: "retain", found: folder.display().to_string(), expected };
    if !method.looks_at_retained() {
        return Err(refused("nothing: this method doesn't look at images beside those that it learns from"));
    }
    if request.base.network().is_headless() {
        return Err(refused("nothing: this base has no head, so that it predicts nothing that could be retained"));
    }
    Retained::open(folder, options.seed).map(Some)
}
