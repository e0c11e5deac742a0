//! The ops of transformers out of candle ops whose backward is right: candle's own layer norm and softmax cut the gradient,
//! and its GELU's constants are rounded to six digits.

use crate::positions::Resampling;
use candle_core::{D, Device, Tensor};
use fieldfit_nets::{Attention, ClassToken, Embed, Entry, LayerNorm, Linear};
use fieldfit_tensor::TensorId;

/// The tensors of a network, in its order.
#[derive(Clone, Copy)]
pub(super) struct Tensors<'a>(pub &'a [Tensor]);

impl Tensors<'_> {
    fn of(&self, id: TensorId) -> Tensor {
        self.0[id.index()].clone()
    }
}

/// A layer norm with its tensors.
#[derive(Debug)]
pub(super) struct Norm {
    scale: Tensor,
    shift: Tensor,
    epsilon: f64,
}

impl Norm {
    fn new(norm: &LayerNorm, tensors: Tensors<'_>) -> Self {
        Self { scale: tensors.of(norm.scale), shift: tensors.of(norm.shift), epsilon: norm.epsilon }
    }

    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + self.epsilon)?.sqrt()?;
        centred.broadcast_div(&deviation)?.broadcast_mul(&self.scale)?.broadcast_add(&self.shift)
    }
}

/// What comes ahead of a product.
#[derive(Debug)]
enum Ahead {
    Nothing,
    Norm(Norm),
    Gelu,
}

/// A linear map of tokens.
#[derive(Debug)]
pub(super) struct Map {
    ahead: Ahead,
    /// `[input, output]`, with LayerScale's γ in it.
    weight: Tensor,
    /// `[output]`, likewise.
    bias: Tensor,
    pub shortcut: Option<usize>,
}

impl Map {
    pub fn new(linear: &Linear, tensors: Tensors<'_>) -> candle_core::Result<Self> {
        let ahead = match &linear.entry {
            Entry::AsItIs => Ahead::Nothing,
            Entry::LayerNorm(norm) => Ahead::Norm(Norm::new(norm, tensors)),
            Entry::Gelu => Ahead::Gelu,
        };
        let (mut weight, mut bias) = (tensors.of(linear.weight).t()?, tensors.of(linear.bias));
        if let Some(scale) = linear.scale {
            let scale = tensors.of(scale);
            (weight, bias) = (weight.broadcast_mul(&scale)?, (bias * &scale)?);
        }
        Ok(Self { ahead, weight, bias, shortcut: linear.shortcut })
    }

    /// `[N, 1, tokens, input]` to `[N, 1, tokens, output]`, without the shortcut.
    pub fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let x = match &self.ahead {
            Ahead::Nothing => x.clone(),
            Ahead::Norm(norm) => norm.forward(x)?,
            Ahead::Gelu => gelu(x)?,
        };
        let (count, height, width, depth) = x.dims4()?;
        let rows = x.reshape((count * height * width, depth))?.matmul(&self.weight)?.broadcast_add(&self.bias)?;
        rows.reshape((count, height, width, ()))
    }
}

/// `x · ½ (1 + erf(x / √2))`.
fn gelu(x: &Tensor) -> candle_core::Result<Tensor> {
    ((x * std::f64::consts::FRAC_1_SQRT_2)?.erf()? + 1.0)? * (x * 0.5)?
}

/// `[N, 1, tokens, 3 · width]` to `[N, 1, tokens, width]`.
pub(super) fn attend(attention: &Attention, x: &Tensor) -> candle_core::Result<Tensor> {
    let (count, _, tokens, _) = x.dims4()?;
    let split = x.reshape((count, tokens, 3, attention.heads, attention.head()))?.permute((2, 0, 3, 1, 4))?;
    let [query, key, value] = [0, 1, 2].map(|index| split.get(index)?.contiguous());
    let scores = (query?.matmul(&key?.t()?.contiguous()?)? / (attention.head() as f64).sqrt())?;
    let mixed = softmax(&scores)?.matmul(&value?)?;
    mixed.transpose(1, 2)?.reshape((count, 1, tokens, attention.width))
}

