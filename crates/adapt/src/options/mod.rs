//! Options: every choice that an adaptation depends on.

mod branches;
mod start_point;
mod text;

pub use branches::{BranchAverage, Branches};
pub use start_point::StartPoint;

use crate::classifier::Placement;
use crate::error::AdaptError;
use fieldfit_data::{Augmentation, Fractions};
use fieldfit_delta::Codec;
use fieldfit_exec::{Device, ExecError, Precision};
use fieldfit_model::Base;
use fieldfit_nets::Network;
use fieldfit_tensor::Norm;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Options of an adaptation. The defaults are safe: they do not collapse, and radii are on. Outside this crate they
/// are built by setters: `Options::default().with_epochs(8).with_size(Some(96))`.
///
/// As JSON, `{"epochs":8,"size":96}`: each option by the name of its field but the device, which is the program's. What is not
/// given is at its default; an unknown name is an error.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Options {
    /// The method, by its name in [`METHODS`](crate::METHODS).
    pub method: String,
    /// Passes over the training slice.
    pub epochs: u32,
    /// Side of the training images in pixels; `None` for the base's own.
    pub size: Option<u32>,
    /// Images per step and per radius step, at least 1.
    pub batch: usize,
    /// Optimiser and its constants.
    pub optimiser: OptimiserOptions,
    /// Learning-rate schedule.
    pub schedule: ScheduleOptions,
    /// Maximum L2 norm over all gradients, to which longer ones are clipped; `None` for no clipping.
    pub clip: Option<f64>,
    /// Augmentation of training images.
    pub augmentation: Augmentation,
    /// Seed of shuffling, augmentation and a new head's random start.
    pub seed: u64,
    /// Fractions of the images for the validation and the gate slice.
    pub fractions: Fractions,
    /// Settings of the method, by the names in its [`MethodEntry::settings`](crate::MethodEntry::settings); what
    /// isn't given is at its default.
    pub settings: BTreeMap<String, f64>,
    /// Options of methods with radii. Of any method that pulls back to the base, `exclude` says what it leaves alone.
    pub tpgm: TpgmOptions,
    /// Images of any kind, at any depth of that folder, on which the base's own predictions are to stay what they are;
    /// `None` for the validation slice's. Only methods with a `retention` look at it. Never images that the result is
    /// to be measured on.
    pub retain: Option<PathBuf>,
    /// Frozen stages, whatever the method; `None` to train all that the method trains.
    pub freeze: Option<Freeze>,
    /// Coding of the delta file's values.
    pub coding: Coding,
    /// Device that computes.
    #[serde(skip, default = "all_cores")]
    pub device: Device,
    /// Precision in which the result will run: with int8, the ranges of its activations are recorded, and the gate judges the
    /// int8 network. Training is f32.
    pub precision: Precision,
    /// Images that are computed at once, on the CPU; `None` for what fits the budget, and at most
    /// [`Passes::MICRO_BATCH`](fieldfit_exec::Passes::MICRO_BATCH).
    pub micro_batch: Option<usize>,
    /// Niceness that is added to the run's threads, 0 to 19, as `nice -n` counts; Linux only. The threads that answer
    /// frames keep their priority.
    pub nice: u8,
    /// Bytes that the process may have resident at its peak; `None` for as many as it takes.
    pub memory_budget: Option<u64>,
    /// Weights of the classes in every loss over labels: of the probe, of steps, and of radii.
    pub class_weights: ClassWeights,
    /// Number of epochs without a higher accuracy on the validation slice after which training ends, at least 1; `None` to
    /// train for all epochs. The weights stay those of the last epoch.
    pub early_stop: Option<u32>,
    /// Whether a new head replaces the base's, or the base's is adapted.
    pub head: HeadMode,
    /// Share of known images that may be called unknown, above 0 and below 1, on the validation slice: the delta then records
    /// feature statistics and that [threshold](crate::novelty). `None` to tell no unknown images.
    pub novelty: Option<f64>,
    /// Branches: how many times training continues from one start, and what becomes of their mean.
    pub branches: Branches,
    /// Targets that a horizontal flip of an image negates, such as a steering angle, by name: images that are labelled with values
    /// are flipped at random then. `None` to flip none of them.
    pub flip_negates: Option<Vec<String>>,
    /// Where training starts: at the base, or at the version that is active.
    pub start: StartPoint,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            method: "tpgm-relative".into(),
            epochs: 4,
            size: None,
            batch: 16,
            optimiser: OptimiserOptions::default(),
            schedule: ScheduleOptions::default(),
            clip: Some(1.0),
            augmentation: Augmentation::Robust,
            seed: 0,
            fractions: Fractions::default(),
            settings: BTreeMap::new(),
            tpgm: TpgmOptions::default(),
            retain: None,
            freeze: None,
            coding: Coding::Auto,
            device: all_cores(),
            precision: Precision::F32,
            micro_batch: None,
            nice: 0,
            memory_budget: None,
            class_weights: ClassWeights::Uniform,
            early_stop: None,
            head: HeadMode::Replace,
            novelty: None,
            branches: Branches::default(),
            flip_negates: None,
            start: StartPoint::Base,
        }
    }
}

