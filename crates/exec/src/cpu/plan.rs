//! A network laid out for one size of batch: which op reads which buffer, and how large each is.

use super::attention::Attention;
use super::dense::Dense;
use super::depthwise::Depthwise;
use super::embedding::Embedding;
use super::max_pool::Pooling;
use super::winograd::{self, Winograd};
use crate::ExecError;
use fieldfit_nets::{Activation, Conv, Linear, Network, Op, Padding, Shape, Shortcut, Stage};
use fieldfit_tensor::TensorId;

/// One op with its shapes. The images are activation 0, and step `i` writes activation `i + 1`.
pub(super) struct Step {
    pub op: Op,
    pub input: Shape,
    pub output: Shape,
    /// The activation that it reads: the one before its own, but for what stands around a projection.
    pub reads: usize,
    /// The activation that a shortcut adds to this step's sum.
    pub shortcut: Option<usize>,
    /// Whether it is a shortcut's own convolution: its output is added, and read by no step.
    pub is_projection: bool,
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

    fn trains(&self, trains: &dyn Fn(TensorId) -> bool) -> bool {
        match &self.op {
            // Running statistics never do.
            Op::Conv(conv) => [conv.weight, conv.norm.scale, conv.norm.shift].into_iter().any(trains),
            op => op.tensors().into_iter().any(trains),
        }
    }
}

/// What computes an op.
pub(super) enum Kernel {
    Pointwise,
    Depthwise(Depthwise),
    Dense(Dense),
    Winograd(Winograd),
    MaxPool(Pooling),
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
            Op::Conv(conv) if winograd::suits(&conv) => Self::Winograd(Winograd::new(conv, input)),
            Op::Conv(conv) => Self::Dense(Dense { conv, input, output }),
            Op::MaxPool(pool) => Self::MaxPool(Pooling { pool, input, output }),
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
                plan.stages.push(Span { first, last: plan.steps.len() - 1 });
            }
            entry = (reads, input);
        }
        Ok(plan)
    }

    /// Adds a step; returns the activation that it writes.
    fn step(&mut self, op: Op, (reads, input): (usize, Shape), output: Shape) -> usize {
        let kernel = Kernel::new(&op, input, output);
        self.steps.push(Step { op, input, output, reads, shortcut: None, is_projection: false, kernel });
        self.steps.len()
    }

    /// The activation that a shortcut around a stage adds.
    fn shortcut(&mut self, shortcut: Shortcut, entry: (usize, Shape), output: Shape) -> usize {
        let Shortcut::Projection(conv) = shortcut else { return entry.0 };
        let added = self.step(Op::Conv(conv), entry, output);
        self.steps[added - 1].is_projection = true;
        added
    }

    /// The step that writes an activation; none for the images.
    pub fn writer(&self, activation: usize) -> Option<&Step> {
        self.steps.get(activation.checked_sub(1)?)
    }

    /// Whether it is for images of that size.
    pub fn is_for(&self, height: usize, width: usize) -> bool {
        self.steps.first().is_some_and(|step| (step.input.height, step.input.width) == (height, width))
    }

    /// Which activations' gradients are wanted: those that a tensor that trains has a part in. The others' are not
    /// computed.
    pub fn wanted(&self, trains: &dyn Fn(TensorId) -> bool) -> Vec<bool> {
        let mut wanted = vec![false; self.steps.len() + 1];
        for (index, step) in self.steps.iter().enumerate() {
            let below = wanted[step.reads] || step.shortcut.is_some_and(|activation| wanted[activation]);
            wanted[index + 1] = below || step.trains(trains);
        }
        wanted
    }
}

/// Every op of a network, a shortcut's own among them, in the order of a plan's steps.
pub(super) fn ops(network: &Network) -> impl Iterator<Item = Op> {
    network.stages.iter().flat_map(|stage| {
        let projection =
            if let Some(Shortcut::Projection(conv)) = stage.shortcut { Some(Op::Conv(conv)) } else { None };
        let (before, last) = stage.ops.split_at(stage.ops.len().saturating_sub(1));
        before.iter().copied().chain(projection).chain(last.iter().copied())
    })
}

/// Values of a convolution's kernel.
pub(super) const fn weight_len(conv: &Conv) -> usize {
    conv.output * (conv.input / conv.groups) * conv.kernel * conv.kernel
}

/// Refuses what has no kernel here, before anything runs.
pub(super) fn check_supported(network: &Network) -> Result<(), ExecError> {
    let mut before = None;
    for stage in &network.stages {
        let projection =
            if let Some(Shortcut::Projection(conv)) = stage.shortcut { Some(Op::Conv(conv)) } else { None };
        for op in stage.ops.iter().chain(&projection) {
            if let Some(what) = obstacle(op).or_else(|| mixture(before, op)) {
                return Err(unsupported(stage, what));
            }
            before = Some(*op);
        }
        if stage.shortcut.is_some() && !matches!(stage.ops.last(), Some(Op::Conv(_))) {
            return Err(unsupported(stage, "a shortcut that ends in no convolution".into()));
        }
    }
    Ok(())
}

/// What of an op there is no kernel for.
fn obstacle(op: &Op) -> Option<String> {
    match op {
        Op::Conv(conv) if conv.groups != 1 && !conv.is_depthwise() => {
            Some(format!("a convolution in {} groups", conv.groups))
        }
        Op::MaxPool(pool) if matches!(pool.padding, Padding::Symmetric(amount) if amount >= pool.kernel) => {
            Some("a max pool that sees padding alone".into())
        }
        _ => None,
    }
}

/// What of an op there is no kernel for after another one: the gradients of tokens don't go through an activation that the
/// op before ends with, and that of an image isn't computed.
fn mixture(before: Option<Op>, op: &Op) -> Option<String> {
    match (before, op) {
        (Some(Op::Conv(_)), Op::Linear(_) | Op::Attention(_) | Op::ClassToken(_)) => {
            Some("tokens out of a convolution".into())
        }
        (Some(_), Op::Embed(_)) => Some("an embedding of what another op makes".into()),
        _ => None,
    }
}

fn unsupported(stage: &Stage, what: String) -> ExecError {
    ExecError::Unsupported { stage: stage.name.clone(), what }
}
