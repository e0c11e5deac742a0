//! Separable maps of pixels: ops whose output pixels are weighted sums of input pixels, with a weight a row times a weight a
//! column. Padding, slices, means, average pools and resizes are such maps; each of them is two lists of weights here.

use fieldfit_nets::{Axis, Interpolation, Op, Shape, SpatialAxis, Window};

/// Map along one axis: of each output position, the input positions and their weights.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AxisMap {
    pub sources: Vec<Vec<(usize, f64)>>,
    /// Number of input positions.
    pub from: usize,
}

impl AxisMap {
    /// Creates the map that leaves an axis as it is.
    fn identity(side: usize) -> Self {
        Self { sources: (0..side).map(|position| vec![(position, 1.0)]).collect(), from: side }
    }

    /// Creates the map that adds zeros before and behind.
    fn padded(side: usize, [before, after]: [usize; 2]) -> Self {
        let source = |position: usize| position.checked_sub(before).filter(|position| *position < side);
        let sources = (0..before + side + after)
            .map(|position| source(position).map(|source| (source, 1.0)).into_iter().collect());
        Self { sources: sources.collect(), from: side }
    }

    /// Creates the map that takes every `step`-th position.
    fn slice(side: usize, start: usize, length: usize, step: usize) -> Self {
        Self { sources: (0..length).map(|index| vec![(start + index * step, 1.0)]).collect(), from: side }
    }

    /// Creates the map that takes the positions of a list.
    fn gathered(side: usize, indices: &[usize]) -> Self {
        Self { sources: indices.iter().map(|index| vec![(*index, 1.0)]).collect(), from: side }
    }

    /// Creates the map to the mean of all positions.
    fn mean(side: usize) -> Self {
        Self { sources: vec![(0..side).map(|position| (position, 1.0 / side as f64)).collect()], from: side }
    }

    /// Creates the map to the mean under each position of a window.
    fn pooled(window: &Window, axis: SpatialAxis, side: usize, output: usize, counts_padding: bool) -> Self {
        let (before, after) = window.padding(axis, side);
        let mean = |position: usize| {
            let covered: Vec<usize> = window.covered(axis, position, side).collect();
            // What PyTorch's `ceil_mode` reaches beyond the padding does not count.
            let start = position * window.stride[axis.index()];
            let padded = (before + side + after).saturating_sub(start).min(window.kernel[axis.index()]);
            let count = if counts_padding { padded } else { covered.len() };
            covered.into_iter().map(|pixel| (pixel, 1.0 / count.max(1) as f64)).collect()
        };
        Self { sources: (0..output).map(mean).collect(), from: side }
    }

    /// Creates the map to the means of cells, see [`Op::AdaptiveAveragePool`].
    fn adaptive(from: usize, to: usize) -> Self {
        let cell = |index: usize| {
            let cell = index * from / to..((index + 1) * from).div_ceil(to);
            let weight = 1.0 / cell.len() as f64;
            cell.map(|position| (position, weight)).collect()
        };
        Self { sources: (0..to).map(cell).collect(), from }
    }

    /// Creates the map of an interpolation, as `torch.nn.functional.interpolate` defines it.
    fn interpolated(from: usize, to: usize, interpolation: Interpolation) -> Self {
        let between = |centre: f64| {
            let centre = centre.clamp(0.0, (from - 1) as f64);
            let first = (centre as usize).min(from - 1);
            let share = centre - first as f64;
            if share == 0.0 || first + 1 == from {
                vec![(first, 1.0)]
            } else {
                vec![(first, 1.0 - share), (first + 1, share)]
            }
        };
        let corners = |position: usize| {
            if to == 1 { 0.0 } else { position as f64 * (from - 1) as f64 / (to - 1) as f64 }
        };
        let centre = |position: usize| (position as f64 + 0.5) * from as f64 / to as f64 - 0.5;
        let source = |position: usize| match interpolation {
            Interpolation::Nearest => vec![((position * from / to).min(from - 1), 1.0)],
            Interpolation::Bilinear => between(centre(position)),
            Interpolation::BilinearCorners => between(corners(position)),
            Interpolation::Bicubic => cubic(centre(position), from),
            Interpolation::BicubicCorners => cubic(corners(position), from),
            Interpolation::NearestExact => vec![(((2 * position + 1) * from / (2 * to)).min(from - 1), 1.0)],
            Interpolation::BilinearAntialiased => antialiased(position, [from, to], 1.0, |x| 1.0 - x),
            Interpolation::BicubicAntialiased => antialiased(position, [from, to], 2.0, |x| keys(x, -0.5)),
        };
        Self { sources: (0..to).map(source).collect(), from }
    }

