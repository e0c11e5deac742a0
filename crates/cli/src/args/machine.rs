//! Arguments of `doctor`.

use super::parse::{at_least_one, methods, side, target};
use clap::Args;
use fieldfit::target::TargetProfile;
use std::path::PathBuf;

/// Arguments of `fieldfit doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Verify the model in this folder and show the memory plan of its adaptation
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Plan for this method [default: tpgm-relative]
    #[arg(long, value_name = "NAME", requires = "model", value_parser = methods())]
    pub method: Option<String>,
    /// Plan for images of this side in pixels [default: the base's]
    #[arg(long, value_name = "PX", requires = "model", value_parser = side())]
    pub size: Option<u32>,
    /// Plan for this batch size [default: 16]
    #[arg(long, value_name = "N", requires = "model", value_parser = at_least_one())]
    pub batch: Option<u32>,
    /// Check the machine against a target profile, by name or path [default: the detected target]
    #[arg(long, value_name = "TARGET", value_parser = target)]
    pub target_profile: Option<TargetProfile>,
    /// Test the disk of this folder, where the store will be
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub scratch: PathBuf,
}
