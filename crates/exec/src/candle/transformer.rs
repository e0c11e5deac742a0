//! Transformer layers built from candle ops with correct backward passes: candle's own layer norm and softmax drop the
//! gradient, and its GELU's constants are rounded to six digits.

use crate::position_embedding::Resampling;
use candle_core::{D, Device, Tensor};
use fieldfit_nets::{Attention, ClassToken, Embed, LayerNorm, Linear, Prologue};
use fieldfit_tensor::TensorId;

/// Tensors of a network, indexed by [`TensorId`].
#[derive(Clone, Copy)]
pub(super) struct NetworkTensors<'a>(pub &'a [Tensor]);

impl NetworkTensors<'_> {
    pub fn of(&self, id: TensorId) -> Tensor {
        self.0[id.index()].clone()
    }
}

/// Layer norm with its tensors.
#[derive(Debug)]
pub(super) struct LayerNormLayer {
    scale: Tensor,
    shift: Tensor,
    epsilon: f64,
}

impl LayerNormLayer {
    pub fn new(norm: &LayerNorm, tensors: NetworkTensors<'_>) -> Self {
        Self { scale: tensors.of(norm.scale), shift: tensors.of(norm.shift), epsilon: norm.epsilon }
    }

    pub fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + self.epsilon)?.sqrt()?;
        centred.broadcast_div(&deviation)?.broadcast_mul(&self.scale)?.broadcast_add(&self.shift)
    }
}

/// Op applied to the input of a linear layer.
#[derive(Debug)]
enum LayerPrologue {
    Identity,
    Norm(LayerNormLayer),
    Gelu,
}

/// Linear layer over tokens, with its prologue.
#[derive(Debug)]
pub(super) struct LinearLayer {
    prologue: LayerPrologue,
    /// `[input, output]`, with LayerScale's γ folded in.
    weight: Tensor,
    /// `[output]`, with LayerScale's γ folded in.
    bias: Option<Tensor>,
}

impl LinearLayer {
    pub fn new(linear: &Linear, tensors: NetworkTensors<'_>) -> candle_core::Result<Self> {
        let prologue = match &linear.prologue {
            Prologue::Identity => LayerPrologue::Identity,
            Prologue::LayerNorm(norm) => LayerPrologue::Norm(LayerNormLayer::new(norm, tensors)),
            Prologue::Gelu => LayerPrologue::Gelu,
        };
        let (mut weight, mut bias) = (tensors.of(linear.weight).t()?, linear.bias.map(|bias| tensors.of(bias)));
        if let Some(scale) = linear.scale {
            let scale = tensors.of(scale);
            weight = weight.broadcast_mul(&scale)?;
            bias = bias.map(|bias| bias * &scale).transpose()?;
        }
        Ok(Self { prologue, weight, bias })
    }

    /// Computes `[N, 1, tokens, output]` from `[N, 1, tokens, input]`, without the shortcut.
    pub fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let x = match &self.prologue {
            LayerPrologue::Identity => x.clone(),
            LayerPrologue::Norm(norm) => norm.forward(x)?,
            LayerPrologue::Gelu => gelu(x)?,
        };
        let (count, height, width, depth) = x.dims4()?;
        let mut rows = x.reshape((count * height * width, depth))?.matmul(&self.weight)?;
        if let Some(bias) = &self.bias {
            rows = rows.broadcast_add(bias)?;
        }
        rows.reshape((count, height, width, ()))
    }
}

/// Computes the exact GELU, `x · ½ (1 + erf(x / √2))`.
pub(super) fn gelu(x: &Tensor) -> candle_core::Result<Tensor> {
    ((x * std::f64::consts::FRAC_1_SQRT_2)?.erf()? + 1.0)? * (x * 0.5)?
}

/// Computes self-attention: `[N, 1, tokens, 3 · width]` to `[N, 1, tokens, width]`.
pub(super) fn self_attention(attention: &Attention, x: &Tensor) -> candle_core::Result<Tensor> {
    let (count, _, tokens, _) = x.dims4()?;
    let split = x.reshape((count, tokens, 3, attention.heads, attention.head()))?.permute((2, 0, 3, 1, 4))?;
    let [query, key, value] = [0, 1, 2].map(|index| split.get(index)?.contiguous());
    let scores = (query?.matmul(&key?.t()?.contiguous()?)? / (attention.head() as f64).sqrt())?;
    let mixed = softmax(&scores, 3)?.matmul(&value?)?;
    mixed.transpose(1, 2)?.reshape((count, 1, tokens, attention.width))
}

/// Computes softmax over an axis.
pub(super) fn softmax(x: &Tensor, axis: usize) -> candle_core::Result<Tensor> {
    let exponentials = x.broadcast_sub(&x.max_keepdim(axis)?.detach())?.exp()?;
    exponentials.broadcast_div(&exponentials.sum_keepdim(axis)?)
}

/// Patch embedding with its tensors.
#[derive(Debug)]
pub(super) struct EmbeddingLayer {
    embed: Embed,
    /// `[patch · patch · channels, width]`.
    kernel: Tensor,
    bias: Tensor,
    /// Class token and registers, `[1, prefix, width]`, without positions.
    prefix: Tensor,
    /// `[prefix_positions + grid · grid, width]`.
    positions: Tensor,
}

impl EmbeddingLayer {
    pub fn new(embed: &Embed, tensors: NetworkTensors<'_>) -> candle_core::Result<Self> {
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

    /// Computes tokens, `[N, 1, tokens, width]`, from images, `[N, H, W, channels]`.
    pub fn forward(&self, images: &Tensor) -> candle_core::Result<Tensor> {
        let Embed { patch, channels, width, prefix, prefix_positions, .. } = self.embed;
        let (count, height, line, _) = images.dims4()?;
        let (rows, columns) = (height / patch, line / patch);
        let cut = images.reshape((count, rows, patch, columns, patch, channels))?.permute((0, 1, 3, 2, 4, 5))?;
        let patches = cut.reshape((count * rows * columns, self.embed.patch_len()))?.matmul(&self.kernel)?;
        let patches = patches.broadcast_add(&self.bias)?.reshape((count, rows * columns, width))?;
        let patches = patches.broadcast_add(&self.resampled(rows, columns)?)?;
        let ahead = if prefix_positions == 0 {
            self.prefix.clone()
        } else {
            self.prefix.broadcast_add(&self.positions.narrow(0, 0, prefix_positions)?)?
        };
        Tensor::cat(&[ahead.broadcast_as((count, prefix, width))?, patches], 1)?.unsqueeze(1)
    }

    /// Returns the patches' position embeddings, resampled, `[rows · columns, width]`.
    fn resampled(&self, rows: usize, columns: usize) -> candle_core::Result<Tensor> {
        let Embed { prefix_positions, grid, width, .. } = self.embed;
        let learned = self.positions.narrow(0, prefix_positions, grid * grid)?;
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

/// Class token layer: the layer norm of the first token of each image.
#[derive(Debug)]
pub(super) struct ClassTokenLayer(LayerNormLayer);

impl ClassTokenLayer {
    pub fn new(token: &ClassToken, tensors: NetworkTensors<'_>) -> Self {
        Self(LayerNormLayer::new(&token.norm, tensors))
    }

    /// Computes `[N, 1, 1, width]` from `[N, 1, tokens, width]`.
    pub fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        self.0.forward(&x.narrow(2, 0, 1)?)
    }
}
