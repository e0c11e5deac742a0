//! MobileNetV2 (Sandler et al., CVPR 2018).
//!
//! Tensor names as in torchvision: `features.{i}.conv.{j}.0`, …, `classifier.1`.

use crate::activation::Activation;
use crate::builder::{Builder, ConvSpec};
use crate::conv::Conv;
use crate::graph::ValueId;
use crate::network::Network;
use crate::op::Op;
use crate::window::{Padding, Window};

const EPSILON: f64 = 1e-5;

/// The paper's table 2: expansion, output width, repeats and stride of each row of blocks.
const ROWS: [(usize, usize, usize, usize); 7] =
    [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)];

/// MobileNetV2 of width 1: 224 px, 1000 classes, 3.50 M parameters.
pub(crate) fn mobilenet_v2() -> Network {
    let mut builder = Builder::default();
    let conv = builder.conv("features.0.0", "features.0.1", EPSILON, dense(3, 32, 3, 2));
    builder.section("features.0");
    let mut value = builder.node(Op::Conv(conv), &[ValueId::IMAGE]);
    let mut width = 32;
    for (expansion, output, repeats, stride) in ROWS {
        for repeat in 0..repeats {
            let stride = if repeat == 0 { stride } else { 1 };
            value = block(&mut builder, value, (width, expansion, output), stride);
            width = output;
        }
    }
    let name = format!("features.{}", builder.sections());
    let conv = builder.conv(&format!("{name}.0"), &format!("{name}.1"), EPSILON, dense(width, 1280, 1, 1));
    builder.section(name);
    value = builder.node(Op::Conv(conv), &[value]);
    builder.section("pool");
    builder.node(Op::GlobalAveragePool, &[value]);
    builder.finish("mobilenetv2", "classifier.1", 1280, 1000)
}

/// Appends an inverted residual: expand (unless by 1), depthwise, project; a shortcut where the shapes allow it.
fn block(
    builder: &mut Builder,
    value: ValueId,
    (input, expansion, output): (usize, usize, usize),
    stride: usize,
) -> ValueId {
    let (name, expanded) = (format!("features.{}", builder.sections()), input * expansion);
    builder.section(&name);
    let mut convs: Vec<Conv> = Vec::with_capacity(3);
    // The first two are modules of a convolution, a norm and an activation each.
    let nested = |position: usize| [0, 1].map(|part| format!("{name}.conv.{position}.{part}"));
    if expansion > 1 {
        let [conv, norm] = nested(0);
        convs.push(builder.conv(&conv, &norm, EPSILON, dense(input, expanded, 1, 1)));
    }
    let [conv, norm] = nested(convs.len());
    let depthwise = ConvSpec { groups: expanded, ..dense(expanded, expanded, 3, stride) };
    convs.push(builder.conv(&conv, &norm, EPSILON, depthwise));
    let [conv, norm] = [convs.len(), convs.len() + 1].map(|position| format!("{name}.conv.{position}"));
    let project = ConvSpec { activation: Activation::Identity, ..dense(expanded, output, 1, 1) };
    convs.push(builder.conv(&conv, &norm, EPSILON, project));
    if stride == 1 && input == output { builder.residual(convs, value, |_| value) } else { builder.chain(convs, value) }
}

const fn dense(input: usize, output: usize, kernel: usize, stride: usize) -> ConvSpec {
    let window = Window::square(kernel, stride, Padding::symmetric(kernel / 2));
    ConvSpec { input, output, window, groups: 1, activation: Activation::Relu6 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a row of blocks that drifted from the paper's table, a name that torchvision's checkpoint does not
    /// have.
    #[test]
    fn names_shapes_and_parameters_are_torchvisions() {
        let network = mobilenet_v2();
        assert_eq!(network.parameter_count(), 3_504_872);
        let shape = |name: &str| network.tensor(network.find(name).unwrap()).shape.clone();
        assert_eq!(shape("features.0.0.weight"), [32, 3, 3, 3]);
        assert_eq!(shape("features.1.conv.0.0.weight"), [32, 1, 3, 3]);
        assert_eq!(shape("features.1.conv.1.weight"), [16, 32, 1, 1]);
        assert_eq!(shape("features.2.conv.3.running_var"), [24]);
        assert_eq!(shape("features.17.conv.2.weight"), [320, 960, 1, 1]);
        assert_eq!(shape("features.18.1.bias"), [1280]);
        assert_eq!(shape("classifier.1.weight"), [1000, 1280]);
        assert_eq!(network.graph.sections.len(), 20);
    }
}
