//! int8 network: a graph lowered to int8, its quantised weights, and the pass that computes it.

use super::forward::{self, Place, ProductOutput};
use super::kernels::Isa;
use super::kernels::depthwise::PackedDepthwise;
use super::kernels::elementwise::{dequantise, quantise};
use super::lowering::{Lowered, Lowering};
use super::quantisation::Quantisation;
use super::schedule::{Buffer, Floats, Int8Schedule, Int8Task};
use super::weights::{ConvQuantisation, LinearWeights, ProductWeights, depthwise};
use crate::ExecError;
use crate::cpu::arena::{Arena, Rest};
use crate::cpu::execution_plan::{CpuOps, ExecutionPlan};
use crate::cpu::folded_weights::{FoldPurpose, FoldedWeights};
use crate::cpu::op::{Forward, Inputs};
use crate::cpu::thread_pool::{ThreadPool, split_rows};
use fieldfit_nets::{Network, Op};
use fieldfit_tensor::{ActivationRanges, Params};

/// Weights of a node.
#[derive(Debug)]
enum NodeWeights {
    Product(ProductWeights),
    Depthwise(PackedDepthwise),
    Linear(LinearWeights),
    Float(Box<FoldedWeights>),
    None,
}

/// Network whose weights are quantised.
pub(in crate::cpu) struct Int8Network {
    isa: Isa,
    pub lowering: Lowering,
    /// Of each value that is stored as codes.
    quantisations: Vec<Option<Quantisation>>,
    weights: Vec<NodeWeights>,
}

impl Int8Network {
    /// Quantises parameters.
    ///
    /// # Errors
    /// If a parameter is not finite, or the ranges are another network's.
    pub fn new(
        (network, ops): (&Network, &CpuOps),
        params: &Params<f32>,
        ranges: &ActivationRanges,
        threads: &ThreadPool,
    ) -> Result<Self, ExecError> {
        check_finite(network, params)?;
        let (isa, lowering) = (Isa::detect(), Lowering::new(network));
        let quantisations = quantisations(network, &lowering, ranges)?;
        let mut weights: Vec<NodeWeights> = network.graph.nodes.iter().map(|_| NodeWeights::None).collect();
        threads.for_each(weights.iter_mut().enumerate(), |(node, weights)| {
            *weights = node_weights(isa, (network, ops), params, (&lowering, &quantisations), node);
        });
        Ok(Self { isa, lowering, quantisations, weights })
    }

    /// Returns the bytes of the weights of a network.
    pub fn bytes(network: &Network, ops: &CpuOps) -> usize {
        let (isa, lowering) = (Isa::detect(), Lowering::new(network));
        let bytes = |(index, op): (usize, &Op)| match (lowering.nodes[index], op) {
            (Lowered::Product, Op::Conv(conv)) => ProductWeights::bytes(isa, conv),
            (Lowered::Depthwise, Op::Conv(conv)) => PackedDepthwise::bytes(isa, &conv.window, conv.output),
            (Lowered::Linear, Op::Linear(linear)) => LinearWeights::bytes(linear),
            (Lowered::MaxPool, _) => 0,
            (_float, _) => size_of::<f32>() * ops[index].folded_len(FoldPurpose::Inference),
        };
        network.graph.nodes.iter().map(|node| &node.op).enumerate().map(bytes).sum()
    }

    /// Returns the bytes allocated for weights.
    pub fn allocated(&self) -> usize {
        let bytes = |weights: &NodeWeights| match weights {
            NodeWeights::Product(weights) => weights.allocated(),
            NodeWeights::Depthwise(weights) => weights.allocated(),
            NodeWeights::Linear(weights) => weights.allocated(),
            NodeWeights::Float(folded) => size_of::<f32>() * folded.capacity(),
            NodeWeights::None => 0,
        };
        self.weights.iter().map(bytes).sum()
    }

    /// Returns the quantisation of a value that is stored as codes.
    fn quantisation(&self, value: usize) -> Quantisation {
        self.quantisations[value].unwrap_or_else(|| unreachable!("a value that is stored as codes has a quantisation"))
    }
}

/// Checks that every parameter is finite: codes would hide that it is not.
fn check_finite(network: &Network, params: &Params<f32>) -> Result<(), ExecError> {
    network.tensors().try_for_each(|(id, spec)| match params[id].iter().position(|value| !value.is_finite()) {
        Some(index) => Err(ExecError::NotFinite { name: spec.name.clone(), index }),
        None => Ok(()),
    })
}

