//! i16 operations of the x86 instruction sets: additions of i16, products of pairs that are summed in i32, and the i32
//! arithmetic around them. All of them wrap around.

use super::LANES;
use super::avx2::Avx2;
use super::isa::{Int8Simd, Isa};
use super::vnni::Vnni;
use std::arch::x86_64::*;

/// Values of a vector of i16, on every instruction set.
pub(super) const WIDE_LANES: usize = 32;

/// One vector of i16 weights: a pair of terms of [`LANES`] columns, on one cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct PairLine(pub [i16; 2 * LANES]);

/// Instruction set that multiplies pairs of i16.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) enum PairIsa {
    Avx2(Avx2),
    Vnni(Vnni),
}

impl PairIsa {
    /// Returns the instruction set; `None` if it has no such products.
    pub const fn of(isa: Isa) -> Option<Self> {
        match isa {
            Isa::Portable => None,
            Isa::Avx2(simd) => Some(Self::Avx2(simd)),
            Isa::Vnni(simd) => Some(Self::Vnni(simd)),
        }
    }

    /// Runs `work`, compiled for the instruction set.
    pub(super) fn dispatch<W: PairWork>(self, work: W) {
        #[target_feature(enable = "avx2,fma")]
        fn avx2<W: PairWork>(simd: Avx2, work: W) {
            work.run(simd);
        }
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
        fn vnni<W: PairWork>(simd: Vnni, work: W) {
            work.run(simd);
        }
        match self {
            // SAFETY: a value of the type proves that the CPU has the features.
            Self::Avx2(simd) => unsafe { avx2(simd, work) },
            // SAFETY: as above.
            Self::Vnni(simd) => unsafe { vnni(simd, work) },
        }
    }
}

/// Kernel that is compiled once for each instruction set. `run` must be `#[inline(always)]`.
pub(super) trait PairWork {
    /// Runs the kernel.
    fn run<S: PairSimd>(self, simd: S);
}

/// i16 operations of an instruction set.
pub(super) trait PairSimd: Int8Simd {
    /// Vectors of columns of a tile of products.
    const PAIR_VECTORS: usize;
    /// Rows of the largest tile of products.
    const PAIR_ROWS: usize;
    /// [`WIDE_LANES`] i16.
    type I16: Copy;
    /// A pair of i16 in every lane.
    type Pair: Copy;
    /// One [`PairLine`] of weights.
    type PairLine: Copy;

    /// Reads u8 values, each less 128.
    fn load_centred(self, values: &[u8; WIDE_LANES]) -> Self::I16;
    /// Writes i16 values.
    fn store_i16(self, values: Self::I16, out: &mut [i16; WIDE_LANES]);
    /// Computes `a + b`.
    fn add_i16(self, a: Self::I16, b: Self::I16) -> Self::I16;
    /// Computes `a − b`.
    fn sub_i16(self, a: Self::I16, b: Self::I16) -> Self::I16;
    /// Computes `4 · a`.
    fn quadruple_i16(self, a: Self::I16) -> Self::I16;
    /// Reads a pair of left values.
    ///
    /// # Safety
    /// Two values can be read.
    unsafe fn load_pair(self, values: *const i16) -> Self::Pair;
    /// Reads the weights of a pair.
    fn load_line(self, line: &PairLine) -> Self::PairLine;
    /// Adds the products of a pair.
    fn dot_pair(self, sums: Self::I32, left: Self::Pair, right: Self::PairLine) -> Self::I32;
    /// Reads i32 values.
    fn load_i32(self, values: &[i32; LANES]) -> Self::I32;
    /// Writes i32 values.
    fn store_i32(self, values: Self::I32, out: &mut [i32; LANES]);
    /// Computes `a + b`.
    fn add_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// Computes `a − b`.
    fn sub_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// Computes `4 · a`.
    fn quadruple_i32(self, a: Self::I32) -> Self::I32;
    /// Computes `a · factor`.
    fn mul_i32(self, a: Self::I32, factor: i32) -> Self::I32;
    /// Computes `a / 64`, rounded down.
    fn sixty_fourth(self, a: Self::I32) -> Self::I32;
}

impl PairSimd for Vnni {
    const PAIR_VECTORS: usize = 2;
    /// 24 of the 32 registers hold sums: with 28, the compiler has too few for the rest.
    const PAIR_ROWS: usize = 12;
    type I16 = __m512i;
    type Pair = __m512i;
    type PairLine = __m512i;

