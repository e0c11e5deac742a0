//! AVX-512 VNNI: `vpdpbusd` multiplies 64 unsigned with 64 signed bytes and adds fours of products to 16 sums, without
//! saturation.

use super::isa::{Int8Simd, Work};
use super::{LANES, Line};
use std::arch::x86_64::*;

/// AVX-512 with VNNI: a value proves that the CPU has it.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Vnni(());

impl Vnni {
    /// Returns the instruction set, if the CPU has it.
    pub fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni")
            && is_x86_feature_detected!("fma");
        found.then_some(Self(()))
    }

    /// Runs `work`, compiled for the instruction set.
    pub fn vectorize<W: Work>(self, work: W) {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
        fn run<W: Work>(simd: Vnni, work: W) {
            work.run(simd);
        }
        // SAFETY: a value of the type proves that the CPU has the features.
        unsafe { run(self, work) }
    }

    /// Returns the mask of the first lanes.
    #[inline(always)]
    const fn mask(lanes: usize) -> u16 {
        ((1_u32 << lanes) - 1) as u16
    }
}

impl Int8Simd for Vnni {
    const OFFSET: i32 = 0;
    /// 24 of the 32 registers hold sums of the widest tiles.
    const ROWS: [usize; 4] = [8, 8, 8, 6];
    const VECTORS: usize = 4;
    type Left = __m512i;
    type Right = __m512i;
    type Sums = __m512i;
    type I32 = __m512i;
    type F32 = __m512;

    #[inline(always)]
    unsafe fn load_left(self, values: *const u8) -> Self::Left {
        // SAFETY: the caller's promise of four bytes, and the type proves the instruction.
        unsafe { _mm512_set1_epi32(values.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    fn load_right(self, line: &Line) -> Self::Right {
        // SAFETY: a line has 64 bytes and is aligned to as many; the type proves the instruction.
        unsafe { _mm512_load_si512(line.0.as_ptr().cast()) }
    }

    #[inline(always)]
    fn zero(self) -> Self::Sums {
        // SAFETY: the type proves the instruction, here and below.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    fn dot(self, sums: Self::Sums, left: Self::Left, right: Self::Right) -> Self::Sums {
        // SAFETY: as in `zero`.
        unsafe { _mm512_dpbusd_epi32(sums, left, right) }
    }

    #[inline(always)]
    fn finish(self, sums: Self::Sums, start: Self::I32) -> Self::I32 {
        // SAFETY: as in `zero`.
        unsafe { _mm512_add_epi32(sums, start) }
    }

    #[inline(always)]
    fn scaled_i32(self, values: &[i32; LANES], factor: i32) -> Self::I32 {
        // SAFETY: as in `zero`; the array has 64 bytes.
        unsafe { _mm512_mullo_epi32(_mm512_loadu_si512(values.as_ptr().cast()), _mm512_set1_epi32(factor)) }
    }

    #[inline(always)]
    fn to_f32(self, values: Self::I32) -> Self::F32 {
        // SAFETY: as in `zero`.
        unsafe { _mm512_cvtepi32_ps(values) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F32 {
        // SAFETY: as in `zero`.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        // SAFETY: as in `zero`.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        // SAFETY: as in `zero`.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32 {
        // SAFETY: as in `zero`.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn min(self, value: Self::F32, bound: Self::F32) -> Self::F32 {
        // SAFETY: as in `zero`. Of a NaN, the instruction returns its second operand.
        unsafe { _mm512_min_ps(value, bound) }
    }

    #[inline(always)]
    fn max(self, value: Self::F32, bound: Self::F32) -> Self::F32 {
        // SAFETY: as in `zero`. Of a NaN, the instruction returns its second operand.
        unsafe { _mm512_max_ps(value, bound) }
    }

    #[inline(always)]
    fn load_f32(self, values: &[f32]) -> Self::F32 {
        let lanes = values.len().min(LANES);
        // SAFETY: as in `zero`; only the slice's lanes are read.
        unsafe { _mm512_maskz_loadu_ps(Self::mask(lanes), values.as_ptr()) }
    }

    #[inline(always)]
    fn store_f32(self, values: Self::F32, out: &mut [f32]) {
        if out.len() == LANES {
            // SAFETY: as in `zero`; the slice has 16 values.
            return unsafe { _mm512_storeu_ps(out.as_mut_ptr(), values) };
        }
        // SAFETY: as in `zero`; only the slice's lanes are written.
        unsafe { _mm512_mask_storeu_ps(out.as_mut_ptr(), Self::mask(out.len().min(LANES)), values) }
    }

    #[inline(always)]
    fn load_u8(self, values: &[u8]) -> Self::F32 {
        let lanes = values.len().min(LANES);
        // SAFETY: as in `zero`; only the slice's lanes are read.
        unsafe {
            let bytes = _mm_maskz_loadu_epi8(Self::mask(lanes), values.as_ptr().cast());
            _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))
        }
    }

    #[inline(always)]
    fn store_u8(self, values: Self::F32, out: &mut [u8]) {
        // SAFETY: as in `zero`; all 16 values are written only if the slice has as many, else only its lanes.
        unsafe {
            let rounded = _mm512_cvtps_epi32(_mm512_min_ps(values, _mm512_set1_ps(255.0)));
            let bytes = _mm512_cvtusepi32_epi8(_mm512_max_epi32(rounded, _mm512_setzero_si512()));
            if out.len() == LANES {
                _mm_storeu_si128(out.as_mut_ptr().cast(), bytes);
            } else {
                _mm_mask_storeu_epi8(out.as_mut_ptr().cast(), Self::mask(out.len().min(LANES)), bytes);
            }
        }
    }
}
