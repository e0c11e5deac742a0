//! Graph: the nodes that compute a network's values from an image, and the sections that group them.

use crate::activation::Activation;
use crate::op::Op;
use crate::shape::{Shape, ShapeError};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use thiserror::Error;

/// Identifier of a value: 0 is the image, `i + 1` the output of node `i`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ValueId(usize);

impl ValueId {
    /// The image.
    pub const IMAGE: Self = Self(0);

    /// Returns the output of a node.
    pub const fn of_node(node: usize) -> Self {
        Self(node + 1)
    }

    /// Returns the position in lists that are aligned with the graph's values.
    pub const fn index(self) -> usize {
        self.0
    }

    /// Returns the node that computes the value; `None` for the image.
    pub const fn node(self) -> Option<usize> {
        self.0.checked_sub(1)
    }
}

/// Node of a graph: one op and the values that it reads. Its output is [`ValueId::of_node`] of its position.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// The op.
    pub op: Op,
    /// The values that it reads, computed before it.
    pub inputs: Vec<ValueId>,
}

/// Section of a graph: a named range of nodes that reports, radii, freezing and recomputation take as one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// Name in reports: `stem`, `block0`, …, `head`, `pool`.
    pub name: String,
    /// Its nodes.
    pub nodes: Range<usize>,
}

/// Graph of a backbone: nodes in the order of the forward pass. The last node's value is the output.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Graph {
    /// The nodes; each reads values of earlier nodes or the image.
    pub nodes: Vec<Node>,
    /// The sections: one after the other, they cover every node.
    pub sections: Vec<Section>,
}

/// Error of a cut between two sections which more than one value crosses.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "cut behind section `{section}`: expected one value that crosses it, found {values}: cut behind {}",
    possible.as_ref().map_or_else(|| "no section: nothing can be frozen".to_owned(), |name| format!("`{name}`"))
)]
pub struct CutError {
    /// The section before the cut.
    pub section: String,
    /// Values that cross it.
    pub values: usize,
    /// The nearest section before it behind which a cut is possible.
    pub possible: Option<String>,
}

impl Graph {
    /// Returns the output value: the image, if there are no nodes.
    pub const fn output(&self) -> ValueId {
        ValueId(self.nodes.len())
    }

    /// Returns the number of values, the image included.
    pub const fn values(&self) -> usize {
        self.nodes.len() + 1
    }

    /// Returns the shape of each value for an image of that shape.
    ///
    /// # Errors
    /// If an op does not accept its inputs.
    pub fn shapes(&self, image: Shape) -> Result<Vec<Shape>, ShapeError> {
        let mut shapes = Vec::with_capacity(self.values());
        shapes.push(image);
        let mut inputs = Vec::new();
        for node in &self.nodes {
            inputs.clear();
            inputs.extend(node.inputs.iter().map(|value| shapes[value.index()]));
            shapes.push(node.op.output_shape(&inputs)?);
        }
        Ok(shapes)
    }

    /// Returns the channels of each value; `None` where they depend on the image's size.
    fn channels(&self, image: usize) -> Vec<Option<usize>> {
        let mut channels = vec![Some(image)];
        let mut inputs = Vec::new();
        for node in &self.nodes {
            inputs.clear();
            inputs.extend(node.inputs.iter().map(|value| channels[value.index()]));
            channels.push(node.op.output_channels(&inputs));
        }
        channels
    }

    /// Returns the node that can be the head of a dense network: a 1×1 convolution with neither norm, activation nor
    /// shortcut, behind which come resizes alone.
    pub fn dense_head(&self) -> Option<usize> {
        let is_resize = |index: usize| {
            let Node { op, inputs } = &self.nodes[index];
            matches!(op, Op::Resize { .. }) && inputs[..] == [ValueId(index)]
        };
        let head = (0..self.nodes.len()).rev().find(|index| !is_resize(*index))?;
        let Node { op: Op::Conv(conv), inputs } = &self.nodes[head] else { return None };
        let is_plain = conv.is_pointwise() && conv.norm.is_none() && conv.activation == Activation::Identity;
        // A convolution of the image itself has no features.
        let reads_features = matches!(inputs[..], [input] if input != ValueId::IMAGE);
        (is_plain && reads_features).then_some(head)
    }

