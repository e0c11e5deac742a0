//! `fieldfit infer`.

use crate::args::InferArgs;
use crate::error::CliError;
use crate::output::{Output, percent};
use fieldfit::{Frame, Prediction, Runtime};
use serde::Serialize;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// What is on one image.
#[derive(Serialize)]
struct Answer<'a> {
    image: &'a Path,
    top: Vec<Class<'a>>,
}

#[derive(Serialize)]
struct Class<'a> {
    index: u32,
    label: &'a str,
    score: f32,
}

pub fn run(args: &InferArgs) -> Result<(), CliError> {
    let output = Output::new(args.json);
    let runtime = super::runtime(&args.model).open()?;
    let mut failed = 0;
    for image in &args.images {
        match infer(&runtime, image) {
            Ok(prediction) => output.show(&answer(image, &prediction, args.top as usize), text)?,
            Err(error) => {
                failed += 1;
                log::error!("{}: {}", image.display(), crate::error::chain(&error));
            }
        }
    }
    if failed > 0 { Err(CliError::Images { failed, images: args.images.len() }) } else { Ok(()) }
}

fn infer(runtime: &Runtime, image: &Path) -> Result<Prediction, fieldfit::Error> {
    let bytes = fs::read(image).map_err(|source| fieldfit::Error::Read { path: image.to_owned(), source })?;
    runtime.infer(&Frame::Encoded(&bytes))
}

fn answer<'a>(image: &'a Path, prediction: &'a Prediction, top: usize) -> Answer<'a> {
    let class =
        |ranked: fieldfit::Ranked<'a>| Class { index: ranked.index, label: ranked.label, score: ranked.probability };
    Answer { image, top: prediction.top().take(top).map(class).collect() }
}

fn text(answer: &Answer<'_>) -> String {
    let mut text = answer.image.display().to_string();
    for Class { label, score, .. } in &answer.top {
        // Writing to a string can't fail.
        let _ = write!(text, "\n  {:>7}  {label}", percent(f64::from(*score)));
    }
    text
}
