//! Unfolding: the windows of an image, each as one column.

use super::call::Call;
use super::{Lowered, Lowering, refuse};
use crate::import::graph::lower::traced::{Size, Traced};

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
}
