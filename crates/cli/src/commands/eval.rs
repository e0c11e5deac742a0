//! `fieldfit eval`.

use crate::args::EvalArgs;
use crate::error::Error;
use crate::output::{Output, percent, table};
use crate::progress::Progress;
use fieldfit::{Evaluation, FolderOptions, Purpose};

pub fn run(args: &EvalArgs) -> Result<(), Error> {
    let runtime = super::open(&args.model)?;
    let progress = Progress::new(args.json);
    let options = FolderOptions { purpose: Purpose::Evaluate, group: None };
    let images = super::images(&args.data, &options, &progress)?;
    let evaluation = runtime.evaluate(&images, &mut |done, total| progress.images("evaluating", done, total))?;
    progress.finish();
    Output::new(args.json).show(&evaluation, text)
}

fn text(evaluation: &Evaluation) -> String {
    let mut table = table(&["class", "images", "correct", "accuracy"], 1);
    let share = |correct: usize, images: usize| percent(correct as f64 / images.max(1) as f64);
    for (label, class) in &evaluation.per_class {
        let (images, correct) = (class.images, class.correct);
        table.add_row([label.clone(), images.to_string(), correct.to_string(), share(correct, images)]);
    }
    let (images, correct) = (evaluation.images, evaluation.correct);
    table.add_row(["all".into(), images.to_string(), correct.to_string(), share(correct, images)]);
    match evaluation.skipped {
        0 => table.to_string(),
        skipped => format!("{table}\n{skipped} images could not be read and were left out"),
    }
}
