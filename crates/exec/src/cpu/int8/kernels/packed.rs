//! Packed int8 weights: the right operand of a product, in panels of whole cache lines.

use super::{GROUP, LANES, Line};

/// Vectors of a panel; the last panel may have fewer.
pub(super) const PANEL: usize = 4;

/// Right operand of an int8 product, `[depth, columns]`, and the sum of each column.
#[derive(Debug, Clone, Default)]
pub(in crate::cpu) struct PackedInt8 {
    /// Panel by panel, group by group, vector by vector.
    lines: Vec<Line>,
    /// Sum of each column's weights; 0 behind the last.
    sums: Vec<[i32; LANES]>,
    depth: usize,
    columns: usize,
}

impl PackedInt8 {
    /// Packs rows of columns: `column` writes the weights of a column in order of their depth.
    pub fn new(depth: usize, columns: usize, mut column: impl FnMut(usize, &mut [i8])) -> Self {
        let (groups, vectors) = (depth.div_ceil(GROUP), columns.div_ceil(LANES));
        let mut lines = vec![Line([0; LANES * GROUP]); groups * vectors];
        let mut sums = vec![[0; LANES]; vectors];
        let mut values = vec![0; groups * GROUP];
        for index in 0..columns {
            column(index, &mut values[..depth]);
            let (vector, lane) = (index / LANES, index % LANES);
            let first = vector / PANEL * PANEL;
            let panel = &mut lines[first * groups..];
            let step = PANEL.min(vectors - first);
            for (group, values) in values.as_chunks::<GROUP>().0.iter().enumerate() {
                panel[group * step + vector - first].0[lane * GROUP..][..GROUP].copy_from_slice(values);
            }
            sums[vector][lane] = values.iter().map(|value| i32::from(*value)).sum();
        }
        Self { lines, sums, depth, columns }
    }

    /// Returns the bytes of packed weights of that size.
    pub const fn bytes(depth: usize, columns: usize) -> usize {
        let vectors = columns.div_ceil(LANES);
        vectors * (depth.div_ceil(GROUP) * size_of::<Line>() + size_of::<[i32; LANES]>())
    }

    /// Returns the bytes allocated.
    pub const fn allocated(&self) -> usize {
        self.lines.capacity() * size_of::<Line>() + self.sums.capacity() * size_of::<[i32; LANES]>()
    }

    /// Terms of a column, without padding.
    pub const fn depth(&self) -> usize {
        self.depth
    }

    /// Groups of terms of a column.
    pub const fn groups(&self) -> usize {
        self.depth.div_ceil(GROUP)
    }

    /// Columns, without padding.
    pub const fn columns(&self) -> usize {
        self.columns
    }

    /// Returns the lines of some vectors of columns of one panel, and the lines from one group to the next.
    pub(super) fn vectors(&self, first: usize, count: usize) -> (&[Line], usize) {
        let panel = first / PANEL * PANEL;
        let step = PANEL.min(self.sums.len() - panel);
        let start = panel * self.groups() + first - panel;
        // Up to the last line of the last group.
        let len = (self.groups().max(1) - 1) * step + count.min(self.groups() * count);
        (&self.lines[start..start + len], step)
    }

    /// Returns the sums of a vector of columns.
    pub(super) fn sums(&self, vector: usize) -> &[i32; LANES] {
        &self.sums[vector]
    }
}
