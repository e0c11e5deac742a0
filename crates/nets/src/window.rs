//! Sliding window of a convolution or a pool: kernel, stride, dilation and padding.

use crate::shape::{Shape, ShapeError};
use serde::{Deserialize, Serialize};

/// Spatial axis of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpatialAxis {
    /// Rows, from the top.
    Rows,
    /// Columns, from the left.
    Columns,
}

impl SpatialAxis {
    /// Both axes, as `[rows, columns]` are stored.
    pub const BOTH: [Self; 2] = [Self::Rows, Self::Columns];

    /// Returns the position in `[rows, columns]`.
    pub const fn index(self) -> usize {
        match self {
            Self::Rows => 0,
            Self::Columns => 1,
        }
    }
}

/// Padding of a window's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Padding {
    /// TensorFlow's SAME: the output is `ceil(input / stride)`; an odd pixel is added after (below, right).
    Same,
    /// ONNX's SAME_LOWER: the same, but an odd pixel is added before (above, left).
    SameLower,
    /// A fixed number of pixels: `[[above, below], [left, right]]`.
    Fixed([[usize; 2]; 2]),
}

impl Padding {
    /// No padding.
    pub const NONE: Self = Self::symmetric(0);

    /// Creates PyTorch's padding: that many pixels on each side.
    pub const fn symmetric(amount: usize) -> Self {
        Self::Fixed([[amount; 2]; 2])
    }
}

/// Sliding window: the geometry that convolutions and pools share. Pairs are `[rows, columns]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Size of the kernel.
    pub kernel: [usize; 2],
    /// Pixels from one position to the next.
    pub stride: [usize; 2],
    /// Pixels from one tap to the next.
    pub dilation: [usize; 2],
    /// Padding of the input.
    pub padding: Padding,
    /// Whether a last position that is only in part inside the input counts (PyTorch's `ceil_mode`).
    pub rounds_up: bool,
}

impl Window {
    /// Creates a square window without dilation.
    pub const fn square(kernel: usize, stride: usize, padding: Padding) -> Self {
        Self { kernel: [kernel; 2], stride: [stride; 2], dilation: [1; 2], padding, rounds_up: false }
    }

    /// Returns the number of taps.
    pub const fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Whether the window is one pixel that visits each pixel of its input once.
    pub fn is_pointwise(&self) -> bool {
        let is_padded = matches!(self.padding, Padding::Fixed(amounts) if amounts != [[0; 2]; 2]);
        self.kernel == [1; 2] && self.stride == [1; 2] && !is_padded
    }

    /// Returns the pixels that the kernel spans along an axis.
    pub const fn extent(&self, axis: SpatialAxis) -> usize {
        let axis = axis.index();
        self.dilation[axis] * (self.kernel[axis] - 1) + 1
    }

    /// Returns the padding before and after an axis of that many pixels.
    pub const fn padding(&self, axis: SpatialAxis, pixels: usize) -> (usize, usize) {
        match self.padding {
            Padding::Same | Padding::SameLower => {
                let covered = (pixels.div_ceil(self.stride[axis.index()]).saturating_sub(1))
                    * self.stride[axis.index()]
                    + self.extent(axis);
                let total = covered.saturating_sub(pixels);
                let (less, more) = (total / 2, total - total / 2);
                if let Padding::Same = self.padding { (less, more) } else { (more, less) }
            }
            Padding::Fixed(amounts) => {
                let [before, after] = amounts[axis.index()];
                (before, after)
            }
        }
    }

    /// Returns the height and width of the output.
    ///
    /// # Errors
    /// If the input has no pixels, is smaller than the kernel after padding, or a size of the window is 0.
    pub fn output(&self, input: Shape) -> Result<[usize; 2], ShapeError> {
        let Shape { height, width, .. } = input;
        if height == 0 || width == 0 {
            return Err(ShapeError::Empty { height, width });
        }
        if [self.kernel, self.stride, self.dilation].as_flattened().contains(&0) {
            return Err(ShapeError::Window);
        }
        let kernel = SpatialAxis::BOTH.map(|axis| self.extent(axis));
        let side = |axis, pixels| self.positions(axis, pixels).ok_or(ShapeError::Kernel { height, width, kernel });
        Ok([side(SpatialAxis::Rows, height)?, side(SpatialAxis::Columns, width)?])
    }

