//! A network laid out for one size of batch: which op reads which buffer, and how large each is.

use super::attention::Attention;
use super::dense::Dense;
use super::depthwise::Depthwise;
use super::embedding::Embedding;
use crate::ExecError;
use fieldfit_nets::{Activation, Conv, Linear, Network, Op, Shape, Stage, TensorId};

/// One op with its shapes. Step `i` reads activation `i` (the images are activation 0) and writes activation `i + 1`.
pub(super) struct Step {
    pub op: Op,
    pub input: Shape,
    pub output: Shape,
    /// The activation that a shortcut adds to this step's output.
    pub shortcut: Option<usize>,
    pub kernel: Kernel,
}

impl Step {
    /// The activation that ends the op.
    pub const fn activation(&self) -> Activation {
        match &self.op {
            Op::Conv(conv) => conv.activation,
            _ => Activation::Identity,
        }
    }
}

/// What computes an op.
pub(super) enum Kernel {
    Pointwise,
    Depthwise(Depthwise),
    Dense(Dense),
    Pool,
    Embed(Embedding),
    Linear(Linear),
    Attention(Attention),
    ClassToken,
}

impl Kernel {
    pub fn new(op: &Op, input: Shape, output: Shape) -> Self {
        match *op {
            Op::Conv(conv) if conv.is_depthwise() => Self::Depthwise(Depthwise::new(&conv, input, output)),
            Op::Conv(conv) if conv.is_pointwise() => Self::Pointwise,
            Op::Conv(conv) => Self::Dense(Dense { conv, input, output }),
            Op::GlobalAveragePool => Self::Pool,
            Op::Embed(embed) => Self::Embed(Embedding::new(&embed, input)),
            Op::Linear(linear) => Self::Linear(linear),
            Op::Attention(fieldfit_nets::Attention { heads, width }) => {
                Self::Attention(Attention { heads, width, tokens: input.pixels() })
            }
            Op::ClassToken(_) => Self::ClassToken,
        }
    }
}

/// Every step of the backbone, in order.
pub(super) struct Plan {
    pub steps: Vec<Step>,
    pub stages: Vec<Span>,
}

/// The steps of a stage.
pub(super) struct Span {
    pub first: usize,
    /// Included.
    pub last: usize,
}

impl Plan {
    pub fn new(network: &Network, height: usize, width: usize) -> Result<Self, ExecError> {
        let mut input = Shape { height, width, channels: network.channels };
        let mut plan = Self { steps: Vec::new(), stages: Vec::new() };
        for (stage, shapes) in network.stages.iter().zip(network.shapes(height, width)?) {
            let entry = plan.steps.len();
            for (&op, output) in stage.ops.iter().zip(shapes) {
                let kernel = Kernel::new(&op, input, output);
                let shortcut = if let Op::Linear(linear) = op { linear.shortcut.map(|op| entry + op) } else { None };
                plan.steps.push(Step { op, input, output, shortcut, kernel });
                input = output;
            }
            if let Some(last) = plan.steps.get_mut(entry..).and_then(<[Step]>::last_mut) {
                last.shortcut = last.shortcut.or(stage.residual.then_some(entry));
                plan.stages.push(Span { first: entry, last: plan.steps.len() - 1 });
            }
        }
        Ok(plan)
    }

    /// Whether it is for images of that size.
    pub fn is_for(&self, height: usize, width: usize) -> bool {
        self.steps.first().is_some_and(|step| (step.input.height, step.input.width) == (height, width))
    }

    /// The lowest step with a tensor that trains: no gradient goes further down.
    pub fn lowest_trained(&self, trains: &dyn Fn(TensorId) -> bool) -> Option<usize> {
        self.steps.iter().position(|step| match &step.op {
            // A network's running statistics never train.
            Op::Conv(conv) => [conv.weight, conv.norm.scale, conv.norm.shift].into_iter().any(trains),
            op => op.tensors().into_iter().any(trains),
        })
    }
}

/// Values of a convolution's kernel.
pub(super) const fn weight_len(conv: &Conv) -> usize {
    conv.output * (conv.input / conv.groups) * conv.kernel * conv.kernel
}

/// Refuses what has no kernel here, before anything runs.
pub(super) fn check_supported(network: &Network) -> Result<(), ExecError> {
    let mut before = None;
    for stage in &network.stages {
        for op in &stage.ops {
            // The gradients of these don't go through an activation that the op before ends with.
            let takes_tokens = matches!(op, Op::Linear(_) | Op::Attention(_) | Op::ClassToken(_));
            if takes_tokens && matches!(before, Some(Op::Conv(_))) {
                return Err(unsupported(stage, "tokens out of a convolution".into()));
            }
            if matches!(op, Op::Embed(_)) && before.is_some() {
                return Err(unsupported(stage, "an embedding of what another op makes".into()));
            }
            before = Some(*op);
            let Op::Conv(conv) = op else { continue };
            if conv.groups != 1 && !conv.is_depthwise() {
                return Err(unsupported(stage, format!("a convolution in {} groups", conv.groups)));
            }
        }
        if let (true, Some(Op::Conv(conv))) = (stage.residual, stage.ops.last())
            && conv.activation != Activation::Identity
        {
            return Err(unsupported(stage, "an activation ahead of a shortcut's sum".into()));
        }
    }
    Ok(())
}

fn unsupported(stage: &Stage, what: String) -> ExecError {
    ExecError::Unsupported { stage: stage.name.clone(), what }
}
