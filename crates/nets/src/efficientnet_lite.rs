//! EfficientNet-Lite (Tan & Le, ICML 2019; the Lite variant without squeeze-and-excitation and with ReLU6).
//!
//! Tensor names as in `efficientnet_lite_pytorch`, which follows the TensorFlow checkpoints: `_conv_stem`, `_bn0`,
//! `_blocks.{i}._expand_conv`, …, `_fc`.

use crate::activation::Activation;
use crate::builder::{Builder, ConvSpec};
use crate::graph::ValueId;
use crate::network::Network;
use crate::op::Op;
use crate::window::{Padding, Window};

const EPSILON: f64 = 1e-3;

/// One row of the paper's table 1: inverted-residual blocks that share a width.
#[derive(Clone, Copy)]
struct Row {
    repeats: usize,
    kernel: usize,
    stride: usize,
    expand: usize,
    output: usize,
}

const fn row(repeats: usize, kernel: usize, stride: usize, expand: usize, output: usize) -> Row {
    Row { repeats, kernel, stride, expand, output }
}

/// The table of EfficientNet-B0.
const ROWS: [Row; 7] = [
    row(1, 3, 1, 1, 16),
    row(2, 3, 2, 6, 24),
    row(2, 5, 2, 6, 40),
    row(3, 3, 2, 6, 80),
    row(3, 5, 1, 6, 112),
    row(4, 5, 2, 6, 192),
    row(1, 3, 1, 6, 320),
];

/// EfficientNet-Lite0: 224 px, 1000 classes, 4.65 M parameters.
pub(crate) fn lite0() -> Network {
    build("efficientnet-lite0", 32, &ROWS, 1280, 1000)
}

/// EfficientNet-Lite1: 240 px, 1000 classes, 5.42 M parameters.
pub(crate) fn lite1() -> Network {
    build("efficientnet-lite1", 32, &scaled(1.0, 1.1), 1280, 1000)
}

/// EfficientNet-Lite2: 260 px, 1000 classes, 6.09 M parameters.
pub(crate) fn lite2() -> Network {
    build("efficientnet-lite2", 32, &scaled(1.1, 1.2), 1280, 1000)
}

/// Returns the table with widths and repeats multiplied (the paper's section 3.3). The Lite variants leave the stem,
/// the head and the repeats of the first and last row as they are.
fn scaled(width: f64, depth: f64) -> [Row; 7] {
    let mut rows = ROWS;
    for row in &mut rows {
        row.output = rounded(width * row.output as f64);
    }
    for row in &mut rows[1..6] {
        row.repeats = (depth * row.repeats as f64).ceil() as usize;
    }
    rows
}

/// Rounds a width to the nearest multiple of 8 that is at most a tenth smaller.
fn rounded(width: f64) -> usize {
    let nearest = ((width + 4.0) as usize / 8 * 8).max(8);
    if (nearest as f64) < 0.9 * width { nearest + 8 } else { nearest }
}

/// The same kinds of block, ten classes and some five thousand parameters: for tests that train in milliseconds.
pub(crate) fn tiny() -> Network {
    let rows = [row(1, 3, 1, 1, 8), row(2, 3, 2, 4, 12), row(1, 5, 2, 4, 16)];
    build("efficientnet-tiny", 8, &rows, 48, 10)
}

fn build(architecture: &'static str, stem: usize, rows: &[Row], features: usize, classes: usize) -> Network {
    let mut builder = Builder::default();
    let conv = builder.conv("_conv_stem", "_bn0", EPSILON, dense(3, stem, 3, 2));
    builder.section("stem");
    let mut value = builder.node(Op::Conv(conv), &[ValueId::IMAGE]);
    let mut width = stem;
    for row in rows {
        for repeat in 0..row.repeats {
            let stride = if repeat == 0 { row.stride } else { 1 };
            value = block(&mut builder, value, width, stride, row);
            width = row.output;
        }
    }
    let conv = builder.conv("_conv_head", "_bn1", EPSILON, dense(width, features, 1, 1));
    builder.section("head");
    value = builder.node(Op::Conv(conv), &[value]);
    builder.section("pool");
    builder.node(Op::GlobalAveragePool, &[value]);
    builder.finish(architecture, "_fc", features, classes)
}

