//! Execution plan: a network's ops in order, with the shapes, the activations that they read, and the kernels that
//! compute them, for one image size.

use super::attention::AttentionKernel;
use super::dense::Dense;
use super::depthwise::Depthwise;
use super::embedding::EmbeddingKernel;
use super::max_pool::MaxPoolKernel;
use super::winograd::{self, Winograd};
use crate::ExecError;
use fieldfit_nets::{Activation, Conv, Linear, Network, Op, Padding, Shape, Shortcut, Stage};
use fieldfit_tensor::TensorId;

/// Step of a plan: one op with its shapes. Activation 0 is the images; step `i` writes activation `i + 1`.
pub(super) struct Step {
    pub op: Op,
    pub input: Shape,
    pub output: Shape,
    /// The activation that it reads: the previous one, except next to a projection.
    pub reads: usize,
    /// The activation that a shortcut adds to this step's sum.
    pub shortcut: Option<usize>,
    /// Whether it is a shortcut's projection: its output is added to a sum, and no step reads it.
    pub is_projection: bool,
    pub kernel: Kernel,
}

impl Step {
    /// Returns the activation function of the op.
    pub const fn activation(&self) -> Activation {
        match &self.op {
            Op::Conv(conv) => conv.activation,
            _ => Activation::Identity,
        }
    }

    /// Whether any tensor of the step is trained.
    fn trains(&self, trains: &dyn Fn(TensorId) -> bool) -> bool {
        match &self.op {
            // Running statistics are never trained.
            Op::Conv(conv) => [conv.weight, conv.norm.scale, conv.norm.shift].into_iter().any(trains),
            op => op.tensors().into_iter().any(trains),
        }
    }
}

/// Kernel that computes an op.
pub(super) enum Kernel {
    Pointwise,
    Depthwise(Depthwise),
    Dense(Dense),
    Winograd(Winograd),
    MaxPool(MaxPoolKernel),
    Pool,
    Embed(EmbeddingKernel),
    Linear(Linear),
    Attention(AttentionKernel),
    ClassToken,
}

impl Kernel {
    pub fn new(op: &Op, input: Shape, output: Shape) -> Self {
        match *op {
            Op::Conv(conv) if conv.is_depthwise() => Self::Depthwise(Depthwise::new(&conv, input, output)),
            Op::Conv(conv) if conv.is_pointwise() => Self::Pointwise,
            Op::Conv(conv) if winograd::supports(&conv) => Self::Winograd(Winograd::new(conv, input)),
            Op::Conv(conv) => Self::Dense(Dense { conv, input, output }),
            Op::MaxPool(pool) => Self::MaxPool(MaxPoolKernel { pool, input, output }),
            Op::GlobalAveragePool => Self::Pool,
            Op::Embed(embed) => Self::Embed(EmbeddingKernel::new(&embed, input)),
            Op::Linear(linear) => Self::Linear(linear),
            Op::Attention(fieldfit_nets::Attention { heads, width }) => {
                Self::Attention(AttentionKernel { heads, width, tokens: input.pixels() })
            }
            Op::ClassToken(_) => Self::ClassToken,
        }
    }
}

/// Execution plan of a backbone.
pub(super) struct ExecutionPlan {
    pub steps: Vec<Step>,
    pub stages: Vec<StageSpan>,
}

/// Range of a stage's steps.
pub(super) struct StageSpan {
    pub first: usize,
    /// Inclusive.
    pub last: usize,
}

impl ExecutionPlan {
    pub fn new(network: &Network, height: usize, width: usize) -> Result<Self, ExecError> {
        let mut plan = Self { steps: Vec::new(), stages: Vec::new() };
        let mut entry = (0, Shape { height, width, channels: network.channels });
        for (stage, shapes) in network.stages.iter().zip(network.shapes(height, width)?) {
            let first = plan.steps.len();
            let (mut reads, mut input) = entry;
            for (position, (&op, output)) in stage.ops.iter().zip(shapes).enumerate() {
                let shortcut = stage.shortcut.filter(|_| position + 1 == stage.ops.len());
                let shortcut = match (shortcut, op) {
                    (Some(shortcut), _) => Some(plan.shortcut(shortcut, entry, output)),
                    (None, Op::Linear(linear)) => linear.shortcut.map(|op| plan.steps[first + op].reads),
                    (None, _) => None,
                };
                (reads, input) = (plan.step(op, (reads, input), output), output);
                if let Some(last) = plan.steps.last_mut() {
                    last.shortcut = shortcut;
                }
            }
            if plan.steps.len() > first {
                plan.stages.push(StageSpan { first, last: plan.steps.len() - 1 });
            }
            entry = (reads, input);
        }
        Ok(plan)
    }

