//! Tests of the outputs of one pass: top classes, the scores of all classes and features are those of the same pass, to the
//! bit, whatever call computes them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use fieldfit::{Device, Error, FRAMES_PER_PASS, Frame, PixelFormat, Pixels, Prediction, Runtime, Version};
use fieldfit_tests::{message, tiny};
use std::path::Path;

const SIDES: [u32; 2] = [40, 32];

fn open(model: &Path) -> Runtime {
    Runtime::builder(model).device(Device::Cpu { threads: 2 }).open().unwrap()
}

/// Frames of noise, each its own.
fn images(count: usize) -> Vec<Vec<u8>> {
    let pixels = (SIDES[0] * SIDES[1] * 3) as usize;
    (0..count)
        .map(|image| (0..pixels).map(|index| ((index * (7 + image) + 31 * image) % 251) as u8).collect())
        .collect()
}

fn frames(images: &[Vec<u8>]) -> Vec<Frame<'_>> {
    let [width, height] = SIDES;
    images.iter().map(|data| Frame::Pixels(Pixels::packed(data, PixelFormat::Bgr8, width, height))).collect()
}

/// All that a prediction says, to the bit.
fn said(prediction: &Prediction) -> Vec<(u32, u32)> {
    prediction.top().map(|ranked| (ranked.index, ranked.probability.to_bits())).collect()
}

/// Catches: scores in another order than the labels', of a softmax over some classes, or of other bits than the prediction's.
#[test]
fn scores_are_the_probabilities_of_every_class() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = open(&tiny::base(folder.path(), 1));
    let (images, labels) = (images(3), runtime.labels());
    for frame in &frames(&images) {
        let mut scores = vec![f32::NAN; labels.len()];
        let prediction = runtime.scores(frame, &mut scores).unwrap();
        assert_eq!(said(&prediction), said(&runtime.infer(frame).unwrap()));
        assert_eq!(prediction.labels(), &labels);
        for ranked in prediction.top() {
            assert_eq!(scores[ranked.index as usize].to_bits(), ranked.probability.to_bits(), "{ranked:?}");
        }
        let total: f32 = scores.iter().sum();
        assert!((total - 1.0).abs() < 1e-5, "the probabilities of all classes add up to {total}");
    }
}

/// Catches: frames of a batch that are mixed up, computed with the buffers of others, or with other bits than alone.
#[test]
fn a_batch_is_answered_as_each_of_its_frames() {
    let folder = tempfile::tempdir().unwrap();
    for architecture in ["efficientnet-tiny", "vit-micro"] {
        let runtime = open(&tiny::base_of(folder.path(), architecture, architecture.len() as u64));
        let images = images(2 * FRAMES_PER_PASS.get() + 3);
        let mut predictions = Vec::new();
        for count in [images.len(), 1, FRAMES_PER_PASS.get(), 0, 2] {
            let frames = &frames(&images)[..count];
            runtime.infer_batch(frames, &mut predictions).unwrap();
            let alone: Vec<_> = frames.iter().map(|frame| said(&runtime.infer(frame).unwrap())).collect();
            assert_eq!(predictions.iter().map(said).collect::<Vec<_>>(), alone, "{architecture}, {count} frames");
        }
        assert!(said(&predictions[0]) != said(&predictions[1]), "the frames can be told apart");
    }
}

/// Catches: features after the head, before the last pooling, or of another frame.
#[test]
fn the_head_of_the_embedding_gives_the_scores() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = open(&tiny::base(folder.path(), 1));
    let head = runtime.base().network().head;
    let [mut weight, mut bias] = [vec![0.0; head.classes * head.features], vec![0.0; head.classes]];
    runtime.base().tensor(head.weight).copy_into(&mut weight);
    runtime.base().tensor(head.bias).copy_into(&mut bias);
    for frame in &frames(&images(2)) {
        let (mut scores, mut features) = (vec![0.0; head.classes], vec![0.0; runtime.embedding_len()]);
        runtime.scores(frame, &mut scores).unwrap();
        assert_eq!(runtime.embed(frame, &mut features).unwrap(), Version::Base);
        let logit = |class: usize| -> f64 {
            let row = &weight[class * head.features..][..head.features];
            let product = row.iter().zip(&features).map(|(weight, feature)| f64::from(weight * feature));
            f64::from(bias[class]) + product.sum::<f64>()
        };
        let shares: Vec<f64> = (0..head.classes).map(|class| logit(class).exp()).collect();
        let total: f64 = shares.iter().sum();
        for (share, score) in shares.iter().zip(scores) {
            assert!((share / total - f64::from(score)).abs() < 1e-5, "{} and {score}", share / total);
        }
    }
}

/// Catches: a write beyond a buffer, part of an answer in a buffer that is too long, or a batch whose error does not say which
/// frame it is about.
#[test]
fn what_does_not_fit_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = open(&tiny::base(folder.path(), 1));
    let (images, classes) = (images(3), runtime.labels().len());
    let mut frames = frames(&images);
    for length in [0, classes - 1, classes + 1] {
        let error = runtime.scores(&frames[0], &mut vec![0.0; length]).unwrap_err();
        assert!(matches!(error, Error::BufferLength { expected, found, .. } if (expected, found) == (classes, length)));
        assert!(runtime.embed(&frames[0], &mut vec![0.0; runtime.embedding_len() + 1]).is_err());
    }
    frames[2] = Frame::Encoded(b"no image");
    let mut predictions = Vec::new();
    let error = runtime.infer_batch(&frames, &mut predictions).unwrap_err();
    assert!(matches!(error, Error::BatchFrame { index: 2, .. }), "{error}");
    assert!(message(&error).contains("frame 2 of the batch"), "{}", message(&error));
    assert!(predictions.is_empty(), "no partial result");
    assert_eq!(runtime.drift().frames, 0, "frames without an answer count for nothing");
}

/// Catches: answers of these calls that drift or a trial do not count, or count twice.
#[test]
fn every_answer_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = open(&tiny::base(folder.path(), 1));
    let images = images(FRAMES_PER_PASS.get() + 1);
    let frames = frames(&images);
    runtime.infer_batch(&frames, &mut Vec::new()).unwrap();
    assert_eq!(runtime.drift().frames, frames.len());
    runtime.scores(&frames[0], &mut vec![0.0; runtime.labels().len()]).unwrap();
    assert_eq!(runtime.drift().frames, frames.len() + 1);
    runtime.embed(&frames[0], &mut vec![0.0; runtime.embedding_len()]).unwrap();
    assert_eq!(runtime.drift().frames, frames.len() + 1, "features have no confidence");
}