/// Over the last axis.
fn softmax(x: &Tensor) -> candle_core::Result<Tensor> {
    let exponentials = x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?.exp()?;
    exponentials.broadcast_div(&exponentials.sum_keepdim(D::Minus1)?)
}

/// What makes tokens of images.
#[derive(Debug)]
pub(super) struct Embedding {
    embed: Embed,
    /// `[patch · patch · channels, width]`.
    kernel: Tensor,
    bias: Tensor,
    /// `[1, prefix, width]`, without positions.
    prefix: Tensor,
    /// `[placed + grid · grid, width]`.
    positions: Tensor,
}

impl Embedding {
    pub fn new(embed: &Embed, tensors: Tensors<'_>) -> candle_core::Result<Self> {
        let mut prefix = vec![tensors.of(embed.class_token)];
        prefix.extend(embed.registers.map(|registers| tensors.of(registers)));
        Ok(Self {
            embed: *embed,
            kernel: tensors.of(embed.weight).permute((2, 3, 1, 0))?.reshape((embed.patch_len(), embed.width))?,
            bias: tensors.of(embed.bias),
            prefix: Tensor::cat(&prefix, 1)?,
            positions: tensors.of(embed.positions).squeeze(0)?,
        })
    }

    /// `[N, H, W, channels]` to `[N, 1, tokens, width]`.
    pub fn forward(&self, images: &Tensor) -> candle_core::Result<Tensor> {
        let Embed { patch, channels, width, prefix, placed, .. } = self.embed;
        let (count, height, line, _) = images.dims4()?;
        let (rows, columns) = (height / patch, line / patch);
        let cut = images.reshape((count, rows, patch, columns, patch, channels))?.permute((0, 1, 3, 2, 4, 5))?;
        let patches = cut.reshape((count * rows * columns, self.embed.patch_len()))?.matmul(&self.kernel)?;
        let patches = patches.broadcast_add(&self.bias)?.reshape((count, rows * columns, width))?;
        let patches = patches.broadcast_add(&self.resampled(rows, columns)?)?;
        let ahead = if placed == 0 {
            self.prefix.clone()
        } else {
            self.prefix.broadcast_add(&self.positions.narrow(0, 0, placed)?)?
        };
        Tensor::cat(&[ahead.broadcast_as((count, prefix, width))?, patches], 1)?.unsqueeze(1)
    }

    /// The patches' positions, `[rows · columns, width]`.
    fn resampled(&self, rows: usize, columns: usize) -> candle_core::Result<Tensor> {
        let Embed { placed, grid, width, .. } = self.embed;
        let learned = self.positions.narrow(0, placed, grid * grid)?;
        if (rows, columns) == (grid, grid) {
            return Ok(learned);
        }
        let along = |x: &Tensor, to: usize| {
            let weights = Tensor::from_vec(Resampling::new(grid, to).weights, (to, grid), &Device::Cpu)?;
            let weights = weights.to_dtype(x.dtype())?.to_device(x.device())?;
            let (_, beside, _) = x.dims3()?;
            weights.matmul(&x.reshape((grid, beside * width))?)?.reshape((to, beside, width))
        };
        let tall = along(&learned.reshape((grid, grid, width))?, rows)?;
        let wide = along(&tall.transpose(0, 1)?.contiguous()?, columns)?;
        wide.transpose(0, 1)?.reshape((rows * columns, width))
    }
}

/// What takes one token of each image and norms it.
#[derive(Debug)]
pub(super) struct Taking(Norm);

impl Taking {
    pub fn new(token: &ClassToken, tensors: Tensors<'_>) -> Self {
        Self(Norm::new(&token.norm, tensors))
    }

    /// `[N, 1, tokens, width]` to `[N, 1, 1, width]`.
    pub fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        self.0.forward(&x.narrow(2, 0, 1)?)
    }
}
