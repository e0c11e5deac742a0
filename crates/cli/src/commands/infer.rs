//! Subcommand `infer`: classifies images from files, folders, patterns or standard input.

mod inputs;

use crate::args::InferArgs;
use crate::error::{self, CliError};
use crate::output::{Output, Text, escape, percent, print_error_line};
use fieldfit::{Frame, Prediction, Runtime};
use inputs::InferInput;
use serde::Serialize;
use std::path::Path;

/// Ranking of one image.
#[derive(Serialize)]
struct Answer<'a> {
    image: &'a Path,
    top: Vec<Class<'a>>,
}

/// Class with its probability.
#[derive(Serialize)]
struct Class<'a> {
    index: u32,
    label: &'a str,
    score: f32,
}

/// Number of images, and of those without an answer.
#[derive(Default)]
struct Counts {
    images: usize,
    failed: usize,
}

pub fn run(args: &InferArgs, output: &Output) -> Result<(), CliError> {
    let runtime = super::runtime(&args.model).open()?;
    let mut counts = Counts::default();
    for argument in &args.images {
        match inputs::expand(argument) {
            Ok((inputs, skipped)) => {
                if let Some(skipped) = skipped.filter(|_| !output.is_quiet()) {
                    print_error_line(escape(&format!("{}: {skipped}", argument.display())));
                }
                for input in inputs {
                    // The reader has seen enough: nothing of this is stored.
                    if output.is_closed() {
                        return Ok(());
                    }
                    counts.images += 1;
                    counts.failed += usize::from(!show(&runtime, &input, args.top as usize, output)?);
                }
            }
            Err(error) => {
                error::report_image(argument, &error, output);
                counts = Counts { images: counts.images + 1, failed: counts.failed + 1 };
            }
        }
    }
    let Counts { images, failed } = counts;
    if failed > 0 { Err(CliError::Images { failed, images }) } else { Ok(()) }
}

/// Prints the ranking of one image, or reports why there is none. Returns whether there is one.
fn show(runtime: &Runtime, input: &InferInput, top: usize, output: &Output) -> Result<bool, CliError> {
    let prediction = input.read().and_then(|bytes| Ok(runtime.infer(&Frame::Encoded(&bytes))?));
    match prediction {
        Ok(prediction) => output.show(&answer(input.path(), &prediction, top), text).map(|()| true),
        Err(error) => {
            error::report_image(input.path(), &error, output);
            Ok(false)
        }
    }
}

fn answer<'a>(image: &'a Path, prediction: &'a Prediction, top: usize) -> Answer<'a> {
    let class =
        |ranked: fieldfit::Ranked<'a>| Class { index: ranked.index, label: ranked.label, score: ranked.probability };
    Answer { image, top: prediction.top().take(top).map(class).collect() }
}

fn text(answer: &Answer<'_>) -> Text {
    let mut text = Text::from(answer.image.display());
    for Class { label, score, .. } in &answer.top {
        text.line(format!("  {:>7}  {label}", percent(f64::from(*score))));
    }
    text
}
