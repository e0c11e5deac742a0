//! Vision transformers: ViT, DeiT and DINOv2 (Dosovitskiy et al., ICLR 2021; DeiT: Touvron et al., ICML 2021; DINOv2:
//! Oquab et al., TMLR 2024; registers: Darcet et al., ICLR 2024).
//!
//! Tensor names as in timm: `cls_token`, `pos_embed`, `patch_embed.proj`, `blocks.{i}.norm1`, `blocks.{i}.attn.qkv`, …,
//! `norm`, `head`.

use crate::builder::Builder;
use crate::graph::ValueId;
use crate::network::Network;
use crate::op::{Axis, Op, Rearrange};
use crate::shape::Shape;
use crate::token::{Attention, ClassToken, EmbedSpec, LayerNorm, Prologue};

const EPSILON: f64 = 1e-6;

/// Parameters of a vision transformer.
#[derive(Clone, Copy)]
struct VitSpec {
    width: usize,
    depth: usize,
    heads: usize,
    /// Side of a patch, and of the images that it was trained on, in pixels.
    patch: usize,
    image: usize,
    registers: usize,
    /// Whether the token behind the class token is DeiT's distillation token, which has a head of its own.
    is_distilled: bool,
    has_class_position: bool,
    has_layer_scale: bool,
    classes: usize,
}

/// DeiT and the ViT of the same size: 16 px patches, 224 px images, 1000 classes.
const fn imagenet(width: usize, heads: usize) -> VitSpec {
    VitSpec {
        width,
        depth: 12,
        heads,
        patch: 16,
        image: 224,
        registers: 0,
        is_distilled: false,
        has_class_position: true,
        has_layer_scale: false,
        classes: 1000,
    }
}

/// DINOv2-S: 14 px patches, 518 px images, LayerScale, and no head of its own.
const fn dino(registers: usize) -> VitSpec {
    VitSpec {
        patch: 14,
        image: 518,
        registers,
        has_class_position: registers == 0,
        has_layer_scale: true,
        classes: 0,
        ..imagenet(384, 6)
    }
}

/// DeiT-Ti, timm's `deit_tiny_patch16_224`: 5.72 M parameters.
pub(crate) fn deit_tiny() -> Network {
    build("deit-tiny", imagenet(192, 3))
}

/// DeiT-S, timm's `deit_small_patch16_224`: 22.05 M parameters.
pub(crate) fn deit_small() -> Network {
    build("deit-small", imagenet(384, 6))
}

/// DeiT with a distillation token: the answers are the mean of two heads, which is one head over both tokens.
const fn distilled(spec: VitSpec) -> VitSpec {
    VitSpec { registers: 1, is_distilled: true, ..spec }
}

/// Distilled DeiT-Ti, timm's `deit_tiny_distilled_patch16_224`: 5.91 M parameters.
pub(crate) fn deit_tiny_distilled() -> Network {
    build("deit-tiny-distilled", distilled(imagenet(192, 3)))
}

/// Distilled DeiT-S, timm's `deit_small_distilled_patch16_224`: 22.44 M parameters.
pub(crate) fn deit_small_distilled() -> Network {
    build("deit-small-distilled", distilled(imagenet(384, 6)))
}

/// ViT-S, timm's `vit_small_patch16_224`: the same network as DeiT-S, trained otherwise.
pub(crate) fn vit_small() -> Network {
    build("vit-small", imagenet(384, 6))
}

/// DINOv2-S, timm's `vit_small_patch14_dinov2`.
pub(crate) fn dinov2_small() -> Network {
    build("dinov2-small", dino(0))
}

/// DINOv2-S with four registers, timm's `vit_small_patch14_reg4_dinov2`.
pub(crate) fn dinov2_small_reg4() -> Network {
    build("dinov2-small-reg4", dino(4))
}

/// The same kinds of op as DINOv2 with registers, two blocks and some ten thousand parameters: for tests that train in
/// milliseconds.
pub(crate) fn micro() -> Network {
    let spec = VitSpec { width: 24, depth: 2, heads: 2, patch: 4, image: 20, classes: 10, ..dino(2) };
    build("vit-micro", spec)
}

