//! Arguments of `import` and `info`.

use super::parse::{at_least_one, byte_count, channels, methods, side, target, threads};
use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use fieldfit::import::{Averages, InputOverride};
use fieldfit::model::{Dtype, WeightsType};
use fieldfit::target::TargetProfile;
use std::path::PathBuf;

/// Arguments of `fieldfit import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Import this network (.pt2, .onnx) or checkpoint: .pth, .safetensors, an index of shards, or a folder with config.json
    pub weights: PathBuf,
    /// Set the architecture; auto detects it from names and shapes of the tensors
    #[arg(long, value_name = "NAME", default_value = AUTO, value_parser = PossibleValuesParser::new(architectures()))]
    pub arch: String,
    /// Read class names from this file, one per line in the head's order [default: the checkpoint's, or class0, class1, …]
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// Create this model folder
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Store tensors of two or more dimensions in this type; all others stay f32
    #[arg(long, value_enum, default_value_t = WeightsTypeArg::F16)]
    pub dtype: WeightsTypeArg,
    /// Record who published the weights in the manifest
    #[arg(long, value_name = "TEXT")]
    pub source: Option<String>,
    /// Record the licence in the manifest, as an SPDX expression
    #[arg(long, value_name = "SPDX")]
    pub licence: Option<String>,
    /// Require the moving average (EMA) of the weights [default: the average if the checkpoint has one]
    #[arg(long, conflicts_with = "no_ema")]
    pub ema: bool,
    /// Take the weights themselves, not their moving average
    #[arg(long)]
    pub no_ema: bool,
    /// Leave out the tensors with this name in the checkpoint; `*` is any text [repeatable]
    #[arg(long, value_name = "PATTERN")]
    pub drop: Vec<String>,
    /// Take this result of a network that has several, e.g. out
    #[arg(long, value_name = "NAME")]
    pub output: Option<String>,
    /// Feed square images of this side in pixels [default: the checkpoint's, or what the network was exported for]
    #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub size: Option<u32>,
    /// Subtract this mean of red, green, blue, 0 to 1: 0.485,0.456,0.406 [default: the checkpoint's, or ImageNet's]
    #[arg(long, value_name = "R,G,B", value_parser = channels)]
    pub mean: Option<[f32; 3]>,
    /// Divide by this deviation of red, green, blue, 0 to 1: 0.229,0.224,0.225 [default: the checkpoint's, or ImageNet's]
    #[arg(long, value_name = "R,G,B", value_parser = channels)]
    pub std: Option<[f32; 3]>,
}

/// Value of `--arch` that detects the architecture.
const AUTO: &str = "auto";

fn architectures() -> impl Iterator<Item = &'static str> {
    use fieldfit::model::{ARCHITECTURES, described_architectures};
    [AUTO].into_iter().chain(ARCHITECTURES.iter().copied()).chain(described_architectures())
}

impl ImportArgs {
    /// Returns which weights to take if the checkpoint also has their moving average.
    pub fn averages(&self) -> Averages {
        match (self.ema, self.no_ema) {
            (true, _) => Averages::Require,
            (false, true) => Averages::Ignore,
            (false, false) => Averages::Prefer,
        }
    }

    /// Returns what is set of the preprocessing.
    pub fn input(&self) -> InputOverride {
        let (size, mean, std) = (self.size, self.mean, self.std);
        InputOverride { size, mean, std, ..InputOverride::NONE }
    }

    /// Returns the architecture, if one is named.
    pub fn architecture(&self) -> Option<&str> {
        Some(self.arch.as_str()).filter(|name| *name != AUTO)
    }
}

/// Stored type of a model's weights.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum WeightsTypeArg {
    /// Half precision, 11 bits of significand.
    F16,
    /// Brain float, 8 bits of significand.
    Bf16,
    /// Single precision.
    F32,
    /// A byte a value, with a scale a row; half the size of f16.
    Int8,
}

impl From<WeightsTypeArg> for WeightsType {
    fn from(stored: WeightsTypeArg) -> Self {
        match stored {
            WeightsTypeArg::F16 => Self::Float(Dtype::F16),
            WeightsTypeArg::Bf16 => Self::Float(Dtype::Bf16),
            WeightsTypeArg::F32 => Self::Float(Dtype::F32),
            WeightsTypeArg::Int8 => Self::Int8,
        }
    }
}

/// Data type of exported weights.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum DtypeArg {
    /// Half precision, 11 bits of significand.
    F16,
    /// Brain float, 8 bits of significand.
    Bf16,
    /// Single precision.
    F32,
}

impl From<DtypeArg> for Dtype {
    fn from(dtype: DtypeArg) -> Self {
        match dtype {
            DtypeArg::F16 => Self::F16,
            DtypeArg::Bf16 => Self::Bf16,
            DtypeArg::F32 => Self::F32,
        }
    }
}

/// Arguments of `fieldfit info`.
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// Path of a model folder, a delta file or a store
    pub path: PathBuf,
    /// Show the memory plan of an adaptation of this model instead
    #[arg(long)]
    pub plan: bool,
    /// Plan for this method [default: tpgm-relative]
    #[arg(long, value_name = "NAME", requires = "plan", value_parser = methods())]
    pub method: Option<String>,
    /// Plan for this many classes [default: the base's]
    #[arg(long, value_name = "N", requires = "plan", value_parser = at_least_one())]
    pub classes: Option<u32>,
    /// Plan for this many training images [default: 400]
    #[arg(long, value_name = "N", requires = "plan", value_parser = at_least_one())]
    pub images: Option<u32>,
    /// Plan for images of this side in pixels [default: the base's]
    #[arg(long, value_name = "PX", requires = "plan", value_parser = side())]
    pub size: Option<u32>,
    /// Plan for this batch size [default: 16]
    #[arg(long, value_name = "N", requires = "plan", value_parser = at_least_one())]
    pub batch: Option<u32>,
    /// Plan for this micro-batch [default: 4, or fewer within the budget]
    #[arg(long, value_name = "N", requires = "plan", value_parser = at_least_one())]
    pub micro_batch: Option<u32>,
    /// Plan within this much memory, e.g. 512MiB
    #[arg(long, value_name = "SIZE", requires = "plan", value_parser = byte_count)]
    pub memory_budget: Option<u64>,
    /// Take limits from a target profile, by name or path; other flags override it
    #[arg(long, value_name = "TARGET", requires = "plan", value_parser = target)]
    pub target_profile: Option<TargetProfile>,
    /// Plan for this many threads [default: one per core, or the target's]
    #[arg(long, value_name = "N", requires = "plan", value_parser = threads())]
    pub threads: Option<u32>,
}
