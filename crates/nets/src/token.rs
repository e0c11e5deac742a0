//! The vocabulary of transformers: what makes tokens of an image, mixes them, and takes one of them.
//!
//! Tokens are an activation of one row: `[N, 1, tokens, width]`. A pre-norm block (Dosovitskiy et al., ICLR 2021) is five
//! ops, each of which is a gradient's memory by its input alone: [`Linear`] to queries, keys and values with the norm
//! ahead of it; [`Attention`]; [`Linear`] with the block's first shortcut; [`Linear`] to the hidden layer with the second
//! norm ahead; [`Linear`] from it with GELU ahead, and the second shortcut.

use crate::network::{Builder, Op, Role};
use crate::shape::{Shape, ShapeError};
use fieldfit_tensor::TensorId;

/// Layer norm over a token's values: `y = (x − mean) / √(variance + ε) · scale + shift`, the variance divided by their
/// number (Ba et al., arXiv 1607.06450).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerNorm {
    /// γ, `[width]`.
    pub scale: TensorId,
    /// β, `[width]`.
    pub shift: TensorId,
    /// ε, added to the variance.
    pub epsilon: f64,
}

/// What is done to each token ahead of a linear map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Entry {
    /// Nothing.
    AsItIs,
    /// A layer norm.
    LayerNorm(LayerNorm),
    /// The exact GELU, `x · ½ (1 + erf(x / √2))` (Hendrycks & Gimpel, arXiv 1606.08415).
    Gelu,
}

/// `y = γ ⊙ (entry(x) · weightᵀ + bias) + shortcut` for each token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Linear {
    /// What comes ahead of the product.
    pub entry: Entry,
    /// `[output, input]`.
    pub weight: TensorId,
    /// `[output]`.
    pub bias: TensorId,
    /// LayerScale's γ, `[output]` (Touvron et al., ICCV 2021, arXiv 2103.17239).
    pub scale: Option<TensorId>,
    /// Values of a token that goes in.
    pub input: usize,
    /// Values of a token that comes out.
    pub output: usize,
    /// The position in the stage of the op whose input is added to the result.
    pub shortcut: Option<usize>,
}

/// Multi-head self-attention between its linear maps: `softmax(q·kᵀ / √(width / heads)) · v` for each head (Vaswani et
/// al., NeurIPS 2017). Takes `[q | k | v]`, each of which is the heads side by side, and gives the heads side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attention {
    /// How many heads share the width.
    pub heads: usize,
    /// Values of a token that comes out; three times as many go in.
    pub width: usize,
}

impl Attention {
    /// Values of a token that one head sees.
    pub const fn head(&self) -> usize {
        self.width / self.heads
    }
}

/// Makes tokens of an image: a linear map of each patch, the class token and the registers ahead of them, and to each
/// what was learned for its position.
///
/// The positions were learned for a square grid of patches, and are resampled for other images as timm's
/// `resample_abs_pos_embed` does it: bicubic, antialiased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Embed {
    /// `[width, channels, patch, patch]`.
    pub weight: TensorId,
    /// `[width]`.
    pub bias: TensorId,
    /// `[1, 1, width]`.
    pub class_token: TensorId,
    /// `[1, registers, width]` (Darcet et al., ICLR 2024, arXiv 2309.16588).
    pub registers: Option<TensorId>,
    /// `[1, placed + grid · grid, width]`.
    pub positions: TensorId,
    /// Channels of the image.
    pub channels: usize,
    /// Values of a token.
    pub width: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Tokens ahead of the patches: the class token and the registers.
    pub prefix: usize,
    /// How many of these have a position, which is ahead of the patches': all of them or none.
    pub placed: usize,
    /// Side in patches of the grid for which the positions were learned.
    pub grid: usize,
}

impl Embed {
    /// Rows and columns of patches of an image of that size.
    ///
    /// # Errors
    /// If there are none, or one reaches beyond the image.
    pub const fn patches(&self, height: usize, width: usize) -> Result<(usize, usize), ShapeError> {
        if height == 0 || width == 0 {
            return Err(ShapeError::Empty { height, width });
        }
        if !height.is_multiple_of(self.patch) || !width.is_multiple_of(self.patch) {
            return Err(ShapeError::Patches { height, width, patch: self.patch });
        }
        Ok((height / self.patch, width / self.patch))
    }

    /// Values of one patch.
    pub const fn patch_len(&self) -> usize {
        self.patch * self.patch * self.channels
    }

    /// The shape of the tokens.
    ///
    /// # Errors
    /// If the image has other channels, or can't be cut into patches.
    pub(crate) fn output_shape(&self, input: Shape) -> Result<Shape, ShapeError> {
        input.expect_channels(self.channels)?;
        let (rows, columns) = self.patches(input.height, input.width)?;
        Ok(Shape { height: 1, width: self.prefix + rows * columns, channels: self.width })
    }
}

/// The first token of each image, normed: the class token. `[N, 1, tokens, width]` to `[N, 1, 1, width]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassToken {
    /// The network's last norm. The other tokens need none, as nothing reads them.
    pub norm: LayerNorm,
    /// Values of a token.
    pub width: usize,
}

/// What distinguishes one [`Embed`] from another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EmbedSpec {
    pub width: usize,
    pub patch: usize,
    pub grid: usize,
    pub registers: usize,
    /// Whether the class token has a position of its own.
    pub places_class_token: bool,
}

impl Builder {
    /// The tensors `cls_token`, `reg_token`, `pos_embed` and `patch_embed.proj`.
    pub fn embed(&mut self, spec: EmbedSpec) -> Op {
        let EmbedSpec { width, patch, grid, registers, places_class_token } = spec;
        let (channels, prefix) = (3, 1 + registers);
        let placed = if places_class_token { prefix } else { 0 };
        let class_token = self.tensor("cls_token".into(), &[1, 1, width], Role::Token);
        let has_registers = registers > 0;
        let registers = has_registers.then(|| self.tensor("reg_token".into(), &[1, registers, width], Role::Token));
        let positions = self.tensor("pos_embed".into(), &[1, placed + grid * grid, width], Role::Positions);
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
            placed,
            grid,
        })
    }

    /// A layer norm of that module name.
    pub fn layer_norm(&mut self, name: &str, epsilon: f64, width: usize) -> LayerNorm {
        LayerNorm {
            scale: self.tensor(format!("{name}.weight"), &[width], Role::NormScale),
            shift: self.tensor(format!("{name}.bias"), &[width], Role::NormShift),
            epsilon,
        }
    }

    /// A linear map of that module name, without LayerScale and shortcut.
    pub fn linear(&mut self, name: &str, entry: Entry, input: usize, output: usize) -> Linear {
        Linear {
            entry,
            weight: self.tensor(format!("{name}.weight"), &[output, input], Role::LinearWeight),
            bias: self.tensor(format!("{name}.bias"), &[output], Role::Bias),
            scale: None,
            input,
            output,
            shortcut: None,
        }
    }

    /// A LayerScale of that module name.
    pub fn layer_scale(&mut self, name: &str, width: usize) -> TensorId {
        self.tensor(format!("{name}.gamma"), &[width], Role::LayerScale)
    }
}
