//! Golden outputs: what PyTorch computed in f64 with EfficientNet-Lite0's shipped weights,
//! `tests/data/golden_lite0.json`.

use fieldfit_model::Base;
use fieldfit_tensor::Images;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// The file.
#[derive(Debug, Deserialize)]
pub struct Golden {
    /// By the side of the square images, in pixels.
    pub inference: BTreeMap<String, Inference>,
    /// Gradients and steps, at 128 px.
    pub training: Training,
}

impl Golden {
    /// Fails unless an image's logits at that side are the file's, within an absolute tolerance, and the most probable class
    /// is.
    pub fn assert_logits(&self, side: &str, image: usize, found: &[f64], tolerance: f64) {
        let expected = &self.inference[side];
        let top = expected.top5[image].iter().copied().zip(expected.top5_logits[image].iter().copied());
        for (class, logit) in expected.logits_first8[image].iter().copied().enumerate().chain(top) {
            assert_close(found[class], logit, tolerance, &format!("logit {class} of image {image} at {side} px"));
        }
        let best = (0..found.len()).max_by(|&a, &b| found[a].total_cmp(&found[b]));
        assert_eq!(best, Some(expected.top5[image][0]), "the most probable class of image {image} at {side} px");
    }
}

/// What the network makes of images 0 and 1.
#[derive(Debug, Deserialize)]
pub struct Inference {
    /// Of each image, the five most probable classes.
    pub top5: Vec<Vec<usize>>,
    /// Their logits.
    pub top5_logits: Vec<Vec<f64>>,
    /// Of each image, the logits of the first eight classes.
    pub logits_first8: Vec<Vec<f64>>,
    /// By name.
    pub stages: HashMap<String, Summary>,
}

/// A stage's output, flattened as `[N, C, H, W]`.
#[derive(Debug, Deserialize)]
pub struct Summary {
    /// N, C, H, W.
    pub shape: Vec<usize>,
    /// Of all values.
    pub mean: f64,
    /// Of all values, with Bessel's correction left out.
    pub std: f64,
    /// The largest magnitude.
    pub absmax: f64,
    /// The first values.
    pub first4: Vec<f64>,
    /// The last values.
    pub last4: Vec<f64>,
}

/// A batch's gradients, and traces of five steps.
#[derive(Debug, Deserialize)]
pub struct Training {
    /// Cross-entropy of the batch before any step.
    pub loss: f64,
    /// Of each image.
    pub logits: Vec<Vec<f64>>,
    /// By the parameter's name.
    pub grad: HashMap<String, Gradient>,
    /// SGD with momentum.
    pub sgd: Trace,
    /// TPGM under MARS, a radius step after every step.
    pub tpgm_mars_every: Trace,
    /// TPGM under L2, radius steps after the last step.
    pub tpgm_l2_post_hoc: Trace,
    /// FTP on SGD.
    pub ftp_sgd_k1: Trace,
    /// SPD on Adam.
    pub adam_spd: Trace,
}

/// A parameter's gradient.
#[derive(Debug, Deserialize)]
pub struct Gradient {
    /// Its l2 norm.
    pub l2: f64,
    /// Its first values.
    pub first3: Vec<f64>,
}

/// Steps in turn.
#[derive(Debug, Deserialize)]
pub struct Trace {
    /// From the first.
    pub steps: Vec<Step>,
}

/// A step; what the method doesn't have is empty. Maps are by the parameter's name.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Step {
    /// Before the step.
    pub loss: f64,
    /// On the validation images, before a radius step.
    pub val_loss: f64,
    /// Radii that were projected with.
    pub gamma: HashMap<String, f64>,
    /// Radii as Adam left them.
    pub gamma_before_clip: HashMap<String, f64>,
    /// ‖δ‖ after the step.
    pub delta_l2: HashMap<String, f64>,
}

/// Reads the file.
pub fn read() -> Golden {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/golden_lite0.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The base that it is of.
pub fn base() -> Base {
    Base::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/efficientnet-lite0")).unwrap()
}

/// The images that the reference calls b = first, first + 1, …
pub fn images(first: usize, count: usize, side: usize) -> Images {
    let mut images = Images::zeros(count, side, side);
    for (position, value) in images.values.iter_mut().enumerate() {
        let (channel, pixel) = (position % 3 + 1, position / 3);
        let (column, row, image) = (pixel % side + 1, pixel / side % side + 1, pixel / side / side + first);
        let (row, channel, column, image) = (row as f64, channel as f64, column as f64, image as f64);
        *value = ((0.05 * row * channel).sin() * (0.031 * column + 0.7 * image).cos()) as f32;
    }
    images
}

/// Fails unless the two are no further apart than the tolerance.
pub fn assert_close(found: f64, expected: f64, tolerance: f64, what: &str) {
    let gap = (found - expected).abs();
    assert!(gap <= tolerance, "{what}: {found} against {expected}, off by {gap:e}, allowed {tolerance:e}");
}
