//! CPU op: everything that the executor asks of an op, and the one place that says which file implements each op.
//!
//! An op has two faces. [`CpuOp`] does not know the image's size: it folds and packs the op's tensors. Its [`Kernel`] is made
//! for one image size: it computes the op forward and backward, and says what a backward pass keeps for it.

use super::activate::Activate;
use super::affine::AffineOp;
use super::arithmetic::ArithmeticOp;
use super::attention::AttentionOp;
use super::class_token::ClassTokenOp;
use super::concat::ConcatOp;
use super::conv::ConvOp;
use super::conv_transpose::ConvTransposeOp;
use super::embedding::EmbeddingOp;
use super::epilogue::BackwardEpilogue;
use super::folded_weights::{FoldPurpose, FoldedWeights};
use super::global_pool::GlobalPoolOp;
use super::group_norm::GroupNormOp;
use super::linear::LinearOp;
use super::map::MapOp;
use super::matmul::Accumulate;
use super::max_pool::MaxPoolOp;
use super::parameter::ParameterOp;
use super::pixel_norm::PixelNormOp;
use super::prelu::PreluOp;
use super::product::{ProductOp, SoftmaxOp};
use super::rearrange::{ChannelSliceOp, RearrangeOp};
use super::thread_pool::ThreadPool;
use fieldfit_nets::{Activation, Axis, Function, MAX_INPUTS, Network, Op, Shape};
use fieldfit_tensor::{Params, TensorId};

/// Values of a node's inputs.
pub(super) type Inputs<'a> = heapless::Vec<&'a [f32], MAX_INPUTS>;

/// An op at any image size.
pub(super) trait CpuOp: Send + Sync {
    /// Returns the number of values of its folded weights.
    fn folded_len(&self, purpose: FoldPurpose) -> usize {
        let _ = purpose;
        0
    }

    /// Folds and packs its tensors into the existing buffers.
    fn fold(&self, params: &Params<f32>, purpose: FoldPurpose, folded: &mut FoldedWeights) {
        let _ = (params, purpose, folded);
    }

    /// Creates its kernel for inputs of those shapes.
    fn kernel(&self, inputs: &[Shape], output: Shape) -> Box<dyn Kernel>;
}

/// An op at one image size.
pub(super) trait Kernel: Send + Sync {
    /// Returns the activation that ends the op: its slope follows from the output, and whoever computes the output's
    /// gradient applies it.
    fn activation(&self) -> Activation {
        Activation::Identity
    }

    /// Returns the values of a buffer that a forward pass needs beside inputs and output, for all images together.
    fn forward_buffer(&self) -> usize {
        0
    }

    /// Computes the output.
    fn forward(&self, pass: Forward<'_>);

    /// Returns the function, if the op applies one to each value of its input.
    fn function(&self) -> Option<Function> {
        None
    }

    /// Whether a forward pass can end with the function of the op that reads its output, see [`Forward::function`].
    fn can_end_with_function(&self) -> bool {
        false
    }

    /// Whether the gradient of an input is the output's: a shortcut that is added.
    fn passes_gradient(&self, input: usize) -> bool {
        let _ = input;
        false
    }

    /// Returns what its backward pass needs.
    fn needs(&self, trains: &dyn Fn(TensorId) -> bool) -> Needs;

    /// Returns the values of scratch memory that its backward pass needs.
    fn scratch_len(&self, trains: &dyn Fn(TensorId) -> bool, threads: usize, images: usize) -> usize {
        let _ = (trains, threads, images);
        0
    }

    /// Computes the gradient of one input and, in the pass of its first input, those of the tensors; returns the sums over
    /// pixels of the input's gradient, one a channel.
    fn backward(&self, pass: Backward<'_>) -> Vec<f64>;

    /// Returns the weight and the scale whose gradients [`Kernel::complete`] completes once a batch.
    fn scaled(&self) -> Option<Scaled> {
        None
    }

    /// Completes a batch: converts the accumulated gradient of an unscaled kernel to the kernel's, and computes the scale's
    /// from the terms.
    fn complete(&self, folded: &FoldedWeights, params: &Params<f32>, terms: &mut [f64], gradients: [&mut [f32]; 2]) {
        let _ = (folded, params, terms, gradients);
    }
}

/// Tensors of an op whose kernel is folded with a scale.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scaled {
    /// The kernel.
    pub weight: TensorId,
    /// The scale, if it is a tensor.
    pub scale: Option<TensorId>,
}

/// Needs of an op's backward pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// The input's value.
    pub input: bool,
    /// The value of the other input of two.
    pub other_input: bool,
    /// The output's value.
    pub output: bool,
    /// The input's gradient, even if nothing below is trained: that of a leading norm follows from it.
    pub input_gradient: bool,
    /// A buffer of that many values, for the gradient of an unscaled kernel that is not trained itself.
    pub kernel: usize,
    /// A buffer as long as the input, for the output of the prologue.
    pub prologue_output: bool,
}

