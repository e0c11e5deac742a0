//! Shared types: scalars, norms, dtypes, tensor views, parameter lists, image batches, preprocessing and tasks.
//!
//! The bottom of the workspace: no other crate of Fieldfit lies below it, and it knows no network, file or thread.
//!
//! | type | what it is |
//! |---|---|
//! | [`Norm`] | how the distance of a tensor from its base is measured |
//! | [`Real`] | the scalar types `f32` and `f64` |
//! | [`Dtype`], [`QuantisedRows`], [`TensorView`] | one tensor of a base in its stored type, read in place |
//! | [`TensorId`], [`Params`] | values by tensor, in a network's order |
//! | [`Images`], [`Matrix`] | a batch of images, and one row of values an image |
//! | [`ActivationRanges`] | between which values activations lie, for int8 |
//! | [`Preprocessing`], [`Fit`], [`Filter`] | how pixels become a network's input |
//! | [`Precision`] | f32 or int8 inference |
//! | [`Task`] | what a network answers about an image |
//! | [`text`] | escapes foreign text for output |
//!
//! Without the default feature `std`, [`Norm`], [`Task`], [`text`] and [`MAX_TENSORS`] are left, for the delta reader on a
//! microcontroller.

#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

#[cfg(feature = "std")]
mod activation_ranges;
#[cfg(feature = "std")]
mod images;
#[cfg(feature = "std")]
mod matrix;
mod norm;
#[cfg(feature = "std")]
mod params;
mod precision;
#[cfg(feature = "std")]
mod preprocessing;
#[cfg(feature = "std")]
mod quantised_rows;
#[cfg(feature = "std")]
mod real;
mod task;
#[cfg(feature = "std")]
mod tensor_view;
pub mod text;

#[cfg(feature = "std")]
pub use activation_ranges::{ActivationRanges, InvalidRange};
#[cfg(feature = "std")]
pub use images::Images;
#[cfg(feature = "std")]
pub use matrix::Matrix;
pub use norm::Norm;
#[cfg(feature = "std")]
pub use params::{Params, TensorId, TensorLayout, by_tensor};
pub use precision::Precision;
#[cfg(feature = "std")]
pub use preprocessing::{Filter, Fit, Preprocessing};
#[cfg(feature = "std")]
pub use quantised_rows::QuantisedRows;
#[cfg(feature = "std")]
pub use real::Real;
pub use task::Task;
#[cfg(feature = "std")]
pub use tensor_view::{Dtype, TensorView};

/// The greatest number of tensors of a network, a delta or a checkpoint.
pub const MAX_TENSORS: usize = 4096;