    #[inline(always)]
    fn load_centred(self, values: &[u8; WIDE_LANES]) -> Self::I16 {
        // SAFETY: the array has 32 bytes; the type proves the instructions, here and below.
        unsafe {
            let values = _mm256_loadu_si256(values.as_ptr().cast());
            _mm512_cvtepi8_epi16(_mm256_xor_si256(values, _mm256_set1_epi8(i8::MIN)))
        }
    }

    #[inline(always)]
    fn store_i16(self, values: Self::I16, out: &mut [i16; WIDE_LANES]) {
        // SAFETY: as in `load_centred`; the array has 64 bytes.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), values) }
    }

    #[inline(always)]
    fn add_i16(self, a: Self::I16, b: Self::I16) -> Self::I16 {
        // SAFETY: as in `load_centred`.
        unsafe { _mm512_add_epi16(a, b) }
    }

    #[inline(always)]
    fn sub_i16(self, a: Self::I16, b: Self::I16) -> Self::I16 {
        // SAFETY: as in `load_centred`.
        unsafe { _mm512_sub_epi16(a, b) }
    }

    #[inline(always)]
    fn quadruple_i16(self, a: Self::I16) -> Self::I16 {
        // SAFETY: as in `load_centred`.
        unsafe { _mm512_slli_epi16::<2>(a) }
    }

