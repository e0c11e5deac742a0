//! Run plan: the slices, the network, the steps and the memory of a run, before any of it is done.

use crate::classifier::output_size;
use crate::error::AdaptError;
use crate::event::Event;
use crate::kept_head;
use crate::methods;
use crate::methods::entry::MethodEntry;
use crate::methods::method::Method;
use crate::options::{ClassWeights, Options};
use crate::plan::memory::{self, Learned};
use crate::plan::memory_plan::MemoryPlan;
use crate::plan::retained_images::RetainedImages;
use crate::plan::stage::{shape_after, trained};
use crate::request::AdaptRequest;
use crate::start;
use crate::train::branches::BranchOrder;
use crate::train::control::Control;
use crate::train::target_scaling::target_scales;
use crate::train::training_state::HeadParams;
use fieldfit_data::{ReadFailures, Split};
use fieldfit_model::{HeadOutputs, LabelThresholds, TargetScales};
use fieldfit_nets::{Network, Shape};
use fieldfit_tensor::Task;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::collections::BTreeSet;

/// Stream of the run's generator that a random head is drawn from.
const HEAD_STREAM: u64 = 1;

/// Plan of a run: the decisions that follow from its request alone.
pub(crate) struct RunPlan {
    /// Entry of the method that the options name.
    pub entry: MethodEntry,
    pub split: Split,
    /// Task of the images.
    pub task: Task,
    /// Means and deviations of the training slice's values; `None` where targets are no values.
    pub scales: Option<TargetScales>,
    /// The base's backbone under a head for the new classes.
    pub network: Network,
    /// Number of its first stages that are frozen and therefore computed once; 0 where nothing else trains either.
    pub frozen: usize,
    /// Whether each tensor trains, by [`TensorId::index`](fieldfit_tensor::TensorId::index).
    pub trained: Vec<bool>,
    /// Rows of the images, in pixels.
    pub size: u32,
    /// Rows and columns of the images, in pixels.
    pub input: [usize; 2],
    /// Rows and columns of masks: those of a dense network's output.
    pub mask_size: Option<[usize; 2]>,
    pub steps_per_epoch: u64,
    pub steps: u64,
    /// Order of the steps over the run's branches.
    pub order: BranchOrder,
    pub memory: MemoryPlan,
    pub retained: Option<RetainedImages>,
    /// Images that became unreadable during the run.
    pub failures: ReadFailures,
}

impl RunPlan {
    /// Checks the options, divides the images, and opens the retained ones until `control` stops.
    pub fn new(request: &AdaptRequest<'_>, control: &Control) -> Result<(Self, Box<dyn Method>), AdaptError> {
        let options = request.options;
        let entry = *methods::find(&options.method, request.methods)?;
        options.validate_for(&entry)?;
        require_task(request)?;
        let network = request.base.network().with_classes(request.dataset.classes.len());
        let mut method = (entry.build)(options, &network)?;
        let split = request.dataset.split(&options.fractions)?;
        let (task, scales) = (request.dataset.task(), target_scales(request.dataset, &split.train)?);
        let steps_per_epoch = split.train.len().div_ceil(options.batch) as u64;
        let trained = trained(method.as_ref(), &network, options)?;
        let trains = trained.contains(&true);
        kept_head::require_training(options, trains)?;
        start::require_trained(request, &network, &trained)?;
        let order = BranchOrder::new(options, steps_per_epoch);
        let steps = if trains { order.steps() } else { 0 };
        require_stateless(method.as_mut(), options)?;
        require_unmoved(method.as_ref(), network.task())?;
        let frozen = if trains { options.frozen_stages(&network)? } else { 0 };
        let size = options.size.unwrap_or(request.base.preprocessing().size);
        let input = options.input(request.base);
        let mask_size = output_size(&network, input)?;
        let retained = RetainedImages::of(request, method.as_ref(), control)?;
        let learned = Learned { train: split.train.len(), validation: split.validation.len() };
        let memory = memory::plan(request.base, &network, method.as_ref(), learned, options)?;
        let failures = ReadFailures::new(request.dataset);
        let plan = Self {
            entry,
            split,
            task,
            scales,
            network,
            frozen,
            trained,
            size,
            input,
            mask_size,
            steps_per_epoch,
            steps,
            order,
            memory,
            retained,
            failures,
        };
        Ok((plan, method))
    }

    /// Number of epochs in all, over all branches.
    pub fn epochs(&self) -> u32 {
        (self.steps / self.steps_per_epoch.max(1)) as u32
    }