/// Returns the quantisation of each value that is stored as codes.
fn quantisations(
    network: &Network,
    lowering: &Lowering,
    ranges: &ActivationRanges,
) -> Result<Vec<Option<Quantisation>>, ExecError> {
    let values = network.graph.values();
    let stored = |value: usize| {
        lowering.reads[value].codes || value.checked_sub(1).is_some_and(|node| lowering.writes_codes(node))
    };
    if (0..values).any(stored) && ranges.as_slice().len() != values {
        return Err(ExecError::RangeCount { expected: values, found: ranges.as_slice().len() });
    }
    let mut quantisations: Vec<Option<Quantisation>> = vec![None; values];
    for value in (0..values).filter(|value| stored(*value)) {
        let node = value.checked_sub(1).map(|node| (&network.graph.nodes[node], lowering.nodes[node]));
        let quantisation = match node {
            Some((node, Lowered::MaxPool)) => quantisations[node.inputs[0].index()],
            Some((node, _)) => Some(Quantisation::of_output(&node.op, ranges.get(value).unwrap_or_default())),
            None => Some(Quantisation::of_range(ranges.get(value).unwrap_or_default())),
        };
        quantisations[value] = quantisation;
    }
    Ok(quantisations)
}

/// Quantises a node's weights.
fn node_weights(
    isa: Isa,
    (network, ops): (&Network, &CpuOps),
    params: &Params<f32>,
    (lowering, quantisations): (&Lowering, &[Option<Quantisation>]),
    node: usize,
) -> NodeWeights {
    let inputs = &network.graph.nodes[node].inputs;
    let of_input = |index: usize| inputs.get(index).and_then(|value| quantisations[value.index()]);
    match (lowering.nodes[node], &network.graph.nodes[node].op, of_input(0)) {
        (Lowered::Product, Op::Conv(conv), Some(input)) => {
            let output = quantisations[node + 1].filter(|_| lowering.writes_codes(node));
            let quantisation = ConvQuantisation { input, shortcut: of_input(1), output };
            NodeWeights::Product(ProductWeights::new(isa, conv, params, quantisation))
        }
        (Lowered::Depthwise, Op::Conv(conv), Some(input)) => {
            let output = quantisations[node + 1].unwrap_or(input);
            NodeWeights::Depthwise(depthwise(isa, conv, params, input, output))
        }
        (Lowered::Linear, Op::Linear(linear), _) => NodeWeights::Linear(LinearWeights::new(linear, params)),
        (Lowered::Float, ..) => {
            let mut folded = FoldedWeights::default();
            ops[node].fold(params, FoldPurpose::Inference, &mut folded);
            NodeWeights::Float(Box::new(folded))
        }
        (Lowered::MaxPool, ..) => NodeWeights::None,
        (Lowered::Product | Lowered::Depthwise | Lowered::Linear, op, _) => {
            unreachable!("{} is lowered otherwise", op.name())
        }
    }
}

/// Pass over images.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Int8Pass<'a> {
    pub threads: &'a ThreadPool,
    pub network: &'a Int8Network,
    pub plan: &'a ExecutionPlan,
    pub schedule: &'a Int8Schedule,
    /// `[count, H, W, C]`.
    pub images: &'a [f32],
    pub count: usize,
}

impl<'a> Int8Pass<'a> {
    /// Runs the tasks of the schedule; calls `done` with the value that each wrote.
    pub fn run(&self, arena: &mut Arena, mut done: impl FnMut(usize)) {
        for task in &self.schedule.tasks {
            self.task(arena, task);
            done(task.value());
        }
    }

    /// Returns the number of values of a value, of all images.
    fn len(&self, value: usize) -> usize {
        let shape = value.checked_sub(1).map_or(self.plan.image(), |node| self.plan.steps[node].output);
        self.count * shape.len()
    }

