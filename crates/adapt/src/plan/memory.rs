//! Memory planning: adds up what an adaptation needs before any of it is allocated, and keeps it within a budget.

use crate::classifier::output_size;
use crate::error::AdaptError;
use crate::methods::method;
use crate::methods::method::Method;
use crate::options::{Branches, HeadMode, Options, StartPoint};
use crate::plan::memory_plan::MemoryPlan;
use crate::plan::retained_images::MOST_RETAINED;
use crate::plan::stage::{shape_after, trained};
use fieldfit_exec::memory::{BatchSize, Footprint, inference, training};
use fieldfit_exec::{Device, ExecError, Passes, Precision};
use fieldfit_model::Base;
use fieldfit_nets::Network;
use fieldfit_tensor::TensorId;

const F32: u64 = size_of::<f32>() as u64;
/// The program itself: its pages, its threads' stacks, the list of images, decoders, the allocator's own. An estimate that
/// the peaks of whole runs on Linux bear out.
const PROCESS: u64 = 14 << 20;
/// Bytes of frozen stages' activations that are kept in memory where there is no budget; more go to a file, which is as fast
/// while the system has memory to spare for it.
const MOST_IN_MEMORY: u64 = 256 << 20;
/// The most pixels of an image that a linear probe learns from.
pub(crate) const PROBED_PIXELS: usize = 256;
/// Batches that a loader has ready or in the making, and the one in use.
const BATCHES: usize = 7;

/// Plans the memory of an adaptation of that base to that many classes, with that many images to learn from (training and
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
    let fractions = options.fractions;
    let validation = (images as f64 * fractions.validation / (1.0 - fractions.gate)).ceil().min(images as f64) as usize;
    let images = Learned { train: images - validation, validation };
    plan(base, &network, method(options, &network)?.as_ref(), images, options)
}

/// Number of images that are learned from.
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
    let places = draft.cache_places()?;
    let ways =
        candidates(network, options).into_iter().flat_map(|passes| places.iter().map(move |&place| (passes, place)));
    for (passes, place) in ways {
        let plan = draft.plan(passes, place)?;
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

/// Ways to compute, fastest first.
fn candidates(network: &Network, options: &Options) -> Vec<Passes> {
    let most = options.micro_batch.unwrap_or(Passes::MICRO_BATCH).min(options.batch);
    let halves = std::iter::successors(Some(most), |at_once| (*at_once > 1).then_some(at_once / 2));
    let micro_batches: Vec<usize> = if options.micro_batch.is_some() { vec![most] } else { halves.collect() };
    let smallest = micro_batches.last().copied().unwrap_or(1);
    let recomputing = (1..=network.graph.sections.len()).map(|recomputed| Passes { micro_batch: smallest, recomputed });
    micro_batches.into_iter().map(Passes::of).chain(recomputing).collect()
}

/// Draft of a memory plan: what it is computed from.
struct Draft<'a> {
    base: &'a Base,
    network: &'a Network,
    method: &'a dyn Method,
    /// Whether each tensor trains, by [`TensorId::index`].
    trained: Vec<bool>,
    /// Number of stages at the network's start.
    frozen: usize,
    images: Learned,
    options: &'a Options,
}

/// Place of the frozen stages' activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CachePlace {
    Memory,
    File,
}

