//! One file a command.

mod adapt;
mod compare;
mod delta;
mod demo;
mod doctor;
mod eval;
mod import;
mod infer;
mod info;
mod key;
mod store;

use crate::args::{BaseArgs, Command, DeviceArgs, DeviceName, ModelArgs, ShiftArg, ShiftArgs, TrainingArgs};
use crate::error::CliError;
use crate::progress::Progress;
use fieldfit::data::{Dataset, FolderOptions, ImageSet, Purpose, Severity};
use fieldfit::target::TargetProfile;
use fieldfit::train::{Freeze, Options, TpgmOptions};
use fieldfit::{Builder, Device, Runtime};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

/// Does what the command line asks for.
///
/// # Errors
/// Whatever keeps it from doing so.
pub fn run(command: Command) -> Result<ExitCode, CliError> {
    match command {
        Command::Demo(args) => demo::run(&args),
        Command::Import(args) => import::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Info(args) => info::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Doctor(args) => doctor::run(&args),
        Command::Infer(args) => infer::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Eval(args) => eval::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Adapt(args) => adapt::run(&args),
        Command::Compare(args) => compare::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Store(command) => store::run(&command).map(|()| ExitCode::SUCCESS),
        Command::Delta(command) => delta::run(&command).map(|()| ExitCode::SUCCESS),
        Command::Key(command) => key::run(&command).map(|()| ExitCode::SUCCESS),
    }
}

fn device(args: &DeviceArgs) -> Device {
    device_or(args, fieldfit::all_cores())
}

/// What the flags say that computes, and of the CPU, where they don't say how many threads, `cpu`.
fn device_or(args: &DeviceArgs, cpu: Device) -> Device {
    match args.device {
        DeviceName::Cpu => args.threads.map_or(cpu, |threads| Device::Cpu { threads: threads as usize }),
        DeviceName::Cuda => Device::Cuda { ordinal: 0 },
        DeviceName::Metal => Device::Metal,
    }
}

/// The defaults, on that board if one is named.
fn defaults(board: Option<&TargetProfile>) -> Options {
    board.map_or_else(Options::default, fieldfit::target::options_for)
}

/// What the command line says of training; the rest as the board's profile has it, or as by default.
fn training(args: &TrainingArgs) -> Options {
    let defaults = defaults(args.target_profile.as_ref());
    Options {
        epochs: args.epochs,
        size: args.size,
        batch: args.batch as usize,
        optimiser: defaults.optimiser.with_learning_rate(args.lr),
        augmentation: args.augment,
        tpgm: TpgmOptions { exclude: args.exclude.clone(), sharing: args.radii_per, ..defaults.tpgm },
        retain: args.retain.clone(),
        freeze: args.freeze.clone().map(|stage| Freeze { stage, views: args.views.unwrap_or(Freeze::VIEWS) }),
        coding: args.codec,
        device: device_or(&args.device, defaults.device),
        nice: args.nice.unwrap_or(defaults.nice),
        micro_batch: args.micro_batch.map(|images| images as usize),
        memory_budget: args.memory_budget.or(defaults.memory_budget),
        ..defaults
    }
}

/// What reports call the images in that folder.
fn folder_name(folder: &Path) -> String {
    let name = folder.file_name().or_else(|| folder.parent()?.file_name());
    name.map_or_else(|| "data".into(), |name| name.to_string_lossy().into_owned())
}

/// The sets to measure on beside `data`.
fn shifts(args: &ShiftArgs, data: &ImageSet, progress: &Progress) -> Result<Vec<ImageSet>, CliError> {
    let mut sets = Vec::new();
    for shift in &args.shifts {
        match shift {
            ShiftArg::Folder(name, folder) => {
                let options = FolderOptions { purpose: Purpose::Evaluate, group: None };
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

/// What runs the base as the command line says.
fn base(args: &BaseArgs) -> Builder {
    Runtime::builder(&args.model).copy_base(args.copy_base)
}

/// What runs a model as the command line says.
fn runtime(args: &ModelArgs) -> Builder {
    let mut builder = base(&args.base).device(device(&args.device));
    if let Some(store) = &args.store {
        builder = builder.store(store);
    }
    if let Some(delta) = &args.delta {
        builder = builder.delta(delta);
    }
    builder
}

fn images(folder: &Path, options: &FolderOptions, progress: &Progress) -> Result<Dataset, CliError> {
    let mut read = |read: fieldfit::data::Progress| progress.images("reading images", read.done, read.total);
    Ok(Dataset::open_with_progress(folder, options, &mut read).map_err(fieldfit::Error::from)?)
}