/// The CPU, on all the cores that this process may use.
fn all_cores() -> Device {
    Device::Cpu { threads: std::thread::available_parallelism().map_or(1, usize::from) }
}

/// Defines a setter by value for each of these fields.
macro_rules! setters {
    ($($setter:ident sets $field:ident: $type:ty;)*) => {$(
        #[doc = concat!("Returns the options with that [`", stringify!($field), "`](Self::", stringify!($field), ").")]
        #[must_use]
        pub fn $setter(mut self, $field: $type) -> Self {
            self.$field = $field;
            self
        }
    )*};
}

use setters;

impl Options {
    /// Returns where the result will run.
    pub const fn placement(&self) -> Placement {
        Placement { device: self.device, precision: self.precision }
    }

    setters! {
        with_epochs sets epochs: u32;
        with_size sets size: Option<u32>;
        with_batch sets batch: usize;
        with_optimiser sets optimiser: OptimiserOptions;
        with_schedule sets schedule: ScheduleOptions;
        with_clip sets clip: Option<f64>;
        with_augmentation sets augmentation: Augmentation;
        with_seed sets seed: u64;
        with_fractions sets fractions: Fractions;
        with_settings sets settings: BTreeMap<String, f64>;
        with_tpgm sets tpgm: TpgmOptions;
        with_retain sets retain: Option<PathBuf>;
        with_freeze sets freeze: Option<Freeze>;
        with_coding sets coding: Coding;
        with_device sets device: Device;
        with_precision sets precision: Precision;
        with_micro_batch sets micro_batch: Option<usize>;
        with_nice sets nice: u8;
        with_memory_budget sets memory_budget: Option<u64>;
        with_class_weights sets class_weights: ClassWeights;
        with_early_stop sets early_stop: Option<u32>;
        with_head sets head: HeadMode;
        with_novelty sets novelty: Option<f64>;
        with_branches sets branches: Branches;
        with_flip_negates sets flip_negates: Option<Vec<String>>;
        with_start sets start: StartPoint;
    }

    /// Returns the options with the method of that name.
    #[must_use]
    pub fn with_method(mut self, method: impl Into<String>) -> Self {
        self.method = method.into();
        self
    }

    /// Returns the options with that value of a setting of the method.
    #[must_use]
    pub fn with_setting(mut self, name: impl Into<String>, value: f64) -> Self {
        self.settings.insert(name.into(), value);
        self
    }
}

/// Head of the result: a new one for the images' classes, or the base's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadMode {
    /// A new head for the images' classes.
    #[default]
    Replace,
    /// The base's head and labels, for images of its own classes in another light: it trains as any tensor does, within its
    /// radius where the method has one. Classes without images stay.
    Keep,
}

impl HeadMode {
    /// Every choice.
    pub const ALL: [Self; 2] = [Self::Replace, Self::Keep];

    /// Returns the name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Keep => "keep",
        }
    }
}

/// Weights of the classes in the losses over labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassWeights {
    /// Every image counts the same.
    #[default]
    Uniform,
    /// Every class counts the same: an image by n / (classes · n_class) of the training slice, as scikit-learn's
    /// `class_weight='balanced'`.
    Balanced,
}

impl ClassWeights {
    /// Every choice.
    pub const ALL: [Self; 2] = [Self::Uniform, Self::Balanced];

    /// Returns the name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Balanced => "balanced",
        }
    }
}

