//! Subcommand `infer`: classifies images from files, folders, patterns or standard input.

use super::inputs::{self, ImageInput};
use crate::args::InferArgs;
use crate::error::{self, CliError};
use crate::output::{Output, Text, escape, percent, print_error_line};
use fieldfit::{Frame, Prediction, Ranked, Runtime};
use serde::Serialize;
use std::path::Path;

/// Ranking of one image.
#[derive(Serialize)]
struct Answer<'a> {
    image: &'a Path,
    top: Vec<Class<'a>>,
    /// The base's own classes, if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    base_top: Option<Vec<Class<'a>>>,
    /// How far the image is from what the version was trained on, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    novelty: Option<Distance>,
}

/// Distance from the nearest class mean.
#[derive(Serialize)]
struct Distance {
    distance: f32,
    threshold: f32,
    unknown: bool,
}

/// Class with its probability.
#[derive(Serialize)]
struct Class<'a> {
    index: u32,
    label: &'a str,
    score: f32,
}

impl<'a> From<Ranked<'a>> for Class<'a> {
    fn from(ranked: Ranked<'a>) -> Self {
        Self { index: ranked.index, label: ranked.label, score: ranked.probability }
    }
}

/// Number of images, and of those without an answer.
#[derive(Default)]
struct Counts {
    images: usize,
    failed: usize,
}

pub fn run(args: &InferArgs, output: &Output) -> Result<(), CliError> {
    let runtime = super::runtime(&args.model).base_answers(args.base_top.is_some()).novelty(args.novelty).open()?;
    if args.novelty && !runtime.has_novelty_threshold()? {
        return Err(fieldfit::Error::NoNovelty { version: runtime.version() }.into());
    }
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
                    counts.failed += usize::from(!show(&runtime, &input, args, output)?);
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
fn show(runtime: &Runtime, input: &ImageInput, args: &InferArgs, output: &Output) -> Result<bool, CliError> {
    let prediction = input.read().and_then(|bytes| Ok(runtime.infer(&Frame::Encoded(&bytes))?));
    match prediction {
        Ok(prediction) => output.show(&answer(input.path(), &prediction, args), text).map(|()| true),
        Err(error) => {
            error::report_image(input.path(), &error, output);
            Ok(false)
        }
    }
}

fn answer<'a>(image: &'a Path, prediction: &'a Prediction, args: &InferArgs) -> Answer<'a> {
    let top = prediction.top().take(args.top as usize).map(Class::from).collect();
    let base_top = args.base_top.zip(prediction.base());
    let base_top = base_top.map(|(top, base)| base.take(top as usize).map(Class::from).collect());
    let novelty = prediction.novelty().filter(|_| args.novelty);
    let novelty = novelty.map(|novelty| Distance {
        distance: novelty.distance,
        threshold: novelty.threshold,
        unknown: novelty.is_unknown(),
    });
    Answer { image, top, base_top, novelty }
}

fn text(answer: &Answer<'_>) -> Text {
    let mut text = Text::from(answer.image.display());
    if let Some(Distance { distance, threshold, unknown }) = answer.novelty {
        let verdict = if unknown { "unknown" } else { "known" };
        text.line(format!("  {verdict}: distance {distance:.2}, threshold {threshold:.2}"));
    }
    ranking(&mut text, &answer.top);
    if let Some(base_top) = &answer.base_top {
        text.line("  by the base's own head");
        ranking(&mut text, base_top);
    }
    text
}

fn ranking(text: &mut Text, classes: &[Class<'_>]) {
    for Class { label, score, .. } in classes {
        text.line(format!("  {:>7}  {label}", percent(f64::from(*score))));
    }
}
