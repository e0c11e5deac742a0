//! Arguments of `collect` and `collection`.

use super::parse::{at_least_one, byte_count, duration, exports, polygon, positive, timestamp};
use clap::{Args, Subcommand};
use fieldfit::collect::{Export, Label, Limits, Origin};
use jiff::Timestamp;
use std::path::PathBuf;
use std::time::Duration;

/// Arguments of `fieldfit collect`.
#[derive(Debug, Args)]
pub struct CollectArgs {
    /// Folder of images, `-` for MJPEG or Y4M on standard input, or a camera such as /dev/video0
    #[arg(value_name = "SOURCE")]
    pub source: PathBuf,
    /// Store images in this collection; created if missing
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    #[command(flatten)]
    pub label: LabelArgs,
    /// Name the recording, whose neighbouring frames are one group [default: a new name]
    #[arg(long, value_name = "NAME")]
    pub session: Option<String>,
    /// Take at most this many frames a second
    #[arg(long, value_name = "HZ", value_parser = positive, default_value_t = 2.0)]
    pub rate: f64,
    /// Set the frame rate of recorded MJPEG, whose frames otherwise count by their arrival
    #[arg(long, value_name = "HZ", value_parser = positive)]
    pub fps: Option<f64>,
    /// Stop after this many stored images
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    pub images: Option<u32>,
    /// Stop after this much time of the stream, e.g. 90s
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// Store every frame taken, whatever its exposure, sharpness and likeness to others
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Paint this polygon black before anything is stored: 'x,y x,y x,y' in 0..1 [repeatable]
    #[arg(long, value_name = "POINTS", value_parser = polygon)]
    pub mask: Vec<Vec<(f32, f32)>>,
    /// Scale frames down to this longer side in pixels before anything is stored
    #[arg(long, value_name = "PX", value_parser = at_least_one())]
    pub max_side: Option<u32>,
}

/// Label of images.
#[derive(Debug, Args)]
pub struct LabelArgs {
    /// Label images with this class
    #[arg(long, value_name = "NAME")]
    pub class: String,
    /// Source of the label: operator, outcome, tag, zone, track, import or teacher:MODEL
    #[arg(long, value_name = "ORIGIN", default_value = "operator", value_parser = clap::value_parser!(Origin))]
    pub origin: Origin,
    /// Confidence of the label, 0..1
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    pub confidence: f32,
    /// Name of the person, sensor or program that labels
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

impl From<&LabelArgs> for Label {
    fn from(args: &LabelArgs) -> Self {
        Self::new(args.class.clone(), args.origin.clone()).with_confidence(args.confidence).with_by(args.by.clone())
    }
}

/// Limits of a collection.
#[derive(Debug, Args)]
pub struct LimitArgs {
    /// Keep at most this many bytes of images; beyond, redundant ones of the largest class go
    #[arg(long, value_name = "SIZE", value_parser = byte_count, default_value = "1GiB")]
    pub max_bytes: u64,
    /// Keep at most this many images of a class; beyond, redundant ones go
    #[arg(long, value_name = "N", value_parser = at_least_one(), default_value_t = Limits::default().per_class as u32)]
    pub per_class: u32,
    /// Remove images older than this, e.g. 30d [default: never]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub max_age: Option<Duration>,
    /// Leave this much of the disk free
    #[arg(long, value_name = "SIZE", value_parser = byte_count, default_value = "512MiB")]
    pub free_disk: u64,
}

impl From<&LimitArgs> for Limits {
    fn from(args: &LimitArgs) -> Self {
        let per_class = args.per_class as usize;
        Self::default()
            .with_bytes(args.max_bytes)
            .with_per_class(per_class)
            .with_min_per_class(Self::default().min_per_class.min(per_class))
            .with_age(args.max_age)
            .with_free_disk(args.free_disk)
    }
}

/// Subcommands of `fieldfit collection`.
#[derive(Debug, Subcommand)]
pub enum CollectionCommand {
    /// Show the classes of a collection, or its images
    Show(ShowArgs),
    /// Give images another label
    Relabel(RelabelArgs),
    /// Remove images
    Discard(DiscardArgs),
    /// Remove the images that were stored between two times, and every trace of them
    Forget(ForgetArgs),
    /// Copy images and labels into another tool's format
    Export(ExportArgs),
}

/// Arguments of `fieldfit collection show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Path of the collection
    #[arg(value_name = "COLLECTION")]
    pub collection: PathBuf,
    /// Show every image
    #[arg(long)]
    pub images: bool,
}

/// Arguments of `fieldfit collection relabel`.
#[derive(Debug, Args)]
pub struct RelabelArgs {
    /// Path of the collection
    #[arg(value_name = "COLLECTION")]
    pub collection: PathBuf,
    /// Images, by the first digits of their identity
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<String>,
    #[command(flatten)]
    pub label: LabelArgs,
}

/// Arguments of `fieldfit collection discard`.
#[derive(Debug, Args)]
pub struct DiscardArgs {
    /// Path of the collection
    #[arg(value_name = "COLLECTION")]
    pub collection: PathBuf,
    /// Images, by the first digits of their identity
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<String>,
}

/// Arguments of `fieldfit collection forget`.
#[derive(Debug, Args)]
pub struct ForgetArgs {
    /// Path of the collection
    #[arg(value_name = "COLLECTION")]
    pub collection: PathBuf,
    /// Start of the time, such as 2026-05-01T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = timestamp)]
    pub from: Timestamp,
    /// End of the time
    #[arg(long, value_name = "TIME", value_parser = timestamp)]
    pub to: Timestamp,
}

/// Arguments of `fieldfit collection export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Path of the collection
    #[arg(value_name = "COLLECTION")]
    pub collection: PathBuf,
    /// Write to this new path
    #[arg(long, value_name = "PATH")]
    pub out: PathBuf,
    /// Select the format
    #[arg(long, value_name = "FORMAT", value_parser = exports())]
    pub format: Export,
}
