//! Subcommand `infer`: classifies images, or their pixels, from files, folders, patterns or standard input.

use super::answers::Answers;
use super::boxes::{self, Extent, ImageBox};
use super::inputs::{self, ImageInput};
use crate::args::InferArgs;
use crate::error::{self, CliError};
use crate::output::{Output, Text, escape, percent, print_error_line};
use fieldfit::data::{MAX_IMAGE_FILE_BYTES, RgbImage, read_bounded};
use fieldfit::{EstimatedValue, Frame, PixelFormat, Pixels, Prediction, Ranked, Runtime, Segmentation, Tag, Task};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Ranking of one image.
#[derive(Serialize)]
struct Answer<'a> {
    image: &'a Path,
    /// The part of the image, if boxes are classified.
    #[serde(rename = "box", skip_serializing_if = "Option::is_none")]
    extent: Option<Extent>,
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

/// Classes of the pixels of one image.
#[derive(Serialize)]
struct PixelAnswer<'a> {
    image: &'a Path,
    /// The classes with most pixels.
    classes: Vec<Share<'a>>,
    /// File of the mask, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    mask: Option<PathBuf>,
    /// File of the overlay, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    overlay: Option<PathBuf>,
}

/// Class with its share of the pixels.
#[derive(Serialize)]
struct Share<'a> {
    index: usize,
    label: &'a str,
    share: f64,
}

/// Values of one image's targets.
#[derive(Serialize)]
struct ValueAnswer<'a> {
    image: &'a Path,
    values: Vec<TargetValue<'a>>,
}

/// Value of a target in its unit.
#[derive(Serialize)]
struct TargetValue<'a> {
    target: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'a str>,
    value: f32,
}

impl<'a> From<EstimatedValue<'a>> for TargetValue<'a> {
    fn from(estimated: EstimatedValue<'a>) -> Self {
        Self { target: estimated.name, unit: estimated.unit, value: estimated.value }
    }
}

/// Labels of one image.
#[derive(Serialize)]
struct TagAnswer<'a> {
    image: &'a Path,
    labels: Vec<Label<'a>>,
}

/// Label with its probability, and whether it is predicted.
#[derive(Serialize)]
struct Label<'a> {
    index: u32,
    label: &'a str,
    score: f32,
    threshold: f32,
    present: bool,
}

impl<'a> From<Tag<'a>> for Label<'a> {
    fn from(tag: Tag<'a>) -> Self {
        Self {
            index: tag.index,
            label: tag.label,
            score: tag.probability,
            threshold: tag.threshold,
            present: tag.is_present(),
        }
    }
}

/// Number of images, and of those without an answer.
#[derive(Default)]
struct Counts {
    images: usize,
    failed: usize,
}

impl Counts {
    /// Ends the command with an error where an image has no answer.
    const fn verdict(self) -> Result<(), CliError> {
        let Self { images, failed } = self;
        if failed > 0 { Err(CliError::Images { failed, images }) } else { Ok(()) }
    }
}

pub fn run(args: &InferArgs, output: &Output) -> Result<(), CliError> {
    let runtime = super::runtime(&args.model).base_answers(args.base_top.is_some()).novelty(args.novelty).open()?;
    if args.novelty && !runtime.has_novelty_threshold()? {
        return Err(fieldfit::Error::NoNovelty { version: runtime.version() }.into());
    }
    if args.base_top.is_some() && runtime.task() != Task::Classification {
        let action = "rank the base's own classes beside its answers";
        return Err(fieldfit::Error::OtherTask { found: runtime.task(), action }.into());
    }
    super::note_precision(&runtime, output);
    if let Some(folder) = &args.masks {
        prepare(&runtime, folder)?;
    }
    if let Some(file) = &args.boxes {
        return boxes(&runtime, file, args, output);
    }
    let (mut counts, mut masks) = (Counts::default(), MaskNames::default());
    let mut answers = Answers::new(output, args.record.as_deref())?;
    for argument in &args.images {
        match inputs::expand(argument) {
            Ok((inputs, skipped)) => {
                if let Some(skipped) = skipped.filter(|_| !output.is_quiet()) {
                    print_error_line(escape(&format!("{}: {skipped}", argument.display())));
                }
                for input in inputs {
                    // The reader has seen enough: nothing of this is stored.
                    if answers.is_closed() {
                        return Ok(());
                    }
                    counts.images += 1;
                    let shown = match runtime.task() {
                        Task::Classification => show(&runtime, &input, args, &mut answers)?,
                        Task::Segmentation => show_pixels(&runtime, &input, (args, &mut masks), &mut answers)?,
                        Task::Regression => show_values(&runtime, &input, &mut answers)?,
                        Task::MultiLabel => show_tags(&runtime, &input, &mut answers)?,
                    };
                    counts.failed += usize::from(!shown);
                }
            }
            Err(error) => {
                error::report_image(argument, &error, output);
                counts = Counts { images: counts.images + 1, failed: counts.failed + 1 };
            }
        }
    }
    answers.finish()?;
    counts.verdict()
}

