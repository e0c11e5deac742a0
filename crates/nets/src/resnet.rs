//! ResNet (He et al., CVPR 2016), with the stride of a bottleneck in its 3×3 convolution.
//!
//! Tensor names as in torchvision and timm, which agree: `conv1`, `bn1`, `layer1.0.conv1`, `layer2.0.downsample.0`, …,
//! `fc`.

use crate::activation::Activation;
use crate::builder::{Builder, ConvSpec};
use crate::conv::Conv;
use crate::graph::ValueId;
use crate::network::Network;
use crate::op::Op;
use crate::window::{Padding, Window};

const EPSILON: f64 = 1e-5;

/// Residual branch of a block.
#[derive(Clone, Copy)]
enum Block {
    /// Two 3×3 convolutions.
    Basic,
    /// 1×1, 3×3, 1×1 to four times the width.
    Bottleneck,
}

impl Block {
    /// Channels of its output.
    const fn output(self, width: usize) -> usize {
        match self {
            Self::Basic => width,
            Self::Bottleneck => 4 * width,
        }
    }

    /// Its convolutions.
    fn convs(self, input: usize, width: usize, stride: usize) -> Vec<ConvSpec> {
        match self {
            Self::Basic => vec![conv(input, width, 3, stride), conv(width, width, 3, 1)],
            Self::Bottleneck => {
                vec![conv(input, width, 1, 1), conv(width, width, 3, stride), conv(width, 4 * width, 1, 1)]
            }
        }
    }
}

/// ResNet-18: 224 px, 1000 classes, 11.7 M parameters.
pub(crate) fn resnet18() -> Network {
    build("resnet18", Block::Basic, 64, &[2, 2, 2, 2], 1000)
}

/// ResNet-34: 224 px, 1000 classes, 21.8 M parameters.
pub(crate) fn resnet34() -> Network {
    build("resnet34", Block::Basic, 64, &[3, 4, 6, 3], 1000)
}

/// ResNet-50: 224 px, 1000 classes, 25.6 M parameters.
pub(crate) fn resnet50() -> Network {
    build("resnet50", Block::Bottleneck, 64, &[3, 4, 6, 3], 1000)
}

/// Two layers of bottlenecks, ten classes and some seven thousand parameters: for tests that train in milliseconds.
pub(crate) fn tiny() -> Network {
    build("resnet-tiny", Block::Bottleneck, 6, &[1, 2], 10)
}

fn build(architecture: &'static str, block: Block, stem: usize, layers: &[usize], classes: usize) -> Network {
    let mut builder = Builder::default();
    let first = builder.conv("conv1", "bn1", EPSILON, conv(3, stem, 7, 2));
    builder.section("stem");
    let value = builder.node(Op::Conv(first), &[ValueId::IMAGE]);
    let mut value = builder.node(Op::MaxPool(Window::square(3, 2, Padding::symmetric(1))), &[value]);
    let mut input = stem;
    for (index, &blocks) in layers.iter().enumerate() {
        let width = stem << index;
        for position in 0..blocks {
            let stride = if index > 0 && position == 0 { 2 } else { 1 };
            let name = format!("layer{}.{position}", index + 1);
            value = residual(&mut builder, &name, block, value, (input, width), stride);
            input = block.output(width);
        }
    }
    builder.section("pool");
    builder.node(Op::GlobalAveragePool, &[value]);
    builder.finish(architecture, "fc", input, classes)
}

/// Appends a block with its shortcut, which is a projection if the block changes the shape.
fn residual(
    builder: &mut Builder,
    name: &str,
    block: Block,
    value: ValueId,
    (input, width): (usize, usize),
    stride: usize,
) -> ValueId {
    builder.section(name);
    let specs = block.convs(input, width, stride);
    let convs = specs.into_iter().enumerate().map(|(index, spec)| {
        let [conv, norm] = ["conv", "bn"].map(|module| format!("{name}.{module}{}", index + 1));
        builder.conv(&conv, &norm, EPSILON, spec)
    });
    let (convs, output) = (convs.collect(), block.output(width));
    if stride == 1 && input == output {
        return builder.residual(convs, value, |_| value);
    }
    let projection = projection(builder, name, conv(input, output, 1, stride));
    builder.residual(convs, value, |builder| builder.node(Op::Conv(projection), &[value]))
}

fn projection(builder: &mut Builder, block: &str, spec: ConvSpec) -> Conv {
    let [conv, norm] = [0, 1].map(|part| format!("{block}.downsample.{part}"));
    builder.conv(&conv, &norm, EPSILON, ConvSpec { activation: Activation::Identity, ..spec })
}

const fn conv(input: usize, output: usize, kernel: usize, stride: usize) -> ConvSpec {
    let window = Window::square(kernel, stride, Padding::symmetric(kernel / 2));
    ConvSpec { input, output, window, groups: 1, activation: Activation::Relu }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: layers of another depth or width than the paper's, a projection too many or too few.
    #[test]
    fn parameters_are_the_published_ones() {
        assert_eq!(resnet18().parameter_count(), 11_689_512);
        assert_eq!(resnet34().parameter_count(), 21_797_672);
        assert_eq!(resnet50().parameter_count(), 25_557_032);
    }

    /// Catches: a name that the checkpoint does not have, a projection's tensors counted to another section.
    #[test]
    fn names_shapes_and_sections_are_the_checkpoints() {
        let network = resnet50();
        let shape = |name: &str| network.tensor(network.find(name).unwrap()).shape.clone();
        assert_eq!(shape("conv1.weight"), [64, 3, 7, 7]);
        assert_eq!(shape("layer1.0.downsample.0.weight"), [256, 64, 1, 1]);
        assert_eq!(shape("layer2.0.conv2.weight"), [128, 128, 3, 3]);
        assert_eq!(shape("layer4.2.bn3.running_mean"), [2048]);
        assert!(network.find("layer1.1.downsample.0.weight").is_none());
        assert!(resnet18().find("layer1.0.downsample.0.weight").is_none());
        let sections = network.section_of_each_tensor();
        let section = |name: &str| &network.graph.sections[sections[network.find(name).unwrap().index()]].name;
        assert_eq!(section("layer2.0.downsample.1.running_var"), "layer2.0");
    }

    /// Catches: symmetric padding counted as TensorFlow's: odd sides, and one pixel, which every kernel here still
    /// fits.
    #[test]
    fn shapes_are_pytorchs() {
        let sides = |side: usize| -> Vec<usize> {
            resnet18().section_shapes(side, side).unwrap().iter().map(|shape| shape.height).collect()
        };
        assert_eq!(sides(224), [56, 56, 56, 28, 28, 14, 14, 7, 7, 1]);
        assert_eq!(sides(65), [17, 17, 17, 9, 9, 5, 5, 3, 3, 1]);
        assert_eq!(sides(1), [1; 10]);
    }
}
