//! Subcommands: one file each, and the conversions from arguments that several share.

mod adapt;
mod answers;
mod boxes;
mod calibrate;
mod collect;
mod collection;
mod compare;
mod completions;
mod delta;
mod demo;
mod doctor;
mod eval;
mod import;
mod import_data;
mod infer;
mod info;
mod inputs;
mod key;
#[cfg(feature = "serve")]
mod serve;
mod store;
mod teach;

use crate::args::{BaseArgs, Command, DeviceArgs, DeviceName, ModelArgs, ShiftArg, ShiftArgs, TrainingArgs};
use crate::error::CliError;
use crate::output::{Output, print_error_line};
use crate::progress_bar::ProgressBar;
use fieldfit::data::{Dataset, FolderOptions, ImageSet, Purpose, Severity};
use fieldfit::target::TargetProfile;
use fieldfit::train::{Branches, Freeze, Options};
use fieldfit::{Builder, Device, Precision, Runtime};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

/// Runs a subcommand.
///
/// # Errors
/// [`CliError`] if it fails.
pub fn run(command: &Command, output: &Output) -> Result<ExitCode, CliError> {
    let done = |()| ExitCode::SUCCESS;
    match command {
        Command::Demo(args) => demo::run(args, output),
        Command::Import(args) => import::run(args, output).map(done),
        Command::Info(args) => info::run(args, output).map(done),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::run(args, output).map(done),
        Command::Doctor(args) => doctor::run(args, output),
        Command::Calibrate(args) => calibrate::run(args, output).map(done),
        Command::Infer(args) => infer::run(args, output).map(done),
        Command::Eval(args) => eval::run(args, output).map(done),
        Command::Adapt(args) => adapt::run(args, output),
        Command::Teach(args) => teach::run(args, output),
        Command::Collect(args) => collect::run(args, output).map(done),
        Command::ImportData(args) => import_data::run(args, output).map(done),
        Command::Collection(command) => collection::run(command, output).map(done),
        Command::Compare(args) => compare::run(args, output).map(done),
        Command::Store(command) => store::run(command, output).map(done),
        Command::Delta(command) => delta::run(command, output).map(done),
        Command::Key(command) => key::run(command, output).map(done),
        Command::Completions(args) => completions::run(args, output).map(done),
    }
}

fn device(args: &DeviceArgs) -> Device {
    device_or(args, fieldfit::all_cores())
}

/// Returns the device of the flags; on the CPU without a number of threads, `cpu`.
fn device_or(args: &DeviceArgs, cpu: Device) -> Device {
    match args.device {
        DeviceName::Cpu => args.threads.map_or(cpu, |threads| Device::Cpu { threads: threads as usize }),
        DeviceName::Cuda => Device::Cuda { ordinal: 0 },
        DeviceName::Metal => Device::Metal,
    }
}

/// Returns the default options, of the target if one is named.
fn defaults(target: Option<&TargetProfile>) -> Options {
    target.map_or_else(Options::default, fieldfit::target::options_for)
}

/// Returns the options of the training flags; those not given are the target's or the defaults.
fn training(args: &TrainingArgs) -> Options {
    let defaults = defaults(args.target_profile.as_ref());
    defaults
        .clone()
        .with_epochs(args.epochs)
        .with_size(args.size)
        .with_batch(args.batch as usize)
        .with_optimiser(defaults.optimiser.with_learning_rate(args.lr))
        .with_augmentation(args.augment)
        .with_class_weights(args.class_weights)
        .with_head(args.head)
        .with_branches(Branches::new(args.branches).with_common(args.common_epochs).with_average(args.branch_average))
        .with_flip_negates(args.flip_negates.clone().map(named))
        .with_early_stop(args.early_stop)
        .with_tpgm(defaults.tpgm.with_exclude(args.exclude.clone()).with_sharing(args.radii_per))
        .with_retain(args.retain.clone())
        .with_freeze(args.freeze.clone().map(|stage| Freeze::new(stage, args.views.unwrap_or(Freeze::VIEWS))))
        .with_coding(args.codec)
        .with_device(device_or(&args.device, defaults.device))
        .with_precision(args.device.precision)
        .with_nice(args.nice.unwrap_or(defaults.nice))
        .with_micro_batch(args.micro_batch.map(|images| images as usize))
        .with_memory_budget(args.memory_budget.or(defaults.memory_budget))
}

/// Says what of an int8 network stays f32.
fn note_precision(runtime: &Runtime, output: &Output) {
    if output.is_quiet() || runtime.precision() == Precision::F32 {
        return;
    }
    print_error_line(match runtime.int8_coverage() {
        Some(coverage) => format!("int8 by {}: {coverage}", fieldfit::int8_instructions()),
        None => "the base runs in f32: `fieldfit calibrate` finds what int8 needs".to_owned(),
    });
}

/// Returns the names of a list; that of `none` alone is empty.
fn named(names: Vec<String>) -> Vec<String> {
    if names == ["none"] { Vec::new() } else { names }
}

/// Returns the name of a data folder in reports.
fn folder_name(folder: &Path) -> String {
    let name = folder.file_name().or_else(|| folder.parent()?.file_name());
    name.map_or_else(|| "data".into(), |name| name.to_string_lossy().into_owned())
}

/// Opens the shifts to evaluate on beside `data`.
fn shifts(args: &ShiftArgs, data: &ImageSet, progress: &ProgressBar) -> Result<Vec<ImageSet>, CliError> {
    let mut sets = Vec::new();
    for shift in &args.shifts {
        match shift {
            ShiftArg::Folder(name, folder) => {
                let options = FolderOptions::new(Purpose::Evaluate);
                sets.push(ImageSet::of(name, limited(images(folder, &options, progress)?, args.limit)));
            }
            ShiftArg::Corruptions => {
                sets.extend(data.corrupted(Severity::try_from(args.severity).map_err(fieldfit::Error::from)?));
            }
        }
    }
    let mut names = BTreeSet::from([data.name.as_str()]);
    match sets.iter().find(|set| !names.insert(&set.name)) {
        Some(twice) => Err(CliError::SameName { name: twice.name.clone() }),
        None => Ok(sets),
    }
}

fn limited(images: Dataset, limit: Option<u32>) -> Dataset {
    match limit {
        Some(limit) => images.limited(limit as usize, 0),
        None => images,
    }
}

/// Returns a runtime builder for the base.
fn base(args: &BaseArgs) -> Builder {
    Runtime::builder(&args.model).copy_base(args.copy_base)
}

/// Returns a runtime builder for the model, version and device.
fn runtime(args: &ModelArgs) -> Builder {
    let mut builder = base(&args.base).device(device(&args.device)).precision(args.device.precision);
    if let Some(store) = &args.store {
        builder = builder.store(store);
    }
    if let Some(delta) = &args.delta {
        builder = builder.delta(delta);
    }
    builder
}

fn images(folder: &Path, options: &FolderOptions, progress: &ProgressBar) -> Result<Dataset, CliError> {
    let mut read = |read: fieldfit::data::ScanProgress| progress.images("reading images", read.done, read.total);
    let images = fieldfit::data::open_dataset(folder, options, &mut read)?;
    if let Some(skipped) = images.skip_summary() {
        progress.line(format!("{}: {skipped}", folder.display()));
    }
    Ok(images)
}
