//! Input range: what pixels a network takes that normalises its images itself.

use fieldfit_nets::{Arithmetic, Network, Node, Op, ValueId};
use fieldfit_tensor::TensorId;

/// Pixels that a network takes which normalises its images itself, or which takes bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputRange {
    /// Values of 0 to 1.
    Unit,
    /// Values of 0 to 255.
    Bytes,
}

impl InputRange {
    /// Returns the range that the scale and shift at a network's start show; `None` of a network without them, or of others.
    /// `values` are those of a tensor that is not trained.
    pub(super) fn of(network: &Network, values: impl Fn(TensorId) -> Option<Vec<f32>>) -> Option<Self> {
        let (mut normalisation, mut value) = (Normalisation { scale: 1.0, shift: 0.0 }, ValueId::IMAGE);
        while let Some((position, node)) = sole_reader(&network.graph.nodes, value) {
            match normalisation.then(&network.graph.nodes, node, value, &values) {
                Some(next) => normalisation = next,
                None => break,
            }
            value = ValueId::of_node(position);
        }
        normalisation.range()
    }

    /// Returns the greatest value of a pixel.
    pub const fn greatest(self) -> f32 {
        match self {
            Self::Unit => 1.0,
            Self::Bytes => 255.0,
        }
    }
}

/// Normalisation of an image, `scale · x + shift`: the mean of its channels.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Normalisation {
    scale: f64,
    shift: f64,
}

impl Normalisation {
    /// Returns the normalisation with a node that reads its value behind it; `None` of a node that computes something else.
    fn then(
        self,
        nodes: &[Node],
        node: &Node,
        value: ValueId,
        values: &impl Fn(TensorId) -> Option<Vec<f32>>,
    ) -> Option<Self> {
        let mean = |tensor: TensorId| {
            let values = values(tensor)?;
            Some(values.iter().copied().map(f64::from).sum::<f64>() / values.len() as f64)
        };
        let by = |scale: f64, shift: f64| Self { scale: self.scale * scale, shift: self.shift * scale + shift };
        if let Op::Scalar { scale, shift } = node.op {
            return Some(by(scale, shift));
        }
        if let Op::Affine { scale, shift } = node.op {
            let factor = scale.map_or(Some(1.0), mean)?;
            return Some(by(factor, shift.map_or(Some(0.0), mean)?));
        }
        if let Op::Rearrange(_) | Op::Gather { .. } = node.op {
            return Some(self);
        }
        let (Op::Arithmetic(arithmetic), [left, right]) = (&node.op, &node.inputs[..]) else { return None };
        if *left != value {
            return None;
        }
        let other = mean(parameter(nodes, *right)?)?;
        match arithmetic {
            Arithmetic::Add => Some(by(1.0, other)),
            Arithmetic::Subtract => Some(by(1.0, -other)),
            Arithmetic::Multiply => Some(by(other, 0.0)),
            Arithmetic::Divide => Some(by(1.0 / other, 0.0)),
            Arithmetic::Maximum | Arithmetic::Minimum => None,
        }
    }

    /// Returns the range of pixels that it is for, if it can be for one alone.
    ///
    /// Pixels of 0 to 1 are shifted by about a half and scaled by more than 1; those of 0 to 255 are scaled to a hundredth, or
    /// shifted by about a hundred. Anything else may as well follow another normalisation.
    fn range(self) -> Option<InputRange> {
        const LEAST_SCALE: f64 = 1.0 / 32.0;
        let centre = -self.shift / self.scale;
        if self.scale > 0.0 && (self.scale < LEAST_SCALE || centre > 2.0) {
            Some(InputRange::Bytes)
        } else {
            (self.scale >= 1.5 && (0.2..=0.8).contains(&centre)).then_some(InputRange::Unit)
        }
    }
}

/// Returns the only node that reads a value.
fn sole_reader(nodes: &[Node], value: ValueId) -> Option<(usize, &Node)> {
    let mut readers = nodes.iter().enumerate().filter(|(_, node)| node.inputs.contains(&value));
    readers.next().filter(|_| readers.next().is_none())
}

/// Returns the tensor that a value is, in whatever order of its axes.
fn parameter(nodes: &[Node], value: ValueId) -> Option<TensorId> {
    let node = &nodes[value.node()?];
    match node.op {
        Op::Parameter { tensor, .. } => Some(tensor),
        Op::Rearrange(_) | Op::Gather { .. } => parameter(nodes, *node.inputs.first()?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a network that divides by 255 itself and gets normalised pixels, or one that continues another normalisation
    /// and gets plain ones.
    #[test]
    fn a_range_is_told_from_scale_and_shift() {
        let range = |scale: f64, shift: f64| Normalisation { scale, shift }.range();
        assert_eq!(range(1.0 / 255.0, 0.0), Some(InputRange::Bytes));
        assert_eq!(range(1.0 / 127.5, -1.0), Some(InputRange::Bytes));
        assert_eq!(range(1.0, -116.3), Some(InputRange::Bytes));
        assert_eq!(range(1.0 / 57.0, -116.3 / 57.0), Some(InputRange::Bytes));
        assert_eq!(range(2.0, -1.0), Some(InputRange::Unit));
        assert_eq!(range(1.0 / 0.226, -0.449 / 0.226), Some(InputRange::Unit));
        // From ImageNet's normalisation to Inception's, as torchvision's Inception does.
        assert_eq!(range(0.449, -0.1), None);
        assert_eq!(range(1.0, 0.0), None);
        assert_eq!(range(-1.0, 1.0), None);
    }
}
