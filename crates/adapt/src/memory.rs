//! What an adaptation takes, added up before any of it is allocated, and how it is made to keep within a budget.

use crate::plan::{MOST_RETAINED, shape_after, trained};
use crate::{AdaptError, Method, Options, method};
use fieldfit_data::Fractions;
use fieldfit_exec::memory::{BatchSize, Footprint, inference, training};
use fieldfit_exec::{Device, ExecError, Passes};
use fieldfit_model::Base;
use fieldfit_nets::Network;
use fieldfit_tensor::TensorId;
use serde::{Deserialize, Serialize};

const F32: u64 = size_of::<f32>() as u64;
/// The program itself: its pages, its threads' stacks, the list of images, decoders, the allocator's own. An estimate that
/// the peaks of whole runs on Linux bear out.
const PROCESS: u64 = 14 << 20;
/// Bytes of frozen stages' activations that are kept in memory where there is no budget; more go to a file, which is as fast
/// while the system has memory to spare for it.
const MOST_IN_MEMORY: u64 = 256 << 20;
/// Batches that a loader has ready or in the making, and the one in use.
const BATCHES: usize = 7;

/// How a run is computed, and the bytes that it takes for it. `total` is the most that is there at one time.
///
/// Exact but for `process`, and for compressed images while they are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MemoryPlan {
    /// Images that are computed at once.
    pub micro_batch: usize,
    /// Of that many of the first stages, activations are computed twice instead of kept.
    pub recomputed_stages: usize,
    /// The program itself, by estimate.
    pub process: u64,
    /// θ0's file as it is mapped; the system may take it back under pressure.
    pub base: u64,
    /// The weights that answer frames meanwhile, and one frame's activations.
    pub running: u64,
    /// θ − θ0.
    pub delta: u64,
    /// While training: the merged weights, f32.
    pub weights: u64,
    /// While training: the gradients.
    pub gradients: u64,
    /// While training: the optimiser's state.
    pub optimiser: u64,
    /// While training: weights with norms folded in, as the kernels read them, and each thread's sums of gradients.
    pub kernels: u64,
    /// While training: activations and the gradients on their way down, for one micro-batch.
    pub activations: u64,
    /// While training: batches in use, ready, and in the making.
    pub images: u64,
    /// While training: the base's own head beside the new one, and its answers to the validation images, where a method
    /// asks for them.
    pub retention: u64,
    /// While training: what computes the frozen stages, and their activations unless a file holds them.
    pub frozen: u64,
    /// Not memory: the unnamed file that holds the frozen stages' activations; 0 where there is none.
    pub frozen_file: u64,
    /// While training: δ and the optimiser's state on their way into a checkpoint.
    pub checkpoint: u64,
    /// Before training: the probe's features, and the weights and activations that make them.
    pub probing: u64,
    /// After training: the delta file, the weights that it decodes to, and the same made ready to run. A swap takes as
    /// much.
    pub judging: u64,
    /// All that is there at the peak: what is always there, and the largest of probing, training and judging.
    pub total: u64,
}

impl MemoryPlan {
    /// How the executor is to compute.
    pub const fn passes(&self) -> Passes {
        Passes { micro_batch: self.micro_batch, recomputed: self.recomputed_stages }
    }

    /// What is there while steps are made, beside what always is.
    pub const fn training(&self) -> u64 {
        self.weights
            + self.gradients
            + self.optimiser
            + self.kernels
            + self.activations
            + self.images
            + self.retention
            + self.frozen
            + self.checkpoint
    }

    /// What is there all the time.
    pub const fn always(&self) -> u64 {
        self.process + self.base + self.running + self.delta
    }
}

/// The plan of an adaptation of that base to that many classes, with that many images to learn from (training and
/// validation).
///
/// Without a budget, as many images at once as the options say, or [`Passes::MICRO_BATCH`]. With one, the first of these
/// that keeps within it: half as many images at once, and again, down to one; then one image at once, and as few stages
/// computed twice as it takes. At each of them, frozen stages' activations in memory, and then in a file.
///
/// # Errors
/// If an option can't be used; if the network can't take images of that size; [`AdaptError::Budget`], with the bytes of
/// the smallest plan, if none keeps within the budget.
pub fn plan_memory(base: &Base, classes: usize, images: usize, options: &Options) -> Result<MemoryPlan, AdaptError> {
    options.validate()?;
    let network = base.network().with_classes(classes);
    let Fractions { validation, gate } = options.fractions;
    let validation = (images as f64 * validation / (1.0 - gate)).ceil().min(images as f64) as usize;
    let images = Learned { train: images - validation, validation };
    plan(base, &network, method(options, &network)?.as_ref(), images, options)
}