    /// Returns the codes of a value.
    fn codes<'b>(&self, rest: &Rest<'b>, buffer: Buffer, value: usize) -> &'b [u8] {
        let values = rest.get(self.schedule.range(buffer, self.count));
        &bytemuck::cast_slice(values)[..self.len(value)]
    }

    /// Returns the floats of a value.
    fn floats<'b>(&self, rest: &Rest<'b>, floats: Floats) -> &'b [f32]
    where
        'a: 'b,
    {
        match floats {
            Floats::Images => self.images,
            Floats::Buffer(buffer) => rest.get(self.schedule.range(buffer, self.count)),
        }
    }

    fn task(&self, arena: &mut Arena, task: &Int8Task) {
        let place = Place { isa: self.network.isa, threads: self.threads };
        let range = |buffer: Buffer| self.schedule.range(buffer, self.count);
        match task {
            Int8Task::Quantise { value, input, output } => {
                let ([output], rest) = arena.split([range(*output)]);
                let (input, output) = (self.floats(&rest, *input), self.codes_mut(output, *value));
                self.in_parts(output, |range, output| {
                    quantise(place.isa, &input[range], self.network.quantisation(*value).parts(), output);
                });
            }
            Int8Task::Dequantise { value, input, output } => {
                let ([output], rest) = arena.split([range(*output)]);
                let input = self.codes(&rest, *input, *value);
                self.in_parts(output, |range, output| {
                    dequantise(place.isa, &input[range], self.network.quantisation(*value).parts(), output);
                });
            }
            Int8Task::Product { node, kernel, input, shortcut, output } => {
                let ([output], rest) = arena.split([range(*output)]);
                let inputs = &self.plan.steps[*node].inputs;
                let input = self.codes(&rest, *input, inputs[0]);
                let shortcut = shortcut.map(|buffer| self.codes(&rest, buffer, inputs[1]));
                let output = if self.network.lowering.writes_codes(*node) {
                    ProductOutput::Codes { output: self.codes_mut(output, *node + 1), shortcut }
                } else {
                    ProductOutput::Floats { output, shortcut }
                };
                if let NodeWeights::Product(weights) = &self.network.weights[*node] {
                    kernel.forward(place, weights, input, output);
                }
            }
            Int8Task::Depthwise { node, input, output } => {
                let ([output], rest) = arena.split([range(*output)]);
                let step = &self.plan.steps[*node];
                let input = (self.codes(&rest, *input, step.inputs[0]), step.shapes[0]);
                let output = (self.codes_mut(output, *node + 1), step.output);
                if let NodeWeights::Depthwise(weights) = &self.network.weights[*node] {
                    forward::depthwise(place, weights, input, output);
                }
            }
            Int8Task::MaxPool { node, window, input, output } => {
                let ([output], rest) = arena.split([range(*output)]);
                let step = &self.plan.steps[*node];
                let input = (self.codes(&rest, *input, step.inputs[0]), step.shapes[0]);
                forward::max_pool(place, window, input, (self.codes_mut(output, *node + 1), step.output));
            }
            Int8Task::Linear { node, input, shortcut, output } => {
                let ([output], rest) = arena.split([range(*output)]);
                let input = self.floats(&rest, *input);
                let shortcut = shortcut.map(|shortcut| self.floats(&rest, shortcut));
                if let NodeWeights::Linear(weights) = &self.network.weights[*node] {
                    forward::linear(place, weights, input, shortcut, output);
                }
            }
            Int8Task::Float { node, inputs, output, scratch } => {
                let ([output, buffer], rest) = arena.split([range(*output), scratch.map_or(0..0, range)]);
                let inputs: Inputs<'_> = inputs.iter().map(|input| self.floats(&rest, *input)).collect();
                if let NodeWeights::Float(folded) = &self.network.weights[*node] {
                    let kernel = &self.plan.steps[*node].kernel;
                    kernel.forward(Forward { threads: self.threads, folded, inputs, output, buffer, function: None });
                }
            }
        }
    }

    /// Returns the codes of a value's buffer.
    fn codes_mut<'b>(&self, values: &'b mut [f32], value: usize) -> &'b mut [u8] {
        &mut bytemuck::cast_slice_mut(values)[..self.len(value)]
    }

    /// Splits an output among the threads.
    fn in_parts<T: Send>(&self, output: &mut [T], work: impl Fn(std::ops::Range<usize>, &mut [T]) + Sync + Send) {
        let ranges = self.threads.ranges(output.len());
        let parts = ranges.iter().cloned().zip(split_rows(&ranges, 1, output));
        self.threads.for_each(parts, |(range, output)| work(range, output));
    }
}
