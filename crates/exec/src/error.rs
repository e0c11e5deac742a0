//! Execution errors: invalid inputs, unsupported ops, and device failures.

use thiserror::Error;

/// Execution error.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExecError {
    /// The batch's values do not match its shape, it has no pixels, or the channels are wrong.
    #[error(
        "batch: expected {count}×{height}×{width}×{channels} values with at least one pixel, found {found}: check the batch's \
         shape"
    )]
    Images {
        /// Images of the batch.
        count: usize,
        /// Rows of an image.
        height: usize,
        /// Columns of an image.
        width: usize,
        /// Channels of the network's input.
        channels: usize,
        /// Values of the batch.
        found: usize,
    },
    /// A parameter with the wrong number of values.
    #[error("tensor `{name}`: expected {expected} values, found {found}: use parameters of this network")]
    Tensor {
        /// The tensor.
        name: String,
        /// Values in the network.
        expected: usize,
        /// Values of the parameter.
        found: usize,
    },
    /// A number of labels other than the number of images.
    #[error("labels: expected one for each of {images} images, found {labels}: pass one label per image")]
    LabelCount {
        /// Images in the batch.
        images: usize,
        /// Labels in the batch.
        labels: usize,
    },
    /// A label that is not a class index.
    #[error("label of image {position}: expected less than {classes}, found {found}: labels count from 0")]
    Label {
        /// Index of the image in the batch.
        position: usize,
        /// Its label.
        found: u32,
        /// Classes of the head.
        classes: usize,
    },
    /// Masks of another size than the network's output.
    #[error(
        "masks: expected {pixels} pixels to divide the {logits} logits of an image: resample masks to the network's output"
    )]
    MaskPixels {
        /// Pixels of a mask.
        pixels: usize,
        /// Logits of an image.
        logits: usize,
    },
    /// Targets or labels that are not as many as the outputs.
    #[error("targets: expected one for each of {outputs} outputs, found {found}: use a head for these targets")]
    TargetCount {
        /// Outputs of an image.
        outputs: usize,
        /// Targets or labels of an image.
        found: usize,
    },
    /// An image shape that the network does not accept.
    #[error(transparent)]
    Shape(#[from] fieldfit_nets::ShapeError),
    /// Sections that cannot be computed apart from the rest.
    #[error(transparent)]
    Cut(#[from] fieldfit_nets::CutError),
    /// The thread pool cannot start.
    #[error("cannot start {threads} threads: {reason}")]
    Threads {
        /// Threads requested.
        threads: usize,
        /// The system's reason.
        reason: String,
    },
    /// A micro-batch of 0 images.
    #[error("micro-batch: expected at least 1 image, found 0: pass a larger micro-batch")]
    MicroBatch,
    /// A device that is unavailable in this build or on this machine.
    #[error("device `{device}` is unavailable: {reason}")]
    Device {
        /// The device's name on the command line.
        device: &'static str,
        /// The reason, and what to do.
        reason: String,
    },
    /// A parameter that int8 inference cannot represent.
    #[error(
        "tensor `{name}`: value {index} is not finite, and cannot be quantised: use `--precision f32`, or other weights"
    )]
    NotFinite {
        /// The tensor.
        name: String,
        /// Position of the value.
        index: usize,
    },
    /// Activation ranges of another network.
    #[error(
        "activation ranges: expected {expected} values, found {found}: calibrate this network with `fieldfit calibrate`, or adapt it for int8"
    )]
    RangeCount {
        /// Values of the network's graph.
        expected: usize,
        /// Values with a range.
        found: usize,
    },
    /// A calibration without images.
    #[error("calibration: expected at least 1 image, found 0: pass images of the place where the network runs")]
    NoCalibration,
    /// An activation that is not finite while a network is calibrated.
    #[error("calibration: value {value} of the network is not finite: use other weights or images")]
    ActivationNotFinite {
        /// Position of the value in the graph; 0 is the image.
        value: usize,
    },
    /// A trainable tensor that the loss does not depend on.
    #[error("tensor `{name}` receives no gradient: freeze it, or check that a stage of the network uses it")]
    NoGradient {
        /// The tensor.
        name: String,
    },
    /// An op that the executor does not support.
    #[error("stage `{stage}`: unsupported: {what}: run the network on another device")]
    Unsupported {
        /// The op's stage.
        stage: String,
        /// Description of the op.
        what: String,
    },
    /// An error of candle.
    #[cfg(feature = "candle")]
    #[error("candle: {0}")]
    Candle(#[from] candle_core::Error),
}
