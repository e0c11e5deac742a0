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

    /// Returns mutable slices of several ranges, and what is left to read.
    ///
    /// # Panics
    /// If two ranges overlap, or one exceeds the arena; a schedule produces no such ranges.
    pub fn split<const N: usize>(&mut self, ranges: [Range<usize>; N]) -> ([&mut [f32]; N], Rest<'_>) {
        let mut order: [usize; N] = std::array::from_fn(|index| index);
        order.sort_unstable_by_key(|index| ranges[*index].start);
        let mut slices: [&mut [f32]; N] = std::array::from_fn(|_| Default::default());
        let mut pieces = heapless::Vec::new();
        let (mut values, mut start) = (&mut self.values[self.skip..], 0);
        for index in order.into_iter().filter(|index| !ranges[*index].is_empty()) {
            let Range { start: first, end } = ranges[index].clone();
            let (Some(before), Some(slice)) = (
                first.checked_sub(start).and_then(|len| values.split_off_mut(..len)),
                values.split_off_mut(..end - first),
            ) else {
                unreachable!("overlapping buffers in one task: {ranges:?}")
            };
            let _ = pieces.push((start, &*before));
            slices[index] = slice;
            start = end;
        }
        let _ = pieces.push((start, &*values));
        (slices, Rest { pieces })
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

/// What [`Arena::split`] leaves to read.
pub(super) struct Rest<'a> {
    /// First value of each piece, and its values.
    pieces: heapless::Vec<(usize, &'a [f32]), 8>,
}

impl<'a> Rest<'a> {
    /// Returns the values of a range.
    ///
    /// # Panics
    /// If the range is not within one piece; no task reads what it writes.
    pub fn get(&self, range: Range<usize>) -> &'a [f32] {
        if range.is_empty() {
            return &[];
        }
        let values = self
            .pieces
            .iter()
            .find_map(|(start, values)| values.get(range.start.checked_sub(*start)?..range.end - start));
        values.unwrap_or_else(|| unreachable!("a task reads what it writes: {range:?}"))
    }
}
