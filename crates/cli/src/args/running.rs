//! Running a model, and measuring it.

use super::values::{at_least_one, threads};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// The base model, and how it is read.
#[derive(Debug, Args)]
pub struct BaseArgs {
    /// The base model's folder
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// Read the base's weights to memory instead of mapping them: for a file system on which others may cut them short
    #[arg(long)]
    pub copy_base: bool,
}

/// Which weights run, and where.
#[derive(Debug, Args)]
pub struct ModelArgs {
    #[command(flatten)]
    pub base: BaseArgs,
    /// Run the version that is active in this store
    #[arg(long, value_name = "DIR", conflicts_with = "delta")]
    pub store: Option<PathBuf>,
    /// Run this delta
    #[arg(long, value_name = "FILE")]
    pub delta: Option<PathBuf>,
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// What computes.
#[derive(Debug, Clone, Args)]
pub struct DeviceArgs {
    /// What computes
    #[arg(long, value_enum, default_value_t = DeviceName::Cpu)]
    pub device: DeviceName,
    /// Threads that compute on the CPU [default: one a core]
    #[arg(long, value_name = "N", value_parser = threads())]
    pub threads: Option<u32>,
}

/// Devices by name.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum DeviceName {
    /// The processor.
    Cpu,
    /// An NVIDIA GPU; needs a build with the feature `cuda`.
    Cuda,
    /// Apple's GPU; needs a build with the feature `metal`.
    Metal,
}

/// `fieldfit infer`.
#[derive(Debug, Args)]
pub struct InferArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// How many classes to name for each image
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=fieldfit::MAX_TOP as i64))]
    pub top: u32,
    /// Print one JSON object an image
    #[arg(long)]
    pub json: bool,
    /// The images: JPEG, PNG, WebP, BMP, TIFF or GIF
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<PathBuf>,
}

/// `fieldfit eval`.
#[derive(Debug, Args)]
pub struct EvalArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Images in one folder a class; of `train`, `val` and `test` folders, `test` is used
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    #[command(flatten)]
    pub shift: ShiftArgs,
    /// Regular expression on file names; accuracy is told for each value of its first group (or whole match), too
    #[arg(long, value_name = "PATTERN")]
    pub group: Option<String>,
    /// Measure the adapted backbone under the base's own head, on images of the base's own classes: what was forgotten
    #[arg(long)]
    pub base_head: bool,
    /// Tell also how often the adapted backbone, under the base's own head, names what the base names
    #[arg(long)]
    pub agreement: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// What to measure on beside the images themselves.
#[derive(Debug, Args)]
pub struct ShiftArgs {
    /// Measure on the images of that folder, too, with classes of the same names; `corruptions` for the images that are
    /// measured on anyway, under ten things that cameras do; may be given again
    #[arg(long = "shift", value_name = "NAME=DIR|corruptions", value_parser = shift)]
    pub shifts: Vec<ShiftArg>,
    /// How strong the corruptions are
    #[arg(long, value_name = "1..5", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=5))]
    pub severity: u8,
    /// Measure on that many images of each class of a folder, drawn at random and always the same [default: all]
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    pub limit: Option<u32>,
}

/// Where a shift's images come from.
#[derive(Debug, Clone)]
pub enum ShiftArg {
    /// A folder, under that name.
    Folder(String, PathBuf),
    /// The images that are measured on anyway, corrupted.
    Corruptions,
}

/// `name=folder`, or `corruptions`.
fn shift(text: &str) -> Result<ShiftArg, String> {
    match text.split_once('=') {
        Some((name, folder)) if !name.is_empty() && !folder.is_empty() => {
            Ok(ShiftArg::Folder(name.to_owned(), folder.into()))
        }
        None if text == "corruptions" => Ok(ShiftArg::Corruptions),
        _ => Err("expected a name and a folder, such as sketch=images/sketch, or corruptions".into()),
    }
}