/// Classifies a detector's boxes. An image is decoded once for the boxes of it that follow each other.
fn boxes(runtime: &Runtime, file: &Path, args: &InferArgs, output: &Output) -> Result<(), CliError> {
    let boxes = boxes::read(file)?;
    let mut counts = Counts::default();
    for of_image in boxes.chunk_by(|one, other| one.image == other.image) {
        let path = &of_image[0].image;
        let image = read_bounded(path, MAX_IMAGE_FILE_BYTES).map_err(CliError::from);
        let image = image.and_then(|bytes| Ok(Frame::Encoded(&bytes).to_rgb().map_err(fieldfit::Error::from)?));
        counts.images += of_image.len();
        match image {
            Ok(image) => {
                for part in of_image {
                    if output.is_closed() {
                        return Ok(());
                    }
                    counts.failed += usize::from(!show_box(runtime, (part, &image), args, output)?);
                }
            }
            Err(error) => {
                error::report_image(path, &error, output);
                counts.failed += of_image.len();
            }
        }
    }
    counts.verdict()
}

/// Prints the ranking of one box, or reports why there is none. Returns whether there is one.
fn show_box(
    runtime: &Runtime,
    (part, image): (&ImageBox, &RgbImage),
    args: &InferArgs,
    output: &Output,
) -> Result<bool, CliError> {
    let prediction = part.pixels(image).and_then(|rect| {
        let whole = Pixels::packed(image.as_raw(), PixelFormat::Rgb8, image.width(), image.height());
        let frame = Frame::Pixels(whole.crop(rect).map_err(fieldfit::Error::from)?);
        Ok((rect, runtime.infer(&frame)?))
    });
    shown(prediction, &part.image, output, |(rect, prediction)| {
        let answer = Answer { extent: Some(rect.into()), ..answer(&part.image, &prediction, args) };
        output.show(&answer, text)
    })
}

/// Prints the values of one image's targets, or reports why there are none. Returns whether there are.
fn show_values(runtime: &Runtime, input: &ImageInput, answers: &mut Answers<'_>) -> Result<bool, CliError> {
    let estimate = answered(input, |frame| runtime.estimate(frame));
    shown(estimate, input.path(), answers.output, |(bytes, estimate)| {
        let values = estimate.values().map(TargetValue::from).collect();
        answers.show(&bytes, &ValueAnswer { image: input.path(), values }, value_text)
    })
}

fn value_text(answer: &ValueAnswer<'_>) -> Text {
    let mut text = Text::from(answer.image.display());
    for TargetValue { target, unit, value } in &answer.values {
        let unit = unit.map(|unit| format!(" {unit}")).unwrap_or_default();
        text.line(format!("  {target}: {value:.4}{unit}"));
    }
    text
}

/// Prints the labels of one image, or reports why there is no answer. Returns whether there is one.
fn show_tags(runtime: &Runtime, input: &ImageInput, answers: &mut Answers<'_>) -> Result<bool, CliError> {
    let tags = answered(input, |frame| runtime.tag(frame));
    shown(tags, input.path(), answers.output, |(bytes, tags)| {
        let labels = tags.all().map(Label::from).collect();
        answers.show(&bytes, &TagAnswer { image: input.path(), labels }, tag_text)
    })
}

fn tag_text(answer: &TagAnswer<'_>) -> Text {
    let mut text = Text::from(answer.image.display());
    for Label { label, score, present, .. } in &answer.labels {
        let mark = if *present { "yes" } else { "no" };
        text.line(format!("  {mark:>3} {:>7}  {label}", percent(f64::from(*score))));
    }
    text
}

/// Prints the ranking of one image, or reports why there is none. Returns whether there is one.
fn show(runtime: &Runtime, input: &ImageInput, args: &InferArgs, answers: &mut Answers<'_>) -> Result<bool, CliError> {
    let prediction = answered(input, |frame| runtime.infer(frame));
    shown(prediction, input.path(), answers.output, |(bytes, prediction)| {
        answers.show(&bytes, &answer(input.path(), &prediction, args), text)
    })
}