    #[inline(always)]
    unsafe fn load_pair(self, values: *const i16) -> Self::Pair {
        // SAFETY: the caller's promise of four bytes, and the type proves the instruction.
        unsafe { _mm512_set1_epi32(values.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    fn load_line(self, line: &PairLine) -> Self::PairLine {
        // SAFETY: as in `load_centred`; a line has 64 bytes and is aligned to as many.
        unsafe { _mm512_load_si512(line.0.as_ptr().cast()) }
    }

    #[inline(always)]
    fn dot_pair(self, sums: Self::I32, left: Self::Pair, right: Self::PairLine) -> Self::I32 {
        // SAFETY: as in `load_centred`.
        unsafe { _mm512_dpwssd_epi32(sums, left, right) }
    }

    #[inline(always)]
    fn load_i32(self, values: &[i32; LANES]) -> Self::I32 {
        // SAFETY: as in `load_centred`; the array has 64 bytes.
        unsafe { _mm512_loadu_si512(values.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store_i32(self, values: Self::I32, out: &mut [i32; LANES]) {
        // SAFETY: as in `load_centred`; the array has 64 bytes.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), values) }
    }

    #[inline(always)]
    fn add_i32(self, a: Self::I32, b: Self::I32) -> Self::I32 {
        // SAFETY: as in `load_centred`.
        unsafe { _mm512_add_epi32(a, b) }
    }

    #[inline(always)]
    fn sub_i32(self, a: Self::I32, b: Self::I32) -> Self::I32 {
        // SAFETY: as in `load_centred`.
        unsafe { _mm512_sub_epi32(a, b) }
    }

    #[inline(always)]
    fn quadruple_i32(self, a: Self::I32) -> Self::I32 {
        // SAFETY: as in `load_centred`.
        unsafe { _mm512_slli_epi32::<2>(a) }
    }

    #[inline(always)]
    fn mul_i32(self, a: Self::I32, factor: i32) -> Self::I32 {
        // SAFETY: as in `load_centred`.
        unsafe { _mm512_mullo_epi32(a, _mm512_set1_epi32(factor)) }
    }

    #[inline(always)]
    fn sixty_fourth(self, a: Self::I32) -> Self::I32 {
        // SAFETY: as in `load_centred`.
        unsafe { _mm512_srai_epi32::<6>(a) }
    }
}

impl PairSimd for Avx2 {
    const PAIR_VECTORS: usize = 1;
    /// 12 of the 16 registers hold sums.
    const PAIR_ROWS: usize = 6;
    type I16 = [__m256i; 2];
    type Pair = __m256i;
    type PairLine = [__m256i; 2];

    #[inline(always)]
    fn load_centred(self, values: &[u8; WIDE_LANES]) -> Self::I16 {
        let (halves, _) = values.as_chunks::<16>();
        // SAFETY: a half has 16 bytes; the type proves the instructions, here and below.
        std::array::from_fn(|half| unsafe {
            let values = _mm_loadu_si128(halves[half].as_ptr().cast());
            _mm256_cvtepi8_epi16(_mm_xor_si128(values, _mm_set1_epi8(i8::MIN)))
        })
    }

    #[inline(always)]
    fn store_i16(self, values: Self::I16, out: &mut [i16; WIDE_LANES]) {
        for (half, values) in out.as_chunks_mut::<16>().0.iter_mut().zip(values) {
            // SAFETY: as in `load_centred`; a half has 32 bytes.
            unsafe { _mm256_storeu_si256(half.as_mut_ptr().cast(), values) }
        }
    }

    #[inline(always)]
    fn add_i16(self, a: Self::I16, b: Self::I16) -> Self::I16 {
        // SAFETY: as in `load_centred`.
        std::array::from_fn(|half| unsafe { _mm256_add_epi16(a[half], b[half]) })
    }

    #[inline(always)]
    fn sub_i16(self, a: Self::I16, b: Self::I16) -> Self::I16 {
        // SAFETY: as in `load_centred`.
        std::array::from_fn(|half| unsafe { _mm256_sub_epi16(a[half], b[half]) })
    }

    #[inline(always)]
    fn quadruple_i16(self, a: Self::I16) -> Self::I16 {
        // SAFETY: as in `load_centred`.
        a.map(|a| unsafe { _mm256_slli_epi16::<2>(a) })
    }

    #[inline(always)]
    unsafe fn load_pair(self, values: *const i16) -> Self::Pair {
        // SAFETY: the caller's promise of four bytes, and the type proves the instruction.
        unsafe { _mm256_set1_epi32(values.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    fn load_line(self, line: &PairLine) -> Self::PairLine {
        let (halves, _) = line.0.as_chunks::<16>();
        // SAFETY: as in `load_centred`; a half has 32 bytes and is aligned to as many.
        std::array::from_fn(|half| unsafe { _mm256_load_si256(halves[half].as_ptr().cast()) })
    }

    #[inline(always)]
    fn dot_pair(self, sums: Self::I32, left: Self::Pair, right: Self::PairLine) -> Self::I32 {
        // SAFETY: as in `load_centred`.
        std::array::from_fn(|half| unsafe { _mm256_add_epi32(sums[half], _mm256_madd_epi16(left, right[half])) })
    }

    #[inline(always)]
    fn load_i32(self, values: &[i32; LANES]) -> Self::I32 {
        let (halves, _) = values.as_chunks::<8>();
        // SAFETY: as in `load_centred`; a half has 32 bytes.
        std::array::from_fn(|half| unsafe { _mm256_loadu_si256(halves[half].as_ptr().cast()) })
    }

    #[inline(always)]
    fn store_i32(self, values: Self::I32, out: &mut [i32; LANES]) {
        for (half, values) in out.as_chunks_mut::<8>().0.iter_mut().zip(values) {
            // SAFETY: as in `load_centred`; a half has 32 bytes.
            unsafe { _mm256_storeu_si256(half.as_mut_ptr().cast(), values) }
        }
    }

    #[inline(always)]
    fn add_i32(self, a: Self::I32, b: Self::I32) -> Self::I32 {
        // SAFETY: as in `load_centred`.
        std::array::from_fn(|half| unsafe { _mm256_add_epi32(a[half], b[half]) })
    }

    #[inline(always)]
    fn sub_i32(self, a: Self::I32, b: Self::I32) -> Self::I32 {
        // SAFETY: as in `load_centred`.
        std::array::from_fn(|half| unsafe { _mm256_sub_epi32(a[half], b[half]) })
    }

    #[inline(always)]
    fn quadruple_i32(self, a: Self::I32) -> Self::I32 {
        // SAFETY: as in `load_centred`.
        a.map(|a| unsafe { _mm256_slli_epi32::<2>(a) })
    }

    #[inline(always)]
    fn mul_i32(self, a: Self::I32, factor: i32) -> Self::I32 {
        // SAFETY: as in `load_centred`.
        a.map(|a| unsafe { _mm256_mullo_epi32(a, _mm256_set1_epi32(factor)) })
    }

    #[inline(always)]
    fn sixty_fourth(self, a: Self::I32) -> Self::I32 {
        // SAFETY: as in `load_centred`.
        a.map(|a| unsafe { _mm256_srai_epi32::<6>(a) })
    }
}
