//! Register tiles: sums of products in SIMD registers, read and written by pointer.

use super::tap_plan::Tap;
use pulp::{MemMask, Simd};
use std::ops::Range;

/// Vectors per row of a tile: with eight rows, 24 of 32 registers hold sums.
pub(super) const VECTORS: usize = 3;

/// `R` rows of `V` vectors, in registers.
pub(super) type Sums<S, const R: usize, const V: usize> = [[<S as Simd>::f32s; V]; R];

/// Position of a tile in an activation: `R` rows of `V` vectors of adjacent values.
///
/// With a `TAIL`, only some lanes of the last vector belong to the tile.
#[derive(Clone, Copy)]
pub(super) struct Block<S: Simd> {
    /// The first value.
    pub start: usize,
    /// Values from one row to the next.
    pub step: usize,
    /// The channel of the first value.
    pub channel: usize,
    /// Lanes of the last vector.
    tail: usize,
    mask: MemMask<S::m32s>,
}

impl<S: Simd> Block<S> {
    /// Creates a tile at `channel` of rows with `channels` values.
    #[inline(always)]
    pub fn new<const V: usize>(simd: S, start: usize, step: usize, channel: usize, channels: usize) -> Self {
        let tail = (channels - channel - (V - 1) * S::F32_LANES).min(S::F32_LANES);
        Self { start, step, channel, tail, mask: simd.mask_between_m32s(0, tail as u32) }
    }

    /// Returns the tile moved to another start.
    #[inline(always)]
    pub fn at(self, start: usize) -> Self {
        Self { start, ..self }
    }

    /// Range from the tile's first value to its last.
    #[inline(always)]
    pub const fn span<const R: usize, const V: usize>(&self) -> Range<usize> {
        self.start..self.start + (R - 1) * self.step + (V - 1) * S::F32_LANES + self.tail
    }

    /// Range of the tile's channels.
    #[inline(always)]
    pub const fn channels<const V: usize>(&self) -> Range<usize> {
        self.channel..self.channel + (V - 1) * S::F32_LANES + self.tail
    }

    /// Computes `tile = work(tile, values)` with the values at the tile's position, one vector at a time to save
    /// registers.
    #[inline(always)]
    pub fn update<const R: usize, const V: usize, const TAIL: bool>(
        &self,
        simd: S,
        tile: &mut Sums<S, R, V>,
        values: &[f32],
        work: impl Fn(S::f32s, S::f32s) -> S::f32s,
    ) {
        let start = values[self.span::<R, V>()].as_ptr();
        for vector in 0..V {
            for (row, tile) in tile.iter_mut().enumerate() {
                // SAFETY: the slice goes from the first row's first value to the last row's last unmasked one.
                let value = unsafe {
                    load::<S, TAIL>(
                        simd,
                        self.mask,
                        start.add(row * self.step + vector * S::F32_LANES),
                        vector + 1 == V,
                    )
                };
                tile[vector] = work(tile[vector], value);
            }
        }
    }

    /// Reads the tile's first row from a matrix.
    #[inline(always)]
    pub fn read_row<const V: usize, const TAIL: bool>(&self, simd: S, values: &[f32]) -> [S::f32s; V] {
        let start = values[self.span::<1, V>()].as_ptr();
        // SAFETY: the slice has the row's values.
        unsafe { self.load_row::<V, TAIL>(simd, start) }
    }

    /// Reads one value for each of the tile's channels.
    #[inline(always)]
    pub fn read_channels<const V: usize, const TAIL: bool>(&self, simd: S, values: &[f32]) -> [S::f32s; V] {
        let start = values[self.channels::<V>()].as_ptr();
        // SAFETY: the slice has the tile's channels.
        unsafe { self.load_row::<V, TAIL>(simd, start) }
    }

    /// Writes the tile to a matrix that starts at index `first` of the activation.
    #[inline(always)]
    pub fn write<const R: usize, const V: usize, const TAIL: bool>(
        &self,
        simd: S,
        tile: &Sums<S, R, V>,
        first: usize,
        values: &mut [f32],
    ) {
        let span = self.span::<R, V>();
        let start = values[span.start - first..span.end - first].as_mut_ptr();
        for vector in 0..V {
            for (row, tile) in tile.iter().enumerate() {
                // SAFETY: the slice goes from the first row's first value to the last row's last unmasked one.
                unsafe {
                    let start = start.add(row * self.step + vector * S::F32_LANES);
                    if TAIL && vector + 1 == V {
                        simd.mask_store_ptr_f32s(self.mask, start, tile[vector]);
                    } else {
                        start.cast::<S::f32s>().write_unaligned(tile[vector]);
                    }
                }
            }
        }
    }

