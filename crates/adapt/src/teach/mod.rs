//! Teaching: adds a class to the active version by the mean of its features, without training, or removes one that was added.

mod prototype;
mod taught;
mod verdict;

use crate::error::AdaptError;
use crate::error::TeachError;
use crate::features::FeatureExtractor;
use crate::outcome::Outcome;
use crate::train::training_state::HeadParams;
use fieldfit_data::{Dataset, Fractions, Frame, Pixels};
use fieldfit_delta::Delta;
use fieldfit_delta::limits::MAX_LABEL_BYTES;
use fieldfit_exec::Device;
use fieldfit_model::{Base, Weights};
use fieldfit_tensor::text::find_unprintable;
use fieldfit_tensor::{Matrix, Task};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::time::Instant;
use taught::{Taught, known_means};
use verdict::{Examples, removed, verdict};

/// Least number of images of which some are held back from the mean, to judge it.
const FEWEST_HELD_BACK: usize = 8;
/// One of so many images is held back.
const HELD_BACK: usize = 4;

/// Request for [`teach`]: a class, its images, and what it is added to.
#[derive(Clone, Copy)]
pub struct TeachRequest<'a> {
    /// The base, θ0. It is only read.
    pub base: &'a Base,
    /// The active version, to whose classes the new one is added; `None` where the base runs: then the class begins a head
    /// of its own.
    pub active: Option<&'a Delta<'a>>,
    /// Name of the new class.
    pub class: &'a str,
    /// Images of the new class.
    pub frames: &'a [Frame<'a>],
    /// Images of the active version's classes: the gate judges by them, and class means that it does not record are computed
    /// from them.
    pub known: Option<&'a Dataset>,
    /// Device that computes features.
    pub device: Device,
}

/// Teaches a class: computes its images' features by the active backbone, adds a row of weights made of their mean, and judges
/// the result.
///
/// Of eight images and more, every fourth is held back from the mean and judged by. The verdict counts images of known classes, if
/// there are some, and of the new one: no fewer of all may be right than before, and at least half of the new ones.
///
/// # Errors
/// [`AdaptError::Task`] if the version or known images are of another task; [`AdaptError::Teach`] if the class exists, no label can have its name, there are no images, one is there twice or cannot be
/// decoded, or the means of known classes are unknown; if the device fails.
pub fn teach(request: &TeachRequest<'_>) -> Result<Outcome, AdaptError> {
    let started = Instant::now();
    check_name(request.class)?;
    let order = distinct(request)?;
    let weights = weights(request.base, request.active)?;
    require_classes(weights.task())?;
    let mut taught = Taught::of(&weights, request.active)?;
    if taught.labels.iter().any(|label| label == request.class) {
        return Err(TeachError::Exists { class: request.class.into() }.into());
    }
    let mut extractor = FeatureExtractor::new(request.base, weights, request.device)?;
    let new = extractor.of_frames(request.frames)?;
    let (learned, held_back) = divide(&order);
    let known = known_images(request, &taught.labels)?;
    if taught.means.rows < taught.labels.len() {
        taught.means = known_means(&mut extractor, &taught.labels, known.as_ref())?;
    }
    taught.add(request.class, &mean_of(&new, &learned));
    let judged = if held_back.is_empty() { &learned } else { &held_back };
    let new = judged.iter().map(|&row| new.row(row).to_vec()).collect();
    let mut examples = Examples::new(new, !held_back.is_empty());
    if let Some((dataset, split)) = &known {
        examples.known = Some(extractor.of_samples(dataset, &split.gate)?);
    }
    let (head, before) = (taught.head(), trained_head(extractor.weights()));
    let unjudged = taught.encode(request.base, request.active, &head, None, (learned.len(), examples.images()))?;
    let after = trained_head(&Weights::adapted(request.base, &Delta::parse(&unjudged)?)?);
    let before = request.active.map(|_| &before);
    let gate = verdict(request.class, before, &after, &examples);
    let delta = taught.encode(request.base, request.active, &head, Some(&gate), (learned.len(), examples.images()))?;
    Ok(Outcome { delta, gate, seconds: started.elapsed().as_secs_f64(), probe: no_head() })
}

