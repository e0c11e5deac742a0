//! Tap plan of a depthwise or grouped convolution: which source pixels and kernel taps contribute to each target pixel, forward or
//! backward.

use fieldfit_nets::{Shape, SpatialAxis, Window};
use std::ops::Range;

/// Tap plan: the source pixels and kernel taps of each target pixel.
///
/// Forward, the target is the output; backward, it is the input and the source the gradient of the output.
#[derive(Debug)]
pub(super) struct TapPlan {
    pub target: Shape,
    pub source: Shape,
    /// Rows of one image's target.
    rows: Vec<Row>,
    patterns: Vec<Pattern>,
}

/// Plan of a target row: its first source row, and its pattern.
#[derive(Debug)]
struct Row {
    source: usize,
    pattern: usize,
}

/// Gather pattern, shared by all target rows under the same kernel rows.
#[derive(Debug)]
struct Pattern {
    /// Source row, relative to the first, and kernel row.
    visible_rows: Vec<(usize, usize)>,
    segments: Vec<Segment>,
}

/// Evenly spaced pixels of a row with the same taps.
#[derive(Debug)]
pub(super) struct Segment {
    pub count: usize,
    /// First target pixel, and distance to the next.
    pub target: (usize, usize),
    /// Source pixels from one target pixel to the next.
    pub source_step: usize,
    pub taps: Vec<Tap>,
}

/// Offsets of one product: into the source and into the kernel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tap {
    /// Values from the first source row to the segment's first source pixel.
    pub source: usize,
    /// Values into the kernel, `[k, k, C]`.
    pub weight: usize,
}

impl TapPlan {
    /// Creates the plan from input to output.
    pub fn forward(window: &Window, input: Shape, output: Shape) -> Self {
        let Window { kernel: [_, kernel], stride: [_, stride], dilation: [_, dilation], .. } = *window;
        let (left, _) = window.padding(SpatialAxis::Columns, input.width);
        let columns = Columns {
            positions: 0..output.width,
            target_first: 0,
            target_step: 1,
            source_step: stride,
            taps: (0..kernel).map(|tap| ((tap * dilation) as isize - left as isize, tap)).collect(),
        };
        let visible_rows_of = |row: usize| {
            window.taps_inside(SpatialAxis::Rows, row, input.height).map(|(tap, pixel)| (pixel, tap)).collect()
        };
        Self::new(kernel, output, input, &[columns], visible_rows_of)
    }

    /// Creates the plan from the output's gradient to the input's.
    pub fn backward(window: &Window, input: Shape, output: Shape) -> Self {
        let [rows, columns] = SpatialAxis::BOTH.map(|axis| Adjoint::new(window, axis, input));
        let visible_rows_of = |row: usize| {
            let source = |tap: usize| Some((rows.source(row, tap).filter(|row| *row < output.height)?, tap));
            (0..rows.kernel).rev().filter_map(source).collect()
        };
        Self::new(columns.kernel, input, output, &columns.phases(input.width), visible_rows_of)
    }

    fn new(
        kernel: usize,
        target: Shape,
        source: Shape,
        columns: &[Columns],
        visible_rows_of: impl Fn(usize) -> Vec<(usize, usize)>,
    ) -> Self {
        let mut patterns: Vec<Pattern> = Vec::new();
        let rows = (0..target.height).map(|row| {
            let visible_rows = visible_rows_of(row);
            let first = visible_rows.first().map_or(0, |visible| visible.0);
            let visible_rows: Vec<_> = visible_rows.into_iter().map(|(row, tap)| (row - first, tap)).collect();
            let known = patterns.iter().position(|pattern| pattern.visible_rows == visible_rows);
            let pattern = known.unwrap_or_else(|| {
                let segments =
                    columns.iter().flat_map(|columns| columns.segments(&visible_rows, source, kernel)).collect();
                patterns.push(Pattern { visible_rows, segments });
                patterns.len() - 1
            });
            Row { source: first, pattern }
        });
        Self { rows: rows.collect(), target, source, patterns }
    }