/// How many images are learned from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Learned {
    pub train: usize,
    pub validation: usize,
}

impl Learned {
    const fn total(self) -> usize {
        self.train + self.validation
    }
}

pub(crate) fn plan(
    base: &Base,
    network: &Network,
    method: &dyn Method,
    images: Learned,
    options: &Options,
) -> Result<MemoryPlan, AdaptError> {
    let (trained, frozen) = (trained(method, network, options)?, options.frozen_stages(network)?);
    let draft = Draft { base, network, method, trained, frozen, images, options };
    let mut least: Option<MemoryPlan> = None;
    let shelves = draft.shelves()?;
    let ways =
        candidates(network, options).into_iter().flat_map(|passes| shelves.iter().map(move |&kept| (passes, kept)));
    for (passes, kept) in ways {
        let plan = draft.plan(passes, kept)?;
        if options.memory_budget.is_none_or(|budget| plan.total <= budget) {
            return Ok(plan);
        }
        least = Some(least.filter(|least| least.total <= plan.total).unwrap_or(plan));
    }
    let least = least.unwrap_or_default();
    Err(AdaptError::Budget {
        budget: options.memory_budget.unwrap_or(0),
        least: least.total,
        micro_batch: least.micro_batch,
        recomputed_stages: least.recomputed_stages,
    })
}

/// The ways to compute, fastest first.
fn candidates(network: &Network, options: &Options) -> Vec<Passes> {
    let most = options.micro_batch.unwrap_or(Passes::MICRO_BATCH).min(options.batch);
    let halves = std::iter::successors(Some(most), |at_once| (*at_once > 1).then_some(at_once / 2));
    let micro_batches: Vec<usize> = if options.micro_batch.is_some() { vec![most] } else { halves.collect() };
    let smallest = micro_batches.last().copied().unwrap_or(1);
    let recomputing = (1..=network.stages.len()).map(|recomputed| Passes { micro_batch: smallest, recomputed });
    micro_batches.into_iter().map(Passes::of).chain(recomputing).collect()
}

/// What a plan is made from.
struct Draft<'a> {
    base: &'a Base,
    network: &'a Network,
    method: &'a dyn Method,
    /// By [`TensorId::index`].
    trained: Vec<bool>,
    /// Stages at the beginning.
    frozen: usize,
    images: Learned,
    options: &'a Options,
}

/// Where frozen stages' activations are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shelf {
    Memory,
    File,
}

