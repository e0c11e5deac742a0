//! The machine itself.

use super::values::{at_least_one, board, methods, side};
use clap::Args;
use fieldfit::target::TargetProfile;
use std::path::PathBuf;

/// `fieldfit doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Verify that model, too, and show what an adaptation of it would take
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Show it for this method [default: tpgm-relative]
    #[arg(long, value_name = "NAME", requires = "model", value_parser = methods())]
    pub method: Option<String>,
    /// For images of that side in pixels [default: the base's]
    #[arg(long, value_name = "PX", requires = "model", value_parser = side())]
    pub size: Option<u32>,
    /// For that many images in a training step [default: 16]
    #[arg(long, value_name = "N", requires = "model", value_parser = at_least_one())]
    pub batch: Option<u32>,
    /// Hold the machine and the model against this board: a board of `targets/` by name, or a profile's path [default:
    /// the one that this machine is, if it is one]
    #[arg(long, value_name = "BOARD", value_parser = board)]
    pub target_profile: Option<TargetProfile>,
    /// Try the disk of that folder: the one that the store is to be on
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub scratch: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}
