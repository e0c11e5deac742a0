//! `fieldfit adapt`.

use crate::args::AdaptArgs;
use crate::error::CliError;
use crate::interrupt;
use crate::output::{Output, bytes, mebibytes, percent};
use crate::progress::Progress;
use fieldfit::data::{FolderOptions, Purpose};
use fieldfit::delta::read_key;
use fieldfit::report::PageOptions;
use fieldfit::report::write_page;
use fieldfit::train::{AdaptError, Adapted, Comparison, Options, Recorder};
use std::process::ExitCode;

pub fn run(args: &AdaptArgs) -> Result<ExitCode, CliError> {
    let output = Output::new(args.json);
    let options = options(args);
    options.validate().map_err(fieldfit::Error::from)?;
    let control = interrupt::control()?;
    let builder = super::base(&args.base).device(options.device).store_or_new(&args.store);
    let mut builder = builder.keep((&args.keep).into()).without_trials();
    if let Some(key) = &args.key {
        builder = builder.key(read_key(key)?);
    }
    let runtime = builder.open()?;
    let progress = Progress::new(args.json);
    let folder = FolderOptions { purpose: Purpose::Adapt, group: args.training.group.clone() };
    let images = super::images(&args.data, &folder, &progress)?;
    let mut unwritten = None;
    let mut recorder = Recorder::default();
    let adaptation = runtime.adaptation(&images).options(options.clone()).control(&control).resume(args.resume);
    let adaptation = adaptation.on_event(|event| {
        progress.event(&event);
        recorder.record(&event);
        if output.is_json()
            && let Err(error) = output.object(&event)
        {
            control.stop();
            unwritten.get_or_insert(error);
        }
    });
    let adapted = adaptation.run();
    progress.finish();
    if let Some(error) = unwritten {
        return Err(error);
    }
    let adapted = adapted.map_err(told)?;
    if let Some(page) = &args.report {
        let source = super::folder_name(&args.data);
        let title = format!("{} on {source}", options.method);
        let mut comparison = Comparison::new(&runtime, source, &images, options.fractions)?;
        let run = comparison.measure(&options, &adapted.read()?, adapted.cost(), recorder)?;
        write_page(page, &[run], &PageOptions { title, reference: None })?;
    }
    if !output.is_json() {
        output.text(text(&adapted, args))?;
    }
    Ok(if adapted.active { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn options(args: &AdaptArgs) -> Options {
    Options {
        method: args.method.clone(),
        seed: args.seed,
        settings: args.settings.iter().cloned().collect(),
        ..super::training(&args.training)
    }
}

/// An interruption says how to go on; any other error is the library's.
fn told(error: fieldfit::Error) -> CliError {
    match error {
        fieldfit::Error::Adapt(AdaptError::Interrupted { checkpoint: Some(checkpoint) }) => {
            CliError::Interrupted { checkpoint, resume: interrupt::resume_command() }
        }
        error => error.into(),
    }
}

fn text(adapted: &Adapted, args: &AdaptArgs) -> String {
    let Adapted { version, delta, delta_bytes, active, reason, gate, seconds, peak, .. } = adapted;
    let verdict = if *active { "runs now, on trial" } else { "was refused" };
    let mut text = format!(
        "version {version} {verdict}: {reason}\n\
         gate: {} before, {} after, on {} images\n\
         delta: {} ({}), {seconds:.1} s",
        percent(gate.before),
        percent(gate.after),
        gate.images,
        delta.display(),
        bytes(*delta_bytes),
    );
    if let Some(peak) = peak {
        text.push_str(&format!(", {} of memory at the peak", mebibytes(*peak)));
    }
    if *active {
        let (model, store) = (args.base.model.display(), args.store.display());
        text.push_str(&format!(
            "\nnext: fieldfit infer --model {model} --store {store} IMAGE\n      fieldfit store rollback {store}"
        ));
    }
    text
}