    /// The plan as an event.
    pub fn event(&self, request: &AdaptRequest<'_>) -> Event {
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

    /// Returns what the outputs of a head in training mean once they are in units, with the threshold ½ for each label.
    pub fn outputs(&self) -> HeadOutputs {
        match &self.scales {
            Some(scales) => HeadOutputs::Values(scales.clone()),
            None if self.task == Task::MultiLabel => {
                HeadOutputs::Labels(LabelThresholds(vec![0.5; self.network.head.classes]))
            }
            None => HeadOutputs::Classes,
        }
    }

    /// Shape that the frozen stages make of one image; `None` where none are.
    pub fn frozen_shape(&self) -> Result<Option<Shape>, AdaptError> {
        Ok(shape_after(&self.network, self.frozen, self.input)?)
    }

    /// The frozen stages as an event, if there are some.
    pub fn frozen_event(&self, options: &Options) -> Result<Option<Event>, AdaptError> {
        let (Some(freeze), Some(shape)) = (&options.freeze, self.frozen_shape()?) else { return Ok(None) };
        Ok(Some(Event::Frozen {
            stages: self.network.graph.sections[..self.frozen].iter().map(|stage| stage.name.clone()).collect(),
            views: freeze.views,
            image_bytes: (shape.len() * size_of::<f32>()) as u64,
            in_file: self.memory.frozen_file > 0,
        }))
    }

    /// Head of small random values, uniform in ±1/√features as PyTorch's linear layers start.
    pub fn random_head(&self, seed: u64) -> HeadParams {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(HEAD_STREAM);
        let bound = 1.0 / (self.network.head.features as f32).sqrt();
        let mut draw = |count: usize| (0..count).map(|_| random.random_range(-bound..=bound)).collect();
        let classes = self.network.head.classes;
        HeadParams { weight: draw(classes * self.network.head.features), bias: draw(classes) }
    }
}

/// Refuses branches of a method whose state goes on from step to step: it would carry one branch into the next.
fn require_stateless(method: &mut dyn Method, options: &Options) -> Result<(), AdaptError> {
    if options.branches.count > 1 && method.steps().keep_state() {
        let found = options.method.clone();
        let expected = "one without branches, or another method: this one learns from step to step, across branches";
        return Err(AdaptError::Option { name: "method", found, expected });
    }
    Ok(())
}

/// Refuses answers to images as they are as those to augmented ones, where an answer is one a pixel and augmentation moves pixels.
fn require_unmoved(method: &dyn Method, task: Task) -> Result<(), AdaptError> {
    match task {
        Task::Segmentation if method.requirements().clean_predictions => {
            Err(AdaptError::Task { what: "retention of the base's answers to images as they are", task })
        }
        Task::Segmentation | Task::Classification | Task::Regression | Task::MultiLabel => Ok(()),
    }
}

/// Refuses images that are labelled for what the base cannot do, and options that their task does not have.
fn require_task(request: &AdaptRequest<'_>) -> Result<(), AdaptError> {
    let (task, base) = (request.dataset.task(), request.base.network().task());
    if task.is_dense() != base.is_dense() {
        return Err(AdaptError::OtherTask { dataset: task, base });
    }
    let options = request.options;
    if options.novelty.is_some() && task != Task::Classification {
        return Err(AdaptError::Task { what: "a threshold of novelty", task });
    }
    if options.class_weights != ClassWeights::Uniform && task == Task::Regression {
        return Err(AdaptError::Task { what: "a weight of each class", task });
    }
    negated_by_flips(request).map(drop)
}

/// Returns the positions of the targets that a flip negates, if images with values are to be flipped.
///
/// # Errors
/// If images have no values, or a name is none of their targets.
pub(crate) fn negated_by_flips(request: &AdaptRequest<'_>) -> Result<Option<Vec<usize>>, AdaptError> {
    let (dataset, Some(names)) = (request.dataset, &request.options.flip_negates) else { return Ok(None) };
    if dataset.task() != Task::Regression {
        return Err(AdaptError::Task { what: "a choice of targets that flips negate", task: dataset.task() });
    }
    let position = |name: &String| {
        let found = dataset.classes.iter().position(|target| target == name);
        found.ok_or_else(|| AdaptError::UnknownTarget { name: name.clone(), known: dataset.classes.clone() })
    };
    let positions = names.iter().map(position).collect::<Result<BTreeSet<_>, _>>()?;
    Ok(Some(positions.into_iter().collect()))
}
