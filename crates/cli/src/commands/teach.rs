//! Subcommand `teach`: adds a class to the active version by a few images, or removes one, and reports the verdict.

use super::inputs;
use crate::args::TeachArgs;
use crate::error::CliError;
use crate::output::{Output, Text, bytes, escape, print_error_line};
use crate::progress_bar::ProgressBar;
use fieldfit::data::{Dataset, FolderOptions, Purpose};
use fieldfit::delta::read_key;
use fieldfit::train::{AdaptError, Adapted, Event, TeachError};
use fieldfit::{Error, Frame, Runtime};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub fn run(args: &TeachArgs, output: &Output) -> Result<ExitCode, CliError> {
    let runtime = open(args)?;
    let adapted = match &args.remove {
        Some(class) => runtime.remove_taught(class)?,
        None => teach(args, &runtime, output)?,
    };
    match output.is_json() {
        true => output.object(&Event::from(adapted.clone()))?,
        false => output.text(text(&adapted, args))?,
    }
    Ok(if adapted.active { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn open(args: &TeachArgs) -> Result<Runtime, CliError> {
    let builder = super::base(&args.base)
        .device(super::device(&args.device))
        .precision(args.device.precision)
        .store_or_new(&args.store);
    let mut builder = builder.keep((&args.keep).into()).without_trials().require_store();
    if let Some(key) = &args.key {
        builder = builder.key(read_key(key)?);
    }
    Ok(builder.open()?)
}

fn teach(args: &TeachArgs, runtime: &Runtime, output: &Output) -> Result<Adapted, CliError> {
    let class = args.class.as_deref().unwrap_or_default();
    let (paths, images) = read(args, output)?;
    let frames: Vec<Frame<'_>> = images.iter().map(|bytes| Frame::Encoded(bytes)).collect();
    let known = args.data.as_deref().map(|folder| known(folder, output)).transpose()?;
    let addition = runtime.teach(class, &frames);
    let addition = match &known {
        Some(known) => addition.known(known),
        None => addition,
    };
    addition.run().map_err(|error| with_paths(error, &paths))
}

fn known(folder: &Path, output: &Output) -> Result<Dataset, CliError> {
    let progress = ProgressBar::new(output);
    let known = super::images(folder, &FolderOptions::new(Purpose::Adapt), &progress)?;
    progress.finish();
    Ok(known)
}

/// Reads every image whole.
fn read(args: &TeachArgs, output: &Output) -> Result<(Vec<PathBuf>, Vec<Vec<u8>>), CliError> {
    let (mut paths, mut images) = (Vec::new(), Vec::new());
    for argument in &args.images {
        let (inputs, skipped) = inputs::expand(argument)?;
        if let Some(skipped) = skipped.filter(|_| !output.is_quiet()) {
            print_error_line(escape(&format!("{}: {skipped}", argument.display())));
        }
        for input in inputs {
            images.push(input.read()?);
            paths.push(input.path().to_owned());
        }
    }
    Ok((paths, images))
}

/// Names images by their paths, where the library names them by number.
fn with_paths(error: Error, paths: &[PathBuf]) -> CliError {
    let path = |number: usize| paths.get(number - 1).cloned().unwrap_or_default();
    match error {
        Error::Adapt(AdaptError::Teach(TeachError::Twice { first, second })) => {
            CliError::SameImage { first: path(first), second: path(second) }
        }
        Error::Adapt(AdaptError::Teach(TeachError::Image { number, source })) => {
            CliError::TaughtImage { path: path(number), source }
        }
        error => error.into(),
    }
}

fn text(adapted: &Adapted, args: &TeachArgs) -> Text {
    let Adapted { version, delta, delta_bytes, active, reason, seconds, .. } = adapted;
    let verdict = if *active { "runs now, on trial" } else { "was refused" };
    let mut text = Text::from(format!("version {version} {verdict}: {reason}"));
    text.line(format!("delta: {} ({}), {seconds:.2} s", delta.display(), bytes(*delta_bytes)));
    if *active {
        let (model, store) = (args.base.model.display(), args.store.display());
        text.line(format!("next: fieldfit infer --model {model} --store {store} IMAGE"));
        text.line(format!("      fieldfit store rollback {store}"));
    }
    text
}