    /// Returns the first section that a node belongs to.
    pub fn section_of(&self, node: usize) -> Option<&Section> {
        self.sections.iter().find(|section| section.nodes.contains(&node))
    }

    /// Returns the number of nodes in the first `sections` sections.
    fn nodes_before(&self, sections: usize) -> usize {
        self.sections[..sections.min(self.sections.len())].last().map_or(0, |section| section.nodes.end)
    }

    /// Returns the values computed by the first `nodes` nodes, or the image, that later nodes or the output need.
    fn crossing(&self, nodes: usize) -> Vec<ValueId> {
        let later = self.nodes[nodes..].iter().flat_map(|node| &node.inputs).copied().chain([self.output()]);
        let mut crossing: Vec<_> = later.filter(|value| value.index() <= nodes).collect();
        crossing.sort_unstable();
        crossing.dedup();
        crossing
    }

    /// Returns the one value that crosses the cut behind the first `sections` sections.
    fn cut(&self, sections: usize) -> Result<ValueId, CutError> {
        let only = |sections: usize| match self.crossing(self.nodes_before(sections))[..] {
            [value] => Ok(value),
            ref values => Err(values.len()),
        };
        let name = |sections: usize| {
            self.sections[..sections.min(self.sections.len())].last().map(|section| section.name.clone())
        };
        only(sections).map_err(|values| CutError {
            section: name(sections).unwrap_or_default(),
            values,
            possible: (1..sections).rev().find(|earlier| only(*earlier).is_ok()).and_then(name),
        })
    }

    /// Returns the graph behind the first `sections` sections, and the channels of the value that is its image.
    pub(crate) fn after(&self, sections: usize, channels: usize) -> Result<(Self, usize), CutError> {
        let (input, first) = (self.cut(sections)?, self.nodes_before(sections));
        let channels = self.channels(channels)[input.index()].unwrap_or(0);
        let moved = |value: &ValueId| if *value == input { ValueId::IMAGE } else { ValueId(value.0 - first) };
        let node = |node: &Node| Node { op: node.op.clone(), inputs: node.inputs.iter().map(moved).collect() };
        let section = |section: &Section| {
            let Range { start, end } = section.nodes;
            Section { name: section.name.clone(), nodes: start - first..end - first }
        };
        let sections = &self.sections[sections.min(self.sections.len())..];
        let graph = Self {
            nodes: self.nodes[first..].iter().map(node).collect(),
            sections: sections.iter().map(section).collect(),
        };
        Ok((graph, channels))
    }

    /// Returns the nodes that a value depends on, in order; the value is the output. The sections that remain keep their
    /// names.
    pub(crate) fn until(&self, output: ValueId) -> Self {
        let mut is_needed = vec![false; self.values()];
        is_needed[output.index()] = true;
        for (index, node) in self.nodes.iter().enumerate().rev() {
            if is_needed[ValueId::of_node(index).index()] {
                node.inputs.iter().for_each(|value| is_needed[value.index()] = true);
            }
        }
        // Of each value, the number of nodes up to it that are kept. The image stays, whether or not it is read.
        let mut kept = vec![0; self.values()];
        (1..self.values()).for_each(|value| kept[value] = kept[value - 1] + usize::from(is_needed[value]));
        let moved = |value: &ValueId| ValueId(kept[value.index()]);
        let node = |node: &Node| Node { op: node.op.clone(), inputs: node.inputs.iter().map(moved).collect() };
        let is_kept = |index: &usize| is_needed[ValueId::of_node(*index).index()];
        let section = |section: &Section| {
            let Range { start, end } = section.nodes;
            Section { name: section.name.clone(), nodes: kept[start]..kept[end] }
        };
        let sections = self.sections.iter().map(section).filter(|section| !section.nodes.is_empty());
        Self {
            nodes: (0..self.nodes.len()).filter(is_kept).map(|index| node(&self.nodes[index])).collect(),
            sections: sections.collect(),
        }
    }

    /// Returns the graph of the first `sections` sections.
    pub(crate) fn before(&self, sections: usize) -> Result<Self, CutError> {
        let output = self.cut(sections)?;
        let sections = self.sections[..sections.min(self.sections.len())].to_vec();
        // The value that crosses the cut is the output, so nodes behind it have no use.
        let nodes = self.nodes[..output.index()].to_vec();
        Ok(Self { nodes, sections })
    }
}
