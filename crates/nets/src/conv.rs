//! Convolution, transposed convolution and batch norm: parameters and shapes.

use crate::activation::Activation;
use crate::shape::{Shape, ShapeError};
use crate::window::Window;
use fieldfit_tensor::TensorId;
use serde::{Deserialize, Serialize};

/// Batch norm with frozen statistics: `y = (x − mean) / √(variance + ε) · scale + shift`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BatchNorm {
    /// γ, `[C]`.
    pub scale: TensorId,
    /// β, `[C]`.
    pub shift: TensorId,
    /// Running mean, `[C]`.
    pub mean: TensorId,
    /// Running variance, `[C]`.
    pub variance: TensorId,
    /// ε, added to the variance.
    pub epsilon: f64,
}

impl BatchNorm {
    /// Returns the tensors that it reads.
    pub const fn tensors(&self) -> [TensorId; 4] {
        [self.scale, self.shift, self.mean, self.variance]
    }

    /// Returns the same, to be replaced.
    pub(crate) const fn tensors_mut(&mut self) -> [&mut TensorId; 4] {
        [&mut self.scale, &mut self.shift, &mut self.mean, &mut self.variance]
    }
}

/// Convolution, batch norm and activation: one op, because with frozen statistics its backward needs only its output.
///
/// A second input, a shortcut's value of the output's shape, is added before the activation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Conv {
    /// The kernel, `[output, input / groups, rows, columns]`.
    pub weight: TensorId,
    /// The bias, `[output]`, added before the norm.
    pub bias: Option<TensorId>,
    /// The norm that follows.
    pub norm: Option<BatchNorm>,
    /// The activation that follows the norm.
    pub activation: Activation,
    /// Input channels.
    pub input: usize,
    /// Output channels.
    pub output: usize,
    /// Kernel, stride, dilation and padding.
    pub window: Window,
    /// Groups: 1 for a dense convolution, `input` for a depthwise one.
    pub groups: usize,
}

impl Conv {
    /// Whether the convolution is depthwise, with one output for each input channel.
    pub const fn is_depthwise(&self) -> bool {
        self.groups == self.input && self.groups == self.output
    }

    /// Whether the convolution is a matrix product over channels.
    pub fn is_pointwise(&self) -> bool {
        self.window.is_pointwise() && self.groups == 1
    }

    /// Returns the number of values of its kernel.
    pub const fn weight_len(&self) -> usize {
        self.output * (self.input / self.groups) * self.window.taps()
    }

    /// Returns the output's shape.
    ///
    /// # Errors
    /// If the input has the wrong number of channels, or no pixels.
    pub fn output_shape(&self, input: Shape) -> Result<Shape, ShapeError> {
        input.expect_channels(self.input)?;
        let [height, width] = self.window.output(input)?;
        Ok(Shape { height, width, channels: self.output })
    }
}

/// Transposed convolution: the adjoint of the convolution of that window, which enlarges an image by its stride.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ConvTranspose {
    /// The kernel, `[output, input / groups, rows, columns]`; a PyTorch checkpoint has `[input, output / groups, …]`.
    pub weight: TensorId,
    /// The bias, `[output]`.
    pub bias: Option<TensorId>,
    /// Input channels.
    pub input: usize,
    /// Output channels.
    pub output: usize,
    /// Kernel, stride, dilation and the padding that is cut off the output.
    pub window: Window,
    /// Rows and columns added below and to the right of the output.
    pub output_padding: [usize; 2],
    /// Groups.
    pub groups: usize,
}

impl ConvTranspose {
    /// Returns the output's shape.
    ///
    /// # Errors
    /// If the input has the wrong number of channels, or the padding leaves no output.
    pub fn output_shape(&self, input: Shape) -> Result<Shape, ShapeError> {
        use crate::window::SpatialAxis::{Columns, Rows};
        input.expect_channels(self.input)?;
        let Shape { height, width, .. } = input;
        if height == 0 || width == 0 {
            return Err(ShapeError::Empty { height, width });
        }
        let kernel = [Rows, Columns].map(|axis| self.window.extent(axis));
        let side = |axis, pixels: usize, stride: usize, extra: usize| {
            let (before, after) = self.window.padding(axis, pixels);
            ((pixels - 1) * stride + self.window.extent(axis) + extra)
                .checked_sub(before + after)
                .filter(|side| *side > 0)
                .ok_or(ShapeError::Kernel { height, width, kernel })
        };
        Ok(Shape {
            height: side(Rows, height, self.window.stride[0], self.output_padding[0])?,
            width: side(Columns, width, self.window.stride[1], self.output_padding[1])?,
            channels: self.output,
        })
    }
}
