//! Subcommand `eval`: evaluates a model on labelled images and shifts.

use crate::args::EvalArgs;
use crate::error::CliError;
use crate::output::{Output, Table, Text, percent};
use crate::progress_bar::ProgressBar;
use fieldfit::data::{FolderOptions, ImageSet, Purpose};
use fieldfit::{
    Count, Evaluation, LabelEvaluation, MultiLabelEvaluation, NoveltyEvaluation, PixelCount, RegressionEvaluation,
    Runtime, SegmentationEvaluation, ValueErrors, Version,
};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Evaluation on the data and on each shift.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    data: Measured,
    /// How well unknown images are told, if there are some.
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown: Option<NoveltyEvaluation>,
    /// Evaluation by the shift's name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    shifts: BTreeMap<String, Measured>,
}

/// Evaluation on one set, with the agreement if asked for.
#[derive(Serialize)]
struct Measured {
    #[serde(flatten)]
    evaluation: Evaluation,
    #[serde(skip_serializing_if = "Option::is_none")]
    agreement: Option<f64>,
}

pub fn run(args: &EvalArgs, output: &Output) -> Result<(), CliError> {
    let runtime = super::runtime(&args.model).without_trials().require_store().open()?;
    super::note_precision(&runtime, output);
    let progress = ProgressBar::new(output);
    let options = FolderOptions::new(Purpose::Evaluate).with_group(args.group.clone());
    let images = super::images(&args.data, &options, &progress)?;
    let data = ImageSet::of("data", super::limited(images, args.shift.limit));
    let shifts = super::shifts(&args.shift, &data, &progress)?;
    let measure = |set: &ImageSet| measure(args, &runtime, set, &progress);
    let named = |set: &ImageSet| Ok((set.name.clone(), measure(set)?));
    let unknown = args.unknown.as_deref().map(|folder| unknown(folder, &runtime, &data, &progress)).transpose()?;
    let shifts = shifts.iter().map(named).collect::<Result<_, CliError>>()?;
    let report = Report { data: measure(&data)?, unknown, shifts };
    progress.finish();
    output.show(&report, text)
}

/// Evaluates how well the images in a folder are told from those of the version's classes.
fn unknown(
    folder: &Path,
    runtime: &Runtime,
    data: &ImageSet,
    progress: &ProgressBar,
) -> Result<NoveltyEvaluation, CliError> {
    let images = super::images(folder, &FolderOptions::new(Purpose::Unlabelled), progress)?;
    let mut measuring = |done, total| progress.images("measuring novelty", done, total);
    Ok(runtime.evaluate_novelty(data, &ImageSet::of("unknown", images), &mut measuring)?)
}

fn measure(args: &EvalArgs, runtime: &Runtime, set: &ImageSet, progress: &ProgressBar) -> Result<Measured, CliError> {
    let mut evaluating = |done, total| progress.images("evaluating", done, total);
    let evaluation = if args.base_head {
        runtime.evaluate_under_base_head(set, &mut evaluating)?
    } else if has_base_classes(runtime, set) {
        runtime.evaluate_with_base_answers(set, &mut evaluating)?
    } else {
        runtime.evaluate(set, &mut evaluating)?
    };
    let mut comparing = |done, total| progress.images("comparing with the base", done, total);
    let agreement = args.agreement.then(|| runtime.agreement(set, &mut comparing)).transpose()?;
    Ok(Measured { evaluation, agreement })
}

/// Whether a version of other weights than the base's is evaluated on classes of the base.
fn has_base_classes(runtime: &Runtime, set: &ImageSet) -> bool {
    let labels = runtime.base().labels();
    runtime.version() != Version::Base && set.images.classes.iter().any(|class| labels.contains(class))
}

fn text(report: &Report) -> Text {
    let evaluation = &report.data.evaluation;
    let Evaluation { per_class, per_group, .. } = evaluation;
    let mut text = Text::default();
    text.table(&match evaluation {
        Evaluation { segmentation: Some(segmentation), .. } => pixels(segmentation, evaluation),
        Evaluation { regression: Some(regression), .. } => values(regression),
        Evaluation { multi_label: Some(multi_label), .. } => labels(multi_label),
        Evaluation { .. } => {
            let mut classes = counts("class", per_class);
            classes.row(row("all", &evaluation.all()));
            classes
        }
    });
    if !per_group.is_empty() {
        text.table(&counts("group", per_group));
    }
    summary(&report.data).iter().for_each(|line| text.line(line));
    if let Some(novelty) = &report.unknown {
        text.line(format!(
            "unknown images: AUROC {:.3}, FPR {} at 95 % TPR",
            novelty.auroc,
            percent(novelty.fpr_at_95_tpr)
        ));
        let (alarms, detected) = (percent(novelty.false_alarms), percent(novelty.detected));
        text.line(format!("above the threshold {:.2}: {detected} of them, {alarms} of the known", novelty.threshold));
    }
    if !report.shifts.is_empty() {
        text.table(&shifts(&report.shifts));
    }
    text
}

