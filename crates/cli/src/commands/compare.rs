//! `fieldfit compare`.

use crate::args::{CompareArgs, MethodSpec};
use crate::error::Error;
use crate::interrupt;
use crate::output::{Output, bytes, mebibytes, percent, table};
use crate::progress::Progress;
use fieldfit::report::{Mean, Run, Summary, summaries};
use fieldfit::{AdaptError, Comparison, FolderOptions, Journal, Options, Purpose, Runtime, Set};
use std::path::Path;

pub fn run(args: &CompareArgs) -> Result<(), Error> {
    let output = Output::new(args.json);
    let plan = plan(args);
    plan.iter().try_for_each(|options| options.validate().map_err(fieldfit::Error::from))?;
    let control = interrupt::control()?;
    let mut journal = args.jsonl.as_deref().map(Journal::open).transpose()?;
    let progress = Progress::new(args.json);
    let device = super::device(&args.training.device);
    let runtime = Runtime::open(&args.model, device)?;
    let folder = FolderOptions { purpose: Purpose::Adapt, group: args.training.group.clone() };
    let images = super::images(&args.data, &folder, &progress)?;
    let source = args.name.clone().unwrap_or_else(|| folder_name(&args.data));
    let held_out = images.split(&Options::default().fractions).map_err(fieldfit::Error::from)?.gate;
    let held_out = Set { order: held_out, ..Set::of(&source, images.clone()) };
    let shifts = super::shifts(&args.shift, &held_out, &progress)?;
    let mut comparison = Comparison::new(&runtime, source, &images, shifts);
    let mut runs = Vec::new();
    for (number, options) in plan.iter().enumerate() {
        let known = journal.as_ref().and_then(|journal| journal.find(&comparison.identity(options))).cloned();
        let run = match known {
            Some(run) => run,
            None => {
                progress.line(format!(
                    "run {} of {}: {}, seed {}",
                    number + 1,
                    plan.len(),
                    options.method,
                    options.seed
                ));
                let run = comparison.run(options, &control, &mut |event| progress.step(&event)).map_err(told)?;
                journal.as_mut().map_or(Ok(()), |journal| journal.add(run.clone()))?;
                progress.line(line(&run));
                run
            }
        };
        if output.is_json() {
            output.object(&run)?;
        }
        runs.push(run);
    }
    progress.finish();
    if output.is_json() { Ok(()) } else { output.text(text(&runs)) }
}

/// Every run, seed after seed, so that an early end leaves whole comparisons.
fn plan(args: &CompareArgs) -> Vec<Options> {
    let all = || fieldfit::METHODS.iter().map(|method| MethodSpec { name: method.name.into(), settings: Vec::new() });
    let methods = if args.methods.is_empty() { all().collect() } else { args.methods.clone() };
    let options = |seed: u32, method: &MethodSpec| Options {
        method: method.name.clone(),
        settings: method.settings.iter().cloned().collect(),
        seed: seed.into(),
        ..super::training(&args.training)
    };
    (0..args.seeds).flat_map(|seed| methods.iter().map(move |method| options(seed, method))).collect()
}

fn folder_name(folder: &Path) -> String {
    let name = folder.file_name().or_else(|| folder.parent()?.file_name());
    name.map_or_else(|| "data".into(), |name| name.to_string_lossy().into_owned())
}

fn told(error: fieldfit::Error) -> Error {
    match error {
        fieldfit::Error::Adapt(AdaptError::Interrupted { .. }) => Error::ComparisonStopped,
        error => error.into(),
    }
}

fn line(run: &Run) -> String {
    let shifted = run.shifted().map_or_else(String::new, |shifted| format!(", shifts {}", percent(shifted)));
    let (own, kept) = (percent(run.in_distribution.accuracy()), percent(run.retention()));
    format!("{} seed {}: {own}{shifted}, retention {kept}, {:.1} s", run.method, run.seed, run.seconds)
}

fn text(runs: &[Run]) -> String {
    let summaries = summaries(runs);
    let shifts: Vec<String> = summaries
        .first()
        .map_or_else(Vec::new, |summary| summary.shifts.iter().map(|(name, _)| name.clone()).collect());
    let mut header = vec!["method", "in distribution"];
    header.extend(shifts.iter().map(String::as_str));
    header.extend(["shifts", "retention", "calibration error", "seconds", "peak memory", "delta"]);
    let mut table = table(&header, 1);
    for summary in &summaries {
        table.add_row(row(summary));
    }
    table.to_string()
}

fn row(summary: &Summary) -> Vec<String> {
    let share = |mean: &Option<Mean>| show(mean, |value| format!("{:.1}", 100.0 * value), " %");
    let mut row = vec![summary.method.clone(), share(&summary.in_distribution)];
    row.extend(summary.shifts.iter().map(|(_, mean)| share(mean)));
    row.extend([
        share(&summary.shifted),
        share(&summary.retention),
        share(&summary.calibration_error),
        show(&summary.seconds, |value| format!("{value:.1}"), ""),
        summary.peak_bytes.map_or_else(|| "–".into(), |peak| mebibytes(peak.mean as u64)),
        summary.delta_bytes.map_or_else(|| "–".into(), |size| bytes(size.mean as u64)),
    ]);
    row
}

/// Mean ± standard error.
fn show(mean: &Option<Mean>, number: impl Fn(f64) -> String, unit: &str) -> String {
    match mean {
        Some(Mean { mean, error: Some(error), .. }) => format!("{} ± {}{unit}", number(*mean), number(*error)),
        Some(Mean { mean, error: None, .. }) => format!("{}{unit}", number(*mean)),
        None => "–".into(),
    }
}
