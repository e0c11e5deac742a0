//! Ops on images built from candle ops with correct backward passes: rearrangements, separable maps, transposed
//! convolutions, and norms over an image's own values.

use super::elementwise::fill;
use super::graph::taps;
use crate::axis_map::{AxisMap, axis_maps};
use candle_core::{Device, Tensor};
use fieldfit_nets::{Axis, ConvTranspose, Op, Padding, Rearrange, Shape, Window};

/// Returns the shape of one image of `[N, H, W, C]`.
pub(super) fn shape_of(x: &Tensor) -> candle_core::Result<Shape> {
    let (_, height, width, channels) = x.dims4()?;
    Ok(Shape { height, width, channels })
}

/// Computes a rearrangement.
pub(super) fn rearrange(rearrange: &Rearrange, x: &Tensor) -> candle_core::Result<Tensor> {
    let input = shape_of(x)?;
    let dimensions = rearrange.dimensions(input).map_err(candle_core::Error::wrap)?;
    let count = x.dim(0)?;
    let array: Vec<usize> = [count].into_iter().chain(dimensions).collect();
    let order: Vec<usize> = [0].into_iter().chain(rearrange.order.iter().map(|axis| axis + 1)).collect();
    let Shape { height, width, channels } = rearrange.output.unwrap_or(input);
    x.contiguous()?.reshape(array)?.permute(order)?.contiguous()?.reshape((count, height, width, channels))
}

/// Computes a range of an axis.
pub(super) fn slice(x: &Tensor, axis: Axis, start: usize, length: usize, step: usize) -> candle_core::Result<Tensor> {
    if step == 1 {
        return x.narrow(1 + axis.index(), start, length);
    }
    let positions: Vec<u32> = (0..length).map(|index| (start + index * step) as u32).collect();
    x.contiguous()?.index_select(&Tensor::new(positions, x.device())?, 1 + axis.index())
}

/// Computes a separable map: one matrix product an axis.
pub(super) fn separable(op: &Op, x: &Tensor) -> candle_core::Result<Tensor> {
    let input = shape_of(x)?;
    let output = op.output_shape(&[input]).map_err(candle_core::Error::wrap)?;
    let Some([rows, columns]) = axis_maps(op, input, output) else {
        candle_core::bail!("a {} is not separable", op.name())
    };
    let count = x.dim(0)?;
    let tall = matrix(&rows, x)?.broadcast_matmul(&x.contiguous()?.reshape((count, input.height, ()))?)?;
    let tall = tall.reshape((count * output.height, input.width, input.channels))?;
    let wide = matrix(&columns, x)?.broadcast_matmul(&tall)?;
    wide.reshape((count, output.height, output.width, output.channels))
}

/// Returns a map as a matrix, `[1, to, from]`.
fn matrix(map: &AxisMap, like: &Tensor) -> candle_core::Result<Tensor> {
    let mut values = vec![0.0; map.sources.len() * map.from];
    for (row, sources) in values.chunks_exact_mut(map.from).zip(&map.sources) {
        sources.iter().for_each(|(source, weight)| row[*source] += weight);
    }
    let matrix = Tensor::from_vec(values, (1, map.sources.len(), map.from), &Device::Cpu)?;
    matrix.to_dtype(like.dtype())?.to_device(like.device())
}

/// Computes a transposed convolution: a convolution with the kernel turned by 180° of the image with zeros between its
/// pixels. `weight` is `[output, input / groups, rows, columns]`.
pub(super) fn conv_transpose(conv: &ConvTranspose, weight: &Tensor, x: &Tensor) -> candle_core::Result<Tensor> {
    let Window { kernel, stride, dilation, padding, .. } = conv.window;
    let (count, height, width, channels) = x.dims4()?;
    let spread = x.contiguous()?.reshape((count, height, 1, width, 1, channels))?;
    let spread = spread.pad_with_zeros(2, 0, stride[0] - 1)?.pad_with_zeros(4, 0, stride[1] - 1)?;
    let mut y = spread.reshape((count, height * stride[0], width * stride[1], channels))?;
    let Padding::Fixed(padding) = padding else { candle_core::bail!("a transposed convolution with SAME padding") };
    for axis in 0..2 {
        let (extent, sides) = (dilation[axis] * (kernel[axis] - 1), [height, width][axis]);
        let [before, after] = padding[axis];
        let (Some(before), Some(after)) = (extent.checked_sub(before), extent.checked_sub(after)) else {
            candle_core::bail!("a transposed convolution with more padding than its kernel has")
        };
        y = y.narrow(1 + axis, 0, (sides - 1) * stride[axis] + 1)?;
        y = y.pad_with_zeros(1 + axis, before, after + conv.output_padding[axis])?;
    }
    let taps = taps(&y, &Window { kernel, stride: [1; 2], dilation, padding: Padding::NONE, rounds_up: false })?;
    let mut sum: Option<Tensor> = None;
    for (index, tap) in taps.iter().enumerate() {
        let turned = taps.len() - 1 - index;
        let kernel =
            weight.narrow(2, turned / kernel[1], 1)?.narrow(3, turned % kernel[1], 1)?.squeeze(3)?.squeeze(2)?;
        let term = grouped_product(tap, &kernel, conv.groups)?;
        sum = Some(match sum {
            Some(sum) => (sum + term)?,
            None => term,
        });
    }
    sum.ok_or_else(|| candle_core::Error::Msg("a kernel without taps".into()))
}

/// Computes the product of each pixel's channels with a matrix `[output, input / groups]`, group by group.
fn grouped_product(x: &Tensor, weight: &Tensor, groups: usize) -> candle_core::Result<Tensor> {
    let (count, height, width, channels) = x.dims4()?;
    let (inputs, outputs) = (channels / groups, weight.dim(0)? / groups);
    let product = |group: usize| {
        let part = x.narrow(3, group * inputs, inputs)?.contiguous()?.reshape(((), inputs))?;
        let weight = weight.narrow(0, group * outputs, outputs)?.t()?.contiguous()?;
        part.matmul(&weight)?.reshape((count, height, width, outputs))
    };
    Tensor::cat(&(0..groups).map(product).collect::<candle_core::Result<Vec<_>>>()?, 3)
}

/// Computes group norm without its γ and β.
pub(super) fn group_norm(x: &Tensor, groups: usize, epsilon: f64) -> candle_core::Result<Tensor> {
    let (count, height, width, channels) = x.dims4()?;
    let parts = x.contiguous()?.reshape((count, height * width, groups, channels / groups))?;
    let centred = parts.broadcast_sub(&parts.mean_keepdim((1, 3))?)?;
    let deviation = (centred.sqr()?.mean_keepdim((1, 3))? + epsilon)?.sqrt()?;
    centred.broadcast_div(&deviation)?.reshape((count, height, width, channels))
}

/// Divides by the Euclidean norm along an axis, at least `floor`.
pub(super) fn l2_norm(x: &Tensor, axis: Axis, floor: f64) -> candle_core::Result<Tensor> {
    let norm = x.sqr()?.sum_keepdim(1 + axis.index())?.sqrt()?;
    let norm = norm.le(floor)?.where_cond(&fill(floor, x)?.broadcast_as(norm.shape())?, &norm)?;
    x.broadcast_div(&norm)
}
