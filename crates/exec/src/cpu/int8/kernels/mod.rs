//! int8 kernels: products of unsigned activations with signed weights, summed exactly in i32, on every instruction set.
//!
//! Sums of integers are exact in any order, and the one rule that turns them back into u8 ([`requantise`]) is the same
//! sequence of correctly rounded operations everywhere, so that every [`Isa`] gives the same bits.

#[cfg(target_arch = "x86_64")]
mod avx2;
pub(super) mod depthwise;
#[cfg(target_arch = "aarch64")]
mod dotprod;
pub(super) mod elementwise;
mod epilogue;
mod isa;
mod packed;
#[cfg(target_arch = "x86_64")]
mod pairs;
mod portable;
mod product;
#[cfg(target_arch = "x86_64")]
mod quads;
#[cfg(target_arch = "aarch64")]
mod tap_pairs;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod vnni;
#[cfg(target_arch = "x86_64")]
pub(super) mod winograd;

pub(super) use epilogue::{ColumnAffine, FloatEpilogue, FloatShortcut, Int8Epilogue, QuantisedEpilogue};
pub(super) use isa::Isa;
pub(super) use packed::PackedInt8;
pub(super) use product::{Product, multiply};

/// Columns of a vector, on every instruction set.
pub(super) const LANES: usize = 16;
/// Terms of one dot product of a lane.
pub(super) const GROUP: usize = 4;

/// One vector of weights: [`GROUP`] terms of [`LANES`] columns, on one cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line(pub [i8; LANES * GROUP]);

/// Rounds to the nearest integer, ties to even, and saturates to u8: the one rule by which values become int8.
#[inline(always)]
pub(super) fn requantise(value: f32) -> u8 {
    // Written so that NaN becomes 255, as the vector instructions' minimum has it.
    let bounded = if value < 255.0 { value } else { 255.0 };
    bounded.round_ties_even() as u8
}
