//! Transformer ops: patch embedding, linear layers, self-attention and the class token.
//!
//! Tokens are an activation of one row: `[N, 1, tokens, width]`. A pre-norm block (Dosovitskiy et al., ICLR 2021) is
//! five ops, whose backward pass needs their inputs alone: [`Linear`] to queries, keys and values with the first norm
//! as prologue; [`Attention`]; [`Linear`] with the block's first shortcut; [`Linear`] to the hidden layer with the
//! second norm as prologue; [`Linear`] from it with GELU as prologue, and the second shortcut.

use crate::builder::Builder;
use crate::network::Role;
use crate::op::Op;
use crate::shape::{Shape, ShapeError};
use fieldfit_tensor::TensorId;
use serde::{Deserialize, Serialize};

/// Layer norm over a token's values: `y = (x − mean) / √(variance + ε) · scale + shift`, the variance divided by their
/// number (Ba et al., arXiv 1607.06450).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LayerNorm {
    /// γ, `[width]`.
    pub scale: TensorId,
    /// β, `[width]`.
    pub shift: TensorId,
    /// ε, added to the variance.
    pub epsilon: f64,
}

/// Prologue of a linear layer: the op applied to each token before the product.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Prologue {
    /// No op.
    Identity,
    /// A layer norm.
    LayerNorm(LayerNorm),
    /// The exact GELU, `x · ½ (1 + erf(x / √2))` (Hendrycks & Gimpel, arXiv 1606.08415).
    Gelu,
}

/// Linear layer, `y = γ ⊙ (prologue(x) · weightᵀ + bias) + shortcut` for each token; the shortcut is a second input.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Linear {
    /// Op applied to the input.
    pub prologue: Prologue,
    /// `[output, input]`.
    pub weight: TensorId,
    /// `[output]`.
    pub bias: Option<TensorId>,
    /// LayerScale's γ, `[output]` (Touvron et al., ICCV 2021, arXiv 2103.17239).
    pub scale: Option<TensorId>,
    /// Values of an input token.
    pub input: usize,
    /// Values of an output token.
    pub output: usize,
}

/// Multi-head self-attention without its linear layers: `softmax(q·kᵀ / √(width / heads)) · v` for each head (Vaswani
/// et al., NeurIPS 2017). Takes `[q | k | v]`, each of which is the heads side by side, and gives the heads side by
/// side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attention {
    /// Number of heads.
    pub heads: usize,
    /// Values of an output token; an input token has three times as many.
    pub width: usize,
}

impl Attention {
    /// Returns the values of a token per head.
    pub const fn head(&self) -> usize {
        self.width / self.heads
    }
}

/// Patch embedding: projects each patch of an image to a token, prepends the class token and the registers, and adds
/// position embeddings.
///
/// Position embeddings are those of a square grid of patches, and are resampled for other images as by timm's
/// `resample_abs_pos_embed`: bicubic, antialiased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Embed {
    /// `[width, channels, patch, patch]`.
    pub weight: TensorId,
    /// `[width]`.
    pub bias: TensorId,
    /// `[1, 1, width]`.
    pub class_token: TensorId,
    /// `[1, registers, width]` (Darcet et al., ICLR 2024, arXiv 2309.16588).
    pub registers: Option<TensorId>,
    /// `[1, prefix_positions + grid · grid, width]`.
    pub positions: TensorId,
    /// Channels of the image.
    pub channels: usize,
    /// Values of a token.
    pub width: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Tokens before the patches: the class token and the registers.
    pub prefix: usize,
    /// Number of prefix tokens with a position embedding, stored before the patches': all of them or 0.
    pub prefix_positions: usize,
    /// Side of the checkpoint's grid, in patches.
    pub grid: usize,
}

