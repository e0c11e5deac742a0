//! Memory arena: one allocation for all buffers of a pass, reused by the next pass so that it touches no fresh pages.

use std::ops::Range;

/// Values per cache line; every buffer starts on a line.
pub(super) const LINE: usize = 16;

/// Memory arena; the buffers of a schedule are ranges of it.
#[derive(Default)]
pub(super) struct Arena {
    values: Vec<f32>,
    /// Values before the start of the first cache line.
    skip: usize,
}

impl Arena {
    /// Grows the arena to that many values; growing discards its contents.
    pub fn fit(&mut self, len: usize) {
        let needed = if len == 0 { 0 } else { len + LINE };
        if self.values.len() < needed {
            // Frees the old allocation first, so that both never exist together.
            self.values = Vec::new();
            self.values = vec![0.0; needed];
            self.skip = self.values.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        }
    }

    /// Bytes allocated.
    pub const fn bytes(&self) -> usize {
        self.values.capacity() * size_of::<f32>()
    }

    /// Bytes of an arena grown to that many values.
    pub const fn bytes_for(len: usize) -> usize {
        if len == 0 { 0 } else { (len + LINE) * size_of::<f32>() }
    }

    /// Returns the values of a range.
    pub fn get(&self, range: Range<usize>) -> &[f32] {
        &self.values[self.skip..][range]
    }

    /// Returns mutable slices of several ranges.
    ///
    /// # Panics
    /// If two ranges overlap, or one exceeds the arena; a schedule produces no such ranges.
    pub fn borrow<const N: usize>(&mut self, ranges: [Range<usize>; N]) -> [&mut [f32]; N] {
        match self.values[self.skip..].get_disjoint_mut(ranges) {
            Ok(slices) => slices,
            Err(error) => unreachable!("overlapping buffers in one task: {error}"),
        }
    }
}
