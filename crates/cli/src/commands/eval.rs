//! `fieldfit eval`.

use crate::args::EvalArgs;
use crate::error::Error;
use crate::output::{Output, percent, table};
use crate::progress::Progress;
use fieldfit::{Dataset, Evaluation, FolderOptions, Purpose, Runtime, Version};
use serde::Serialize;
use std::path::PathBuf;

/// What the command prints.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    evaluation: Evaluation,
    #[serde(skip_serializing_if = "Option::is_none")]
    agreement: Option<f64>,
}

pub fn run(args: &EvalArgs) -> Result<(), Error> {
    let runtime = super::open(&args.model)?;
    let progress = Progress::new(args.json);
    let options = FolderOptions { purpose: Purpose::Evaluate, group: None };
    let images = super::images(&args.data, &options, &progress)?;
    let evaluation = runtime.evaluate(&images, &mut |done, total| progress.images("evaluating", done, total))?;
    let agreement = args.agreement.then(|| agreement(args, &runtime, &images, &progress)).transpose()?;
    progress.finish();
    Output::new(args.json).show(&Report { evaluation, agreement }, text)
}

/// What the base's own head still makes of the adapted backbone; the base agrees with itself.
fn agreement(args: &EvalArgs, runtime: &Runtime, images: &Dataset, progress: &Progress) -> Result<f64, Error> {
    let stored = |version| runtime.store().map(|store| store.delta_path(version));
    let delta: Option<PathBuf> = match runtime.version() {
        Version::Base => None,
        Version::Stored(version) => stored(version),
        Version::File => args.model.delta.clone(),
    };
    let Some(delta) = delta else { return Ok(1.0) };
    let mut progress = |done, total| progress.images("comparing with the base", done, total);
    Ok(fieldfit::agreement(runtime.base(), &delta, runtime.device(), images, &mut progress)?)
}

fn text(report: &Report) -> String {
    let evaluation = &report.evaluation;
    let mut table = table(&["class", "images", "correct", "accuracy"], 1);
    let share = |correct: usize, images: usize| percent(correct as f64 / images.max(1) as f64);
    for (label, class) in &evaluation.per_class {
        let (images, correct) = (class.images, class.correct);
        table.add_row([label.clone(), images.to_string(), correct.to_string(), share(correct, images)]);
    }
    let (images, correct) = (evaluation.images, evaluation.correct);
    table.add_row(["all".into(), images.to_string(), correct.to_string(), share(correct, images)]);
    let mut text = table.to_string();
    if evaluation.skipped > 0 {
        text += &format!("\n{} images could not be read and were left out", evaluation.skipped);
    }
    if let Some(agreement) = report.agreement {
        text += &format!("\nagrees with the base on {}", percent(agreement));
    }
    text
}
