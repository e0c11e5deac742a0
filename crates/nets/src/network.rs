//! Network: a graph with its tensors and its classifier.

use crate::graph::{CutError, Graph};
use crate::op::Op;
use crate::shape::{Shape, ShapeError};
use fieldfit_tensor::{Task, TensorId, TensorLayout};
use serde::{Deserialize, Serialize};

/// Role of a tensor in its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Convolution kernel, `[out, in / groups, rows, columns]`.
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
    /// Per-channel scale of a residual branch (LayerScale), or another factor of channels, `[C]`.
    LayerScale,
    /// Learned tokens: the class token, `[1, 1, C]`, and registers, `[1, registers, C]`.
    Token,
    /// Position embeddings, `[1, positions, C]`.
    Positions,
    /// Constant of an imported network: a mask, a table, the factor of a norm without one. Never trained.
    Constant,
    /// Weight of the classifier, `[classes, features]`.
    HeadWeight,
    /// Bias of the classifier, `[classes]`.
    HeadBias,
}

impl Role {
    /// Whether the tensor is trainable. Running statistics and constants are not.
    pub const fn is_trainable(self) -> bool {
        !matches!(self, Self::RunningMean | Self::RunningVariance | Self::Constant)
    }

    /// Whether the tensor belongs to the classifier, which is replaced for new classes.
    pub const fn is_head(self) -> bool {
        matches!(self, Self::HeadWeight | Self::HeadBias)
    }
}

/// Specification of a tensor: name, shape and role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// The classifier: `logits = features · weightᵀ + bias`, of an image or, in a dense network, of each of its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// `[classes, features]`; of a dense network `[classes, features, 1, 1]`.
    pub weight: TensorId,
    /// `[classes]`.
    pub bias: TensorId,
    /// Number of input features: of an image, or of a pixel.
    pub features: usize,
    /// Number of logits: of an image, or of a pixel; 0 for a headless backbone.
    pub classes: usize,
    /// Node of a dense network that is the head: a 1×1 convolution, behind which come resizes alone. `None` where the head
    /// reads the graph's output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<usize>,
}

impl Head {
    /// Whether the head classifies each pixel: the graph's output are the logits, `[H, W, classes]`.
    pub const fn is_dense(&self) -> bool {
        self.node.is_some()
    }
}

/// Network of a classifier of images or, with a [dense](Head::is_dense) head, of pixels: a backbone that computes one feature
/// vector for each, and a linear head.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// The architecture's name in the registry.
    pub architecture: &'static str,
    /// Channels of the input: 3 for images.
    pub channels: usize,
    /// Every tensor, in the order of the forward pass; the head's are last.
    pub tensors: Vec<TensorSpec>,
    /// The backbone. Its output is the features; of a dense network, whose head is one of its nodes, the logits.
    pub graph: Graph,
    /// The classifier.
    pub head: Head,
}

impl TensorLayout for Network {
    fn lengths(&self) -> impl Iterator<Item = usize> {
        self.tensors.iter().map(TensorSpec::len)
    }
}

impl Network {
    /// Returns what the network answers about an image.
    pub const fn task(&self) -> Task {
        if self.head.is_dense() { Task::Segmentation } else { Task::Classification }
    }

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
        if let Some(Op::Conv(conv)) = self.head.node.map(|node| &mut network.graph.nodes[node].op) {
            conv.output = classes;
        }
        network
    }

    /// Returns the part of a dense network that computes the features of each pixel, `[H, W, features]`; `None` of
    /// other networks. Tensors keep their ids; those behind the features remain unused.
    pub fn pixel_features(&self) -> Option<Self> {
        let node = &self.graph.nodes[self.head.node?];
        let graph = self.graph.until(*node.inputs.first()?);
        Some(Self { graph, head: Head { node: None, ..self.head }, ..self.clone() })
    }

    /// Returns the network behind its first `sections` sections, whose output is its input. Tensors keep their ids; those
    /// of the removed sections remain unused.
    ///
    /// # Errors
    /// If more than one value crosses the cut.
    pub fn after(&self, sections: usize) -> Result<Self, CutError> {
        let (graph, channels) = self.graph.after(sections, self.channels)?;
        let removed = self.graph.nodes.len() - graph.nodes.len();
        let node = self.head.node.and_then(|node| node.checked_sub(removed));
        Ok(Self { channels, graph, head: Head { node, ..self.head }, ..self.clone() })
    }

    /// Returns the network of the first `sections` sections alone. Its features are the last section's output; its head
    /// does not fit them.
    ///
    /// # Errors
    /// If more than one value crosses the cut.
    pub fn before(&self, sections: usize) -> Result<Self, CutError> {
        let graph = self.graph.before(sections)?;
        Ok(Self { graph, head: Head { node: None, ..self.head }, ..self.clone() })
    }

    /// Returns the section index of each tensor, aligned with [`Network::tensors`]; the number of sections for the head's
    /// tensors. A tensor that several sections share belongs to the last of them.
    pub fn section_of_each_tensor(&self) -> Vec<usize> {
        let mut sections = vec![self.graph.sections.len(); self.tensors.len()];
        for (position, section) in self.graph.sections.iter().enumerate() {
            let tensors = self.graph.nodes[section.nodes.clone()].iter().flat_map(|node| node.op.tensors());
            for id in tensors.filter(|id| !self.tensor(*id).role.is_head()) {
                sections[id.index()] = position;
            }
        }
        sections
    }

    /// Returns the depth of each tensor's section among those that have tensors, aligned with [`Network::tensors`]: 0 in the
    /// first, 1 in the last, and for the head's tensors.
    pub fn depth_of_each_tensor(&self) -> Vec<f64> {
        let sections = self.section_of_each_tensor();
        let mut with_tensors: Vec<_> = sections.iter().copied().filter(|&it| it < self.graph.sections.len()).collect();
        with_tensors.sort_unstable();
        with_tensors.dedup();
        let last = with_tensors.len().saturating_sub(1).max(1) as f64;
        let depth =
            |section: &usize| with_tensors.binary_search(section).map_or(1.0, |position| position as f64 / last);
        sections.iter().map(depth).collect()
    }

    /// Returns the shape of each value of the graph for an image of that size, the image's first.
    ///
    /// # Errors
    /// If an op does not accept its inputs: an image without pixels, or with too few for a kernel.
    pub fn shapes(&self, height: usize, width: usize) -> Result<Vec<Shape>, ShapeError> {
        self.graph.shapes(Shape { height, width, channels: self.channels })
    }

    /// Returns the shape of the output of each section for an image of that size.
    ///
    /// # Errors
    /// As [`Network::shapes`].
    pub fn section_shapes(&self, height: usize, width: usize) -> Result<Vec<Shape>, ShapeError> {
        let shapes = self.shapes(height, width)?;
        Ok(self.graph.sections.iter().map(|section| shapes[section.nodes.end]).collect())
    }
}
