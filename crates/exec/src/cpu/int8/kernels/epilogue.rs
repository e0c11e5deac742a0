//! Epilogues of int8 products: what turns the exact sums of a tile into u8 or f32.

use super::LANES;
use super::isa::Int8Simd;
use std::ops::Range;

/// Epilogue of a product, applied once to each vector of sums.
pub(in crate::cpu) trait Int8Epilogue {
    /// What it needs of a vector of columns.
    type Columns<S: Int8Simd>: Copy;

    /// Loads what it needs of a vector of columns.
    fn load<S: Int8Simd>(&self, simd: S, vector: usize) -> Self::Columns<S>;

    /// Writes the sums of a row's columns; `row` is counted from the first of the product.
    fn write<S: Int8Simd>(
        &mut self,
        simd: S,
        of_columns: Self::Columns<S>,
        sums: S::I32,
        row: usize,
        columns: Range<usize>,
    );
}

/// Affine map of each column's sums, `sum · multiplier + addend`, in vectors whose last is filled with zeros.
#[derive(Debug, Clone, Default)]
pub(in crate::cpu) struct ColumnAffine {
    multipliers: Vec<[f32; LANES]>,
    addends: Vec<[f32; LANES]>,
    columns: usize,
}

impl ColumnAffine {
    /// Creates the map from one multiplier and addend a column.
    pub fn new(multipliers: &[f32], addends: &[f32]) -> Self {
        let padded = |values: &[f32]| {
            let vector = |chunk: &[f32]| std::array::from_fn(|lane| chunk.get(lane).copied().unwrap_or(0.0));
            values.chunks(LANES).map(vector).collect()
        };
        Self { multipliers: padded(multipliers), addends: padded(addends), columns: multipliers.len() }
    }

    /// Loads multipliers and addends of a vector of columns.
    #[inline(always)]
    fn load<S: Int8Simd>(&self, simd: S, vector: usize) -> [S::F32; 2] {
        [&self.multipliers, &self.addends].map(|values| simd.load_f32(&values[vector]))
    }

    /// Returns the bytes of a map of that many columns.
    pub const fn bytes(columns: usize) -> usize {
        2 * columns.div_ceil(LANES) * size_of::<[f32; LANES]>()
    }

    /// Returns the bytes allocated.
    pub const fn allocated(&self) -> usize {
        (self.multipliers.capacity() + self.addends.capacity()) * size_of::<[f32; LANES]>()
    }
}

/// Epilogue with a u8 result: `requantise(sum · multiplier + addend + shortcut · factor)`.
///
/// Bias, zero points and scales are in the addends; activations are the saturation of u8.
pub(in crate::cpu) struct QuantisedEpilogue<'a> {
    pub affine: &'a ColumnAffine,
    /// Values of a shortcut, as many as the output, and their factor.
    pub shortcut: Option<(&'a [u8], f32)>,
    /// `[rows, columns]`.
    pub output: &'a mut [u8],
}

impl Int8Epilogue for QuantisedEpilogue<'_> {
    type Columns<S: Int8Simd> = [S::F32; 2];

    #[inline(always)]
    fn load<S: Int8Simd>(&self, simd: S, vector: usize) -> Self::Columns<S> {
        self.affine.load(simd, vector)
    }

    #[inline(always)]
    fn write<S: Int8Simd>(
        &mut self,
        simd: S,
        [multiplier, addend]: Self::Columns<S>,
        sums: S::I32,
        row: usize,
        columns: Range<usize>,
    ) {
        let (start, lanes) = (row * self.affine.columns + columns.start, columns.len());
        let mut value = simd.mul_add(simd.to_f32(sums), multiplier, addend);
        if let Some((shortcut, factor)) = self.shortcut {
            let shortcut = simd.load_u8(&shortcut[start..][..lanes]);
            value = simd.mul_add(shortcut, simd.splat(factor), value);
        }
        simd.store_u8(value, &mut self.output[start..][..lanes]);
    }
}

/// Shortcut of a product whose result is f32: as many values as the output.
#[derive(Clone, Copy)]
pub(in crate::cpu) enum FloatShortcut<'a> {
    None,
    Floats(&'a [f32]),
    /// Codes and their scale; the zero point is in the addends.
    Codes(&'a [u8], f32),
}

/// Epilogue with an f32 result: `clamp(sum · multiplier · row_scale + addend + shortcut)`.
pub(in crate::cpu) struct FloatEpilogue<'a> {
    pub affine: &'a ColumnAffine,
    /// Scale of each row of the left operand; empty for 1.
    pub row_scales: &'a [f32],
    pub shortcut: FloatShortcut<'a>,
    /// Bounds of the activation.
    pub bounds: [f32; 2],
    /// `[rows, columns]`.
    pub output: &'a mut [f32],
}

impl Int8Epilogue for FloatEpilogue<'_> {
    type Columns<S: Int8Simd> = [S::F32; 2];

    #[inline(always)]
    fn load<S: Int8Simd>(&self, simd: S, vector: usize) -> Self::Columns<S> {
        self.affine.load(simd, vector)
    }

    #[inline(always)]
    fn write<S: Int8Simd>(
        &mut self,
        simd: S,
        [mut multiplier, addend]: Self::Columns<S>,
        sums: S::I32,
        row: usize,
        columns: Range<usize>,
    ) {
        let (start, lanes) = (row * self.affine.columns + columns.start, columns.len());
        if let Some(scale) = self.row_scales.get(row) {
            multiplier = simd.mul(multiplier, simd.splat(*scale));
        }
        let mut value = simd.mul_add(simd.to_f32(sums), multiplier, addend);
        value = match self.shortcut {
            FloatShortcut::None => value,
            FloatShortcut::Floats(shortcut) => simd.add(value, simd.load_f32(&shortcut[start..][..lanes])),
            FloatShortcut::Codes(shortcut, scale) => {
                simd.mul_add(simd.load_u8(&shortcut[start..][..lanes]), simd.splat(scale), value)
            }
        };
        let [low, high] = self.bounds.map(|bound| simd.splat(bound));
        let value = simd.min(simd.max(value, low), high);
        simd.store_f32(value, &mut self.output[start..][..lanes]);
    }
}

/// Returns the columns of a vector that exist.
#[inline(always)]
pub(super) fn columns_of(vector: usize, columns: usize) -> Range<usize> {
    vector * LANES..columns.min((vector + 1) * LANES)
}
