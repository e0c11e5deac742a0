//! Instruction sets: detection, and the vector operations that the int8 kernels are written in.

use super::Line;
#[cfg(target_arch = "x86_64")]
use super::avx2::Avx2;
#[cfg(target_arch = "aarch64")]
use super::dotprod::DotProd;
use super::portable::Portable;
#[cfg(target_arch = "x86_64")]
use super::vnni::Vnni;

/// Instruction set of the int8 kernels. A value other than [`Isa::Portable`] proves that the CPU has it.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) enum Isa {
    /// Scalar code, which the compiler vectorises as far as it can.
    Portable,
    /// x86-64 with AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    /// x86-64 with AVX-512 VNNI.
    #[cfg(target_arch = "x86_64")]
    Vnni(Vnni),
    /// aarch64 with NEON's dot products.
    #[cfg(target_arch = "aarch64")]
    DotProd(DotProd),
}

impl Isa {
    /// Returns the fastest instruction set of this CPU.
    pub fn detect() -> Self {
        Self::available().last().copied().unwrap_or(Self::Portable)
    }

    /// Returns the instruction sets of this CPU, the fastest last.
    pub fn available() -> heapless::Vec<Self, 4> {
        let mut available = heapless::Vec::new();
        let _ = available.push(Self::Portable);
        #[cfg(target_arch = "x86_64")]
        {
            let found = [Avx2::detect().map(Self::Avx2), Vnni::detect().map(Self::Vnni)];
            available.extend(found.into_iter().flatten());
        }
        #[cfg(target_arch = "aarch64")]
        available.extend(DotProd::detect().map(Self::DotProd));
        available
    }

    /// Returns the name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Self::Vnni(_) => "AVX-512 VNNI",
            #[cfg(target_arch = "aarch64")]
            Self::DotProd(_) => "NEON dot product",
        }
    }

    /// Runs `work`, compiled for the instruction set.
    #[inline(always)]
    pub fn dispatch<W: Work>(self, work: W) {
        match self {
            Self::Portable => work.run(Portable),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(simd) => simd.vectorize(work),
            #[cfg(target_arch = "x86_64")]
            Self::Vnni(simd) => simd.vectorize(work),
            #[cfg(target_arch = "aarch64")]
            Self::DotProd(simd) => simd.vectorize(work),
        }
    }
}

/// Kernel that is compiled once for each instruction set. `run` must be `#[inline(always)]`.
pub(in crate::cpu) trait Work {
    /// Runs the kernel.
    fn run<S: Int8Simd>(self, simd: S);
}

/// Vector operations of an instruction set, on vectors of [`LANES`](super::LANES) columns. A value proves that the CPU
/// has the instructions.
pub(in crate::cpu) trait Int8Simd: Copy {
    /// What [`dot`](Self::dot) subtracts from each left value: 128 where the instruction multiplies signed values alone.
    const OFFSET: i32;
    /// Rows of the largest tile of `V` vectors.
    const ROWS: [usize; 4];
    /// Vectors of the widest tile.
    const VECTORS: usize;
    /// [`GROUP`](super::GROUP) values of a row, in every lane.
    type Left: Copy;
    /// One [`Line`] of weights.
    type Right: Copy;
    /// Sums of products, in the order that suits the instruction.
    type Sums: Copy;
    /// One i32 a column.
    type I32: Copy;
    /// One f32 a column.
    type F32: Copy;

    /// Reads the left values of a group.
    ///
    /// # Safety
    /// Four bytes can be read.
    unsafe fn load_left(self, values: *const u8) -> Self::Left;
    /// Reads the weights of a group.
    fn load_right(self, line: &Line) -> Self::Right;
    /// Returns sums of nothing.
    fn zero(self) -> Self::Sums;
    /// Adds the products of a group, exactly: `Σ (left − OFFSET) · right` over its terms.
    fn dot(self, sums: Self::Sums, left: Self::Left, right: Self::Right) -> Self::Sums;
    /// Returns the sums in the order of the columns, plus `start`.
    fn finish(self, sums: Self::Sums, start: Self::I32) -> Self::I32;
    /// Reads one i32 a column and multiplies them.
    fn scaled_i32(self, values: &[i32; 16], factor: i32) -> Self::I32;
    /// Converts to the nearest f32, ties to even.
    fn to_f32(self, values: Self::I32) -> Self::F32;
    /// Returns a value in every lane.
    fn splat(self, value: f32) -> Self::F32;
    /// Computes `a · b`.
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// Computes `a + b`.
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// Computes `a · b + c`, rounded once.
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    /// Computes the lesser of two; the bound if the value is NaN.
    fn min(self, value: Self::F32, bound: Self::F32) -> Self::F32;
    /// Computes the greater of two; the bound if the value is NaN.
    fn max(self, value: Self::F32, bound: Self::F32) -> Self::F32;
    /// Reads up to 16 f32; the other lanes are 0.
    fn load_f32(self, values: &[f32]) -> Self::F32;
    /// Writes up to 16 f32.
    fn store_f32(self, values: Self::F32, out: &mut [f32]);
    /// Reads up to 16 u8; the other lanes are 0.
    fn load_u8(self, values: &[u8]) -> Self::F32;
    /// Writes up to 16 values as u8, as [`requantise`](super::requantise) does.
    fn store_u8(self, values: Self::F32, out: &mut [u8]);
}
