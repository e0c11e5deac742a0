//! Network description: networks, stages, ops, and the tensors that they refer to.

use crate::shape::{Shape, ShapeError};
use crate::token::{Attention, ClassToken, Embed, Linear, Prologue};
use fieldfit_tensor::{TensorId, TensorLayout};

/// Role of a tensor in its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Convolution kernel, `[out, in / groups, k, k]`.
    Kernel,
    /// Weight of a linear layer, `[out, in]`; of fused queries, keys and values, `[q | k | v, in]`.
    LinearWeight,
    /// Bias of a linear layer or of a convolution, `[out]`.
    Bias,
    /// Per-channel scale of a norm (γ of batch norm and layer norm), `[C]`.
    NormScale,
    /// Per-channel shift of a norm (β of batch norm and layer norm), `[C]`.
    NormShift,
    /// Running mean of a batch norm, `[C]`. Never trained.
    RunningMean,
    /// Running variance of a batch norm, `[C]`. Never trained.
    RunningVariance,
    /// Per-channel scale of a residual branch (LayerScale), `[C]`.
    LayerScale,
    /// Learned tokens: the class token, `[1, 1, C]`, and registers, `[1, registers, C]`.
    Token,
    /// Position embeddings, `[1, positions, C]`.
    Positions,
    /// Weight of the classifier, `[classes, features]`.
    HeadWeight,
    /// Bias of the classifier, `[classes]`.
    HeadBias,
}

impl Role {
    /// Whether the tensor is trainable. Running statistics are not.
    pub const fn is_trainable(self) -> bool {
        !matches!(self, Self::RunningMean | Self::RunningVariance)
    }

    /// Whether the tensor belongs to the classifier, which is replaced for new classes.
    pub const fn is_head(self) -> bool {
        matches!(self, Self::HeadWeight | Self::HeadBias)
    }
}

/// Specification of a tensor: name, shape and role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// The name in the checkpoint.
    pub name: String,
    /// The shape in the checkpoint, outermost dimension first.
    pub shape: Vec<usize>,
    /// The role in the network.
    pub role: Role,
}

impl TensorSpec {
    /// Returns the number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the tensor has no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of rows for TPGM's row norms: one per output unit, one per token or position of `[1, tokens,
    /// C]`, and one for a tensor of one dimension.
    ///
    /// Fused queries, keys and values have one radius, and each of their units is a row.
    pub fn rows(&self) -> usize {
        match self.shape[..] {
            [1, tokens, _] => tokens,
            [rows, _, ..] => rows,
            _ => 1,
        }
    }
}

/// Padding of a convolution or pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// TensorFlow's SAME: the output is `ceil(input / stride)`; an odd pixel is added after (below, right).
    Same,
    /// PyTorch's padding: that many pixels on each side.
    Symmetric(usize),
}

impl Padding {
    /// Returns the padding before and after one spatial dimension, in pixels.
    pub const fn amounts(self, input: usize, kernel: usize, stride: usize) -> (usize, usize) {
        match self {
            Self::Same => {
                let covered = (input.div_ceil(stride).saturating_sub(1)) * stride + kernel;
                let total = covered.saturating_sub(input);
                (total / 2, total - total / 2)
            }
            Self::Symmetric(amount) => (amount, amount),
        }
    }

    /// Returns the output's height and width of a sliding kernel.
    ///
    /// # Errors
    /// If the input has no pixels, or is smaller than the kernel after padding.
    fn slide(self, input: Shape, kernel: usize, stride: usize) -> Result<(usize, usize), ShapeError> {
        let Shape { height, width, .. } = input;
        if height == 0 || width == 0 {
            return Err(ShapeError::Empty { height, width });
        }
        let side = |pixels: usize| {
            let (before, after) = self.amounts(pixels, kernel, stride);
            let room = (before + pixels + after).checked_sub(kernel);
            room.map(|room| room / stride + 1).ok_or(ShapeError::Kernel { height, width, kernel })
        };
        Ok((side(height)?, side(width)?))
    }
}

/// Activation function after a norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x`.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
}