/// Optimiser and its constants. Tensors of one dimension (biases, norm affine) are never decayed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum OptimiserOptions {
    /// Stochastic gradient descent with Nesterov's momentum, as PyTorch computes it.
    Sgd {
        /// The largest learning rate of the schedule. 3e-3 is safe with warm-up and clipping; 1e-2 without them is not.
        learning_rate: f64,
        /// μ in 0..1; 0 for plain descent.
        momentum: f64,
        /// Added to the gradient: this times the weight.
        weight_decay: f64,
    },
    /// Adam with decoupled decay (Loshchilov and Hutter, ICLR 2019).
    AdamW {
        /// The largest learning rate of the schedule.
        learning_rate: f64,
        /// Decay of the mean gradient.
        beta1: f64,
        /// Decay of the mean squared gradient.
        beta2: f64,
        /// Added to the root of the mean squared gradient.
        epsilon: f64,
        /// Each step shortens the weight by this times the learning rate.
        weight_decay: f64,
    },
}

impl OptimiserOptions {
    /// SGD with Nesterov momentum 0.9 at 3e-3. No decay: it would pull towards 0, not towards the base.
    pub const fn sgd() -> Self {
        Self::Sgd { learning_rate: 3e-3, momentum: 0.9, weight_decay: 0.0 }
    }

    /// AdamW at 1e-4 with PyTorch's other constants. No decay: it would pull towards 0, not towards the base.
    pub const fn adamw() -> Self {
        Self::AdamW { learning_rate: 1e-4, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }
    }

    /// The largest learning rate of the schedule.
    pub const fn learning_rate(&self) -> f64 {
        match *self {
            Self::Sgd { learning_rate, .. } | Self::AdamW { learning_rate, .. } => learning_rate,
        }
    }

    /// The same optimiser at another learning rate.
    #[must_use]
    pub const fn with_learning_rate(mut self, rate: f64) -> Self {
        match &mut self {
            Self::Sgd { learning_rate, .. } | Self::AdamW { learning_rate, .. } => *learning_rate = rate,
        }
        self
    }

    /// Values of state for each trained value, which the memory plan adds up.
    pub(crate) const fn state_per_value(&self) -> usize {
        match self {
            Self::Sgd { .. } => 1,
            Self::AdamW { .. } => 2,
        }
    }
}

impl fmt::Display for OptimiserOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sgd { learning_rate, momentum, weight_decay } => {
                write!(f, "optimiser=sgd learning_rate={learning_rate} momentum={momentum} weight_decay={weight_decay}")
            }
            Self::AdamW { learning_rate, beta1, beta2, epsilon, weight_decay } => write!(
                f,
                "optimiser=adamw learning_rate={learning_rate} beta1={beta1} beta2={beta2} epsilon={epsilon} \
                 weight_decay={weight_decay}"
            ),
        }
    }
}

impl Default for OptimiserOptions {
    fn default() -> Self {
        Self::adamw()
    }
}

/// Options of the learning-rate schedule: a rising line, then half a cosine down to 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ScheduleOptions {
    /// Steps over which the rate rises to its largest. Runs shorter than ten times that warm up for a tenth of themselves.
    pub warm_up: u64,
}

impl ScheduleOptions {
    /// Returns the schedule with that number of warm-up steps.
    pub const fn new(warm_up: u64) -> Self {
        Self { warm_up }
    }
}

impl Default for ScheduleOptions {
    fn default() -> Self {
        Self { warm_up: 20 }
    }
}

/// Frozen stages: stages at the network's start that stay the base's, to the bit. What they make of the images is computed once and
/// read from then on, which is what it gains: an epoch takes the time of the stages that train.
///
/// It can only be kept for a fixed number of augmented views: epoch n, from 0, sees view n mod `views` of each image, as an
/// unfrozen run sees it in its epoch of that number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Freeze {
    /// The last of them, by its name in the network.
    pub stage: String,
    /// Views of each training image, at least 1. As many as epochs give what an unfrozen beginning would see, and gain only
    /// what is not computed backward.
    pub views: u32,
}

impl Freeze {
    /// Default number of views.
    pub const VIEWS: u32 = 2;

    /// Freezes the stages up to the one of that name, with that many views of each training image.
    pub fn new(stage: impl Into<String>, views: u32) -> Self {
        Self { stage: stage.into(), views }
    }

