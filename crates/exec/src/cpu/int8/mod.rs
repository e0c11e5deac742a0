//! int8 inference: weights quantised per output, activations u8 with a scale per value, sums exact in i32.
//!
//! `q = requantise(Σ (x − z) · w · multiplier + addend + shortcut · factor)` is one rule on every instruction set, so that a
//! network gives the same bits on all of them. Scales of activations come from [`calibration`]; rows of a linear layer
//! have scales of their own. What stays f32 is decided in [`lowering`], and [`coverage`] says it.

mod calibration;
mod coverage;
mod forward;
pub(super) mod kernels;
mod lowering;
mod network;
mod quantisation;
mod schedule;
mod weights;

pub use calibration::Calibrator;
pub use coverage::{Int8Coverage, int8_coverage, int8_instructions};
pub(super) use lowering::Lowering;
pub(super) use network::{Int8Network, Int8Pass};
pub(super) use schedule::Int8Schedule;