/// Batch norm with frozen statistics: `y = (x − mean) / √(variance + ε) · scale + shift`.
#[derive(Debug, Clone, Copy, PartialEq)]
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

/// Convolution, batch norm and activation: one op, because with frozen statistics its backward needs only its output.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conv {
    /// The kernel, `[output, input / groups, kernel, kernel]`.
    pub weight: TensorId,
    /// The norm that follows.
    pub norm: BatchNorm,
    /// The activation that follows the norm.
    pub activation: Activation,
    /// Input channels.
    pub input: usize,
    /// Output channels.
    pub output: usize,
    /// Side of the square kernel.
    pub kernel: usize,
    /// Stride in both directions.
    pub stride: usize,
    /// Groups: 1 for a dense convolution, `input` for a depthwise one.
    pub groups: usize,
    /// Padding of the input.
    pub padding: Padding,
}

impl Conv {
    /// Whether the convolution is depthwise.
    pub const fn is_depthwise(&self) -> bool {
        self.groups == self.input && self.groups == self.output
    }

    /// Whether the convolution is a matrix product over channels.
    pub const fn is_pointwise(&self) -> bool {
        self.kernel == 1 && self.stride == 1 && self.groups == 1
    }

    /// Returns the output's shape.
    ///
    /// # Errors
    /// If the input has the wrong number of channels, or no pixels.
    pub fn output_shape(&self, input: Shape) -> Result<Shape, ShapeError> {
        input.expect_channels(self.input)?;
        let (height, width) = self.padding.slide(input, self.kernel, self.stride)?;
        Ok(Shape { height, width, channels: self.output })
    }
}

/// Max pooling over a kernel, per channel, ignoring padding. The gradient goes to the first of equal values, row by
/// row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxPool {
    /// Side of the square kernel.
    pub kernel: usize,
    /// Stride in both directions.
    pub stride: usize,
    /// Padding of the input, less than the kernel, so that each window covers a pixel.
    pub padding: Padding,
}

impl MaxPool {
    /// Returns the output's shape.
    ///
    /// # Errors
    /// If the input has no pixels, or is smaller than the kernel after padding.
    pub fn output_shape(&self, input: Shape) -> Result<Shape, ShapeError> {
        let (height, width) = self.padding.slide(input, self.kernel, self.stride)?;
        Ok(Shape { height, width, ..input })
    }
}

/// Operation of a stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Op {
    /// Convolution, norm, activation.
    Conv(Conv),
    /// Max pooling.
    MaxPool(MaxPool),
    /// The mean over all pixels: `[N, H, W, C]` to `[N, 1, 1, C]`.
    GlobalAveragePool,
    /// Patch embedding: an image to tokens.
    Embed(Embed),
    /// Linear layer over tokens, with its prologue and a shortcut.
    Linear(Linear),
    /// Multi-head self-attention.
    Attention(Attention),
    /// Layer norm of the class token.
    ClassToken(ClassToken),
}

/// Shortcut of a residual stage: its value is added to the last op's sum, before that op's activation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shortcut {
    /// The stage's input.
    Input,
    /// A convolution of the stage's input, with its norm and no activation.
    Projection(Conv),
}

/// Stage of a network: a named sequence of ops, with or without a shortcut.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Name in reports: `stem`, `block0`, …, `head`, `pool`.
    pub name: String,
    /// Ops in order.
    pub ops: Vec<Op>,
    /// Shortcut, added to the last op, a convolution, before its activation.
    pub shortcut: Option<Shortcut>,
}

impl Stage {
    /// Creates a stage without a shortcut.
    pub fn new(name: impl Into<String>, ops: Vec<Op>) -> Self {
        Self { name: name.into(), ops, shortcut: None }
    }

    /// Returns the tensors that it reads.
    pub fn tensors(&self) -> impl Iterator<Item = TensorId> {
        let projection = if let Some(Shortcut::Projection(conv)) = self.shortcut { Some(Op::Conv(conv)) } else { None };
        self.ops.iter().flat_map(Op::tensors).chain(projection.into_iter().flat_map(|conv| conv.tensors()))
    }
}

