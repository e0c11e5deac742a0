//! One allocation for all that a pass needs beside weights, so that the next pass touches no fresh pages.

use std::ops::Range;

/// Values that a cache line holds: every buffer starts at one.
pub(super) const LINE: usize = 16;

/// Memory that a schedule's buffers are ranges of.
#[derive(Default)]
pub(super) struct Arena {
    values: Vec<f32>,
    /// How many values lie before the first cache line's start.
    skip: usize,
}

impl Arena {
    /// Makes room for that many values. What was there is lost if it is more than ever before.
    pub fn fit(&mut self, len: usize) {
        let needed = if len == 0 { 0 } else { len + LINE };
        if self.values.len() < needed {
            // The old values go first, so that both are never there together.
            self.values = Vec::new();
            self.values = vec![0.0; needed];
            self.skip = self.values.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        }
    }

    /// Bytes that it takes.
    pub const fn bytes(&self) -> usize {
        self.values.capacity() * size_of::<f32>()
    }

    /// Bytes of an arena that was fitted to that many values.
    pub const fn bytes_for(len: usize) -> usize {
        if len == 0 { 0 } else { (len + LINE) * size_of::<f32>() }
    }

    /// The values of a range.
    pub fn get(&self, range: Range<usize>) -> &[f32] {
        &self.values[self.skip..][range]
    }

    /// The values of several ranges at once, all of which may be written to.
    ///
    /// # Panics
    /// If two of them overlap, or one ends outside: a schedule gives no such ranges.
    pub fn borrow<const N: usize>(&mut self, ranges: [Range<usize>; N]) -> [&mut [f32]; N] {
        match self.values[self.skip..].get_disjoint_mut(ranges) {
            Ok(slices) => slices,
            Err(error) => unreachable!("buffers that are used together: {error}"),
        }
    }
}
