//! NEON with dot products (Armv8.2, e.g. Cortex-A76): `sdot` multiplies 16 pairs of signed bytes and adds fours of
//! products to 4 sums. The unsigned left values are shifted by 128 to be signed.

use super::isa::{Int8Simd, Work};
use super::{LANES, Line};
use std::arch::aarch64::*;
use std::arch::{asm, is_aarch64_feature_detected};
use std::array::from_fn;

/// NEON with dot products: a value proves that the CPU has it.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct DotProd(());

impl DotProd {
    /// Returns the instruction set, if the CPU has it.
    pub fn detect() -> Option<Self> {
        (is_aarch64_feature_detected!("neon") && is_aarch64_feature_detected!("dotprod")).then_some(Self(()))
    }

    /// Runs `work`, compiled for the instruction set.
    pub fn vectorize<W: Work>(self, work: W) {
        #[target_feature(enable = "neon,dotprod")]
        fn run<W: Work>(simd: DotProd, work: W) {
            work.run(simd);
        }
        // SAFETY: a value of the type proves that the CPU has the features.
        unsafe { run(self, work) }
    }

    /// Adds fours of products to the sums. The intrinsic is unstable in Rust.
    #[inline(always)]
    fn sdot(self, mut sums: int32x4_t, left: int8x16_t, right: int8x16_t) -> int32x4_t {
        // SAFETY: the instruction reads and writes registers alone; the type proves that the CPU has it.
        unsafe {
            asm!(
                ".arch_extension dotprod",
                "sdot {sums:v}.4s, {left:v}.16b, {right:v}.16b",
                sums = inout(vreg) sums,
                left = in(vreg) left,
                right = in(vreg) right,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        sums
    }
}

impl Int8Simd for DotProd {
    const OFFSET: i32 = 128;
    /// 16 of the 32 registers hold sums: with 24, the compiler has too few for the rest, and moves and spills sums at every group.
    const ROWS: [usize; 4] = [4; 4];
    const VECTORS: usize = 1;
    type Left = int8x16_t;
    type Right = [int8x16_t; 4];
    type Sums = [int32x4_t; 4];
    type I32 = [int32x4_t; 4];
    type F32 = [float32x4_t; 4];

    #[inline(always)]
    unsafe fn load_left(self, values: *const u8) -> Self::Left {
        // SAFETY: the caller's promise of four bytes, and the type proves the instructions.
        unsafe {
            let bytes = vreinterpretq_u8_u32(vdupq_n_u32(values.cast::<u32>().read_unaligned()));
            vreinterpretq_s8_u8(veorq_u8(bytes, vdupq_n_u8(128)))
        }
    }

    #[inline(always)]
    fn load_right(self, line: &Line) -> Self::Right {
        let (quarters, _) = line.0.as_chunks::<16>();
        // SAFETY: a quarter has 16 bytes; the type proves the instructions, here and below.
        from_fn(|part| unsafe { vld1q_s8(quarters[part].as_ptr()) })
    }

    #[inline(always)]
    fn zero(self) -> Self::Sums {
        // SAFETY: as in `load_right`.
        [unsafe { vdupq_n_s32(0) }; 4]
    }

    #[inline(always)]
    fn dot(self, sums: Self::Sums, left: Self::Left, right: Self::Right) -> Self::Sums {
        from_fn(|part| self.sdot(sums[part], left, right[part]))
    }

    #[inline(always)]
    fn finish(self, sums: Self::Sums, start: Self::I32) -> Self::I32 {
        // SAFETY: as in `load_right`.
        from_fn(|part| unsafe { vaddq_s32(sums[part], start[part]) })
    }

    #[inline(always)]
    fn scaled_i32(self, values: &[i32; LANES], factor: i32) -> Self::I32 {
        let (quarters, _) = values.as_chunks::<4>();
        // SAFETY: as in `load_right`; a quarter has 4 values.
        from_fn(|part| unsafe { vmulq_n_s32(vld1q_s32(quarters[part].as_ptr()), factor) })
    }

    #[inline(always)]
    fn to_f32(self, values: Self::I32) -> Self::F32 {
        // SAFETY: as in `load_right`.
        values.map(|values| unsafe { vcvtq_f32_s32(values) })
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F32 {
        // SAFETY: as in `load_right`.
        [unsafe { vdupq_n_f32(value) }; 4]
    }

    #[inline(always)]
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        // SAFETY: as in `load_right`.
        from_fn(|part| unsafe { vmulq_f32(a[part], b[part]) })
    }

    #[inline(always)]
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        // SAFETY: as in `load_right`.
        from_fn(|part| unsafe { vaddq_f32(a[part], b[part]) })
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32 {
        // SAFETY: as in `load_right`.
        from_fn(|part| unsafe { vfmaq_f32(c[part], a[part], b[part]) })
    }

    #[inline(always)]
    fn min(self, value: Self::F32, bound: Self::F32) -> Self::F32 {
        // SAFETY: as in `load_right`. Of a quiet NaN and a number, the instruction returns the number.
        from_fn(|part| unsafe { vminnmq_f32(value[part], bound[part]) })
    }

    #[inline(always)]
    fn max(self, value: Self::F32, bound: Self::F32) -> Self::F32 {
        // SAFETY: as in `load_right`. Of a quiet NaN and a number, the instruction returns the number.
        from_fn(|part| unsafe { vmaxnmq_f32(value[part], bound[part]) })
    }

    #[inline(always)]
    fn load_f32(self, values: &[f32]) -> Self::F32 {
        let mut lanes = [0.0; LANES];
        lanes[..values.len()].copy_from_slice(values);
        let (quarters, _) = lanes.as_chunks::<4>();
        // SAFETY: as in `load_right`; a quarter has 4 values.
        from_fn(|part| unsafe { vld1q_f32(quarters[part].as_ptr()) })
    }

    #[inline(always)]
    fn store_f32(self, values: Self::F32, out: &mut [f32]) {
        let mut lanes = [0.0; LANES];
        for (quarter, values) in lanes.as_chunks_mut::<4>().0.iter_mut().zip(values) {
            // SAFETY: as in `load_right`; a quarter has 4 values.
            unsafe { vst1q_f32(quarter.as_mut_ptr(), values) }
        }
        out.copy_from_slice(&lanes[..out.len()]);
    }

    #[inline(always)]
    fn load_u8(self, values: &[u8]) -> Self::F32 {
        let mut lanes = [0; LANES];
        lanes[..values.len()].copy_from_slice(values);
        // SAFETY: as in `load_right`; the array has 16 bytes.
        unsafe {
            let bytes = vld1q_u8(lanes.as_ptr());
            let words = [vmovl_u8(vget_low_u8(bytes)), vmovl_u8(vget_high_u8(bytes))];
            let [a, b] = words.map(|words| [vmovl_u16(vget_low_u16(words)), vmovl_u16(vget_high_u16(words))]);
            [a[0], a[1], b[0], b[1]].map(|values| vcvtq_f32_u32(values))
        }
    }

    #[inline(always)]
    fn store_u8(self, values: Self::F32, out: &mut [u8]) {
        let mut lanes = [0_u8; LANES];
        // SAFETY: as in `load_right`; the array has 16 bytes. Conversion and narrowing saturate.
        unsafe {
            let bound = vdupq_n_f32(255.0);
            let [a, b, c, d] = values.map(|values| vqmovun_s32(vcvtnq_s32_f32(vminnmq_f32(values, bound))));
            let bytes = vcombine_u8(vqmovn_u16(vcombine_u16(a, b)), vqmovn_u16(vcombine_u16(c, d)));
            vst1q_u8(lanes.as_mut_ptr(), bytes);
        }
        out.copy_from_slice(&lanes[..out.len()]);
    }
}