impl Draft<'_> {
    fn plan(&self, passes: Passes, place: CachePlace) -> Result<MemoryPlan, AdaptError> {
        let Self { base, network, method, options, .. } = *self;
        let (recipe, input) = (base.preprocessing(), options.input(base));
        let own = recipe.input(recipe.size).map(|side| side as usize);
        let size = |batch: usize, [height, width]: [usize; 2]| BatchSize { batch, height, width };
        let trained = bytes(network, |id| self.trained[id.index()]);
        let weights = bytes(network, |_| true);
        let learning = self.executor(input, passes)?;
        let looking = inference(network, size(passes.micro_batch, input))?;
        let rows = self.images.total() * if network.head.is_dense() { PROBED_PIXELS } else { 1 };
        let features = F32 * (rows * network.head.features) as u64;
        let state = (options.optimiser.state_per_value() + method.state_per_value()) as u64;
        let mut plan = MemoryPlan {
            micro_batch: passes.micro_batch,
            recomputed_stages: passes.recomputed,
            process: PROCESS,
            base: base.manifest().weights.bytes,
            running: total(inference(base.network(), size(1, own))?),
            delta: trained * self.deltas(),
            images: self.batches(input),
            // Centred and scaled, features are there twice; and they are once when the base answers.
            probing: weights + total(looking) + features + features.max(self.clean_answers()),
            judging: trained / 2
                + weights
                + total(looking)
                + if options.novelty.is_some() { features } else { 0 }
                + self.calibration(input),
            ..MemoryPlan::default()
        };
        if trained > 0 {
            plan.weights = weights + self.kept_head();
            plan.gradients = trained;
            plan.optimiser = state * trained;
            plan.kernels = (learning.folded + learning.scratch) as u64;
            plan.activations = learning.activations as u64 + self.outputs(input)?;
            plan.checkpoint = (self.deltas() + state) * trained;
            plan.retention = if method.requirements().base_predictions { self.retention(input)? } else { 0 };
            if self.frozen > 0 {
                let kept = self.activations_kept()?;
                plan.frozen = self.prefix(passes)? + if place == CachePlace::Memory { kept } else { 0 };
                plan.frozen_file = if place == CachePlace::File { kept } else { 0 };
            }
        }
        plan.total = plan.always() + plan.training().max(plan.probing + plan.images).max(plan.judging);
        Ok(plan)
    }

    /// Returns the number of δ that are held: the one that trains, where branches part, and the sum of the branches.
    const fn deltas(&self) -> u64 {
        let Branches { count, common, average: _ } = self.options.branches;
        match (count, common, self.options.start) {
            (0 | 1, _, _) => 1,
            (_, 0, StartPoint::Base) => 2,
            _ => 3,
        }
    }

    /// Returns the bytes of the answers of a batch's pixels under both heads, as some methods compare them; 0 of images.
    fn outputs(&self, input: [usize; 2]) -> Result<u64, AdaptError> {
        let pixels = output_size(self.network, input)?.map_or(0, |[rows, columns]| rows * columns);
        let classes = self.network.head.classes + self.base.network().head.classes;
        Ok(F32 * (self.options.batch * pixels * classes) as u64)
    }

    /// Returns the bytes of the base's head where it is kept: as training starts from it, and as the gate goes back to it.
    fn kept_head(&self) -> u64 {
        match self.options.head {
            HeadMode::Replace => 0,
            HeadMode::Keep => 2 * bytes(self.network, |id| self.network.tensor(id).role.is_head()),
        }
    }

    /// Returns the footprint of the executor of the stages that are not frozen. candle's own memory is on its device,
    /// and it keeps whole batches.
    fn executor(&self, image: [usize; 2], passes: Passes) -> Result<Footprint, ExecError> {
        let trains = |id: TensorId| self.trained[id.index()];
        let input = shape_after(self.network, self.frozen, image)?;
        let (height, width) = input.map_or((image[0], image[1]), |shape| (shape.height, shape.width));
        let (size, rest) = (BatchSize { batch: self.options.batch, height, width }, self.network.after(self.frozen)?);
        match self.options.device {
            Device::Cpu { threads } => training(&rest, trains, size, passes, threads),
            Device::Cuda { .. } | Device::Metal | Device::Candle => {
                training(&rest, trains, size, Passes::of(size.batch), 1)
            }
        }
    }

    /// Returns the places where frozen stages' activations may be kept, the best first. Where nothing is frozen it
    /// makes no difference.
    fn cache_places(&self) -> Result<Vec<CachePlace>, AdaptError> {
        let fits = self.options.memory_budget.is_some() || self.activations_kept()? <= MOST_IN_MEMORY;
        Ok(match (self.frozen > 0, fits) {
            (false, _) => vec![CachePlace::Memory],
            (true, true) => vec![CachePlace::Memory, CachePlace::File],
            (true, false) => vec![CachePlace::File],
        })
    }

    /// Returns the bytes that compute the frozen stages: the base's weights, as they are and folded, a micro-batch's
    /// activations and a batch's output.
    fn prefix(&self, passes: Passes) -> Result<u64, AdaptError> {
        let stages = self.network.before(self.frozen).map_err(ExecError::from)?;
        let [height, width] = self.options.input(self.base);
        let size = BatchSize { batch: passes.micro_batch, height, width };
        let output = self.options.batch as u64 * self.activation()?;
        Ok(bytes(self.network, |_| true) + total(inference(&stages, size)?) + output)
    }

    /// Returns the bytes of the frozen stages' activations: of each view of a training image, of a validation image
    /// as it is and in a view that a method may take, and of retained images.
    fn activations_kept(&self) -> Result<u64, AdaptError> {
        let Some(freeze) = &self.options.freeze else { return Ok(0) };
        let views = freeze.views.min(self.options.epochs) as usize;
        let retained = if self.options.retain.is_some() { MOST_RETAINED } else { 0 };
        let asked = if self.method.requirements().base_predictions { 2 } else { 1 };
        let kept = self.images.train * views + self.images.validation * asked + retained;
        Ok(kept as u64 * self.activation()?)
    }

    /// Returns the bytes of one image's activation behind the frozen stages.
    fn activation(&self) -> Result<u64, ExecError> {
        let shape = shape_after(self.network, self.frozen, self.options.input(self.base))?;
        Ok(shape.map_or(0, |shape| F32 * shape.len() as u64))
    }

    /// The base's head as weights, as gradients and as the products of both passes read it, and at most one answer an image, or
    /// one for each of its pixels.
    fn retention(&self, input: [usize; 2]) -> Result<u64, AdaptError> {
        let head = self.base.network().head;
        let asked = self.images.total().max(if self.options.retain.is_some() { MOST_RETAINED } else { 0 });
        let pixels = output_size(self.network, input)?.map_or(1, |[rows, columns]| rows * columns);
        // Of each image of a micro-batch, the new classes' logits apart.
        let apart = if pixels > 1 { pixels * self.network.head.classes } else { 0 };
        Ok(F32 * (head.classes * (4 * head.features + asked * pixels) + apart) as u64)
    }

    /// Returns the bytes of the base's head, and of its answers to the training images as they are, where the method asks for them.
    fn clean_answers(&self) -> u64 {
        let head = self.base.network().head;
        match self.method.requirements().clean_predictions {
            true => F32 * (head.classes * (head.features + self.images.train)) as u64,
            false => 0,
        }
    }

    /// Returns the bytes of the images that a result for int8 is calibrated on. What computes them in f32, one at a time, takes no
    /// more than what judges in f32.
    fn calibration(&self, input: [usize; 2]) -> u64 {
        match self.options.precision {
            Precision::F32 => 0,
            Precision::Int8 => self.batches(input),
        }
    }

    /// Batches of a training loader; a method may have one of validation images, too.
    fn batches(&self, [height, width]: [usize; 2]) -> u64 {
        let loaders = if self.method.requirements().validation_batches { 2 } else { 1 };
        let images = (loaders * BATCHES * self.options.batch).min(loaders * self.images.total());
        F32 * (images * 3 * height * width) as u64
    }
}

fn bytes(network: &Network, counts: impl Fn(TensorId) -> bool) -> u64 {
    F32 * network.tensors().filter(|&(id, _)| counts(id)).map(|(_, spec)| spec.len()).sum::<usize>() as u64
}

const fn total(footprint: Footprint) -> u64 {
    footprint.total() as u64
}

/// Resets the process's peak memory, so that [`peak_memory`] measures from here; returns whether the system did (Linux does).
pub fn forget_peak_memory() -> bool {
    std::fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// Peak resident memory of this process in bytes (`VmHWM` on Linux); `None` where the system doesn't report it.
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
