//! Execution plan: a graph's nodes in order, with the shapes of their values and the kernels that compute them, for one
//! image size.

use super::op::{CpuOp, Kernel, cpu_op};
use crate::ExecError;
use fieldfit_nets::{Activation, Arithmetic, Conv, Function, Network, Op, Shape, ValueId};
use fieldfit_tensor::{Params, TensorId};
use std::ops::Range;

/// The ops of a network's nodes, in order.
pub(super) type CpuOps = Vec<Box<dyn CpuOp>>;

/// Returns the op of each node.
///
/// # Errors
/// If an op has no CPU kernel, or the graph is one that the executor does not run.
pub(super) fn cpu_ops(network: &Network) -> Result<CpuOps, ExecError> {
    let unsupported = |node: usize, what: String| ExecError::Unsupported {
        stage: network.graph.section_of(node).map(|section| section.name.clone()).unwrap_or_default(),
        what,
    };
    let graph = &network.graph;
    let mut is_read = vec![false; graph.values()];
    is_read[graph.output().index()] = true;
    graph.nodes.iter().flat_map(|node| &node.inputs).for_each(|value| is_read[value.index()] = true);
    let mut users: Vec<Option<usize>> = vec![None; network.tensors.len()];
    let mut ops = Vec::with_capacity(network.graph.nodes.len());
    for (index, node) in network.graph.nodes.iter().enumerate() {
        for id in node.op.tensors() {
            let user = users[id.index()].replace(index).filter(|user| *user != index);
            let is_trained = network.tensor(id).role.is_trainable();
            if user.is_some_and(|user| is_trained && !can_share(&graph.nodes[user].op, &node.op)) {
                let name = &network.tensor(id).name;
                return Err(unsupported(index, format!("tensor `{name}` of two ops that cannot share one")));
            }
        }
        if matches!(node.op, Op::Embed(_)) && node.inputs.iter().any(|value| value.node().is_some()) {
            return Err(unsupported(index, "an embedding of another op's output".into()));
        }
        if !is_read[ValueId::of_node(index).index()] {
            return Err(unsupported(index, format!("a {} whose value nothing reads", node.op.name())));
        }
        if let Op::Arithmetic(arithmetic) = node.op
            && node.inputs.first() == node.inputs.get(1)
            && !matches!(arithmetic, Arithmetic::Add | Arithmetic::Subtract)
        {
            return Err(unsupported(index, "arithmetic of a value with itself".into()));
        }
        ops.push(cpu_op(&node.op, network).map_err(|what| unsupported(index, what))?);
    }
    Ok(ops)
}

/// Whether two ops can train one tensor: they hold its gradient in the same layout, and nothing is folded into it.
fn can_share(first: &Op, second: &Op) -> bool {
    match first {
        Op::Conv(first) => {
            let geometry = |conv: &Conv| (conv.input, conv.output, conv.groups, conv.window.kernel);
            let fits = |second: &Conv| second.norm.is_none() && geometry(first) == geometry(second);
            first.norm.is_none() && matches!(second, Op::Conv(second) if fits(second))
        }
        Op::Linear(first) => first.scale.is_none() && matches!(second, Op::Linear(second) if second.scale.is_none()),
        Op::Parameter { .. } => matches!(second, Op::Parameter { .. }),
        Op::Prelu { .. } => matches!(second, Op::Prelu { .. }),
        Op::Affine { .. } => matches!(second, Op::Affine { .. }),
        Op::BatchNorm(_) => matches!(second, Op::BatchNorm(_)),
        Op::LayerNorm(_) => matches!(second, Op::LayerNorm(_)),
        Op::GroupNorm { .. } => matches!(second, Op::GroupNorm { .. }),
        Op::ConvTranspose(_)
        | Op::Attention(_)
        | Op::MatMul { .. }
        | Op::Embed(_)
        | Op::ClassToken(_)
        | Op::Activate(_)
        | Op::Arithmetic(_)
        | Op::Scalar { .. }
        | Op::L2Norm { .. }
        | Op::Softmax(_)
        | Op::Concat(_)
        | Op::Slice { .. }
        | Op::Gather { .. }
        | Op::Rearrange(_)
        | Op::Pad(_)
        | Op::Resize { .. }
        | Op::MaxPool(_)
        | Op::AveragePool { .. }
        | Op::AdaptiveAveragePool(_)
        | Op::GlobalAveragePool
        | Op::Mean(_) => false,
    }
}

