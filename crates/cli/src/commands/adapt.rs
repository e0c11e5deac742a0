//! Subcommand `adapt`: adapts a model, stores the result, and reports the gate's decision.

use crate::args::AdaptArgs;
use crate::error::CliError;
use crate::output::{Output, Text, bytes, mebibytes, percent};
use crate::progress_bar::ProgressBar;
use crate::signals::{self, Signals};
use fieldfit::data::{Dataset, FolderOptions};
use fieldfit::delta::read_key;
use fieldfit::report::{PageOptions, TensorBoardLog, write_page};
use fieldfit::store::Store;
use fieldfit::train::{AdaptError, Adapted, Comparison, HeadMode, Options, Recorder, StartPoint};
use fieldfit::{Info, OutputKind, Runtime, Version, check_output};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

/// Classes of a version that the new one lacks, as a JSON event.
#[derive(Serialize)]
struct FewerClasses {
    event: &'static str,
    version: u32,
    classes: Vec<String>,
}

pub fn run(args: &AdaptArgs, output: &Output) -> Result<ExitCode, CliError> {
    let options = options(args);
    options.validate().map_err(fieldfit::Error::from)?;
    let check_report = || args.report.as_deref().map_or(Ok(()), |path| check_output(path, OutputKind::Page));
    check_report()?;
    let signals = Signals::install()?;
    let runtime = open(args, &options)?;
    let progress = ProgressBar::new(output);
    let folder =
        FolderOptions::new(args.start.purpose(!args.replay.is_empty())).with_group(args.training.group.clone());
    let images = images(args, &folder, &progress)?;
    check_classes(args, &runtime, &images, output, &progress)?;
    let mut recorder = Recorder::default();
    let mut tensorboard = args.tensorboard.as_deref().map(TensorBoardLog::create).transpose()?;
    // The log's folder may lie where the report should.
    check_report()?;
    let mut unwritten = None;
    let adapted = signals.during(|control| {
        let adaptation = runtime.adaptation(&images).options(options.clone()).control(control).resume(args.resume);
        let adaptation = adaptation.on_event(|event| {
            progress.event(&event);
            recorder.record(&event);
            // The run is worth more than its logs: the first error is reported when the result is stored.
            if output.is_json() {
                unwritten = unwritten.take().or(output.object(&event).err());
            }
            if let Some(log) = &mut tensorboard {
                unwritten = unwritten.take().or(log.record(&event).err().map(CliError::from));
            }
        });
        adaptation.run()
    });
    progress.finish();
    let adapted = adapted.map_err(interrupted)?;
    if signals.is_stopped() {
        progress.line("the run had ended before it was interrupted");
    }
    if let Some(page) = &args.report {
        let source = super::folder_name(&args.data);
        let title = format!("{} on {source}", options.method);
        let mut comparison = Comparison::new(&runtime, source, &images, options.fractions)?;
        let run = comparison.measure(&options, &adapted.read()?, adapted.cost(), recorder)?;
        write_page(page, &[run], &PageOptions::new(title))?;
    }
    if !output.is_json() {
        output.text(text(&adapted, args))?;
    }
    match unwritten {
        Some(error) => Err(error),
        None => Ok(if adapted.active { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
    }
}

fn options(args: &AdaptArgs) -> Options {
    super::training(&args.training)
        .with_method(args.method.clone())
        .with_seed(args.seed)
        .with_novelty(args.novelty)
        .with_start(args.start)
        .with_settings(args.settings.iter().cloned().collect())
}

/// Opens the images, and those of earlier days behind them.
fn images(args: &AdaptArgs, options: &FolderOptions, progress: &ProgressBar) -> Result<Dataset, CliError> {
    let mut images = super::images(&args.data, options, progress)?;
    for folder in &args.replay {
        let earlier = super::images(folder, options, progress)?;
        images = images.replaying(earlier, args.replay_bytes, args.seed).map_err(fieldfit::Error::from)?;
    }
    Ok(images)
}

fn open(args: &AdaptArgs, options: &Options) -> Result<Runtime, CliError> {
    let builder = super::base(&args.base).device(options.device).precision(options.precision).store_or_new(&args.store);
    let mut builder = builder.keep((&args.keep).into()).without_trials().require_store();
    if let Some(key) = &args.key {
        builder = builder.key(read_key(key)?);
    }
    Ok(builder.open()?)
}

/// Refuses images that lack a class of the active or of the last confirmed version, unless that is allowed.
fn check_classes(
    args: &AdaptArgs,
    runtime: &Runtime,
    images: &Dataset,
    output: &Output,
    progress: &ProgressBar,
) -> Result<(), CliError> {
    let store = Store::open(&args.store).map_err(fieldfit::Error::from)?;
    let confirmed = store.confirmed().map_err(fieldfit::Error::from)?.first().copied();
    let active = match runtime.version() {
        Version::Stored(version) => Some(version),
        Version::Base | Version::File => None,
    };
    let kept = match (args.training.head, args.start) {
        (HeadMode::Keep, _) => runtime.base().labels().to_vec(),
        (HeadMode::Replace, StartPoint::Base) => images.classes.clone(),
        (HeadMode::Replace, StartPoint::Active) => [&images.classes[..], &runtime.labels()].concat(),
    };
    for version in active.into_iter().chain(confirmed).collect::<BTreeSet<_>>() {
        let lost = lost_classes(&store.delta_path(version), &kept)?;
        if lost.is_empty() {
            continue;
        }
        if !args.allow_fewer_classes {
            return Err(CliError::FewerClasses { version, data: args.data.clone(), lost });
        }
        progress.fewer_classes(version, &lost);
        if output.is_json() {
            output.object(&FewerClasses { event: "fewer_classes", version, classes: lost })?;
        }
    }
    Ok(())
}

/// Returns the classes of a delta that are not among `kept`.
fn lost_classes(delta: &Path, kept: &[String]) -> Result<Vec<String>, CliError> {
    match fieldfit::info(delta)? {
        Info::Delta(delta) => Ok(delta.labels.into_iter().filter(|label| !kept.contains(label)).collect()),
        Info::Model(_) | Info::Store(_) => Ok(Vec::new()),
    }
}

/// Adds the command that resumes the run to an interruption.
fn interrupted(error: fieldfit::Error) -> CliError {
    match error {
        fieldfit::Error::Adapt(AdaptError::Interrupted { checkpoint: Some(checkpoint) }) => {
            CliError::Interrupted { checkpoint, resume: signals::resume_command() }
        }
        error => error.into(),
    }
}

fn text(adapted: &Adapted, args: &AdaptArgs) -> Text {
    let Adapted { version, delta, delta_bytes, active, reason, gate, seconds, peak, .. } = adapted;
    let verdict = if *active { "runs now, on trial" } else { "was refused" };
    let mut text = Text::from(format!("version {version} {verdict}: {reason}"));
    let (before, after) = (percent(gate.before), percent(gate.after));
    text.line(format!("gate: {before} before, {after} after, on {} images", gate.images));
    let peak = peak.map_or_else(String::new, |peak| format!(", peak memory {}", mebibytes(peak)));
    text.line(format!("delta: {} ({}), {seconds:.1} s{peak}", delta.display(), bytes(*delta_bytes)));
    if *active {
        let (model, store) = (args.base.model.display(), args.store.display());
        text.line(format!("next: fieldfit infer --model {model} --store {store} IMAGE"));
        text.line(format!("      fieldfit store rollback {store}"));
    }
    text
}
