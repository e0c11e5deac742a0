//! Op: the closed list of what a node of a graph can compute, its tensors and its output's shape.

use crate::activation::Function;
use crate::conv::{BatchNorm, Conv, ConvTranspose};
use crate::shape::{Shape, ShapeError};
use crate::token::{Attention, ClassToken, Embed, LayerNorm, Linear, Prologue};
use crate::window::Window;
use fieldfit_tensor::TensorId;
use serde::{Deserialize, Serialize};

/// Axis of one image's value, `[rows, columns, channels]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Axis {
    /// Rows of pixels.
    Rows,
    /// Pixels of a row; the tokens of a sequence.
    Columns,
    /// Values of a pixel.
    Channels,
}

impl Axis {
    /// Returns the position in `[rows, columns, channels]`.
    pub const fn index(self) -> usize {
        match self {
            Self::Rows => 0,
            Self::Columns => 1,
            Self::Channels => 2,
        }
    }
}

/// Arithmetic of two values. A side of length 1 is repeated to the other's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Arithmetic {
    /// `a + b`.
    Add,
    /// `a − b`.
    Subtract,
    /// `a · b`.
    Multiply,
    /// `a / b`.
    Divide,
    /// The greater one; where they are equal, each has half of the gradient.
    Maximum,
    /// The lesser one; where they are equal, each has half of the gradient.
    Minimum,
}

/// Interpolation of a resize.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Interpolation {
    /// The pixel at `floor(position · input / output)`, as PyTorch's `nearest`.
    Nearest,
    /// The four pixels around, with half-pixel centres (`align_corners=False`).
    Bilinear,
    /// The four pixels around, with corner pixels on corner pixels (`align_corners=True`).
    BilinearCorners,
    /// Cubic convolution over the sixteen pixels around with a = −0.75, with half-pixel centres (Keys, 1981).
    Bicubic,
    /// The same with corner pixels on corner pixels.
    BicubicCorners,
    /// The pixel at `floor((position + ½) · input / output)`, as PyTorch's `nearest-exact` and PIL.
    NearestExact,
    /// Bilinear; where the output is smaller, the triangle is as wide as an output pixel (`antialias=True`, PIL).
    BilinearAntialiased,
    /// Cubic convolution with a = −0.5, as wide as an output pixel where the output is smaller (`antialias=True`, PIL).
    BicubicAntialiased,
}

/// Size of a resize's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResizeTo {
    /// A multiple of the input's size, `[rows, columns]`.
    Times([usize; 2]),
    /// A fixed size in pixels, `[rows, columns]`.
    Fixed([usize; 2]),
}

/// Rearrangement: the value is read as an array of other dimensions, whose axes are permuted, and read as an image again.
///
/// Channel shuffles, windows, pixel shuffles, flattening to `[C, H, W]` and tokens are all rearrangements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rearrange {
    /// Dimensions of the array, outermost first; 0 for the one that follows from the others.
    pub dimensions: Vec<usize>,
    /// The axis of the array that becomes each axis of the permuted array.
    pub order: Vec<usize>,
    /// The output's shape; the input's if none is given.
    pub output: Option<Shape>,
}

impl Rearrange {
    /// Returns the dimensions of the array for an input.
    ///
    /// # Errors
    /// If the dimensions do not divide the input, the order is no permutation, or the output has another number of values.
    pub fn dimensions(&self, input: Shape) -> Result<Vec<usize>, ShapeError> {
        let misfit = ShapeError::Inputs { op: "rearrange", found: input, other: self.output.unwrap_or(input) };
        let mut axes = self.order.clone();
        axes.sort_unstable();
        let is_permutation = axes.iter().copied().eq(0..self.dimensions.len());
        let known =
            self.dimensions.iter().filter(|side| **side != 0).try_fold(1_usize, |len, side| len.checked_mul(*side));
        let unknown = self.dimensions.iter().filter(|side| **side == 0).count();
        let Some(known) = known.filter(|known| is_permutation && unknown <= 1 && *known > 0) else {
            return Err(misfit);
        };
        let rest = input.len() / known;
        let fits = known * if unknown == 1 { rest } else { 1 } == input.len();
        if !fits || self.output.is_some_and(|output| output.len() != input.len()) {
            return Err(misfit);
        }
        Ok(self.dimensions.iter().map(|side| if *side == 0 { rest } else { *side }).collect())
    }
}