    /// Returns the number of stages of that network that are frozen.
    ///
    /// # Errors
    /// If none is called so, nothing would be left to train, or more than one value leaves the frozen part.
    fn stages(&self, network: &Network) -> Result<usize, AdaptError> {
        let sections = &network.graph.sections[..];
        let before_head = match network.head.node {
            None => sections.len().saturating_sub(1),
            Some(node) => sections.iter().filter(|section| section.nodes.end <= node).count(),
        };
        let sections = &sections[..before_head];
        if let Some(position) = sections.iter().position(|section| section.name == self.stage) {
            network.before(position + 1).map_err(ExecError::from)?;
            return Ok(position + 1);
        }
        let can_be_frozen = |(index, _): &(usize, _)| network.before(index + 1).is_ok();
        let known = sections.iter().enumerate().filter(can_be_frozen).map(|(_, section)| section.name.clone());
        Err(AdaptError::Stage { name: self.stage.clone(), known: known.collect() })
    }
}

/// Options of methods with radii.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TpgmOptions {
    /// Norm of the distance of a tensor from the base; `None` for the one of the method's paper.
    pub norm: Option<Norm>,
    /// Adam's learning rate on radii in the norm's units.
    pub learning_rate: f64,
    /// Glob patterns over tensor names that go unconstrained. A new head has no origin in the base, and always does.
    pub exclude: Vec<String>,
    /// Sharing of relative radii.
    pub sharing: Sharing,
}

impl TpgmOptions {
    setters! {
        with_norm sets norm: Option<Norm>;
        with_learning_rate sets learning_rate: f64;
        with_exclude sets exclude: Vec<String>;
        with_sharing sets sharing: Sharing;
    }
}

impl Default for TpgmOptions {
    fn default() -> Self {
        Self { norm: None, learning_rate: 1e-2, exclude: Vec::new(), sharing: Sharing::Stage }
    }
}

impl fmt::Display for TpgmOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { norm, learning_rate, exclude, sharing } = self;
        if let Some(norm) = norm {
            write!(f, "norm={norm:?} ")?;
        }
        write!(f, "radius_learning_rate={learning_rate} radii_per={} exclude={exclude:?}", sharing.name())
    }
}

/// Sharing of relative radii: which tensors have one between them. The fewer radii, the less there is for a small validation slice
/// to get wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sharing {
    /// No sharing: each tensor has its own.
    Tensor,
    /// One per stage of the network, and one for the head.
    Stage,
    /// One for all tensors.
    Network,
}

impl Sharing {
    /// Every variant, from the most radii to one.
    pub const ALL: [Self; 3] = [Self::Tensor, Self::Stage, Self::Network];

    /// Returns the name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tensor => "tensor",
            Self::Stage => "stage",
            Self::Network => "network",
        }
    }
}

impl Options {
    /// Returns the number of stages at that network's start that are frozen.
    pub(crate) fn frozen_stages(&self, network: &Network) -> Result<usize, AdaptError> {
        self.freeze.as_ref().map_or(Ok(0), |freeze| freeze.stages(network))
    }

    /// Returns rows and columns of the training images, in pixels.
    pub(crate) fn input(&self, base: &Base) -> [usize; 2] {
        let preprocessing = base.preprocessing();
        preprocessing.input(self.size.unwrap_or(preprocessing.size)).map(|side| side as usize)
    }
}

/// Coding of a delta's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Coding {
    /// Each tensor by the codec that makes the file smallest, while the decoded network says on the validation slice
    /// what the exact one says, within [`Coding::CHANGED`] and [`Coding::DIVERGENCE`].
    #[default]
    Auto,
    /// Kernels by this one; vectors and the head, few values that matter much, as f16.
    Kernels(Codec),
}

impl Coding {
    /// Maximum share of validation images, augmented ones included, whose class storing may change.
    pub const CHANGED: f64 = 0.01;
    /// Maximum mean divergence KL(exact ‖ decoded) of their predictions that storing may cause, in nats.
    pub const DIVERGENCE: f64 = 5e-4;
    /// Move of a value beyond which it counts as changed, in standard deviations of its target.
    pub const MOVED: f64 = 0.1;
}

impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Kernels(codec) => f.write_str(codec.name()),
        }
    }
}