    /// Iterates over the input's pixels along an axis that lie under a position of the kernel.
    pub fn covered(
        &self,
        axis: SpatialAxis,
        position: usize,
        pixels: usize,
    ) -> impl Iterator<Item = usize> + Clone + use<> {
        self.taps_inside(axis, position, pixels).map(|(_, pixel)| pixel)
    }

    /// Iterates over the taps along an axis that lie inside the input at a position of the kernel, with their pixels.
    pub fn taps_inside(
        &self,
        axis: SpatialAxis,
        position: usize,
        pixels: usize,
    ) -> impl Iterator<Item = (usize, usize)> + Clone + use<> {
        let (before, _) = self.padding(axis, pixels);
        let (dilation, start) = (self.dilation[axis.index()], position * self.stride[axis.index()]);
        (0..self.kernel[axis.index()]).filter_map(move |tap| {
            let pixel = (start + tap * dilation).checked_sub(before)?;
            (pixel < pixels).then_some((tap, pixel))
        })
    }

    /// Returns the positions along an axis; `None` if the kernel does not fit.
    fn positions(&self, axis: SpatialAxis, pixels: usize) -> Option<usize> {
        let ((before, after), stride) = (self.padding(axis, pixels), self.stride[axis.index()]);
        let room = (before + pixels + after).checked_sub(self.extent(axis))?;
        if !self.rounds_up {
            return Some(room / stride + 1);
        }
        let last = room.div_ceil(stride);
        // A last position that starts in the padding behind the input does not count.
        Some(if last * stride >= before + pixels { last } else { last + 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(window: Window, height: usize, width: usize) -> Result<[usize; 2], ShapeError> {
        window.output(Shape { height, width, channels: 1 })
    }

    /// Catches: a dilation that is not counted, sides that are swapped, a last position of `ceil_mode` that starts behind
    /// the input. Expected: the sizes of PyTorch's outputs.
    #[test]
    fn sizes_are_pytorchs() {
        let tall =
            Window { kernel: [7, 1], padding: Padding::Fixed([[3, 3], [0, 0]]), ..Window::square(1, 1, Padding::NONE) };
        assert_eq!(output(tall, 9, 5), Ok([9, 5]));
        let dilated = Window { dilation: [2, 4], ..Window::square(3, 1, Padding::Fixed([[2, 2], [4, 4]])) };
        assert_eq!(output(dilated, 9, 10), Ok([9, 10]));
        let pool = Window { rounds_up: true, ..Window::square(3, 2, Padding::NONE) };
        assert_eq!(output(pool, 8, 7), Ok([4, 3]));
        // The third position of the second axis starts at pixel 4, which is padding.
        let pool = Window { rounds_up: true, ..Window::square(2, 2, Padding::symmetric(1)) };
        assert_eq!(output(pool, 4, 3), Ok([3, 2]));
    }

    /// Catches: an odd pixel on the wrong side, or padding that stays that of another size.
    #[test]
    fn same_lower_adds_an_odd_pixel_before() {
        let window = Window::square(3, 2, Padding::SameLower);
        assert_eq!(window.padding(SpatialAxis::Rows, 8), (1, 0));
        assert_eq!(window.padding(SpatialAxis::Rows, 9), (1, 1));
        let upper = Window { padding: Padding::Same, ..window };
        assert_eq!(upper.padding(SpatialAxis::Rows, 8), (0, 1));
        assert_eq!(window.output(Shape { height: 8, width: 9, channels: 1 }).unwrap(), [4, 5]);
    }

    /// Catches: an arithmetic overflow or an endless loop on the numbers of a hostile file.
    #[test]
    fn windows_of_nothing_are_refused() {
        let none = Window { stride: [0, 1], ..Window::square(3, 1, Padding::Same) };
        assert_eq!(output(none, 4, 4), Err(ShapeError::Window));
        let kernel = Err(ShapeError::Kernel { height: 2, width: 9, kernel: [3, 3] });
        assert_eq!(output(Window::square(3, 1, Padding::NONE), 2, 9), kernel);
    }
}