/// Operation of a node. Values are `[N, rows, columns, channels]`, and every op acts on one image at a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// Convolution, norm, a shortcut's value (second input), activation.
    Conv(Conv),
    /// Transposed convolution.
    ConvTranspose(ConvTranspose),
    /// Linear layer over each pixel or token, with its prologue and a shortcut's value (second input).
    Linear(Linear),
    /// Multi-head self-attention.
    Attention(Attention),
    /// Matrix product of two values for each row of the image: `[rows, m, k] · [rows, k, n]`, times a factor.
    MatMul {
        /// Whether the second value is `[rows, n, k]`.
        transposes: bool,
        /// Factor of the product.
        scale: f64,
    },
    /// Patch embedding: an image to tokens.
    Embed(Embed),
    /// Layer norm of the class token.
    ClassToken(ClassToken),
    /// A tensor as a value, the same for each image: no inputs.
    Parameter {
        /// The tensor.
        tensor: TensorId,
        /// Shape of the value.
        shape: Shape,
    },
    /// Elementwise function.
    Activate(Function),
    /// PReLU: `x` above 0, `slope · x` below, a slope for each channel or one for all.
    Prelu {
        /// The slopes, `[channels]` or `[1]`.
        slope: TensorId,
    },
    /// Arithmetic of two values.
    Arithmetic(Arithmetic),
    /// `scale · x + shift` with trained tensors of one value a channel.
    Affine {
        /// The factors, `[channels]`.
        scale: Option<TensorId>,
        /// The addends, `[channels]`.
        shift: Option<TensorId>,
    },
    /// `scale · x + shift` with constants.
    Scalar {
        /// The factor.
        scale: f64,
        /// The addend.
        shift: f64,
    },
    /// Batch norm without a convolution.
    BatchNorm(BatchNorm),
    /// Layer norm over the channels of each pixel or token.
    LayerNorm(LayerNorm),
    /// Group norm over all pixels of each group of channels (Wu & He, ECCV 2018).
    GroupNorm {
        /// γ and β, `[channels]`, and ε.
        norm: LayerNorm,
        /// Number of groups.
        groups: usize,
    },
    /// Division by the Euclidean norm along an axis, at least `floor`.
    L2Norm {
        /// The axis of the norm.
        axis: Axis,
        /// Lower bound of the norm.
        floor: f64,
    },
    /// Softmax along an axis.
    Softmax(Axis),
    /// Inputs one after the other along an axis.
    Concat(Axis),
    /// A range of an axis.
    Slice {
        /// The axis.
        axis: Axis,
        /// First position.
        start: usize,
        /// Number of positions.
        length: usize,
        /// Distance of positions.
        step: usize,
    },
    /// Positions of rows or columns by a list, in its order; a position may be there several times, or never.
    Gather {
        /// The axis: rows or columns.
        axis: Axis,
        /// Of each output position, the input position.
        indices: Vec<usize>,
    },
    /// Permutation of the values, see [`Rearrange`].
    Rearrange(Rearrange),
    /// Padding with zeros: `[[above, below], [left, right]]` pixels.
    Pad([[usize; 2]; 2]),
    /// Change of size.
    Resize {
        /// Size of the output.
        to: ResizeTo,
        /// Interpolation.
        interpolation: Interpolation,
    },
    /// Max pooling over a kernel, per channel, ignoring padding, which is less than the kernel. The gradient goes to the
    /// first of equal values, row by row.
    MaxPool(Window),
    /// Mean over a kernel, per channel.
    AveragePool {
        /// Kernel, stride and padding.
        window: Window,
        /// Whether padding counts as zeros.
        counts_padding: bool,
    },
    /// Mean over as many cells as the output has pixels, `[rows, columns]`: cell `i` of `n` covers the pixels from
    /// `floor(i · side / n)` to `ceil((i + 1) · side / n)`, as PyTorch's adaptive pool has them.
    AdaptiveAveragePool([usize; 2]),
    /// The mean over all pixels: `[N, H, W, C]` to `[N, 1, 1, C]`.
    GlobalAveragePool,
    /// The mean along an axis, which becomes 1 long.
    Mean(Axis),
}

