//! `fieldfit eval`.

use crate::args::EvalArgs;
use crate::error::CliError;
use crate::output::{Output, percent, table};
use crate::progress::Progress;
use comfy_table::Table;
use fieldfit::data::{FolderOptions, ImageSet, Purpose};
use fieldfit::{Count, Evaluation, Runtime};
use serde::Serialize;
use std::collections::BTreeMap;

/// What the command prints.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    data: Measured,
    /// By name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    shifts: BTreeMap<String, Measured>,
}

#[derive(Serialize)]
struct Measured {
    #[serde(flatten)]
    evaluation: Evaluation,
    #[serde(skip_serializing_if = "Option::is_none")]
    agreement: Option<f64>,
}

pub fn run(args: &EvalArgs) -> Result<(), CliError> {
    let runtime = super::runtime(&args.model).without_trials().open()?;
    let progress = Progress::new(args.json);
    let options = FolderOptions { purpose: Purpose::Evaluate, group: args.group.clone() };
    let images = super::images(&args.data, &options, &progress)?;
    let data = ImageSet::of("data", super::limited(images, args.shift.limit));
    let shifts = super::shifts(&args.shift, &data, &progress)?;
    let measure = |set: &ImageSet| measure(args, &runtime, set, &progress);
    let named = |set: &ImageSet| Ok((set.name.clone(), measure(set)?));
    let report = Report { data: measure(&data)?, shifts: shifts.iter().map(named).collect::<Result<_, CliError>>()? };
    progress.finish();
    Output::new(args.json).show(&report, text)
}

fn measure(args: &EvalArgs, runtime: &Runtime, set: &ImageSet, progress: &Progress) -> Result<Measured, CliError> {
    let mut evaluating = |done, total| progress.images("evaluating", done, total);
    let evaluation = if args.base_head {
        runtime.evaluate_under_base_head(set, &mut evaluating)?
    } else {
        runtime.evaluate(set, &mut evaluating)?
    };
    let mut comparing = |done, total| progress.images("comparing with the base", done, total);
    let agreement = args.agreement.then(|| runtime.agreement(set, &mut comparing)).transpose()?;
    Ok(Measured { evaluation, agreement })
}

fn text(report: &Report) -> String {
    let Evaluation { images, correct, per_class, per_group, .. } = &report.data.evaluation;
    let mut classes = counts("class", per_class);
    classes.add_row(row("all", &Count { images: *images, correct: *correct }));
    let mut text = classes.to_string();
    if !per_group.is_empty() {
        text += &format!("\n{}", counts("group", per_group));
    }
    text += &format!("\n{}", summary(&report.data));
    if !report.shifts.is_empty() {
        text += &format!("\n{}", shifts(&report.shifts));
    }
    text
}

fn counts(what: &str, counts: &BTreeMap<String, Count>) -> Table {
    let mut table = table(&[what, "images", "correct", "accuracy"], 1);
    for (name, count) in counts {
        table.add_row(row(name, count));
    }
    table
}

fn row(name: &str, count: &Count) -> [String; 4] {
    let (images, correct) = (count.images, count.correct);
    let share = correct as f64 / images.max(1) as f64;
    [name.to_owned(), images.to_string(), correct.to_string(), percent(share)]
}

fn summary(measured: &Measured) -> String {
    let Measured { evaluation, agreement } = measured;
    let mut text = format!(
        "mean over classes {}, calibration error {}",
        percent(evaluation.macro_accuracy),
        percent(evaluation.calibration_error)
    );
    if evaluation.skipped > 0 {
        text += &format!("\n{} images could not be read and were left out", evaluation.skipped);
    }
    if let Some(agreement) = agreement {
        text += &format!("\nagrees with the base on {}", percent(*agreement));
    }
    text
}

fn shifts(shifts: &BTreeMap<String, Measured>) -> String {
    let mut table = table(&["shift", "images", "accuracy", "over classes", "calibration error", "agreement"], 1);
    for (name, Measured { evaluation, agreement }) in shifts {
        table.add_row([
            name.clone(),
            evaluation.images.to_string(),
            percent(evaluation.accuracy),
            percent(evaluation.macro_accuracy),
            percent(evaluation.calibration_error),
            agreement.map_or_else(|| "–".into(), percent),
        ]);
    }
    table.to_string()
}
