//! Unfolding: the windows of an image, each as one column; and folding, which adds them up again.

use super::call::Call;
use super::{Lowered, Lowering, refuse};
use crate::import::graph::lower::array::Array;
use crate::import::graph::lower::traced::{Size, Traced};
use fieldfit_nets::{ConvTranspose, Op, Padding, Window};

impl<'r, 'a> Lowering<'r, 'a> {
    /// Lowers `im2col`: `[N, C, H, W]` to `[N, C · rows · columns, windows]`.
    pub(super) fn unfold(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "self")?;
        let image = self.image(&value)?;
        let [kernel, stride, dilation, padding] = [
            call.pair("kernel_size", 1)?,
            call.pair("stride", 1)?,
            call.pair("dilation", 1)?,
            call.pair("padding", 0)?,
        ];
        let mut unfolded = self.pad_with_zeros(&image, &[[0; 2], [0; 2], [padding[0]; 2], [padding[1]; 2]])?;
        let mut windows = [0; 2];
        for axis in 0..2 {
            let (side, taps) = (unfolded.length(2 + axis), kernel[axis]);
            let Some(extent) = taps.checked_sub(1).map(|last| last * dilation[axis] + 1) else {
                return refuse("a kernel without pixels");
            };
            let Some(rest) = side.checked_sub(extent).filter(|_| stride[axis] > 0) else {
                return refuse("a kernel that is greater than the image");
            };
            windows[axis] = rest / stride[axis] + 1;
            let positions =
                (0..windows[axis] * taps).map(|index| index / taps * stride[axis] + index % taps * dilation[axis]);
            unfolded = self.gather(&unfolded, 2 + axis, positions.collect())?;
        }
        let channels = image.shape.channels;
        let sizes = |sides: &[usize]| -> Vec<Size> {
            [Size::Batch(1)].into_iter().chain(sides.iter().copied().map(Size::Fixed)).collect()
        };
        let split = self.view(unfolded, &sizes(&[channels, windows[0], kernel[0], windows[1], kernel[1]]))?;
        let ordered = split.and_then(|value| value.permute(&[0, 1, 3, 5, 2, 4]));
        let Some(ordered) = ordered else { return refuse("that unfolding") };
        let columns = [channels * kernel[0] * kernel[1], windows[0] * windows[1]];
        let merged = self.view(ordered, &sizes(&columns))?;
        merged.map_or_else(|| refuse("that unfolding"), Ok)
    }
    /// Lowers `col2im`.
    pub(super) fn fold(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "self")?;
        let (kernel, stride, dilation) =
            (call.pair("kernel_size", 1)?, call.pair("stride", 1)?, call.pair("dilation", 1)?);
        let padding = Padding::Fixed(call.pair("padding", 0)?.map(|amount| [amount; 2]));
        let window = Window { kernel, stride, dilation, padding, rounds_up: false };
        self.fold_of(value, call.pair("output_size", 1)?, window)
    }

    /// Appends the sum of windows at each pixel: `[N, C · rows · columns, windows]` to `[N, C, H, W]`. That is a transposed
    /// convolution whose kernels are 1 at one pixel each.
    pub fn fold_of(&mut self, value: Traced, output: [usize; 2], window: Window) -> Lowered<Traced> {
        let Window { kernel, stride, dilation, padding: Padding::Fixed(padding), .. } = window else {
            return refuse("that folding");
        };
        let mut windows = [0; 2];
        let mut rest = [0; 2];
        for axis in 0..2 {
            let extent = kernel[axis].checked_sub(1).map(|last| last * dilation[axis] + 1);
            let padded = output[axis] + padding[axis].iter().sum::<usize>();
            let room = extent.and_then(|extent| padded.checked_sub(extent));
            let Some(room) = room.filter(|_| stride[axis] > 0) else { return refuse("that folding") };
            (windows[axis], rest[axis]) = (room / stride[axis] + 1, room % stride[axis]);
        }
        let [rows, columns] = kernel;
        let taps = rows * columns;
        let fits = value.rank() == 3
            && taps > 0
            && value.length(1).is_multiple_of(taps)
            && windows[0].checked_mul(windows[1]) == Some(value.length(2));
        if !fits {
            return refuse("that folding");
        }
        let kernels = Array::filled(vec![value.length(1) / taps, taps, rows, columns], 0.0);
        let Some(mut kernels) = kernels else { return refuse("kernels of that size") };
        kernels.values.chunks_exact_mut(taps * taps).for_each(|kernels| {
            kernels.iter_mut().step_by(taps + 1).for_each(|weight| *weight = 1.0);
        });
        let (input, channels) = (value.length(1), kernels.shape[0]);
        let sizes = [Size::Batch(1), Size::Fixed(input), Size::Fixed(windows[0]), Size::Fixed(windows[1])];
        let Some(image) = self.view(value, &sizes)? else { return refuse("that folding") };
        let shape = kernels.shape.clone();
        let weight = self.sketch.constant(&kernels, shape);
        let conv = ConvTranspose {
            weight,
            bias: None,
            input,
            output: channels,
            window,
            output_padding: rest,
            groups: channels,
        };
        self.on_image(&image, Op::ConvTranspose(conv))
    }
}
