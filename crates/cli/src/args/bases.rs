//! Where bases come from, and what they are.

use super::values::{at_least_one, board, byte_count, methods, side};
use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use fieldfit::target::TargetProfile;
use std::path::PathBuf;

/// `fieldfit import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The checkpoint: .pth of any age, .safetensors, or a folder with config.json as Hugging Face's hub has it
    pub weights: PathBuf,
    /// Its architecture; auto goes by the tensors' names and shapes
    #[arg(long, value_name = "NAME", default_value = AUTO, value_parser = PossibleValuesParser::new(architectures()))]
    pub arch: String,
    /// One class name a line, in the order of the head's outputs [default: those of config.json]
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// The model folder to make
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// How tensors of two or more dimensions are stored; the others and running statistics stay f32
    #[arg(long, value_enum, default_value_t = DtypeArg::F16)]
    pub dtype: DtypeArg,
    /// Who published the weights (a package, a repository, a person), for the manifest
    #[arg(long, value_name = "TEXT")]
    pub source: Option<String>,
    /// Their licence as an SPDX expression, for the manifest
    #[arg(long, value_name = "SPDX")]
    pub licence: Option<String>,
}

/// The architecture that is recognised.
const AUTO: &str = "auto";

fn architectures() -> impl Iterator<Item = &'static str> {
    [AUTO].into_iter().chain(fieldfit::model::ARCHITECTURES.iter().copied())
}

impl ImportArgs {
    /// The architecture, if one is named.
    pub fn architecture(&self) -> Option<&str> {
        Some(self.arch.as_str()).filter(|name| *name != AUTO)
    }
}

/// Types that weights are stored in.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum DtypeArg {
    /// Half precision, 11 bits of significand.
    F16,
    /// Brain float, 8 bits of significand.
    Bf16,
    /// Single precision.
    F32,
}

impl From<DtypeArg> for fieldfit::model::Dtype {
    fn from(dtype: DtypeArg) -> Self {
        match dtype {
            DtypeArg::F16 => Self::F16,
            DtypeArg::Bf16 => Self::Bf16,
            DtypeArg::F32 => Self::F32,
        }
    }
}

/// `fieldfit info`.
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// A model folder, a delta file or a store
    pub path: PathBuf,
    /// Show what an adaptation of that model would take, instead
    #[arg(long)]
    pub plan: bool,
    /// How to learn [default: tpgm-relative]
    #[arg(long, value_name = "NAME", requires = "plan", value_parser = methods())]
    pub method: Option<String>,
    /// Classes to learn [default: the base's]
    #[arg(long, value_name = "N", requires = "plan", value_parser = at_least_one())]
    pub classes: Option<u32>,
    /// Images to learn from [default: 400]
    #[arg(long, value_name = "N", requires = "plan", value_parser = at_least_one())]
    pub images: Option<u32>,
    /// Side of the images in pixels [default: the base's]
    #[arg(long, value_name = "PX", requires = "plan", value_parser = side())]
    pub size: Option<u32>,
    /// Images in a training step [default: 16]
    #[arg(long, value_name = "N", requires = "plan", value_parser = at_least_one())]
    pub batch: Option<u32>,
    /// Images that are computed at once [default: 4, or fewer to keep within the budget]
    #[arg(long, value_name = "N", requires = "plan", value_parser = at_least_one())]
    pub micro_batch: Option<u32>,
    /// Keep within that much memory, such as 512MiB
    #[arg(long, value_name = "SIZE", requires = "plan", value_parser = byte_count)]
    pub memory_budget: Option<u64>,
    /// Keep to what a board has, where no other flag says otherwise: a board of `targets/` by name, or a profile's path
    #[arg(long, value_name = "BOARD", requires = "plan", value_parser = board)]
    pub target_profile: Option<TargetProfile>,
    /// Threads that compute [default: one a core, or the board's]
    #[arg(long, value_name = "N", requires = "plan", value_parser = at_least_one())]
    pub threads: Option<u32>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}