/// The classifier: `logits = features · weightᵀ + bias`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// `[classes, features]`.
    pub weight: TensorId,
    /// `[classes]`.
    pub bias: TensorId,
    /// Number of input features.
    pub features: usize,
    /// Number of logits; 0 for a headless backbone.
    pub classes: usize,
}

/// Network of an image classifier: a backbone of stages that computes one feature vector per image, and a linear head.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// The architecture's name in the registry.
    pub architecture: &'static str,
    /// Channels of the input: 3 for images.
    pub channels: usize,
    /// Every tensor, in the order of the forward pass; the head's are last.
    pub tensors: Vec<TensorSpec>,
    /// The backbone.
    pub stages: Vec<Stage>,
    /// The classifier.
    pub head: Head,
}

impl TensorLayout for Network {
    fn lengths(&self) -> impl Iterator<Item = usize> {
        self.tensors.iter().map(TensorSpec::len)
    }
}

impl Network {
    /// Returns the specification of a tensor.
    pub fn tensor(&self, id: TensorId) -> &TensorSpec {
        &self.tensors[id.index()]
    }

    /// Iterates over every tensor with its id, in order.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = (TensorId, &TensorSpec)> {
        self.tensors.iter().enumerate().map(|(index, spec)| (TensorId::new(index), spec))
    }

    /// Finds a tensor by name.
    pub fn find(&self, name: &str) -> Option<TensorId> {
        self.tensors.iter().position(|spec| spec.name == name).map(TensorId::new)
    }

    /// Returns the number of trainable values, which excludes running statistics.
    pub fn parameter_count(&self) -> usize {
        self.tensors.iter().filter(|spec| spec.role.is_trainable()).map(TensorSpec::len).sum()
    }

    /// Whether the network is a backbone without a classifier.
    pub const fn is_headless(&self) -> bool {
        self.head.classes == 0
    }

    /// Returns the network with a head of another number of classes; headless for 0.
    pub fn with_classes(&self, classes: usize) -> Self {
        let mut network = self.clone();
        network.head.classes = classes;
        network.tensors[self.head.weight.index()].shape[0] = classes;
        network.tensors[self.head.bias.index()].shape[0] = classes;
        network
    }

    /// Returns the network without its first `stages` stages, whose output is its input. Tensors keep their ids; those
    /// of the removed stages remain unused.
    pub fn after(&self, stages: usize) -> Self {
        let (before, rest) = self.stages.split_at(stages.min(self.stages.len()));
        let channels = before.iter().flat_map(|stage| &stage.ops).fold(self.channels, |channels, op| match op {
            Op::Conv(conv) => conv.output,
            Op::Embed(Embed { width, .. }) => *width,
            Op::Linear(linear) => linear.output,
            Op::Attention(Attention { width, .. }) => *width,
            Op::MaxPool(_) | Op::GlobalAveragePool | Op::ClassToken(_) => channels,
        });
        Self { channels, stages: rest.to_vec(), ..self.clone() }
    }

    /// Returns the network of the first `stages` stages alone. Its features are the last stage's output; its head does
    /// not fit them.
    pub fn before(&self, stages: usize) -> Self {
        Self { stages: self.stages[..stages.min(self.stages.len())].to_vec(), ..self.clone() }
    }

    /// Returns the stage index of each tensor, aligned with [`Network::tensors`]; the number of stages for the head's
    /// tensors.
    pub fn stage_of_each_tensor(&self) -> Vec<usize> {
        let mut stages = vec![self.stages.len(); self.tensors.len()];
        for (position, stage) in self.stages.iter().enumerate() {
            for id in stage.tensors() {
                stages[id.index()] = position;
            }
        }
        stages
    }

    /// Returns the output shape of every op of every stage for an input of that size, in the order of the forward pass.
    /// A shortcut's value has the shape of the last op.
    ///
    /// # Errors
    /// If the image has no pixels, or too few for a kernel.
    pub fn shapes(&self, height: usize, width: usize) -> Result<Vec<Vec<Shape>>, ShapeError> {
        let mut shape = Shape { height, width, channels: self.channels };
        self.stages
            .iter()
            .map(|stage| {
                stage
                    .ops
                    .iter()
                    .map(|op| {
                        shape = op.output_shape(shape)?;
                        Ok(shape)
                    })
                    .collect()
            })
            .collect()
    }
}