fn pixels(segmentation: &SegmentationEvaluation, evaluation: &Evaluation) -> Table {
    let mut table = Table::new(&["class", "pixels", "accuracy", "IoU"], 1);
    for (name, PixelCount { pixels, correct, iou, .. }) in &segmentation.per_class {
        let accuracy = *correct as f64 / (*pixels).max(1) as f64;
        table.row([name.clone(), pixels.to_string(), percent(accuracy), percent(*iou)]);
    }
    let (pixels, accuracy) = (segmentation.pixels.to_string(), percent(evaluation.accuracy));
    table.row(["all".to_owned(), pixels, accuracy, percent(segmentation.mean_iou)]);
    table
}

fn values(regression: &RegressionEvaluation) -> Table {
    let mut table = Table::new(&["target", "mean error", "root mean square", "R²"], 1);
    for (name, ValueErrors { mean_absolute, root_mean_square, determination, .. }) in &regression.per_target {
        let determination = determination.map_or_else(|| "–".into(), |share| format!("{share:.3}"));
        table.row([name.clone(), format!("{mean_absolute:.4}"), format!("{root_mean_square:.4}"), determination]);
    }
    table
}

fn labels(multi_label: &MultiLabelEvaluation) -> Table {
    let mut table = Table::new(&["label", "images", "average precision", "F1"], 1);
    for (name, LabelEvaluation { images, average_precision, f1, .. }) in &multi_label.per_label {
        let precision = average_precision.map_or_else(|| "–".into(), percent);
        table.row([name.clone(), images.to_string(), precision, percent(*f1)]);
    }
    table
}

fn counts(what: &str, counts: &BTreeMap<String, Count>) -> Table {
    let mut table = Table::new(&[what, "images", "correct", "accuracy"], 1);
    for (name, count) in counts {
        table.row(row(name, count));
    }
    table
}

fn row(name: &str, count: &Count) -> [String; 4] {
    [name.to_owned(), count.images.to_string(), count.correct.to_string(), percent(count.accuracy())]
}

fn summary(measured: &Measured) -> Vec<String> {
    let Measured { evaluation, agreement } = measured;
    let (mean, error) = (percent(evaluation.macro_accuracy), percent(evaluation.calibration_error));
    let mut lines = vec![match evaluation {
        Evaluation { regression: Some(regression), images, .. } => {
            format!("mean error {:.4} standard deviations, on {images} images", regression.mean_error)
        }
        Evaluation { multi_label: Some(found), .. } => {
            let [precision, all, each] = [found.mean_average_precision, found.micro_f1, found.macro_f1].map(percent);
            format!("mAP {precision}, F1 {all} over all, {each} over labels, calibration error {error}")
        }
        Evaluation { .. } => format!("mean over classes {mean}, calibration error {error}"),
    }];
    let skipped = evaluation.skipped;
    lines.extend((skipped > 0).then(|| format!("skipped {skipped} unreadable images")));
    lines.extend(evaluation.base_head.map(|base_head| {
        let of = if evaluation.segmentation.is_some() { "pixels" } else { "images" };
        format!("under the base's own head {}, on {} {of}", percent(base_head.accuracy), base_head.images)
    }));
    lines.extend(agreement.map(|agreement| format!("agrees with the base on {}", percent(agreement))));
    lines
}

fn shifts(shifts: &BTreeMap<String, Measured>) -> Table {
    let has_pixels = shifts.values().any(|shift| shift.evaluation.segmentation.is_some());
    let iou = has_pixels.then_some("mean IoU");
    let headings = ["shift", "images", "accuracy", "over classes"].into_iter().chain(iou);
    let headings: Vec<&str> = headings.chain(["calibration error", "agreement"]).collect();
    let mut table = Table::new(&headings, 1);
    for (name, Measured { evaluation, agreement }) in shifts {
        let of_pixels = evaluation.segmentation.as_ref().map_or_else(|| "–".into(), |found| percent(found.mean_iou));
        let counts = [name.clone(), evaluation.images.to_string()];
        let shares = [evaluation.accuracy, evaluation.macro_accuracy].map(percent);
        let rest = [percent(evaluation.calibration_error), agreement.map_or_else(|| "–".into(), percent)];
        table.row(counts.into_iter().chain(shares).chain(iou.map(|_| of_pixels)).chain(rest));
    }
    table
}