    /// Adds one value per channel to those of the tile's channels.
    #[inline(always)]
    pub fn add_channels<const V: usize, const TAIL: bool>(&self, simd: S, row: [S::f32s; V], values: &mut [f32]) {
        let values = &mut values[self.channels::<V>()];
        let mut before = Self { start: 0, channel: 0, ..*self }.read_channels::<V, TAIL>(simd, values);
        for (before, row) in before.iter_mut().zip(row) {
            *before = simd.add_f32s(*before, row);
        }
        Self { start: 0, ..*self }.write::<1, V, TAIL>(simd, &[before], 0, values);
    }

    /// Computes `Σₖ left[row, k] · right[k, column]` over the tile; every sum runs over k in order.
    ///
    /// # Safety
    /// As [`add_product`](Self::add_product).
    #[inline(always)]
    pub unsafe fn product<const R: usize, const V: usize, const TAIL: bool>(
        &self,
        simd: S,
        depth: usize,
        left: Left,
        right: Right,
    ) -> Sums<S, R, V> {
        let mut sums = [[simd.splat_f32s(0.0); V]; R];
        // SAFETY: the caller's promise.
        unsafe { self.add_product::<R, V, TAIL>(simd, &mut sums, depth, left, right) };
        sums
    }

    /// Adds `Σₖ left[row, k] · right[k, column]` to the tile; every sum runs over k in order.
    ///
    /// # Safety
    /// `left` is readable at `row · step + k · depth_step`, `right` at `k · depth_step + column` for each of the tile's
    /// columns, for each k below `depth`.
    #[inline(always)]
    pub unsafe fn add_product<const R: usize, const V: usize, const TAIL: bool>(
        &self,
        simd: S,
        sums: &mut Sums<S, R, V>,
        depth: usize,
        left: Left,
        right: Right,
    ) {
        for k in 0..depth {
            // SAFETY: the caller's promise about `right`.
            let columns = unsafe { self.load_row::<V, TAIL>(simd, right.start.add(k * right.depth_step)) };
            for (row, sums) in sums.iter_mut().enumerate() {
                // SAFETY: the caller's promise about `left`.
                let value = simd.splat_f32s(unsafe { *left.start.add(row * left.step + k * left.depth_step) });
                for (sum, column) in sums.iter_mut().zip(columns) {
                    *sum = simd.mul_add_f32s(value, column, *sum);
                }
            }
        }
    }

    /// Computes `Σ source[row · step + tap] ⊙ weight[tap]` over the taps, in order, for each row of the tile.
    ///
    /// # Safety
    /// For each tap and row, the source is readable at `row · step + tap.source` for the tile's channels, and the
    /// weights at `tap.weight`; both pointers are to the tile's first channel.
    #[inline(always)]
    pub unsafe fn convolve<const R: usize, const V: usize, const TAIL: bool>(
        &self,
        simd: S,
        taps: &[Tap],
        (source, step): (*const f32, usize),
        weight: *const f32,
    ) -> Sums<S, R, V> {
        let mut sums = [[simd.splat_f32s(0.0); V]; R];
        for tap in taps {
            // SAFETY: the caller's promise about the weights.
            let weight = unsafe { self.load_row::<V, TAIL>(simd, weight.add(tap.weight)) };
            for (row, sums) in sums.iter_mut().enumerate() {
                // SAFETY: the caller's promise about the source.
                let source = unsafe { self.load_row::<V, TAIL>(simd, source.add(tap.source + row * step)) };
                for vector in 0..V {
                    sums[vector] = simd.mul_add_f32s(source[vector], weight[vector], sums[vector]);
                }
            }
        }
        sums
    }

    /// Adds `gradient ⊙ source[tap]` of one pixel to the sums of the taps in `covered`, which are `step` values apart.
    ///
    /// # Safety
    /// The gradient and, for each covered tap, `source + tap · step` are readable for the tile's channels.
    #[inline(always)]
    pub unsafe fn correlate<const T: usize, const V: usize, const TAIL: bool>(
        &self,
        simd: S,
        sums: &mut Sums<S, T, V>,
        covered: Range<usize>,
        (gradient, source): (*const f32, *const f32),
        step: usize,
    ) {
        // SAFETY: the caller's promise about the gradient.
        let gradient = unsafe { self.load_row::<V, TAIL>(simd, gradient) };
        for (tap, sums) in sums.iter_mut().enumerate() {
            if covered.contains(&tap) {
                // SAFETY: the caller's promise about the source.
                let source = unsafe { self.load_row::<V, TAIL>(simd, source.wrapping_add(tap * step)) };
                for vector in 0..V {
                    sums[vector] = simd.mul_add_f32s(gradient[vector], source[vector], sums[vector]);
                }
            }
        }
    }

