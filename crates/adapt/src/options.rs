//! Options: every choice that an adaptation depends on.

use crate::error::AdaptError;
use fieldfit_data::{Augmentation, Fractions};
use fieldfit_delta::Codec;
use fieldfit_exec::{Device, ExecError};
use fieldfit_nets::Network;
use fieldfit_tensor::Norm;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Options of an adaptation. The defaults are safe: they don't collapse, and radii are on.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The method, by its name in [`METHODS`](crate::METHODS).
    pub method: String,
    /// Passes over the training slice.
    pub epochs: u32,
    /// Side of the training images in pixels; `None` for the base's own.
    pub size: Option<u32>,
    /// Images a step, and a radius step. At least 1.
    pub batch: usize,
    /// Optimiser.
    pub optimiser: OptimiserOptions,
    /// Learning-rate schedule.
    pub schedule: ScheduleOptions,
    /// The norm over all gradients to which a longer one is shortened; `None` to leave them as they are.
    pub clip: Option<f64>,
    /// What is done to training images.
    pub augmentation: Augmentation,
    /// Seed of everything random: shuffling, augmentation, a new head's start.
    pub seed: u64,
    /// How the images divide into train, validation and gate.
    pub fractions: Fractions,
    /// What only the method looks at, by the names in its [`MethodEntry::settings`](crate::MethodEntry::settings); what isn't given is
    /// at its default.
    pub settings: BTreeMap<String, f64>,
    /// What methods with radii look at. Of any method that pulls back to the base, `exclude` says what it leaves alone.
    pub tpgm: TpgmOptions,
    /// Images of any kind, at any depth of that folder, on which the base's own predictions are to stay what they are;
    /// `None` for the validation slice's. Only methods with a `retention` look at it. Never images that the result is
    /// to be measured on.
    pub retain: Option<PathBuf>,
    /// What doesn't train, whatever the method, so that it is computed once; `None` for what the method leaves alone.
    pub freeze: Option<Freeze>,
    /// How the delta file stores its values.
    pub coding: Coding,
    /// Where to compute.
    pub device: Device,
    /// Images that are computed at once, on the CPU; `None` for what fits the budget, and at most
    /// [`Passes::MICRO_BATCH`](fieldfit_exec::Passes::MICRO_BATCH).
    pub micro_batch: Option<usize>,
    /// By how much the run's threads yield to others, 0 to 19, as `nice -n` counts; Linux only. The threads that answer
    /// frames keep their priority.
    pub nice: u8,
    /// Bytes that the process may have resident at its peak; `None` for as many as it takes.
    pub memory_budget: Option<u64>,
    /// Weights of the classes in every loss over labels: of the probe, of steps, and of radii.
    pub class_weights: ClassWeights,
    /// Number of epochs without a higher accuracy on the validation slice after which training ends, at least 1; `None` to
    /// train for all epochs. The weights stay those of the last epoch.
    pub early_stop: Option<u32>,
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
            device: Device::Cpu { threads: std::thread::available_parallelism().map_or(1, usize::from) },
            micro_batch: None,
            nice: 0,
            memory_budget: None,
            class_weights: ClassWeights::Uniform,
            early_stop: None,
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

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Balanced => "balanced",
        }
    }
}

/// Optimiser and its constants. Tensors of one dimension (biases, norm affine) are never decayed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
pub struct ScheduleOptions {
    /// Steps over which the rate rises to its largest. Runs shorter than ten times that warm up for a tenth of themselves.
    pub warm_up: u64,
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
pub struct Freeze {
    /// The last of them, by its name in the network.
    pub stage: String,
    /// Views of each training image, at least 1. As many as epochs give what an unfrozen beginning would see, and gain only
    /// what is not computed backward.
    pub views: u32,
}

impl Freeze {
    /// Views where nobody says otherwise.
    pub const VIEWS: u32 = 2;

    /// How many stages of that network are frozen.
    ///
    /// # Errors
    /// If none is called so, nothing would be left to train, or more than one value leaves the frozen part.
    fn stages(&self, network: &Network) -> Result<usize, AdaptError> {
        let sections = &network.graph.sections[..network.graph.sections.len().saturating_sub(1)];
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
pub struct TpgmOptions {
    /// How the distance of a tensor from the base is measured; `None` for what the method's paper does.
    pub norm: Option<Norm>,
    /// Adam's learning rate on radii in the norm's units.
    pub learning_rate: f64,
    /// Glob patterns over tensor names that go unconstrained. A new head has no origin in the base, and always does.
    pub exclude: Vec<String>,
    /// Which tensors have one relative radius between them.
    pub sharing: Sharing,
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
    /// None: each has its own.
    Tensor,
    /// Those of a stage of the network; those of the head.
    Stage,
    /// All.
    Network,
}

impl Sharing {
    /// Every way, from the most radii to one.
    pub const ALL: [Self; 3] = [Self::Tensor, Self::Stage, Self::Network];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tensor => "tensor",
            Self::Stage => "stage",
            Self::Network => "network",
        }
    }
}

impl Options {
    /// Number of stages at that network's start that are frozen.
    pub(crate) fn frozen_stages(&self, network: &Network) -> Result<usize, AdaptError> {
        self.freeze.as_ref().map_or(Ok(0), |freeze| freeze.stages(network))
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
    /// The share of validation images, augmented ones included, whose class storing may change.
    pub const CHANGED: f64 = 0.01;
    /// The mean divergence KL(exact ‖ decoded) of their predictions that storing may cause, in nats.
    pub const DIVERGENCE: f64 = 5e-4;
}

impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Kernels(codec) => f.write_str(codec.name()),
        }
    }
}