impl Draft<'_> {
    fn plan(&self, passes: Passes, shelf: Shelf) -> Result<MemoryPlan, AdaptError> {
        let Self { base, network, method, options, .. } = *self;
        let (recipe, side) = (base.preprocessing(), self.side());
        let size = |batch: usize, side: usize| BatchSize { batch, height: side, width: side };
        let trained = bytes(network, |id| self.trained[id.index()]);
        let weights = bytes(network, |_| true);
        let learning = self.executor(side, passes)?;
        let looking = inference(network, size(passes.micro_batch, side))?;
        let features = F32 * (self.images.total() * network.head.features) as u64;
        let state = options.optimiser.state_per_value() as u64;
        let mut plan = MemoryPlan {
            micro_batch: passes.micro_batch,
            recomputed_stages: passes.recomputed,
            process: PROCESS,
            base: base.manifest().weights.bytes,
            running: total(inference(base.network(), size(1, recipe.size as usize))?),
            delta: trained,
            images: self.batches(side),
            // Centred and scaled, features are there twice.
            probing: weights + total(looking) + 2 * features,
            judging: trained / 2 + weights + total(looking),
            ..MemoryPlan::default()
        };
        if trained > 0 {
            plan.weights = weights;
            plan.gradients = trained;
            plan.optimiser = state * trained;
            plan.kernels = (learning.folded + learning.scratch) as u64;
            plan.activations = learning.activations as u64;
            plan.checkpoint = (1 + state) * trained;
            plan.retention = if method.asks_base() { self.retention() } else { 0 };
            if self.frozen > 0 {
                let kept = self.activations_kept()?;
                plan.frozen = self.beginning(passes)? + if shelf == Shelf::Memory { kept } else { 0 };
                plan.frozen_file = if shelf == Shelf::File { kept } else { 0 };
            }
        }
        plan.total = plan.always() + plan.training().max(plan.probing + plan.images).max(plan.judging);
        Ok(plan)
    }

    /// Of the training images in pixels.
    fn side(&self) -> usize {
        self.options.size.unwrap_or(self.base.preprocessing().size) as usize
    }

    /// What the executor of what isn't frozen holds. candle's own memory is on its device, and it keeps whole batches.
    fn executor(&self, side: usize, passes: Passes) -> Result<Footprint, ExecError> {
        let trains = |id: TensorId| self.trained[id.index()];
        let input = shape_after(self.network, self.frozen, side)?;
        let (height, width) = input.map_or((side, side), |shape| (shape.height, shape.width));
        let (size, rest) = (BatchSize { batch: self.options.batch, height, width }, self.network.after(self.frozen));
        match self.options.device {
            Device::Cpu { threads } => training(&rest, trains, size, passes, threads),
            Device::Cuda { .. } | Device::Metal | Device::Candle => {
                training(&rest, trains, size, Passes::of(size.batch), 1)
            }
        }
    }

    /// Where frozen stages' activations may be kept, the best first. Where nothing is frozen it makes no difference.
    fn shelves(&self) -> Result<Vec<Shelf>, AdaptError> {
        let fits = self.options.memory_budget.is_some() || self.activations_kept()? <= MOST_IN_MEMORY;
        Ok(match (self.frozen > 0, fits) {
            (false, _) => vec![Shelf::Memory],
            (true, true) => vec![Shelf::Memory, Shelf::File],
            (true, false) => vec![Shelf::File],
        })
    }

    /// What computes the frozen stages: the base's weights, as they are and folded, a micro-batch's activations and a
    /// batch's output.
    fn beginning(&self, passes: Passes) -> Result<u64, AdaptError> {
        let (stages, side) = (self.network.before(self.frozen), self.side());
        let size = BatchSize { batch: passes.micro_batch, height: side, width: side };
        let output = self.options.batch as u64 * self.activation()?;
        Ok(bytes(self.network, |_| true) + total(inference(&stages, size)?) + output)
    }

    /// What the frozen stages' activations come to: of each view of a training image, of a validation image as it is and in a
    /// view that a method may take, and of retained images.
    fn activations_kept(&self) -> Result<u64, AdaptError> {
        let Some(freeze) = &self.options.freeze else { return Ok(0) };
        let views = freeze.views.min(self.options.epochs) as usize;
        let retained = if self.options.retain.is_some() { MOST_RETAINED } else { 0 };
        let asked = if self.method.asks_base() { 2 } else { 1 };
        let kept = self.images.train * views + self.images.validation * asked + retained;
        Ok(kept as u64 * self.activation()?)
    }

    /// Of one image, what the frozen stages make.
    fn activation(&self) -> Result<u64, ExecError> {
        let shape = shape_after(self.network, self.frozen, self.side())?;
        Ok(shape.map_or(0, |shape| F32 * shape.len() as u64))
    }

    /// The base's head as weights, as gradients and as the products of both passes read it, and at most one answer an image.
    fn retention(&self) -> u64 {
        let head = self.base.network().head;
        let asked = self.images.total().max(if self.options.retain.is_some() { MOST_RETAINED } else { 0 });
        F32 * (head.classes * (4 * head.features + asked)) as u64
    }

    /// Batches of a training loader; a method may have one of validation images, too.
    fn batches(&self, side: usize) -> u64 {
        let loaders = if self.method.draws_validation() { 2 } else { 1 };
        let images = (loaders * BATCHES * self.options.batch).min(loaders * self.images.total());
        F32 * (images * 3 * side * side) as u64
    }
}

fn bytes(network: &Network, counts: impl Fn(TensorId) -> bool) -> u64 {
    F32 * network.tensors().filter(|&(id, _)| counts(id)).map(|(_, spec)| spec.len()).sum::<usize>() as u64
}

const fn total(footprint: Footprint) -> u64 {
    footprint.total() as u64
}

/// Forgets the peak so far, so that [`peak_memory`] tells of what comes; says whether the system did (Linux does).
pub fn forget_peak_memory() -> bool {
    std::fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// The most memory that this process has ever had resident, in bytes; nothing where the system doesn't tell. Linux does
/// (`VmHWM`).
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