/// Step of a plan: one node with its shapes. Activation 0 is the images; step `i` writes activation `i + 1`.
pub(super) struct Step {
    pub op: Op,
    /// The activations that it reads.
    pub inputs: Vec<usize>,
    /// Shapes of the inputs.
    pub shapes: Vec<Shape>,
    pub output: Shape,
    /// Whether another step trains one of its tensors, too.
    pub shares: bool,
    pub kernel: Box<dyn Kernel>,
}

/// Execution plan of a backbone.
pub(super) struct ExecutionPlan {
    pub steps: Vec<Step>,
    /// The steps of each section.
    pub sections: Vec<Range<usize>>,
    image: Shape,
}

impl ExecutionPlan {
    /// Plans a network for images of that size; `ops` are those of its nodes.
    pub fn new(network: &Network, ops: &CpuOps, height: usize, width: usize) -> Result<Self, ExecError> {
        let shapes = network.shapes(height, width)?;
        let mut users = vec![0; network.tensors.len()];
        let trained = |op: &Op| op.tensors().into_iter().filter(|id| network.tensor(*id).role.is_trainable());
        network.graph.nodes.iter().flat_map(|node| trained(&node.op)).for_each(|id| users[id.index()] += 1);
        let steps = network.graph.nodes.iter().zip(ops).enumerate().map(|(index, (node, op))| {
            let inputs: Vec<usize> = node.inputs.iter().map(|value| value.index()).collect();
            let input_shapes: Vec<Shape> = inputs.iter().map(|input| shapes[*input]).collect();
            let output = shapes[index + 1];
            let kernel = op.kernel(&input_shapes, output);
            let shares = trained(&node.op).any(|id| users[id.index()] > 1);
            Step { op: node.op.clone(), inputs, shapes: input_shapes, output, shares, kernel }
        });
        Ok(Self {
            steps: steps.collect(),
            sections: network.graph.sections.iter().map(|section| section.nodes.clone()).collect(),
            image: shapes[0],
        })
    }

    /// Returns, of each step, the function that the step before it can end with in a forward pass: the step alone reads the
    /// other's output, in the same section.
    pub fn ending_functions(&self) -> Vec<Option<Function>> {
        let mut readers = vec![0; self.steps.len() + 1];
        self.steps.iter().flat_map(|step| &step.inputs).for_each(|input| readers[*input] += 1);
        let mut starts_section = vec![false; self.steps.len() + 1];
        self.sections.iter().for_each(|section| starts_section[section.start] = true);
        let function_of = |(index, step): (usize, &Step)| {
            let function = step.kernel.function()?;
            let before = self.steps.get(index.checked_sub(1)?)?;
            let is_alone = step.inputs == [index] && readers[index] == 1 && !starts_section[index];
            (is_alone && before.kernel.can_end_with_function()).then_some(function)
        };
        self.steps.iter().enumerate().map(function_of).collect()
    }

    /// Returns the activation of the step that writes a value: the identity for the images.
    pub fn activation(&self, value: usize) -> Activation {
        value.checked_sub(1).map_or(Activation::Identity, |step| self.steps[step].kernel.activation())
    }

    /// Returns the channels of a value.
    pub fn channels(&self, value: usize) -> usize {
        value.checked_sub(1).map_or(self.image, |step| self.steps[step].output).channels
    }

    /// Shape of an image.
    pub const fn image(&self) -> Shape {
        self.image
    }

    /// Whether the plan is for images of that size.
    pub const fn is_for(&self, height: usize, width: usize) -> bool {
        self.image.height == height && self.image.width == width
    }

    /// Marks the values that depend on a trained tensor; gradients of the others are not computed.
    pub fn needs_gradient(&self, trains: &dyn Fn(TensorId) -> bool) -> Vec<bool> {
        let mut wanted = vec![false; self.steps.len() + 1];
        for (index, step) in self.steps.iter().enumerate() {
            let below = step.inputs.iter().any(|input| wanted[*input]);
            wanted[index + 1] = below || step.op.tensors().into_iter().any(trains);
        }
        wanted
    }

    /// Allocates the scale terms: `⟨W, G⟩` and the bias's share of the gradient of each channel of each step's scale, if it
    /// is trained.
    pub fn terms(&self, gradients: &Params<f32>) -> Vec<Vec<f64>> {
        let len = |step: &Step| step.kernel.scaled()?.scale.map(|scale| gradients[scale].len());
        self.steps.iter().map(|step| vec![0.0; len(step).unwrap_or(0)]).collect()
    }
}