    /// Returns the adjoint: of each input position, the output positions and their weights.
    pub fn adjoint(&self) -> Self {
        let mut sources = vec![Vec::new(); self.from];
        for (position, weights) in self.sources.iter().enumerate() {
            weights.iter().for_each(|(source, weight)| sources[*source].push((position, *weight)));
        }
        Self { sources, from: self.sources.len() }
    }
}

/// Returns the weight of Keys' cubic convolution at a distance of at most 2.
fn keys(x: f64, a: f64) -> f64 {
    if x <= 1.0 { ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0 } else { ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a }
}

/// Returns the positions under a kernel of that radius, in pixels of the coarser of both sides, and their weights, whose sum is 1.
fn antialiased(position: usize, [from, to]: [usize; 2], radius: f64, kernel: impl Fn(f64) -> f64) -> Vec<(usize, f64)> {
    let scale = from as f64 / to as f64;
    let width = scale.max(1.0);
    let (centre, support) = (scale * (position as f64 + 0.5), radius * width);
    let first = ((centre - support + 0.5) as i64).max(0) as usize;
    let last = ((centre + support + 0.5) as usize).min(from);
    let distance = |pixel: usize| ((pixel as f64 - centre + 0.5) / width).abs();
    let weight = |pixel: usize| if distance(pixel) < radius { kernel(distance(pixel)) } else { 0.0 };
    let sum: f64 = (first..last).map(weight).sum();
    (first..last).map(|pixel| (pixel, weight(pixel) / sum)).collect()
}

/// Returns the positions and weights of the cubic convolution at `centre`; positions outside count as the nearest inside.
fn cubic(centre: f64, from: usize) -> Vec<(usize, f64)> {
    const A: f64 = -0.75;
    let first = centre.floor();
    let share = centre - first;
    let weights = [share + 1.0, share, 1.0 - share, 2.0 - share].map(|x| keys(x, A));
    let position = |offset: usize| (first + offset as f64 - 1.0).clamp(0.0, (from - 1) as f64) as usize;
    weights.into_iter().enumerate().map(|(offset, weight)| (position(offset), weight)).collect()
}