impl Op {
    /// Returns the op's name in messages.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Conv(_) => "convolution",
            Self::ConvTranspose(_) => "transposed convolution",
            Self::Linear(_) => "linear layer",
            Self::Attention(_) => "attention",
            Self::MatMul { .. } => "matrix product",
            Self::Embed(_) => "patch embedding",
            Self::ClassToken(_) => "class token",
            Self::Parameter { .. } => "parameter",
            Self::Activate(_) => "elementwise function",
            Self::Prelu { .. } => "PReLU",
            Self::Arithmetic(_) => "arithmetic",
            Self::Affine { .. } => "affine map",
            Self::Scalar { .. } => "arithmetic with constants",
            Self::BatchNorm(_) => "batch norm",
            Self::LayerNorm(_) => "layer norm",
            Self::GroupNorm { .. } => "group norm",
            Self::L2Norm { .. } => "L2 norm",
            Self::Softmax(_) => "softmax",
            Self::Concat(_) => "concatenation",
            Self::Slice { .. } => "slice",
            Self::Gather { .. } => "gather",
            Self::Rearrange(_) => "rearrangement",
            Self::Pad(_) => "padding",
            Self::Resize { .. } => "resize",
            Self::MaxPool(_) => "max pool",
            Self::AveragePool { .. } => "average pool",
            Self::AdaptiveAveragePool(_) => "adaptive average pool",
            Self::GlobalAveragePool => "global average pool",
            Self::Mean(_) => "mean",
        }
    }

    /// Returns the tensors that it reads.
    pub fn tensors(&self) -> Vec<TensorId> {
        let mut tensors = Vec::new();
        // The copy has the same tensors.
        self.clone().rename_tensors(|id| {
            tensors.push(id);
            id
        });
        tensors
    }

    /// Replaces each tensor that it reads.
    pub fn rename_tensors(&mut self, mut rename: impl FnMut(TensorId) -> TensorId) {
        let mut each = |id: &mut TensorId| *id = rename(*id);
        match self {
            Self::Conv(Conv { weight, bias, norm, .. }) => {
                each(weight);
                bias.iter_mut().for_each(&mut each);
                norm.iter_mut().flat_map(BatchNorm::tensors_mut).for_each(&mut each);
            }
            Self::ConvTranspose(ConvTranspose { weight, bias, .. }) => {
                each(weight);
                bias.iter_mut().for_each(&mut each);
            }
            Self::Embed(Embed { weight, bias, class_token, registers, positions, .. }) => {
                each(class_token);
                registers.iter_mut().for_each(&mut each);
                [positions, weight, bias].into_iter().for_each(&mut each);
            }
            Self::Linear(Linear { prologue, weight, bias, scale, .. }) => {
                if let Prologue::LayerNorm(norm) = prologue {
                    [&mut norm.scale, &mut norm.shift].into_iter().for_each(&mut each);
                }
                each(weight);
                bias.iter_mut().chain(scale).for_each(&mut each);
            }
            Self::ClassToken(ClassToken { norm, .. }) | Self::LayerNorm(norm) | Self::GroupNorm { norm, .. } => {
                [&mut norm.scale, &mut norm.shift].into_iter().for_each(&mut each);
            }
            Self::Parameter { tensor, .. } => each(tensor),
            Self::Prelu { slope } => each(slope),
            Self::Affine { scale, shift } => scale.iter_mut().chain(shift).for_each(&mut each),
            Self::BatchNorm(norm) => norm.tensors_mut().into_iter().for_each(&mut each),
            Self::Attention(_)
            | Self::MatMul { .. }
            | Self::Activate(_)
            | Self::Arithmetic(_)
            | Self::Scalar { .. }
            | Self::L2Norm { .. }
            | Self::Softmax(_)
            | Self::Concat(_)
            | Self::Slice { .. }
            | Self::Gather { .. }
            | Self::Rearrange(_)
            | Self::Pad(_)
            | Self::Resize { .. }
            | Self::MaxPool(_)
            | Self::AveragePool { .. }
            | Self::AdaptiveAveragePool(_)
            | Self::GlobalAveragePool
            | Self::Mean(_) => {}
        }
    }

    /// Returns the numbers of inputs that it takes, least and greatest.
    const fn arity(&self) -> (usize, usize) {
        match self {
            Self::Parameter { .. } => (0, 0),
            Self::Conv(_) | Self::Linear(_) => (1, 2),
            Self::MatMul { .. } | Self::Arithmetic(_) => (2, 2),
            Self::Concat(_) => (1, MAX_INPUTS),
            Self::ConvTranspose(_)
            | Self::Attention(_)
            | Self::Embed(_)
            | Self::ClassToken(_)
            | Self::Activate(_)
            | Self::Prelu { .. }
            | Self::Affine { .. }
            | Self::Scalar { .. }
            | Self::BatchNorm(_)
            | Self::LayerNorm(_)
            | Self::GroupNorm { .. }
            | Self::L2Norm { .. }
            | Self::Softmax(_)
            | Self::Slice { .. }
            | Self::Gather { .. }
            | Self::Rearrange(_)
            | Self::Pad(_)
            | Self::Resize { .. }
            | Self::MaxPool(_)
            | Self::AveragePool { .. }
            | Self::AdaptiveAveragePool(_)
            | Self::GlobalAveragePool
            | Self::Mean(_) => (1, 1),
        }
    }

    /// Returns the output's shape.
    ///
    /// # Errors
    /// If the op does not accept such inputs.
    pub fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let (least, greatest) = self.arity();
        if inputs.len() < least || inputs.len() > greatest {
            let expected = if inputs.len() < least { least } else { greatest };
            return Err(ShapeError::InputCount { op: self.name(), expected, found: inputs.len() });
        }
        let input = inputs.first().copied().unwrap_or(Shape::vector(0));
        let output = self.shape_of(input, inputs)?;
        if let (Self::Conv(_) | Self::Linear(_), Some(added)) = (self, inputs.get(1).filter(|added| **added != output))
        {
            return Err(ShapeError::Inputs { op: self.name(), found: output, other: *added });
        }
        Ok(output)
    }

    /// Returns the output's shape for inputs of the right number; `input` is the first.
    fn shape_of(&self, input: Shape, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        match self {
            Self::Conv(conv) => conv.output_shape(input),
            Self::ConvTranspose(conv) => conv.output_shape(input),
            Self::Embed(embed) => embed.output_shape(input),
            Self::Linear(linear) => {
                input.expect_channels(linear.input)?;
                Ok(Shape { channels: linear.output, ..input })
            }
            Self::Attention(attention) => {
                input.expect_channels(3 * attention.width)?;
                Ok(Shape { channels: attention.width, ..input })
            }
            Self::ClassToken(token) => {
                input.expect_channels(token.width)?;
                Ok(Shape::vector(input.channels))
            }
            Self::Parameter { shape, .. } => Ok(*shape),
            Self::MatMul { transposes, .. } => self.product(inputs, *transposes),
            Self::Arithmetic(_) => self.broadcast(inputs),
            Self::Concat(axis) => self.concatenated(inputs, *axis),
            Self::Slice { axis, start, length, step } => {
                let mut sides = input.sides();
                let last = length.checked_sub(1).and_then(|last| last.checked_mul(*step)?.checked_add(*start));
                if last.is_none_or(|last| last >= sides[axis.index()]) {
                    return Err(ShapeError::Inputs { op: self.name(), found: input, other: input });
                }
                sides[axis.index()] = *length;
                Ok(Shape::of(sides))
            }
            Self::Gather { axis, indices } => {
                let mut sides = input.sides();
                let is_inside = indices.iter().all(|index| *index < sides[axis.index()]);
                if *axis == Axis::Channels || indices.is_empty() || !is_inside {
                    return Err(ShapeError::Inputs { op: self.name(), found: input, other: input });
                }
                sides[axis.index()] = indices.len();
                Ok(Shape::of(sides))
            }
            Self::Rearrange(rearrange) => {
                rearrange.dimensions(input)?;
                Ok(rearrange.output.unwrap_or(input))
            }
            Self::Pad([[above, below], [left, right]]) => {
                Ok(Shape { height: above + input.height + below, width: left + input.width + right, ..input })
            }
            Self::Resize { to, .. } => {
                let [height, width] = match to {
                    ResizeTo::Times([rows, columns]) => [input.height * rows, input.width * columns],
                    ResizeTo::Fixed(size) => *size,
                };
                if height == 0 || width == 0 || input.is_empty() {
                    return Err(ShapeError::Empty { height, width });
                }
                Ok(Shape { height, width, ..input })
            }
            Self::MaxPool(window) | Self::AveragePool { window, .. } => {
                let [height, width] = window.output(input)?;
                Ok(Shape { height, width, ..input })
            }
            Self::AdaptiveAveragePool([height, width]) => {
                if *height == 0 || *width == 0 || input.is_empty() {
                    return Err(ShapeError::Empty { height: *height, width: *width });
                }
                Ok(Shape { height: *height, width: *width, ..input })
            }
            Self::GlobalAveragePool => Ok(Shape::vector(input.channels)),
            Self::Mean(axis) => {
                let mut sides = input.sides();
                sides[axis.index()] = 1;
                Ok(Shape::of(sides))
            }
            Self::Activate(_)
            | Self::Prelu { .. }
            | Self::Affine { .. }
            | Self::Scalar { .. }
            | Self::BatchNorm(_)
            | Self::LayerNorm(_)
            | Self::GroupNorm { .. }
            | Self::L2Norm { .. }
            | Self::Softmax(_) => Ok(input),
        }
    }

    /// Returns the output's channels for inputs of those channels; `None` where they depend on the image's size.
    pub(crate) fn output_channels(&self, inputs: &[Option<usize>]) -> Option<usize> {
        let input = inputs.first().copied().flatten();
        match self {
            Self::Conv(conv) => Some(conv.output),
            Self::ConvTranspose(conv) => Some(conv.output),
            Self::Embed(embed) => Some(embed.width),
            Self::Linear(linear) => Some(linear.output),
            Self::Attention(attention) => Some(attention.width),
            Self::Parameter { shape, .. } => Some(shape.channels),
            Self::MatMul { transposes: true, .. } => None,
            Self::MatMul { transposes: false, .. } => inputs.get(1).copied().flatten(),
            Self::Arithmetic(_) => inputs.iter().copied().collect::<Option<Vec<_>>>()?.into_iter().max(),
            Self::Concat(Axis::Channels) => inputs.iter().copied().sum(),
            Self::Slice { axis: Axis::Channels, length, .. } => Some(*length),
            Self::Mean(Axis::Channels) => Some(1),
            Self::Rearrange(Rearrange { output: Some(output), .. }) => Some(output.channels),
            Self::ClassToken(_)
            | Self::Activate(_)
            | Self::Prelu { .. }
            | Self::Affine { .. }
            | Self::Scalar { .. }
            | Self::BatchNorm(_)
            | Self::LayerNorm(_)
            | Self::GroupNorm { .. }
            | Self::L2Norm { .. }
            | Self::Softmax(_)
            | Self::Concat(Axis::Rows | Axis::Columns)
            | Self::Slice { axis: Axis::Rows | Axis::Columns, .. }
            | Self::Gather { .. }
            | Self::Rearrange(Rearrange { output: None, .. })
            | Self::Pad(_)
            | Self::Resize { .. }
            | Self::MaxPool(_)
            | Self::AveragePool { .. }
            | Self::AdaptiveAveragePool(_)
            | Self::GlobalAveragePool
            | Self::Mean(Axis::Rows | Axis::Columns) => input,
        }
    }

    /// Returns the multiplications of its products for one image; norms, activations, pools and arithmetic have none.
    pub const fn multiplications(&self, input: Shape, output: Shape) -> usize {
        match self {
            Self::Conv(conv) => output.pixels() * conv.weight_len(),
            Self::ConvTranspose(conv) => input.pixels() * conv.window.taps() * conv.input * (conv.output / conv.groups),
            Self::Linear(linear) => output.pixels() * linear.input * linear.output,
            // Prefix tokens are not products.
            Self::Embed(embed) => (output.pixels() - embed.prefix) * embed.patch_len() * embed.width,
            // Queries times keys, and probabilities times values.
            Self::Attention(attention) => 2 * output.pixels() * output.pixels() * attention.width,
            Self::MatMul { .. } => output.len() * input.channels,
            Self::ClassToken(_)
            | Self::Parameter { .. }
            | Self::Activate(_)
            | Self::Prelu { .. }
            | Self::Arithmetic(_)
            | Self::Affine { .. }
            | Self::Scalar { .. }
            | Self::BatchNorm(_)
            | Self::LayerNorm(_)
            | Self::GroupNorm { .. }
            | Self::L2Norm { .. }
            | Self::Softmax(_)
            | Self::Concat(_)
            | Self::Slice { .. }
            | Self::Gather { .. }
            | Self::Rearrange(_)
            | Self::Pad(_)
            | Self::Resize { .. }
            | Self::MaxPool(_)
            | Self::AveragePool { .. }
            | Self::AdaptiveAveragePool(_)
            | Self::GlobalAveragePool
            | Self::Mean(_) => 0,
        }
    }

    fn product(&self, inputs: &[Shape], transposes: bool) -> Result<Shape, ShapeError> {
        let (left, right) = (inputs[0], inputs[1]);
        let (inner, columns) = if transposes { (right.channels, right.width) } else { (right.width, right.channels) };
        if left.height != right.height || left.channels != inner {
            return Err(ShapeError::Inputs { op: self.name(), found: left, other: right });
        }
        Ok(Shape { channels: columns, ..left })
    }

    fn broadcast(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let (left, right) = (inputs[0], inputs[1]);
        let mut sides = left.sides();
        for (side, other) in sides.iter_mut().zip(right.sides()) {
            if *side != other && *side != 1 && other != 1 {
                return Err(ShapeError::Inputs { op: self.name(), found: left, other: right });
            }
            *side = (*side).max(other);
        }
        Ok(Shape::of(sides))
    }

    fn concatenated(&self, inputs: &[Shape], axis: Axis) -> Result<Shape, ShapeError> {
        let mut sides = inputs[0].sides();
        for input in &inputs[1..] {
            let mut expected = input.sides();
            expected[axis.index()] = sides[axis.index()];
            if expected != sides {
                return Err(ShapeError::Inputs { op: self.name(), found: inputs[0], other: *input });
            }
            sides[axis.index()] += input.sides()[axis.index()];
        }
        Ok(Shape::of(sides))
    }
}

/// The greatest number of inputs of a node: the concatenations of a DenseNet have dozens.
pub const MAX_INPUTS: usize = 64;
