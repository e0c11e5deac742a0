//! Builder of a network: registers tensors in the checkpoint's order, and nodes in the order of the forward pass.

use crate::activation::Activation;
use crate::conv::{BatchNorm, Conv};
use crate::graph::{Graph, Node, Section, ValueId};
use crate::network::{Head, Network, Role, TensorSpec};
use crate::op::Op;
use crate::window::Window;
use fieldfit_tensor::TensorId;

/// Network builder.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    tensors: Vec<TensorSpec>,
    graph: Graph,
}

/// Parameters of a convolution in an architecture's table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConvSpec {
    pub input: usize,
    pub output: usize,
    pub window: Window,
    pub groups: usize,
    pub activation: Activation,
}

impl Builder {
    /// Registers a tensor.
    pub fn tensor(&mut self, name: String, shape: &[usize], role: Role) -> TensorId {
        self.tensors.push(TensorSpec { name, shape: shape.to_vec(), role });
        TensorId::new(self.tensors.len() - 1)
    }

    /// Registers the convolution `weight` and the batch norm `norm` after it, by module names.
    pub fn conv(&mut self, weight: &str, norm: &str, epsilon: f64, spec: ConvSpec) -> Conv {
        let ConvSpec { input, output, window, groups, activation } = spec;
        let shape = [output, input / groups, window.kernel[0], window.kernel[1]];
        Conv {
            weight: self.tensor(format!("{weight}.weight"), &shape, Role::Kernel),
            bias: None,
            norm: Some(BatchNorm {
                scale: self.tensor(format!("{norm}.weight"), &[output], Role::NormScale),
                shift: self.tensor(format!("{norm}.bias"), &[output], Role::NormShift),
                mean: self.tensor(format!("{norm}.running_mean"), &[output], Role::RunningMean),
                variance: self.tensor(format!("{norm}.running_var"), &[output], Role::RunningVariance),
                epsilon,
            }),
            activation,
            input,
            output,
            window,
            groups,
        }
    }

    /// Returns the number of sections so far.
    pub fn sections(&self) -> usize {
        self.graph.sections.len()
    }

    /// Begins a section of that name: the nodes from here on belong to it.
    pub fn section(&mut self, name: impl Into<String>) {
        let first = self.graph.nodes.len();
        self.graph.sections.push(Section { name: name.into(), nodes: first..first });
    }

    /// Appends a node to the last section and returns its value.
    pub fn node(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        self.graph.nodes.push(Node { op, inputs: inputs.to_vec() });
        if let Some(section) = self.graph.sections.last_mut() {
            section.nodes.end = self.graph.nodes.len();
        }
        ValueId::of_node(self.graph.nodes.len() - 1)
    }

    /// Appends convolutions, each of the output of the one before.
    pub fn chain(&mut self, convs: Vec<Conv>, input: ValueId) -> ValueId {
        convs.into_iter().fold(input, |value, conv| self.node(Op::Conv(conv), &[value]))
    }

    /// Appends convolutions as [`Builder::chain`]; the last one adds the value `shortcut`.
    pub fn residual(
        &mut self,
        mut convs: Vec<Conv>,
        input: ValueId,
        shortcut: impl FnOnce(&mut Self) -> ValueId,
    ) -> ValueId {
        let Some(last) = convs.pop() else { return input };
        let value = self.chain(convs, input);
        let added = shortcut(self);
        self.node(Op::Conv(last), &[value, added])
    }

    /// Adds a linear head of that module name and returns the network.
    pub fn finish(mut self, architecture: &'static str, head: &str, features: usize, classes: usize) -> Network {
        let weight = self.tensor(format!("{head}.weight"), &[classes, features], Role::HeadWeight);
        let bias = self.tensor(format!("{head}.bias"), &[classes], Role::HeadBias);
        let head = Head { weight, bias, features, classes, node: None };
        Network { architecture, channels: 3, tensors: self.tensors, graph: self.graph, head }
    }
}