/// Appends an inverted residual: expand (unless by 1), depthwise, project; a shortcut where the shapes allow it.
fn block(builder: &mut Builder, value: ValueId, input: usize, stride: usize, row: &Row) -> ValueId {
    let (index, expanded) = (builder.sections() - 1, input * row.expand);
    builder.section(format!("block{index}"));
    let name = |module: &str| format!("_blocks.{index}.{module}");
    let mut convs = Vec::with_capacity(3);
    if row.expand > 1 {
        convs.push(builder.conv(&name("_expand_conv"), &name("_bn0"), EPSILON, dense(input, expanded, 1, 1)));
    }
    let depthwise = ConvSpec { groups: expanded, ..dense(expanded, expanded, row.kernel, stride) };
    convs.push(builder.conv(&name("_depthwise_conv"), &name("_bn1"), EPSILON, depthwise));
    let project = ConvSpec { activation: Activation::Identity, ..dense(expanded, row.output, 1, 1) };
    convs.push(builder.conv(&name("_project_conv"), &name("_bn2"), EPSILON, project));
    if stride == 1 && input == row.output {
        builder.residual(convs, value, |_| value)
    } else {
        builder.chain(convs, value)
    }
}

const fn dense(input: usize, output: usize, kernel: usize, stride: usize) -> ConvSpec {
    let window = Window::square(kernel, stride, Padding::Same);
    ConvSpec { input, output, window, groups: 1, activation: Activation::Relu6 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;

    /// Catches: a block table that drifted from the paper's: the count of parameters is the published one.
    #[test]
    fn lite0_has_the_published_parameters() {
        let network = lite0();
        assert_eq!(network.parameter_count(), 4_652_008);
        let backbone = network.tensors.iter().filter(|t| t.role.is_trainable() && !t.role.is_head());
        assert_eq!(backbone.map(crate::TensorSpec::len).sum::<usize>(), 3_371_008);
    }

    /// Catches: widths or repeats scaled where the Lite variants do not, or rounded otherwise: the counts are those of
    /// timm's.
    #[test]
    fn scaled_ones_have_the_published_parameters() {
        assert_eq!(lite1().parameter_count(), 5_416_680);
        assert_eq!(lite2().parameter_count(), 6_092_072);
    }

    /// Catches: a tensor under a name that the checkpoint does not have, or a kernel shaped the other way round.
    #[test]
    fn names_and_shapes_are_the_checkpoints() {
        let network = lite0();
        let shape = |name: &str| network.tensor(network.find(name).unwrap()).shape.clone();
        assert_eq!(shape("_conv_stem.weight"), [32, 3, 3, 3]);
        assert!(network.find("_blocks.0._expand_conv.weight").is_none());
        assert_eq!(shape("_blocks.1._expand_conv.weight"), [96, 16, 1, 1]);
        assert_eq!(shape("_blocks.3._depthwise_conv.weight"), [144, 1, 5, 5]);
        assert_eq!(shape("_blocks.15._bn2.running_var"), [320]);
        assert_eq!(shape("_fc.weight"), [1000, 1280]);
    }

    /// Catches: a tensor that is counted to another section than its block's, or to none.
    #[test]
    fn every_tensor_belongs_to_its_blocks_section() {
        let network = lite0();
        let sections = network.section_of_each_tensor();
        let of = |name: &str| sections[network.find(name).unwrap().index()];
        assert_eq!((of("_conv_stem.weight"), of("_bn0.running_var")), (0, 0));
        assert_eq!((of("_fc.weight"), of("_fc.bias")), (network.graph.sections.len(), network.graph.sections.len()));
        for block in 0..16 {
            let own = network.tensors().filter(|(_, spec)| spec.name.starts_with(&format!("_blocks.{block}.")));
            assert!(own.into_iter().all(|(id, _)| sections[id.index()] == block + 1), "block {block}");
        }
    }

    /// Catches: odd inputs: SAME rounds up at every stride, so 95 px ends at 3×3.
    #[test]
    fn shapes_round_up_under_same_padding() {
        let network = lite0();
        let shapes = network.section_shapes(95, 95).unwrap();
        let sides: Vec<_> = shapes.iter().map(|shape| shape.height).collect();
        assert_eq!(sides, [48, 48, 24, 24, 12, 12, 6, 6, 6, 6, 6, 6, 3, 3, 3, 3, 3, 3, 1]);
    }

    /// Catches: a head swapped for other classes that leaves the old shapes behind.
    #[test]
    fn with_classes_reshapes_the_head_only() {
        let (old, new) = (lite0(), lite0().with_classes(7));
        for ((_, a), (_, b)) in old.tensors().zip(new.tensors()) {
            assert_eq!(a.shape == b.shape, !a.role.is_head(), "{}", a.name);
        }
        assert_eq!(new.tensor(new.head.weight).shape, [7, 1280]);
        assert_eq!(new.tensors.iter().filter(|t| t.role == Role::HeadBias).count(), 1);
    }
}
