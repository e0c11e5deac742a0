//! Portable vectors: arrays, which the compiler vectorises for the target's baseline.

use super::isa::Int8Simd;
use super::{GROUP, LANES, Line, requantise};
use std::array::from_fn;

/// Portable instruction set.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Portable;

impl Int8Simd for Portable {
    const OFFSET: i32 = 0;
    const ROWS: [usize; 4] = [2; 4];
    const VECTORS: usize = 1;
    type Left = [u8; GROUP];
    type Right = [i8; LANES * GROUP];
    type Sums = [i32; LANES];
    type I32 = [i32; LANES];
    type F32 = [f32; LANES];

    #[inline(always)]
    unsafe fn load_left(self, values: *const u8) -> Self::Left {
        // SAFETY: the caller's promise; an array of bytes has no alignment.
        unsafe { values.cast::<[u8; GROUP]>().read() }
    }

    #[inline(always)]
    fn load_right(self, line: &Line) -> Self::Right {
        line.0
    }

    #[inline(always)]
    fn zero(self) -> Self::Sums {
        [0; LANES]
    }

    #[inline(always)]
    fn dot(self, sums: Self::Sums, left: Self::Left, right: Self::Right) -> Self::Sums {
        let product = |lane: usize, term: usize| i32::from(left[term]) * i32::from(right[lane * GROUP + term]);
        from_fn(|lane| sums[lane] + (product(lane, 0) + product(lane, 1)) + (product(lane, 2) + product(lane, 3)))
    }

    #[inline(always)]
    fn finish(self, sums: Self::Sums, start: Self::I32) -> Self::I32 {
        from_fn(|lane| sums[lane] + start[lane])
    }

    #[inline(always)]
    fn scaled_i32(self, values: &[i32; LANES], factor: i32) -> Self::I32 {
        values.map(|value| value * factor)
    }

    #[inline(always)]
    fn to_f32(self, values: Self::I32) -> Self::F32 {
        values.map(|value| value as f32)
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F32 {
        [value; LANES]
    }

    #[inline(always)]
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        from_fn(|lane| a[lane] * b[lane])
    }

    #[inline(always)]
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        from_fn(|lane| a[lane] + b[lane])
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32 {
        from_fn(|lane| a[lane].mul_add(b[lane], c[lane]))
    }

    #[inline(always)]
    fn min(self, value: Self::F32, bound: Self::F32) -> Self::F32 {
        from_fn(|lane| if value[lane] < bound[lane] { value[lane] } else { bound[lane] })
    }

    #[inline(always)]
    fn max(self, value: Self::F32, bound: Self::F32) -> Self::F32 {
        from_fn(|lane| if value[lane] > bound[lane] { value[lane] } else { bound[lane] })
    }

    #[inline(always)]
    fn load_f32(self, values: &[f32]) -> Self::F32 {
        let mut lanes = [0.0; LANES];
        lanes[..values.len()].copy_from_slice(values);
        lanes
    }

    #[inline(always)]
    fn store_f32(self, values: Self::F32, out: &mut [f32]) {
        out.copy_from_slice(&values[..out.len()]);
    }

    #[inline(always)]
    fn load_u8(self, values: &[u8]) -> Self::F32 {
        let mut lanes = [0.0; LANES];
        lanes.iter_mut().zip(values).for_each(|(lane, value)| *lane = f32::from(*value));
        lanes
    }

    #[inline(always)]
    fn store_u8(self, values: Self::F32, out: &mut [u8]) {
        out.iter_mut().zip(values).for_each(|(out, value)| *out = requantise(value));
    }
}
