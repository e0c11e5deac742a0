//! How to adapt: every choice that a run depends on.

use crate::{AdaptError, Coding, Setting, methods};
use fieldfit_data::{Augmentation, Fractions};
use fieldfit_exec::Device;
use fieldfit_nets::Network;
use fieldfit_tensor::Norm;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Every choice of an adaptation. The defaults are safe: they don't collapse, and the ball is on.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The method, by its name in [`METHODS`](crate::METHODS).
    pub method: String,
    /// Passes over the training slice.
    pub epochs: u32,
    /// Side of the training images in pixels; nothing for the base's own.
    pub size: Option<u32>,
    /// Images a step, and a radius step. At least 1.
    pub batch: usize,
    /// How gradients become steps.
    pub optimiser: OptimiserOptions,
    /// How the learning rate rises and falls.
    pub schedule: ScheduleOptions,
    /// The norm over all gradients to which a longer one is shortened; nothing to leave them as they are.
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
    /// nothing for the validation slice's. Only methods with a `retention` look at it. Never images that the result is
    /// to be measured on.
    pub retain: Option<PathBuf>,
    /// What doesn't train, whatever the method, so that it is computed once; nothing for what the method leaves alone.
    pub freeze: Option<Freeze>,
    /// How the delta file stores its values.
    pub coding: Coding,
    /// Where to compute.
    pub device: Device,
    /// Images that are computed at once, on the CPU; nothing for what fits the budget, and at most
    /// [`Passes::MICRO_BATCH`](fieldfit_exec::Passes::MICRO_BATCH).
    pub micro_batch: Option<usize>,
    /// By how much the run's threads yield to others, 0 to 19, as `nice -n` counts; Linux only. The threads that answer
    /// frames keep their priority.
    pub nice: u8,
    /// Bytes that the process may have resident at its peak; nothing for as many as it takes.
    pub memory_budget: Option<u64>,
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
        }
    }
}

/// What a delta's provenance records: the choices that made it, but not where it was computed.
impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, epochs, batch, optimiser, schedule, augmentation, seed, tpgm, coding, .. } = self;
        write!(f, "method={method}")?;
        for (name, value) in self.effective_settings() {
            write!(f, " {name}={value}")?;
        }
        write!(f, " epochs={epochs} batch={batch} {optimiser} warm_up={}", schedule.warm_up)?;
        if let Some(size) = self.size {
            write!(f, " size={size}")?;
        }
        if let Some(clip) = self.clip {
            write!(f, " clip={clip}")?;
        }
        if let Some(Freeze { stage, views }) = &self.freeze {
            write!(f, " freeze={stage} views={views}")?;
        }
        write!(f, " augmentation={augmentation} seed={seed} codec={coding} {tpgm}")
    }
}

/// An optimiser and its constants. Tensors of one dimension (biases, norm affine) are never decayed.
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

/// A rising line, then half a cosine down to 0.
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

/// Stages at the network's beginning that stay the base's, to the bit. What they make of the images is computed once and
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
    /// If none is called so, or nothing would be left to train: the last stage can't be frozen.
    fn stages(&self, network: &Network) -> Result<usize, AdaptError> {
        let known = &network.stages[..network.stages.len().saturating_sub(1)];
        let position = known.iter().position(|stage| stage.name == self.stage);
        position.map(|position| position + 1).ok_or_else(|| AdaptError::Stage {
            name: self.stage.clone(),
            known: known.iter().map(|stage| stage.name.clone()).collect(),
        })
    }
}

/// How radii are learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TpgmOptions {
    /// How the distance of a tensor from the base is measured; nothing for what the method's paper does.
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

/// Which tensors have one relative radius between them. The fewer radii, the less there is for a small validation slice
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
    /// The value of each of the method's settings, given or default.
    pub(crate) fn effective_settings(&self) -> BTreeMap<String, f64> {
        let settings = methods::entry(&self.method).map_or(&[][..], |entry| entry.settings);
        let effective = |setting: &Setting| Some((setting.name.to_owned(), setting.given(self).or(setting.default)?));
        settings.iter().filter_map(effective).collect()
    }

    /// How many stages at that network's beginning are frozen.
    pub(crate) fn frozen_stages(&self, network: &Network) -> Result<usize, AdaptError> {
        self.freeze.as_ref().map_or(Ok(0), |freeze| freeze.stages(network))
    }

    /// Refuses numbers that no run can go by.
    ///
    /// # Errors
    /// [`AdaptError::Option`] with the option's name, its value and what it may be; as much about a method's setting, or
    /// a method that there isn't.
    pub fn validate(&self) -> Result<(), AdaptError> {
        methods::entry(&self.method)?.check(self)?;
        require(self.batch > 0, "batch", self.batch, "at least 1")?;
        require(self.micro_batch != Some(0), "micro-batch", 0, "at least 1")?;
        require(self.nice <= 19, "nice", self.nice, "0 to 19")?;
        require(self.epochs > 0, "epochs", self.epochs, "at least 1")?;
        require(self.size != Some(0), "size", 0, "at least 1 pixel")?;
        require(self.freeze.as_ref().is_none_or(|freeze| freeze.views > 0), "views", 0, "at least 1")?;
        require_positive("tpgm learning rate", self.tpgm.learning_rate)?;
        require_positive("learning rate", self.optimiser.learning_rate())?;
        self.clip.map_or(Ok(()), |clip| require_positive("clip", clip))?;
        match self.optimiser {
            OptimiserOptions::Sgd { momentum, weight_decay, .. } => {
                require_below_one("momentum", momentum)?;
                require(weight_decay >= 0.0, "weight decay", weight_decay, "0 or more")
            }
            OptimiserOptions::AdamW { beta1, beta2, epsilon, weight_decay, .. } => {
                require_below_one("beta1", beta1)?;
                require_below_one("beta2", beta2)?;
                require_positive("epsilon", epsilon)?;
                require(weight_decay >= 0.0, "weight decay", weight_decay, "0 or more")
            }
        }
    }
}

fn require_positive(name: &'static str, value: f64) -> Result<(), AdaptError> {
    require(value > 0.0 && value.is_finite(), name, value, "a number above 0")
}

fn require_below_one(name: &'static str, value: f64) -> Result<(), AdaptError> {
    require((0.0..1.0).contains(&value), name, value, "at least 0 and below 1")
}

fn require(
    holds: bool,
    name: &'static str,
    found: impl std::fmt::Display,
    expected: &'static str,
) -> Result<(), AdaptError> {
    if holds { Ok(()) } else { Err(AdaptError::Option { name, found: found.to_string(), expected }) }
}
