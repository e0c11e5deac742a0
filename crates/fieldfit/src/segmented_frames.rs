//! Segmented frames: pictures of the frames that a segmenter names least right, with their true and predicted classes, for reports.

use crate::Error;
use crate::image_set::ImageSet;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use fieldfit_adapt::Classifier;
use fieldfit_adapt::metrics::{Score, predictions};
use fieldfit_data::{Masks, Targets, class_colour, encode_mask, encode_thumbnail};
use fieldfit_report::SegmentedFrame;

/// Number of frames of a set.
const SHOWN: usize = 3;
/// Longer side of a picture, in pixels.
const SIDE: usize = 160;

/// Returns the colours of classes in the pictures, in hexadecimal, as in `#800000`.
pub(crate) fn class_colours(classes: usize) -> Vec<String> {
    let colour = |class: usize| {
        let [red, green, blue] = class_colour(class as u8);
        format!("#{red:02x}{green:02x}{blue:02x}")
    };
    (0..classes).map(colour).collect()
}

/// Draws the frames of a set with the smallest share of right pixels, as the network sees them; `scores` are those of the set.
///
/// # Errors
/// If a frame cannot be read any more, or the device fails.
pub(crate) fn least_right(
    classifier: &Classifier,
    set: &ImageSet,
    scores: &[Score],
) -> Result<Vec<SegmentedFrame>, Error> {
    let mut ranked: Vec<&Score> = scores.iter().filter(|score| score.of > 0).collect();
    ranked.sort_by(|one, other| share(one).total_cmp(&share(other)).then(one.sample.cmp(&other.sample)));
    ranked.truncate(SHOWN);
    let order = ranked.iter().map(|score| score.sample).collect();
    let mut frames = Vec::new();
    for batch in (ImageSet { order, ..set.clone() }).classified_by(classifier)? {
        let (batch, logits) = batch?;
        let Targets::Masks(truth) = &batch.targets else { break };
        let classes = predictions(&logits, 0..classifier.labels().len()).map(|class| class as u8).collect();
        let answer = Masks { values: classes, ..truth.clone() };
        for (position, sample) in batch.samples.iter().enumerate() {
            let picture = classifier.preprocessor().picture(batch.images.image(position))?;
            frames.push(SegmentedFrame {
                file: set.images.samples[*sample].image.file_name().into_owned(),
                accuracy: ranked.iter().find(|score| score.sample == *sample).map_or(0.0, |score| share(score)),
                frame: data_uri("jpeg", &encode_thumbnail(picture, SIDE as u32)?),
                truth: mask_picture(truth, position)?,
                answer: mask_picture(&answer, position)?,
            });
        }
    }
    Ok(frames)
}

/// Share of the pixels that count whose class is right, 0..1.
fn share(score: &Score) -> f64 {
    score.right as f64 / score.of.max(1) as f64
}

/// Draws the mask at that position, no larger than a picture.
fn mask_picture(masks: &Masks, position: usize) -> Result<String, Error> {
    let longer = masks.height.max(masks.width);
    let [height, width] = [masks.height, masks.width].map(|side| (side * SIDE.min(longer) / longer).max(1));
    let classes: Vec<u8> = masks.nearest(position, [height, width]).collect();
    Ok(data_uri("png", &encode_mask(width as u32, height as u32, &classes)?))
}

/// Returns a file of that kind of image as a data URI.
pub(crate) fn data_uri(kind: &str, bytes: &[u8]) -> String {
    format!("data:image/{kind};base64,{}", BASE64_STANDARD.encode(bytes))
}
