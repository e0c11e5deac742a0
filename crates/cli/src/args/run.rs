//! Arguments of `infer` and `eval`: model, device, images and shifts.

use super::parse::{at_least_one, precision, threads};
use clap::{Args, ValueEnum};
use fieldfit::Precision;
use std::path::PathBuf;

/// Base model options.
#[derive(Debug, Args)]
pub struct BaseArgs {
    /// Read the base model from this folder
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// Read the base's weights into memory instead of mapping them, if another process may truncate the file
    #[arg(long)]
    pub copy_base: bool,
}

/// Model, version and device options.
#[derive(Debug, Args)]
pub struct ModelArgs {
    #[command(flatten)]
    pub base: BaseArgs,
    /// Run the active version of this store
    #[arg(long, value_name = "DIR", conflicts_with = "delta")]
    pub store: Option<PathBuf>,
    /// Run this delta file
    #[arg(long, value_name = "FILE")]
    pub delta: Option<PathBuf>,
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// Device options.
#[derive(Debug, Clone, Args)]
pub struct DeviceArgs {
    /// Select the compute device
    #[arg(long, value_enum, default_value_t = DeviceName::Cpu)]
    pub device: DeviceName,
    /// Set the number of CPU threads [default: one per core]
    #[arg(long, value_name = "N", value_parser = threads())]
    pub threads: Option<u32>,
    /// Infer in this precision; int8 needs an adaptation with `--precision int8`, or `fieldfit calibrate`
    #[arg(long, value_name = "NAME", default_value = "f32", value_parser = precision())]
    pub precision: Precision,
}

/// Arguments of `fieldfit calibrate`.
#[derive(Debug, Args)]
pub struct CalibrateArgs {
    #[command(flatten)]
    pub base: BaseArgs,
    /// Calibrate on the images in this folder, at any depth; labels are not used
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Use at most this many images
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = at_least_one())]
    pub limit: u32,
    /// Set the number of CPU threads [default: one per core]
    #[arg(long, value_name = "N", value_parser = threads())]
    pub threads: Option<u32>,
}

/// Compute device by name.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum DeviceName {
    /// The processor.
    Cpu,
    /// An NVIDIA GPU; needs a build with the feature `cuda`.
    Cuda,
    /// Apple's GPU; needs a build with the feature `metal`.
    Metal,
}

/// Arguments of `fieldfit infer`.
#[derive(Debug, Args)]
pub struct InferArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Show this many classes per image, of a model that classifies pixels those with most of them
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=fieldfit::MAX_TOP as i64))]
    pub top: u32,
    /// Show this many of the base's own classes beside them, by its own head on the version's features
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=fieldfit::MAX_TOP as i64))]
    pub base_top: Option<u32>,
    /// Show how far each image is from what the version was trained on, and whether that makes it unknown
    #[arg(long)]
    pub novelty: bool,
    /// Write the class of each pixel to this folder, a mask and an overlay for each image
    #[arg(long, value_name = "DIR")]
    pub masks: Option<PathBuf>,
    /// Record images and answers to this MCAP file, which Foxglove and Rerun open
    #[arg(long, value_name = "FILE", conflicts_with = "boxes")]
    pub record: Option<PathBuf>,
    /// Classify parts of images, from a file of JSON lines: {"image":"17.jpg","box":[left,top,width,height]}
    #[arg(long, value_name = "FILE", conflicts_with_all = ["images", "masks"])]
    pub boxes: Option<PathBuf>,
    /// Images, folders of images at any depth, quoted glob patterns, or `-` for one image on standard input
    #[arg(required_unless_present = "boxes", value_name = "IMAGE")]
    pub images: Vec<PathBuf>,
}

/// Arguments of `fieldfit eval`.
#[derive(Debug, Args)]
pub struct EvalArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Read labelled images from this folder: a folder per class, or `images` and `masks`; of subsets, `test` is used
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    #[command(flatten)]
    pub shift: ShiftArgs,
    /// Report accuracy per value of the first group of this regular expression on file names
    #[arg(long, value_name = "PATTERN")]
    pub group: Option<String>,
    /// Evaluate the adapted backbone under the base's head, on images of the base's classes, to measure forgetting
    #[arg(long)]
    pub base_head: bool,
    /// Report how often the adapted backbone under the base's head agrees with the base
    #[arg(long)]
    pub agreement: bool,
    /// Report how well images of other things, at any depth of this folder, are told from those of --data
    #[arg(long, value_name = "DIR")]
    pub unknown: Option<PathBuf>,
}

/// Distribution shifts to evaluate on.
#[derive(Debug, Args)]
pub struct ShiftArgs {
    /// Evaluate on another folder too, or on ten corruptions of the evaluation images [repeatable]
    #[arg(long = "shift", value_name = "NAME=DIR|corruptions", value_parser = shift)]
    pub shifts: Vec<ShiftArg>,
    /// Set the severity of the corruptions
    #[arg(long, value_name = "1..5", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=5))]
    pub severity: u8,
    /// Evaluate on at most this many images per class, a fixed random sample [default: all]
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    pub limit: Option<u32>,
}

/// Source of a shift's images.
#[derive(Debug, Clone)]
pub enum ShiftArg {
    /// Folder with its name in results.
    Folder(String, PathBuf),
    /// Corruptions of the evaluation images.
    Corruptions,
}

/// Parses `name=folder`, or `corruptions`.
fn shift(text: &str) -> Result<ShiftArg, String> {
    match text.split_once('=') {
        Some((name, folder)) if !name.is_empty() && !folder.is_empty() => {
            Ok(ShiftArg::Folder(name.to_owned(), folder.into()))
        }
        None if text == "corruptions" => Ok(ShiftArg::Corruptions),
        _ => Err("expected a name and a folder, such as sketch=images/sketch, or corruptions".into()),
    }
}