/// Operands of a forward kernel.
pub(super) struct Forward<'a> {
    pub threads: &'a ThreadPool,
    pub folded: &'a FoldedWeights,
    pub inputs: Inputs<'a>,
    pub output: &'a mut [f32],
    /// See [`Kernel::forward_buffer`].
    pub buffer: &'a mut [f32],
    /// Function of the one op that reads the output, applied while the output is in the cache: the pass writes that op's
    /// output. `None` of a kernel that cannot, see [`Kernel::can_end_with_function`].
    pub function: Option<Function>,
}

/// Operands of a backward kernel.
pub(super) struct Backward<'a> {
    pub threads: &'a ThreadPool,
    pub folded: &'a FoldedWeights,
    pub params: &'a Params<f32>,
    /// Gradients by tensor; an empty buffer marks a frozen tensor.
    pub gradients: &'a mut Params<f32>,
    pub accumulate: Accumulate,
    /// The gradient before the op's activation.
    pub gradient: &'a [f32],
    /// Its sums over pixels, one a channel.
    pub sums: &'a [f64],
    /// The input whose gradient is computed.
    pub input_index: usize,
    /// The input's value, if [`Needs`] asks for it.
    pub input: &'a [f32],
    /// The other input's value, and the output's, likewise.
    pub other_input: &'a [f32],
    pub output: &'a [f32],
    /// Buffer of the input's gradient, and how it ends.
    pub target: Option<(&'a mut [f32], BackwardEpilogue<'a>)>,
    /// Scale terms, see [`Kernel::scaled`].
    pub terms: &'a mut [f64],
    pub kernel: &'a mut [f32],
    pub prologue_output: &'a mut [f32],
    pub scratch: &'a mut Vec<f32>,
}

/// Returns what implements an op.
///
/// # Errors
/// A description of the op, if it has no CPU kernel.
pub(super) fn cpu_op(op: &Op, network: &Network) -> Result<Box<dyn CpuOp>, String> {
    let len = |id: TensorId| network.tensor(id).len();
    Ok(match op {
        Op::Conv(conv) => Box::new(ConvOp(*conv)),
        Op::Linear(linear) => Box::new(LinearOp(*linear)),
        Op::Attention(attention) => Box::new(AttentionOp(*attention)),
        Op::Embed(embed) => Box::new(EmbeddingOp(*embed)),
        Op::ClassToken(token) => Box::new(ClassTokenOp(*token)),
        Op::Activate(function) => Box::new(Activate(*function)),
        Op::Arithmetic(arithmetic) => Box::new(ArithmeticOp(*arithmetic)),
        Op::Concat(axis) => Box::new(ConcatOp(*axis)),
        Op::MaxPool(window) => Box::new(MaxPoolOp::new(*window)?),
        Op::GlobalAveragePool => Box::new(GlobalPoolOp),
        Op::ConvTranspose(conv) => Box::new(ConvTransposeOp::new(*conv)),
        Op::MatMul { transposes, scale } => Box::new(ProductOp { transposes: *transposes, scale: *scale as f32 }),
        Op::Parameter { tensor, shape } => Box::new(ParameterOp { tensor: *tensor, shape: *shape }),
        Op::Prelu { slope } => Box::new(PreluOp { slope: *slope, slopes: len(*slope) }),
        Op::Affine { scale, shift } => {
            let channels = scale.or(*shift).map_or(0, len);
            Box::new(AffineOp::Tensors { scale: *scale, shift: *shift, channels })
        }
        Op::Scalar { scale, shift } => Box::new(AffineOp::Constant { scale: *scale as f32, shift: *shift as f32 }),
        Op::BatchNorm(norm) => Box::new(AffineOp::Norm { norm: *norm, channels: len(norm.scale) }),
        Op::LayerNorm(norm) => Box::new(PixelNormOp { norm: *norm, channels: len(norm.scale) }),
        Op::Softmax(Axis::Channels) => Box::new(SoftmaxOp),
        Op::Slice { axis: Axis::Channels, start, length, step } => {
            Box::new(ChannelSliceOp { start: *start, length: *length, step: *step })
        }
        Op::Rearrange(rearrange) => Box::new(RearrangeOp(rearrange.clone())),
        Op::Slice { axis: Axis::Rows | Axis::Columns, .. }
        | Op::Gather { .. }
        | Op::Mean(Axis::Rows | Axis::Columns)
        | Op::Pad(_)
        | Op::Resize { .. }
        | Op::AveragePool { .. }
        | Op::AdaptiveAveragePool(_) => Box::new(MapOp(op.clone())),
        Op::GroupNorm { norm, groups } => {
            Box::new(GroupNormOp { norm: *norm, groups: *groups, channels: len(norm.scale) })
        }
        Op::L2Norm { .. } | Op::Softmax(Axis::Rows | Axis::Columns) | Op::Mean(Axis::Channels) => {
            return Err(format!("a {} along that axis", op.name()));
        }
    })
}