impl Op {
    /// Returns the tensors that it reads.
    pub fn tensors(&self) -> Vec<TensorId> {
        match self {
            Self::Conv(Conv { weight, norm, .. }) => vec![*weight, norm.scale, norm.shift, norm.mean, norm.variance],
            Self::Embed(Embed { weight, bias, class_token, registers, positions, .. }) => {
                [*class_token].into_iter().chain(*registers).chain([*positions, *weight, *bias]).collect()
            }
            Self::Linear(Linear { prologue, weight, bias, scale, .. }) => {
                let norm =
                    if let Prologue::LayerNorm(norm) = prologue { vec![norm.scale, norm.shift] } else { Vec::new() };
                norm.into_iter().chain([*weight, *bias]).chain(*scale).collect()
            }
            Self::ClassToken(ClassToken { norm, .. }) => vec![norm.scale, norm.shift],
            Self::MaxPool(_) | Self::GlobalAveragePool | Self::Attention(_) => Vec::new(),
        }
    }

    /// Returns the output's shape.
    ///
    /// # Errors
    /// If the op does not accept that input.
    pub fn output_shape(&self, input: Shape) -> Result<Shape, ShapeError> {
        match self {
            Self::Conv(conv) => conv.output_shape(input),
            Self::MaxPool(pool) => pool.output_shape(input),
            Self::GlobalAveragePool => Ok(Shape { height: 1, width: 1, channels: input.channels }),
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
                Ok(Shape { height: 1, width: 1, ..input })
            }
        }
    }
}

/// Network builder: registers tensors in the checkpoint's order.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    tensors: Vec<TensorSpec>,
}

/// Parameters of a convolution in an architecture's table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConvSpec {
    pub input: usize,
    pub output: usize,
    pub kernel: usize,
    pub stride: usize,
    pub groups: usize,
    pub activation: Activation,
    pub padding: Padding,
}

impl Builder {
    /// Registers a tensor.
    pub fn tensor(&mut self, name: String, shape: &[usize], role: Role) -> TensorId {
        self.tensors.push(TensorSpec { name, shape: shape.to_vec(), role });
        TensorId::new(self.tensors.len() - 1)
    }

    /// Registers the convolution `weight` and the batch norm `norm` after it, by module names.
    pub fn conv(&mut self, weight: &str, norm: &str, epsilon: f64, spec: ConvSpec) -> Conv {
        let ConvSpec { input, output, kernel, stride, groups, activation, padding } = spec;
        let shape = [output, input / groups, kernel, kernel];
        Conv {
            weight: self.tensor(format!("{weight}.weight"), &shape, Role::Kernel),
            norm: BatchNorm {
                scale: self.tensor(format!("{norm}.weight"), &[output], Role::NormScale),
                shift: self.tensor(format!("{norm}.bias"), &[output], Role::NormShift),
                mean: self.tensor(format!("{norm}.running_mean"), &[output], Role::RunningMean),
                variance: self.tensor(format!("{norm}.running_var"), &[output], Role::RunningVariance),
                epsilon,
            },
            activation,
            input,
            output,
            kernel,
            stride,
            groups,
            padding,
        }
    }

    /// Adds a linear head of that module name and returns the network.
    pub fn finish(
        mut self,
        architecture: &'static str,
        stages: Vec<Stage>,
        head: &str,
        features: usize,
        classes: usize,
    ) -> Network {
        let weight = self.tensor(format!("{head}.weight"), &[classes, features], Role::HeadWeight);
        let bias = self.tensor(format!("{head}.bias"), &[classes], Role::HeadBias);
        let head = Head { weight, bias, features, classes };
        Network { architecture, channels: 3, tensors: self.tensors, stages, head }
    }
}