/// Returns the maps of rows and columns of an op; `None` if it is not separable.
pub(crate) fn axis_maps(op: &Op, input: Shape, output: Shape) -> Option<[AxisMap; 2]> {
    let sides = [(SpatialAxis::Rows, input.height, output.height), (SpatialAxis::Columns, input.width, output.width)];
    let is_along = |axis: &Axis, spatial: SpatialAxis| axis.index() == spatial.index();
    let map = |(axis, from, to): (SpatialAxis, usize, usize)| match op {
        Op::Pad(amounts) => Some(AxisMap::padded(from, amounts[axis.index()])),
        Op::Slice { axis: Axis::Channels, .. } | Op::Mean(Axis::Channels) => None,
        Op::Slice { axis: sliced, start, length, step } if is_along(sliced, axis) => {
            Some(AxisMap::slice(from, *start, *length, *step))
        }
        Op::Mean(reduced) if is_along(reduced, axis) => Some(AxisMap::mean(from)),
        Op::Gather { axis: gathered, indices } if is_along(gathered, axis) => Some(AxisMap::gathered(from, indices)),
        Op::Slice { .. } | Op::Gather { .. } | Op::Mean(_) => Some(AxisMap::identity(from)),
        Op::AveragePool { window, counts_padding } => Some(AxisMap::pooled(window, axis, from, to, *counts_padding)),
        Op::AdaptiveAveragePool(_) => Some(AxisMap::adaptive(from, to)),
        Op::Resize { interpolation, .. } => Some(AxisMap::interpolated(from, to, *interpolation)),
        Op::Conv(_)
        | Op::ConvTranspose(_)
        | Op::Linear(_)
        | Op::Attention(_)
        | Op::MatMul { .. }
        | Op::Embed(_)
        | Op::ClassToken(_)
        | Op::Parameter { .. }
        | Op::Activate(_)
        | Op::Prelu { .. }
        | Op::Arithmetic(_)
        | Op::Affine { .. }
        | Op::Scalar { .. }
        | Op::BatchNorm(_)
        | Op::LayerNorm(_)
        | Op::GroupNorm { .. }
        | Op::L2Norm { .. }
        | Op::Softmax(_)
        | Op::Concat(_)
        | Op::Rearrange(_)
        | Op::MaxPool(_)
        | Op::GlobalAveragePool => None,
    };
    let [rows, columns] = sides.map(map);
    Some([rows?, columns?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use fieldfit_nets::Padding;

    fn weights(map: &AxisMap) -> Vec<Vec<(usize, f64)>> {
        map.sources.clone()
    }

    /// Catches: a centre off by half a pixel, corners that are not kept, a position beyond the last. Expected:
    /// `torch.nn.functional.interpolate` of the positions.
    #[test]
    fn interpolations_are_pytorchs() {
        let of = |from, to, interpolation| -> Vec<f64> {
            let map = AxisMap::interpolated(from, to, interpolation);
            map.sources
                .iter()
                .map(|sources| sources.iter().map(|(source, weight)| *source as f64 * weight).sum())
                .collect()
        };
        assert_eq!(of(3, 6, Interpolation::Bilinear), [0.0, 0.25, 0.75, 1.25, 1.75, 2.0]);
        assert_eq!(of(5, 2, Interpolation::Bilinear), [0.75, 3.25]);
        assert_eq!(of(3, 5, Interpolation::BilinearCorners), [0.0, 0.5, 1.0, 1.5, 2.0]);
        assert_eq!(of(3, 1, Interpolation::BilinearCorners), [0.0]);
        assert_eq!(of(3, 5, Interpolation::Nearest), [0.0, 0.0, 1.0, 1.0, 2.0]);
        assert_eq!(of(1, 4, Interpolation::Bilinear), [0.0; 4]);
    }

    /// Catches: a kernel of another width, a cut that is off by a pixel, weights whose sum is not 1. Expected:
    /// `torch.nn.functional.interpolate` of the squared positions with `antialias=True`, and of the positions with `nearest-exact`.
    #[test]
    fn antialiased_interpolations_are_pytorchs() {
        let of = |from, to, interpolation| -> Vec<f64> {
            let map = AxisMap::interpolated(from, to, interpolation);
            map.sources
                .iter()
                .map(|sources| sources.iter().map(|(source, weight)| (source * source) as f64 * weight).sum())
                .collect()
        };
        let cases = [
            (7, 3, Interpolation::BilinearAntialiased, vec![1.285714285714, 9.941176470588, 27.0]),
            (7, 3, Interpolation::BicubicAntialiased, vec![0.677419354839, 9.363858363858, 28.064516129032]),
            (3, 5, Interpolation::BilinearAntialiased, vec![0.0, 0.4, 1.0, 2.8, 4.0]),
            (
                3,
                5,
                Interpolation::BicubicAntialiased,
                vec![-0.075471698113, 0.216417910448, 1.0, 2.992537313433, 4.22641509434],
            ),
            (9, 2, Interpolation::BicubicAntialiased, vec![5.163164224129, 37.926295835796]),
            (7, 3, Interpolation::NearestExact, vec![1.0, 9.0, 25.0]),
            (3, 5, Interpolation::NearestExact, vec![0.0, 0.0, 1.0, 4.0, 4.0]),
            (9, 2, Interpolation::NearestExact, vec![4.0, 36.0]),
        ];
        for (from, to, interpolation, expected) in cases {
            let found = of(from, to, interpolation);
            let is_near = found.iter().zip(&expected).all(|(found, expected)| (found - expected).abs() < 1e-11);
            assert!(
                found.len() == to && is_near,
                "{from} to {to}, {interpolation:?}: {found:?}, expected {expected:?}"
            );
        }
    }

    /// Catches: padding that counts where it should not, a reach beyond the padding that counts. Expected: the divisors of
    /// `torch.nn.functional.avg_pool2d`.
    #[test]
    fn average_pools_count_what_pytorch_counts() {
        let window = |rounds_up| Window { rounds_up, ..Window::square(3, 2, Padding::symmetric(1)) };
        let counts = |rounds_up, output, counts_padding| -> Vec<f64> {
            let map = AxisMap::pooled(&window(rounds_up), SpatialAxis::Rows, 4, output, counts_padding);
            weights(&map).iter().map(|sources| 1.0 / sources[0].1).collect()
        };
        assert_eq!(counts(false, 2, true), [3.0, 3.0]);
        assert_eq!(counts(false, 2, false), [2.0, 3.0]);
        assert_eq!(counts(true, 3, true), [3.0, 3.0, 2.0]);
        assert_eq!(counts(true, 3, false), [2.0, 3.0, 1.0]);
    }

    /// Catches: an adjoint that loses a weight.
    #[test]
    fn the_adjoint_of_the_adjoint_is_the_map() {
        for map in [AxisMap::interpolated(5, 8, Interpolation::Bilinear), AxisMap::padded(3, [1, 2]), AxisMap::mean(4)]
        {
            assert_eq!(map.adjoint().adjoint(), map);
        }
    }
}