    /// Appends a step; returns the activation that it writes.
    fn step(&mut self, op: Op, (reads, input): (usize, Shape), output: Shape) -> usize {
        let kernel = Kernel::new(&op, input, output);
        self.steps.push(Step { op, input, output, reads, shortcut: None, is_projection: false, kernel });
        self.steps.len()
    }

    /// Returns the activation that a stage's shortcut adds; appends its projection if it has one.
    fn shortcut(&mut self, shortcut: Shortcut, entry: (usize, Shape), output: Shape) -> usize {
        let Shortcut::Projection(conv) = shortcut else { return entry.0 };
        let added = self.step(Op::Conv(conv), entry, output);
        self.steps[added - 1].is_projection = true;
        added
    }

    /// Returns the step that writes an activation; `None` for the images.
    pub fn producer(&self, activation: usize) -> Option<&Step> {
        self.steps.get(activation.checked_sub(1)?)
    }

    /// Whether the plan is for images of that size.
    pub fn is_for(&self, height: usize, width: usize) -> bool {
        self.steps.first().is_some_and(|step| (step.input.height, step.input.width) == (height, width))
    }

    /// Marks the activations that depend on a trained tensor; gradients of the others are not computed.
    pub fn needs_gradient(&self, trains: &dyn Fn(TensorId) -> bool) -> Vec<bool> {
        let mut wanted = vec![false; self.steps.len() + 1];
        for (index, step) in self.steps.iter().enumerate() {
            let below = wanted[step.reads] || step.shortcut.is_some_and(|activation| wanted[activation]);
            wanted[index + 1] = below || step.trains(trains);
        }
        wanted
    }
}

/// Iterates over every op of a network, projections included, in the order of a plan's steps.
pub(super) fn ops(network: &Network) -> impl Iterator<Item = Op> {
    network.stages.iter().flat_map(|stage| {
        let projection =
            if let Some(Shortcut::Projection(conv)) = stage.shortcut { Some(Op::Conv(conv)) } else { None };
        let (before, last) = stage.ops.split_at(stage.ops.len().saturating_sub(1));
        before.iter().copied().chain(projection).chain(last.iter().copied())
    })
}

/// Number of values of a convolution's kernel.
pub(super) const fn weight_len(conv: &Conv) -> usize {
    conv.output * (conv.input / conv.groups) * conv.kernel * conv.kernel
}

/// Rejects networks with ops that have no CPU kernel.
pub(super) fn check_supported(network: &Network) -> Result<(), ExecError> {
    let mut before = None;
    for stage in &network.stages {
        let projection =
            if let Some(Shortcut::Projection(conv)) = stage.shortcut { Some(Op::Conv(conv)) } else { None };
        for op in stage.ops.iter().chain(&projection) {
            if let Some(what) = unsupported_op(op).or_else(|| unsupported_sequence(before, op)) {
                return Err(unsupported(stage, what));
            }
            before = Some(*op);
        }
        if stage.shortcut.is_some() && !matches!(stage.ops.last(), Some(Op::Conv(_))) {
            return Err(unsupported(stage, "a shortcut whose last op is not a convolution".into()));
        }
    }
    Ok(())
}

/// Describes why an op has no kernel; `None` if it has one.
fn unsupported_op(op: &Op) -> Option<String> {
    match op {
        Op::Conv(conv) if conv.groups != 1 && !conv.is_depthwise() => {
            Some(format!("a convolution in {} groups", conv.groups))
        }
        Op::MaxPool(pool) if matches!(pool.padding, Padding::Symmetric(amount) if amount >= pool.kernel) => {
            Some("a max pool with windows of padding alone".into())
        }
        _ => None,
    }
}

/// Describes why an op is unsupported after another one; `None` if it is supported. Token ops do not propagate
/// gradients through a previous op's activation, and an embedding has no input gradient.
fn unsupported_sequence(before: Option<Op>, op: &Op) -> Option<String> {
    match (before, op) {
        (Some(Op::Conv(_)), Op::Linear(_) | Op::Attention(_) | Op::ClassToken(_)) => {
            Some("a token op after a convolution".into())
        }
        (Some(_), Op::Embed(_)) => Some("an embedding of another op's output".into()),
        _ => None,
    }
}

fn unsupported(stage: &Stage, what: String) -> ExecError {
    ExecError::Unsupported { stage: stage.name.clone(), what }
}
