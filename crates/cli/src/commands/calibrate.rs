//! Subcommand `calibrate`: finds the ranges of a base's activations, and writes them to the model's folder.

use crate::args::CalibrateArgs;
use crate::error::CliError;
use crate::output::Output;
use crate::progress_bar::ProgressBar;
use fieldfit::Device;
use fieldfit::data::{FolderOptions, ImageSet, Purpose};
use serde::Serialize;

/// Number of images that the ranges were found on.
#[derive(Serialize)]
struct Calibrated {
    images: usize,
}

pub fn run(args: &CalibrateArgs, output: &Output) -> Result<(), CliError> {
    let device = args.threads.map_or_else(fieldfit::all_cores, |threads| Device::Cpu { threads: threads as usize });
    let runtime = super::base(&args.base).device(device).without_trials().open()?;
    let progress = ProgressBar::new(output);
    let images = super::images(&args.data, &FolderOptions::new(Purpose::Unlabelled), &progress)?;
    let set = ImageSet::of("calibration", super::limited(images, Some(args.limit)));
    let mut calibrating = |done, total| progress.images("calibrating", done, total);
    let images = runtime.calibrate(&set, &mut calibrating)?;
    progress.finish();
    output.show(&Calibrated { images }, |Calibrated { images }| {
        format!("calibrated on {images} images: `--precision int8` runs this base")
    })
}