fn build(architecture: &'static str, spec: VitSpec) -> Network {
    let VitSpec { width, patch, registers, is_distilled, has_class_position, .. } = spec;
    let mut builder = Builder::default();
    let register_name = if is_distilled { "dist_token" } else { "reg_token" };
    let embed = EmbedSpec { width, patch, grid: spec.image / patch, registers, register_name, has_class_position };
    let embed = builder.embed(embed);
    builder.section("embed");
    let mut tokens = builder.node(embed, &[ValueId::IMAGE]);
    for index in 0..spec.depth {
        tokens = block(&mut builder, tokens, index, spec);
    }
    let norm = builder.layer_norm("norm", EPSILON, width);
    builder.section("norm");
    if is_distilled {
        return both_tokens(builder, tokens, norm, (architecture, spec));
    }
    builder.node(Op::ClassToken(ClassToken { norm, width }), &[tokens]);
    builder.finish(architecture, "head", width, spec.classes)
}

/// Appends the features of a distilled network: the norm of the class token and of the distillation token, one after the other.
fn both_tokens(
    mut builder: Builder,
    tokens: ValueId,
    norm: LayerNorm,
    (architecture, VitSpec { width, classes, .. }): (&'static str, VitSpec),
) -> Network {
    const TOKENS: usize = 2;
    let first = Op::Slice { axis: Axis::Columns, start: 0, length: TOKENS, step: 1 };
    let vector =
        Rearrange { dimensions: vec![TOKENS * width], order: vec![0], output: Some(Shape::vector(TOKENS * width)) };
    let first = builder.node(first, &[tokens]);
    let normed = builder.node(Op::LayerNorm(norm), &[first]);
    builder.node(Op::Rearrange(vector), &[normed]);
    builder.finish(architecture, "head", TOKENS * width, classes)
}

/// Appends a pre-norm block: attention and an MLP, each with a shortcut.
fn block(builder: &mut Builder, tokens: ValueId, index: usize, spec: VitSpec) -> ValueId {
    let VitSpec { width, heads, has_layer_scale, .. } = spec;
    let name = |module: &str| format!("blocks.{index}.{module}");
    let norm = Prologue::LayerNorm(builder.layer_norm(&name("norm1"), EPSILON, width));
    let qkv = builder.linear(&name("attn.qkv"), norm, width, 3 * width);
    let mut projection = builder.linear(&name("attn.proj"), Prologue::Identity, width, width);
    projection.scale = has_layer_scale.then(|| builder.layer_scale(&name("ls1"), width));
    let norm = Prologue::LayerNorm(builder.layer_norm(&name("norm2"), EPSILON, width));
    let hidden = builder.linear(&name("mlp.fc1"), norm, width, 4 * width);
    let mut output = builder.linear(&name("mlp.fc2"), Prologue::Gelu, 4 * width, width);
    output.scale = has_layer_scale.then(|| builder.layer_scale(&name("ls2"), width));
    builder.section(format!("block{index}"));
    let attended = builder.node(Op::Linear(qkv), &[tokens]);
    let attended = builder.node(Op::Attention(Attention { heads, width }), &[attended]);
    let attended = builder.node(Op::Linear(projection), &[attended, tokens]);
    let value = builder.node(Op::Linear(hidden), &[attended]);
    builder.node(Op::Linear(output), &[value, attended])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Role, Shape, ShapeError};

    /// Catches: a width, a depth or a tensor that drifted from timm's: the counts of parameters are timm's own, without
    /// the heads.
    #[test]
    fn the_published_parameters_are_there() {
        let backbone = |network: Network| {
            network.tensors.iter().filter(|spec| !spec.role.is_head()).map(crate::TensorSpec::len).sum::<usize>()
        };
        assert_eq!(deit_tiny().parameter_count(), 5_717_416);
        assert_eq!(deit_small().parameter_count(), 22_050_664);
        assert_eq!(vit_small().parameter_count(), 22_050_664);
        // timm's has two biases of the head, of 1000 classes, where this one has their mean.
        assert_eq!(deit_tiny_distilled().parameter_count(), 5_910_800 - 1000);
        assert_eq!(deit_small_distilled().parameter_count(), 22_436_432 - 1000);
        assert_eq!(backbone(dinov2_small()), 22_056_192);
        assert_eq!(backbone(dinov2_small_reg4()), 22_057_344);
    }

    /// Catches: a tensor under a name that timm does not give it, or shaped the other way round.
    #[test]
    fn names_and_shapes_are_timms() {
        let network = dinov2_small_reg4();
        let shape = |name: &str| network.tensor(network.find(name).unwrap()).shape.clone();
        assert_eq!(shape("reg_token"), [1, 4, 384]);
        assert_eq!(shape("pos_embed"), [1, 1369, 384]);
        assert_eq!(shape("patch_embed.proj.weight"), [384, 3, 14, 14]);
        assert_eq!(shape("blocks.11.attn.qkv.weight"), [1152, 384]);
        assert_eq!(shape("blocks.0.ls1.gamma"), [384]);
        assert_eq!(shape("blocks.3.mlp.fc2.weight"), [384, 1536]);
        let network = deit_tiny();
        let shape = |name: &str| network.tensor(network.find(name).unwrap()).shape.clone();
        assert_eq!(shape("pos_embed"), [1, 197, 192]);
        assert_eq!(shape("head.weight"), [1000, 192]);
        assert!(network.find("blocks.0.ls1.gamma").is_none() && network.find("reg_token").is_none());
        let network = deit_tiny_distilled();
        let shape = |name: &str| network.tensor(network.find(name).unwrap()).shape.clone();
        assert_eq!(shape("dist_token"), [1, 1, 192]);
        assert_eq!(shape("pos_embed"), [1, 198, 192]);
        assert_eq!(shape("head.weight"), [1000, 384]);
    }

    /// Catches: a row norm that takes a whole position table for one row, or splits queries, keys and values.
    #[test]
    fn rows_are_units_and_positions() {
        let network = dinov2_small_reg4();
        let rows = |name: &str| network.tensor(network.find(name).unwrap()).rows();
        assert_eq!((rows("cls_token"), rows("reg_token"), rows("pos_embed")), (1, 4, 1369));
        assert_eq!((rows("blocks.0.attn.qkv.weight"), rows("blocks.0.attn.qkv.bias")), (1152, 1));
        assert_eq!((rows("patch_embed.proj.weight"), rows("blocks.0.ls1.gamma")), (384, 1));
    }

    /// Catches: tokens that are miscounted, or an image whose edge is silently left out.
    #[test]
    fn images_are_cut_into_whole_patches() {
        let network = dinov2_small_reg4();
        let tokens = |height, width| Ok::<_, ShapeError>(network.section_shapes(height, width)?[0]);
        assert_eq!(tokens(518, 518), Ok(Shape { height: 1, width: 5 + 1369, channels: 384 }));
        assert_eq!(tokens(28, 42), Ok(Shape { height: 1, width: 5 + 6, channels: 384 }));
        assert_eq!(tokens(28, 43), Err(ShapeError::Patches { height: 28, width: 43, patch: 14 }));
        assert_eq!(tokens(0, 14), Err(ShapeError::Empty { height: 0, width: 14 }));
    }

    /// Catches: a tensor that is counted to another section than its block's: a cut or a share of a method would lose it.
    #[test]
    fn every_tensor_belongs_to_its_blocks_section() {
        let network = micro();
        let sections = network.section_of_each_tensor();
        for (id, spec) in network.tensors() {
            let expected = match spec.name.split('.').collect::<Vec<_>>()[..] {
                ["blocks", block, ..] => 1 + block.parse::<usize>().unwrap(),
                ["norm", _] => 3,
                ["head", _] => 4,
                _ => 0,
            };
            assert_eq!(sections[id.index()], expected, "{}", spec.name);
        }
        assert_eq!(network.tensors.iter().filter(|spec| spec.role == Role::LayerScale).count(), 4);
    }
}