    /// Returns the offset of a target row's first source row in the image, and the row's segments.
    pub fn row(&self, row: usize) -> (usize, &[Segment]) {
        let Row { source, pattern } = self.rows[row];
        (source * self.source.width * self.source.channels, &self.patterns[pattern].segments)
    }
}

/// One axis of a window, seen from its input: which taps of which outputs cover a pixel.
struct Adjoint {
    kernel: usize,
    stride: usize,
    dilation: usize,
    before: usize,
}

impl Adjoint {
    fn new(window: &Window, axis: SpatialAxis, input: Shape) -> Self {
        let (index, pixels) = (axis.index(), [input.height, input.width][axis.index()]);
        let (before, _) = window.padding(axis, pixels);
        let [kernel, stride, dilation] = [window.kernel, window.stride, window.dilation].map(|pair| pair[index]);
        Self { kernel, stride, dilation, before }
    }

    /// Returns the position of the output whose tap covers a pixel, if there is one.
    fn source(&self, pixel: usize, tap: usize) -> Option<usize> {
        let distance = (pixel + self.before).checked_sub(tap * self.dilation)?;
        distance.is_multiple_of(self.stride).then_some(distance / self.stride)
    }

    /// Returns the pixels of a row by their remainder of the stride: each remainder has its own taps.
    fn phases(&self, pixels: usize) -> Vec<Columns> {
        let Self { kernel, stride, dilation, before } = *self;
        let phase = |phase: usize| Columns {
            positions: before.saturating_sub(phase).div_ceil(stride)
                ..(pixels + before).saturating_sub(phase).div_ceil(stride),
            target_first: phase as isize - before as isize,
            target_step: stride,
            source_step: 1,
            taps: (0..kernel)
                .filter(|tap| tap * dilation % stride == phase)
                .map(|tap| (-((tap * dilation / stride) as isize), tap))
                .collect(),
        };
        (0..stride).map(phase).collect()
    }
}

/// Positions along a row with the same kernel columns: the target pixel is `first + position · step`, a tap's source
/// pixel is `position · source_step + offset`.
struct Columns {
    positions: Range<usize>,
    target_first: isize,
    target_step: usize,
    source_step: usize,
    /// Each tap's offset and kernel column.
    taps: Vec<(isize, usize)>,
}

impl Columns {
    /// Splits the positions into one segment inside the row and single ones at the edges.
    fn segments(&self, visible_rows: &[(usize, usize)], source: Shape, kernel: usize) -> Vec<Segment> {
        let inside =
            |position: &usize| self.taps.iter().all(|tap| self.source(*position, tap.0, source.width).is_some());
        let start = self.positions.clone().find(inside).unwrap_or(self.positions.end);
        let end = (start..self.positions.end).find(|position| !inside(position)).unwrap_or(self.positions.end);
        let single = |position: usize| position..position + 1;
        let ranges = (self.positions.start..start).map(single);
        let ranges = ranges.chain((start < end).then_some(start..end)).chain((end..self.positions.end).map(single));
        ranges.map(|range| self.segment(range, visible_rows, source, kernel)).collect()
    }

    fn segment(&self, range: Range<usize>, visible_rows: &[(usize, usize)], source: Shape, kernel: usize) -> Segment {
        let mut taps = Vec::new();
        for (row, kernel_row) in visible_rows {
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

    /// Returns the source pixel of a tap, if it is within the row.
    fn source(&self, position: usize, offset: isize, width: usize) -> Option<usize> {
        (position * self.source_step).checked_add_signed(offset).filter(|pixel| *pixel < width)
    }
}

impl Segment {
    /// Whether every tap of every pixel is within that many values of source and kernel.
    pub fn fits(&self, channels: usize, source: usize, kernel: usize) -> bool {
        let reach = (self.count - 1) * self.source_step * channels + channels;
        self.taps.iter().all(|tap| tap.source + reach <= source && tap.weight + channels <= kernel)
    }
}