impl Embed {
    /// Returns the rows and columns of patches of an image of that size.
    ///
    /// # Errors
    /// If a side is 0 or not a multiple of the patch.
    pub const fn patches(&self, height: usize, width: usize) -> Result<(usize, usize), ShapeError> {
        if height == 0 || width == 0 {
            return Err(ShapeError::Empty { height, width });
        }
        if !height.is_multiple_of(self.patch) || !width.is_multiple_of(self.patch) {
            return Err(ShapeError::Patches { height, width, patch: self.patch });
        }
        Ok((height / self.patch, width / self.patch))
    }

    /// Returns the values of one patch.
    pub const fn patch_len(&self) -> usize {
        self.patch * self.patch * self.channels
    }

    /// Returns the shape of the tokens.
    ///
    /// # Errors
    /// If the image has the wrong number of channels, or is not whole patches.
    pub(crate) fn output_shape(&self, input: Shape) -> Result<Shape, ShapeError> {
        input.expect_channels(self.channels)?;
        let (rows, columns) = self.patches(input.height, input.width)?;
        Ok(Shape { height: 1, width: self.prefix + rows * columns, channels: self.width })
    }
}

/// Class token: the layer norm of the first token of each image, `[N, 1, tokens, width]` to `[N, 1, 1, width]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClassToken {
    /// The network's last norm. The other tokens are not used.
    pub norm: LayerNorm,
    /// Values of a token.
    pub width: usize,
}

/// Parameters of an [`Embed`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct EmbedSpec {
    pub width: usize,
    pub patch: usize,
    pub grid: usize,
    /// Tokens behind the class token, and the tensor that they are.
    pub registers: usize,
    pub register_name: &'static str,
    /// Whether the class token, and the tokens behind it, have a position embedding.
    pub has_class_position: bool,
}

impl Builder {
    /// Registers a patch embedding: the tensors `cls_token`, that of the registers, `pos_embed` and `patch_embed.proj`.
    pub fn embed(&mut self, spec: EmbedSpec) -> Op {
        let EmbedSpec { width, patch, grid, registers, register_name, has_class_position } = spec;
        let (channels, prefix) = (3, 1 + registers);
        let prefix_positions = if has_class_position { prefix } else { 0 };
        let class_token = self.tensor("cls_token".into(), &[1, 1, width], Role::Token);
        let has_registers = registers > 0;
        let registers = has_registers.then(|| self.tensor(register_name.into(), &[1, registers, width], Role::Token));
        let positions = self.tensor("pos_embed".into(), &[1, prefix_positions + grid * grid, width], Role::Positions);
        let kernel = [width, channels, patch, patch];
        let weight = self.tensor("patch_embed.proj.weight".into(), &kernel, Role::Kernel);
        let bias = self.tensor("patch_embed.proj.bias".into(), &[width], Role::Bias);
        Op::Embed(Embed {
            weight,
            bias,
            class_token,
            registers,
            positions,
            channels,
            width,
            patch,
            prefix,
            prefix_positions,
            grid,
        })
    }

    /// Registers a layer norm of that module name.
    pub fn layer_norm(&mut self, name: &str, epsilon: f64, width: usize) -> LayerNorm {
        LayerNorm {
            scale: self.tensor(format!("{name}.weight"), &[width], Role::NormScale),
            shift: self.tensor(format!("{name}.bias"), &[width], Role::NormShift),
            epsilon,
        }
    }

    /// Registers a linear layer of that module name, without LayerScale.
    pub fn linear(&mut self, name: &str, prologue: Prologue, input: usize, output: usize) -> Linear {
        Linear {
            prologue,
            weight: self.tensor(format!("{name}.weight"), &[output, input], Role::LinearWeight),
            bias: Some(self.tensor(format!("{name}.bias"), &[output], Role::Bias)),
            scale: None,
            input,
            output,
        }
    }

    /// Registers a LayerScale of that module name.
    pub fn layer_scale(&mut self, name: &str, width: usize) -> TensorId {
        self.tensor(format!("{name}.gamma"), &[width], Role::LayerScale)
    }
}
