//! AVX2 and FMA: bytes are widened to i16 and multiplied by `vpmaddwd`, whose sums of two products cannot overflow.
//! `vpmaddubsw` would take half the instructions, but saturates: 255 · 127 · 2 does not fit in i16.

use super::isa::{Int8Simd, Work};
use super::{LANES, Line};
use std::arch::x86_64::*;

/// AVX2 with FMA: a value proves that the CPU has it.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Avx2(());

impl Avx2 {
    /// Returns the instruction set, if the CPU has it.
    pub fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }

    /// Runs `work`, compiled for the instruction set.
    pub fn vectorize<W: Work>(self, work: W) {
        #[target_feature(enable = "avx2,fma")]
        fn run<W: Work>(simd: Avx2, work: W) {
            work.run(simd);
        }
        // SAFETY: a value of the type proves that the CPU has the features.
        unsafe { run(self, work) }
    }
}

impl Int8Simd for Avx2 {
    const OFFSET: i32 = 0;
    /// 12 of the 16 registers hold sums.
    const ROWS: [usize; 4] = [3; 4];
    const VECTORS: usize = 1;
    /// The four values as i16, four times.
    type Left = __m256i;
    type Right = [__m256i; 4];
    /// Sums of two terms each, of four columns each.
    type Sums = [__m256i; 4];
    type I32 = [__m256i; 2];
    type F32 = [__m256; 2];

    #[inline(always)]
    unsafe fn load_left(self, values: *const u8) -> Self::Left {
        // SAFETY: the caller's promise of four bytes, and the type proves the instructions.
        unsafe { _mm256_cvtepu8_epi16(_mm_set1_epi32(values.cast::<i32>().read_unaligned())) }
    }

    #[inline(always)]
    fn load_right(self, line: &Line) -> Self::Right {
        let (quarters, _) = line.0.as_chunks::<16>();
        // SAFETY: a quarter has 16 bytes; the type proves the instructions, here and below.
        std::array::from_fn(|part| unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(quarters[part].as_ptr().cast())) })
    }

    #[inline(always)]
    fn zero(self) -> Self::Sums {
        // SAFETY: as in `load_right`.
        [unsafe { _mm256_setzero_si256() }; 4]
    }

    #[inline(always)]
    fn dot(self, sums: Self::Sums, left: Self::Left, right: Self::Right) -> Self::Sums {
        // SAFETY: as in `load_right`.
        std::array::from_fn(|part| unsafe { _mm256_add_epi32(sums[part], _mm256_madd_epi16(left, right[part])) })
    }

    #[inline(always)]
    fn finish(self, sums: Self::Sums, start: Self::I32) -> Self::I32 {
        // The horizontal addition works on halves of a register: its middle quarters change places.
        // SAFETY: as in `load_right`.
        std::array::from_fn(|half| unsafe {
            let added = _mm256_hadd_epi32(sums[2 * half], sums[2 * half + 1]);
            _mm256_add_epi32(_mm256_permute4x64_epi64::<0b11_01_10_00>(added), start[half])
        })
    }

    #[inline(always)]
    fn scaled_i32(self, values: &[i32; LANES], factor: i32) -> Self::I32 {
        let (halves, _) = values.as_chunks::<8>();
        // SAFETY: as in `load_right`; a half has 32 bytes.
        std::array::from_fn(|half| unsafe {
            _mm256_mullo_epi32(_mm256_loadu_si256(halves[half].as_ptr().cast()), _mm256_set1_epi32(factor))
        })
    }

    #[inline(always)]
    fn to_f32(self, values: Self::I32) -> Self::F32 {
        // SAFETY: as in `load_right`.
        values.map(|values| unsafe { _mm256_cvtepi32_ps(values) })
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F32 {
        // SAFETY: as in `load_right`.
        [unsafe { _mm256_set1_ps(value) }; 2]
    }

    #[inline(always)]
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        // SAFETY: as in `load_right`.
        std::array::from_fn(|half| unsafe { _mm256_mul_ps(a[half], b[half]) })
    }

    #[inline(always)]
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        // SAFETY: as in `load_right`.
        std::array::from_fn(|half| unsafe { _mm256_add_ps(a[half], b[half]) })
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32 {
        // SAFETY: as in `load_right`.
        std::array::from_fn(|half| unsafe { _mm256_fmadd_ps(a[half], b[half], c[half]) })
    }

    #[inline(always)]
    fn min(self, value: Self::F32, bound: Self::F32) -> Self::F32 {
        // SAFETY: as in `load_right`. Of a NaN, the instruction returns its second operand.
        std::array::from_fn(|half| unsafe { _mm256_min_ps(value[half], bound[half]) })
    }

    #[inline(always)]
    fn max(self, value: Self::F32, bound: Self::F32) -> Self::F32 {
        // SAFETY: as in `load_right`. Of a NaN, the instruction returns its second operand.
        std::array::from_fn(|half| unsafe { _mm256_max_ps(value[half], bound[half]) })
    }

    #[inline(always)]
    fn load_f32(self, values: &[f32]) -> Self::F32 {
        let mut lanes = [0.0; LANES];
        lanes[..values.len()].copy_from_slice(values);
        let (halves, _) = lanes.as_chunks::<8>();
        // SAFETY: as in `load_right`; a half has 8 values.
        std::array::from_fn(|half| unsafe { _mm256_loadu_ps(halves[half].as_ptr()) })
    }

    #[inline(always)]
    fn store_f32(self, values: Self::F32, out: &mut [f32]) {
        let mut lanes = [0.0; LANES];
        for (half, values) in lanes.as_chunks_mut::<8>().0.iter_mut().zip(values) {
            // SAFETY: as in `load_right`; a half has 8 values.
            unsafe { _mm256_storeu_ps(half.as_mut_ptr(), values) }
        }
        out.copy_from_slice(&lanes[..out.len()]);
    }

    #[inline(always)]
    fn load_u8(self, values: &[u8]) -> Self::F32 {
        let mut lanes = [0; LANES];
        lanes[..values.len()].copy_from_slice(values);
        let (halves, _) = lanes.as_chunks::<8>();
        // SAFETY: as in `load_right`; a half has 8 bytes.
        std::array::from_fn(|half| unsafe {
            _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(halves[half].as_ptr().cast())))
        })
    }

    #[inline(always)]
    fn store_u8(self, values: Self::F32, out: &mut [u8]) {
        let mut lanes = [0_u8; LANES];
        // SAFETY: as in `load_right`; the array has 16 bytes. Packing works on halves of a register, as in `finish`.
        unsafe {
            let bound = _mm256_set1_ps(255.0);
            let [low, high] = values.map(|values| _mm256_cvtps_epi32(_mm256_min_ps(values, bound)));
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(low, high));
            let bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            _mm_storeu_si128(lanes.as_mut_ptr().cast(), bytes);
        }
        out.copy_from_slice(&lanes[..out.len()]);
    }
}