/// Reads an image and answers it; returns both.
fn answered<T>(
    input: &ImageInput,
    answer: impl FnOnce(&Frame<'_>) -> Result<T, fieldfit::Error>,
) -> Result<(Vec<u8>, T), CliError> {
    let bytes = input.read()?;
    let answer = answer(&Frame::Encoded(&bytes))?;
    Ok((bytes, answer))
}

/// Shows the answer to one image, or reports why there is none. Returns whether there is one.
fn shown<T>(
    answered: Result<T, CliError>,
    image: &Path,
    output: &Output,
    show: impl FnOnce(T) -> Result<(), CliError>,
) -> Result<bool, CliError> {
    match answered {
        Ok(answer) => show(answer).map(|()| true),
        Err(error) => {
            error::report_image(image, &error, output);
            Ok(false)
        }
    }
}

/// Creates the folder of masks, which only a model that classifies pixels has.
fn prepare(runtime: &Runtime, folder: &Path) -> Result<(), CliError> {
    if runtime.task() != Task::Segmentation {
        return Err(fieldfit::Error::OtherTask { found: runtime.task(), action: "write masks" }.into());
    }
    let failed = |source| fieldfit::Error::Output { path: folder.to_owned(), source };
    Ok(fs::create_dir_all(folder).map_err(failed)?)
}

/// Names of mask files: that of the image, with a number behind it where another image has it.
#[derive(Default)]
struct MaskNames(BTreeSet<String>);

impl MaskNames {
    /// Returns the files of an image's mask and overlay.
    fn of(&mut self, image: &Path, folder: &Path) -> [PathBuf; 2] {
        let stem = match image.file_stem().map(|stem| stem.to_string_lossy().into_owned()) {
            Some(stem) if stem != "-" => stem,
            Some(_) | None => "stdin".to_owned(),
        };
        let numbered = (2..).map(|number| format!("{stem}-{number}"));
        let name = std::iter::once(stem.clone()).chain(numbered).find(|name| self.0.insert(name.clone()));
        let name = name.unwrap_or(stem);
        [folder.join(format!("{name}.png")), folder.join(format!("{name}.overlay.png"))]
    }
}

/// Prints the classes of one image's pixels and writes its masks, or reports why not. Returns whether it has an answer.
fn show_pixels(
    runtime: &Runtime,
    input: &ImageInput,
    (args, names): (&InferArgs, &mut MaskNames),
    answers: &mut Answers<'_>,
) -> Result<bool, CliError> {
    let mut answered = || {
        let bytes = input.read()?;
        let frame = Frame::Encoded(&bytes);
        let segmentation = runtime.segment(&frame)?;
        let files = args.masks.as_deref().map(|folder| names.of(input.path(), folder));
        if let Some([mask, overlay]) = &files {
            segmentation.write(&frame, mask, overlay)?;
        }
        Ok::<_, CliError>((bytes, segmentation, files))
    };
    shown(answered(), input.path(), answers.output, |(bytes, segmentation, files)| {
        let [mask, overlay] = files.map_or([None, None], |files| files.map(Some));
        let classes = largest_shares(&segmentation, args.top as usize);
        answers.show(&bytes, &PixelAnswer { image: input.path(), classes, mask, overlay }, pixel_text)
    })
}

/// The classes with most pixels, at most `top` of those that have some.
fn largest_shares(segmentation: &Segmentation, top: usize) -> Vec<Share<'_>> {
    let shares = segmentation.shares().into_iter().zip(segmentation.labels().iter()).enumerate();
    let mut shares: Vec<Share<'_>> = shares
        .filter(|(_, (share, _))| *share > 0.0)
        .map(|(index, (share, label))| Share { index, label, share })
        .collect();
    shares.sort_by(|one, other| other.share.total_cmp(&one.share));
    shares.truncate(top);
    shares
}

fn pixel_text(answer: &PixelAnswer<'_>) -> Text {
    let mut text = Text::from(answer.image.display());
    for Share { label, share, .. } in &answer.classes {
        text.line(format!("  {:>7}  {label}", percent(*share)));
    }
    if let (Some(mask), Some(overlay)) = (&answer.mask, &answer.overlay) {
        text.line(format!("  {}, {}", mask.display(), overlay.display()));
    }
    text
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
    Answer { image, extent: None, top, base_top, novelty }
}

fn text(answer: &Answer<'_>) -> Text {
    let mut text = Text::from(answer.image.display());
    if let Some(extent) = answer.extent {
        text.line(format!("  {extent}"));
    }
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