/// Removes a class that was taught from the active version. Nothing is measured: the weights of the other classes follow from
/// their means.
///
/// # Errors
/// [`AdaptError::Task`] if the version is of another task; [`AdaptError::Teach`] if the class was not taught, or is the only one.
pub fn remove_taught(base: &Base, active: Option<&Delta<'_>>, class: &str) -> Result<Outcome, AdaptError> {
    let started = Instant::now();
    let weights = weights(base, active)?;
    require_classes(weights.task())?;
    let mut taught = Taught::of(&weights, active)?;
    taught.remove(class)?;
    let gate = removed(class);
    let delta = taught.encode(base, active, &taught.head(), Some(&gate), (0, 0))?;
    Ok(Outcome { delta, gate, seconds: started.elapsed().as_secs_f64(), probe: no_head() })
}

/// Refuses versions and images of another task than classification.
fn require_classes(task: Task) -> Result<(), AdaptError> {
    match task {
        Task::Classification => Ok(()),
        Task::Segmentation | Task::Regression | Task::MultiLabel => {
            Err(AdaptError::Task { what: "teaching classes by their means", task })
        }
    }
}

/// The weights of the active version, or of the base.
fn weights(base: &Base, active: Option<&Delta<'_>>) -> Result<Weights, AdaptError> {
    Ok(match active {
        Some(active) => Weights::adapted(base, active)?,
        None => Weights::of_base(base),
    })
}

const fn no_head() -> HeadParams {
    HeadParams { weight: Vec::new(), bias: Vec::new() }
}

/// The images of known classes, labelled by the active version's, and their slices.
fn known_images(
    request: &TeachRequest<'_>,
    labels: &[String],
) -> Result<Option<(Dataset, fieldfit_data::Split)>, AdaptError> {
    let Some(known) = request.known else { return Ok(None) };
    require_classes(known.task())?;
    if request.active.is_none() {
        return Err(TeachError::NoKnownClasses.into());
    }
    let known = known.clone().with_labels(labels)?;
    let split = known.split(&Fractions::default())?;
    Ok(Some((known, split)))
}

/// The head of those weights.
fn trained_head(weights: &Weights) -> HeadParams {
    let head = weights.network.head;
    HeadParams { weight: weights.params[head.weight].to_vec(), bias: weights.params[head.bias].to_vec() }
}

/// Mean of those rows.
fn mean_of(features: &Matrix<f32>, rows: &[usize]) -> Vec<f32> {
    let mut sum = vec![0.0_f64; features.columns];
    for &row in rows {
        sum.iter_mut().zip(features.row(row)).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    sum.iter().map(|sum| (sum / rows.len().max(1) as f64) as f32).collect()
}

fn check_name(class: &str) -> Result<(), TeachError> {
    let is_usable = !class.trim().is_empty() && class.trim() == class && class.len() <= MAX_LABEL_BYTES;
    match is_usable && find_unprintable(class).is_none() {
        true => Ok(()),
        false => Err(TeachError::Name { class: class.into() }),
    }
}

/// The order of the images by their contents' hashes, which does not depend on the order that they were given in.
///
/// # Errors
/// If there are none, or two are the same.
fn distinct(request: &TeachRequest<'_>) -> Result<Vec<usize>, TeachError> {
    if request.frames.is_empty() {
        return Err(TeachError::NoImages { class: request.class.into() });
    }
    let mut hashes = Vec::with_capacity(request.frames.len());
    let mut first = HashMap::new();
    for (second, frame) in request.frames.iter().enumerate() {
        let hash = content(frame);
        if let Some(first) = first.insert(hash, second) {
            return Err(TeachError::Twice { first: first + 1, second: second + 1 });
        }
        hashes.push((hash, second));
    }
    hashes.sort_unstable();
    Ok(hashes.into_iter().map(|(_, index)| index).collect())
}

/// Divides images, in the order of their contents, in those that a class is learned from and those that are held back.
fn divide(order: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let is_held_back = |position: usize| order.len() >= FEWEST_HELD_BACK && position.is_multiple_of(HELD_BACK);
    let pick = |held_back: bool| {
        let images = order.iter().enumerate().filter(|(position, _)| is_held_back(*position) == held_back);
        images.map(|(_, &image)| image).collect()
    };
    (pick(false), pick(true))
}

/// SHA-256 of a frame's bytes.
fn content(frame: &Frame<'_>) -> [u8; 32] {
    match frame {
        Frame::Encoded(bytes) => Sha256::digest(bytes).into(),
        Frame::Pixels(Pixels { data, width, height, stride, format, chroma, timestamp: _ }) => {
            let (chroma, chroma_stride) = chroma.map_or((&[][..], 0), |plane| (plane.data, plane.stride));
            let shape = format!("{width} {height} {stride} {chroma_stride} {format:?}");
            Sha256::new().chain_update(shape).chain_update(data).chain_update(chroma).finalize().into()
        }
    }
}
