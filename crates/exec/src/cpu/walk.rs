//! How the rows of a depthwise convolution's target are gathered from those of its source, in either direction.

use fieldfit_nets::{Conv, Shape};
use std::ops::Range;

/// Which pixels of the source each pixel of the target sees, under which taps of the kernel.
///
/// Forward, the target is the output; backward, it is the input and the source the gradient of the output.
#[derive(Debug)]
pub(super) struct Walk {
    pub target: Shape,
    pub source: Shape,
    /// Each row of one image's target.
    rows: Vec<Row>,
    patterns: Vec<Pattern>,
}

/// The first row of the source that a row of the target sees, and how.
#[derive(Debug)]
struct Row {
    source: usize,
    pattern: usize,
}

/// How a row is gathered: the same for all rows that see the same rows of the kernel.
#[derive(Debug)]
struct Pattern {
    /// Rows of the source after the first, and the row of the kernel.
    sights: Vec<(usize, usize)>,
    segments: Vec<Segment>,
}

/// Pixels of a row, evenly spaced, that see the same taps.
#[derive(Debug)]
pub(super) struct Segment {
    pub count: usize,
    /// The first pixel of the target's row, and how many further the next one is.
    pub target: (usize, usize),
    /// Pixels of the source from one of the target's to the next.
    pub source_step: usize,
    pub taps: Vec<Tap>,
}

/// One product of a sum.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tap {
    /// Values from the first visible row of the source to what the segment's first pixel sees.
    pub source: usize,
    /// Values into the kernel, `[k, k, C]`.
    pub weight: usize,
}

impl Walk {
    /// From the input to the output.
    pub fn forward(conv: &Conv, input: Shape, output: Shape) -> Self {
        let Conv { kernel, stride, padding, .. } = *conv;
        let (top, _) = padding.amounts(input.height, kernel, stride);
        let (left, _) = padding.amounts(input.width, kernel, stride);
        let columns = Columns {
            positions: 0..output.width,
            target_first: 0,
            target_step: 1,
            source_step: stride,
            taps: (0..kernel).map(|tap| (tap as isize - left as isize, tap)).collect(),
        };
        let sees = |row: usize| {
            (0..kernel)
                .filter_map(|tap| Some(((row * stride + tap).checked_sub(top).filter(|y| *y < input.height)?, tap)))
                .collect()
        };
        Self::new(kernel, output, input, &[columns], sees)
    }

    /// From the output's gradient to the input's.
    pub fn backward(conv: &Conv, input: Shape, output: Shape) -> Self {
        let Conv { kernel, stride, padding, .. } = *conv;
        let (top, _) = padding.amounts(input.height, kernel, stride);
        let (left, _) = padding.amounts(input.width, kernel, stride);
        // One set of taps for each remainder of the stride.
        let columns = |phase: usize| Columns {
            positions: left.saturating_sub(phase).div_ceil(stride)
                ..(input.width + left).saturating_sub(phase).div_ceil(stride),
            target_first: phase as isize - left as isize,
            target_step: stride,
            source_step: 1,
            taps: (phase..kernel).step_by(stride).map(|tap| (-((tap / stride) as isize), tap)).collect(),
        };
        let sees = |row: usize| {
            let source = |tap: usize| {
                let distance = (row + top).checked_sub(tap)?;
                (distance % stride == 0 && distance / stride < output.height).then_some((distance / stride, tap))
            };
            (0..kernel).rev().filter_map(source).collect()
        };
        Self::new(kernel, input, output, &(0..stride).map(columns).collect::<Vec<_>>(), sees)
    }

    fn new(
        kernel: usize,
        target: Shape,
        source: Shape,
        columns: &[Columns],
        sees: impl Fn(usize) -> Vec<(usize, usize)>,
    ) -> Self {
        let mut patterns: Vec<Pattern> = Vec::new();
        let rows = (0..target.height).map(|row| {
            let sights = sees(row);
            let first = sights.first().map_or(0, |sight| sight.0);
            let sights: Vec<_> = sights.into_iter().map(|(row, tap)| (row - first, tap)).collect();
            let known = patterns.iter().position(|pattern| pattern.sights == sights);
            let pattern = known.unwrap_or_else(|| {
                let segments = columns.iter().flat_map(|columns| columns.segments(&sights, source, kernel)).collect();
                patterns.push(Pattern { sights, segments });
                patterns.len() - 1
            });
            Row { source: first, pattern }
        });
        Self { rows: rows.collect(), target, source, patterns }
    }

    /// How a row of one image's target is gathered: position of the first visible row in the image's source, segments.
    pub fn row(&self, row: usize) -> (usize, &[Segment]) {
        let Row { source, pattern } = self.rows[row];
        (source * self.source.width * self.source.channels, &self.patterns[pattern].segments)
    }
}

/// Positions along a row at which the same columns of the kernel apply: the target's pixel is
/// `first + position · step`, a tap's source pixel is `position · source_step + offset`.
struct Columns {
    positions: Range<usize>,
    target_first: isize,
    target_step: usize,
    source_step: usize,
    /// Each tap's offset and its column of the kernel.
    taps: Vec<(isize, usize)>,
}

impl Columns {
    /// The positions cut into those where the kernel lies within the row, and each of those at the edges.
    fn segments(&self, sights: &[(usize, usize)], source: Shape, kernel: usize) -> Vec<Segment> {
        let inside =
            |position: &usize| self.taps.iter().all(|tap| self.source(*position, tap.0, source.width).is_some());
        let start = self.positions.clone().find(inside).unwrap_or(self.positions.end);
        let end = (start..self.positions.end).find(|position| !inside(position)).unwrap_or(self.positions.end);
        let single = |position: usize| position..position + 1;
        let ranges = (self.positions.start..start).map(single);
        let ranges = ranges.chain((start < end).then_some(start..end)).chain((end..self.positions.end).map(single));
        ranges.map(|range| self.segment(range, sights, source, kernel)).collect()
    }

    fn segment(&self, range: Range<usize>, sights: &[(usize, usize)], source: Shape, kernel: usize) -> Segment {
        let mut taps = Vec::new();
        for (row, kernel_row) in sights {
            for (offset, kernel_column) in &self.taps {
                if let Some(pixel) = self.source(range.start, *offset, source.width) {
                    taps.push(Tap {
                        source: (row * source.width + pixel) * source.channels,
                        weight: (kernel_row * kernel + kernel_column) * source.channels,
                    });
                }
            }
        }
        let target = (range.start * self.target_step).wrapping_add_signed(self.target_first);
        Segment { count: range.len(), target: (target, self.target_step), source_step: self.source_step, taps }
    }

    /// The pixel that a tap reads, if it is within the row.
    fn source(&self, position: usize, offset: isize, width: usize) -> Option<usize> {
        (position * self.source_step).checked_add_signed(offset).filter(|pixel| *pixel < width)
    }
}

impl Segment {
    /// Whether every tap of every pixel lies within that many values of source and kernel.
    pub fn fits(&self, channels: usize, source: usize, kernel: usize) -> bool {
        let reach = (self.count - 1) * self.source_step * channels + channels;
        self.taps.iter().all(|tap| tap.source + reach <= source && tap.weight + channels <= kernel)
    }
}