    /// Loads one row of the tile from a pointer.
    ///
    /// # Safety
    /// `start` is readable for the tile's channels.
    #[inline(always)]
    unsafe fn load_row<const V: usize, const TAIL: bool>(&self, simd: S, start: *const f32) -> [S::f32s; V] {
        let mut row = [simd.splat_f32s(0.0); V];
        for (vector, row) in row.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            *row = unsafe { load::<S, TAIL>(simd, self.mask, start.add(vector * S::F32_LANES), vector + 1 == V) };
        }
        row
    }
}

/// Left operand of a product, by pointer.
#[derive(Clone, Copy)]
pub(super) struct Left {
    pub start: *const f32,
    /// Values from one row to the next.
    pub step: usize,
    /// Values from one k to the next.
    pub depth_step: usize,
}

/// Right operand of a product, by pointer; its columns are adjacent.
#[derive(Clone, Copy)]
pub(super) struct Right {
    pub start: *const f32,
    /// Values from one k to the next.
    pub depth_step: usize,
}

/// Loads one vector from a pointer; for the last one of a `TAIL`, the lanes in `mask` alone.
///
/// # Safety
/// `start` is readable for the lanes that are read.
#[inline(always)]
unsafe fn load<S: Simd, const TAIL: bool>(simd: S, mask: MemMask<S::m32s>, start: *const f32, last: bool) -> S::f32s {
    // SAFETY: the caller's promise; `read_unaligned` requires no more.
    unsafe {
        if TAIL && last { simd.mask_load_ptr_f32s(mask, start) } else { start.cast::<S::f32s>().read_unaligned() }
    }
}

/// Calls `$this.$method::<S, V, TAIL>($($argument),*)` with the number of vectors that the channels from `$channel` to
/// `$channels` occupy, at most [`VECTORS`], and whether the last is partial.
macro_rules! with_vectors {
    ($lanes:expr, $channels:expr, $channel:expr, $this:ident.$method:ident::<$s:ty>($($argument:expr),*)) => {{
        let left = $channels - $channel;
        match (left.div_ceil($lanes).min($crate::cpu::tile::VECTORS), left % $lanes != 0 && left < $crate::cpu::tile::VECTORS * $lanes) {
            (1, false) => $this.$method::<$s, 1, false>($($argument),*),
            (2, false) => $this.$method::<$s, 2, false>($($argument),*),
            (_, false) => $this.$method::<$s, 3, false>($($argument),*),
            (1, true) => $this.$method::<$s, 1, true>($($argument),*),
            (2, true) => $this.$method::<$s, 2, true>($($argument),*),
            (_, true) => $this.$method::<$s, 3, true>($($argument),*),
        }
    }};
}
pub(super) use with_vectors;

/// Splits `$total` rows into tiles of a product and calls `$this.$method::<$s, ROWS, $v, $tail>($($argument),*)` for each, with
/// `$row` as its first row: 8, then 4, 2 and 1 rows, as the registers hold.
///
/// With 16 registers, tiles of three vectors have three rows: with four, whose sums leave four registers, LLVM spills one of
/// them in every step of the innermost loop, which halves its speed.
macro_rules! each_tile {
    ($s:ty, $v:ident, $tail:ident, $total:expr, $row:ident, $this:ident.$method:ident($($argument:expr),*)) => {{
        let (has_many, total) = (<$s>::REGISTER_COUNT >= 32, $total);
        let mut $row = 0;
        if has_many || $v == 1 {
            while $row + 8 <= total {
                $this.$method::<$s, 8, $v, $tail>($($argument),*);
                $row += 8;
            }
        }
        if has_many || $v < $crate::cpu::tile::VECTORS {
            while $row + 4 <= total {
                $this.$method::<$s, 4, $v, $tail>($($argument),*);
                $row += 4;
            }
        } else {
            while $row + 3 <= total {
                $this.$method::<$s, 3, $v, $tail>($($argument),*);
                $row += 3;
            }
        }
        if $row + 2 <= total {
            $this.$method::<$s, 2, $v, $tail>($($argument),*);
            $row += 2;
        }
        if $row < total {
            $this.$method::<$s, 1, $v, $tail>($($argument),*);
        }
    }};
}
pub(super) use each_tile;
