//! What can go wrong while a network runs.

use thiserror::Error;

/// A computation that can't be done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExecError {
    /// The batch's values don't match its shape, it has no pixels, or other channels than the network takes.
    #[error(
        "expected {count}×{height}×{width}×{channels} values with at least one pixel, found {found}: check the batch's \
         shape"
    )]
    Images {
        /// Images announced.
        count: usize,
        /// Rows announced.
        height: usize,
        /// Columns announced.
        width: usize,
        /// Channels that the network takes.
        channels: usize,
        /// Values present.
        found: usize,
    },
    /// A parameter with another number of values than the network's.
    #[error("tensor `{name}`: expected {expected} values, found {found}: were these parameters made for this network?")]
    Tensor {
        /// Its name.
        name: String,
        /// What the network says.
        expected: usize,
        /// What there was.
        found: usize,
    },
    /// Not one label an image.
    #[error("{images} images came with {labels} labels: give one label an image")]
    LabelCount {
        /// Images in the batch.
        images: usize,
        /// Labels in the batch.
        labels: usize,
    },
    /// A label that is not a class.
    #[error("label {found} of image {position} is not below {classes}: labels count from 0")]
    Label {
        /// Which image of the batch.
        position: usize,
        /// Its label.
        found: u32,
        /// How many classes the head has.
        classes: usize,
    },
    /// An image that the network can't take.
    #[error(transparent)]
    Shape(#[from] fieldfit_nets::ShapeError),
    /// No thread pool of that size.
    #[error("can't start {threads} threads: {reason}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the system said.
        reason: String,
    },
    /// A micro-batch without images.
    #[error("a micro-batch of 0 images computes nothing: give at least 1")]
    MicroBatch,
    /// A device that this build or this machine doesn't have.
    #[error("device `{device}` is not to be had: {reason}")]
    Device {
        /// Its name on the command line.
        device: &'static str,
        /// Why, and what to do.
        reason: String,
    },
    /// A trainable tensor that the loss does not depend on.
    #[error("tensor `{name}` receives no gradient: freeze it, or check that a stage of the network uses it")]
    NoGradient {
        /// Its name.
        name: String,
    },
    /// An op that the executor can't compute.
    #[error("stage `{stage}` has {what}, which this executor can't compute: run the network on another device")]
    Unsupported {
        /// The stage that the op belongs to.
        stage: String,
        /// What the op is.
        what: String,
    },
    /// candle failed.
    #[cfg(feature = "candle")]
    #[error("candle: {0}")]
    Candle(#[from] candle_core::Error),
}
