//! Patch embedding op: projects image patches to tokens and adds position embeddings, resampled if the image has
//! another grid of patches than the checkpoint. Patches are gathered in the order of the checkpoint's kernel.

use super::checkpoint_weight::CheckpointWeight;
use super::epilogue::ForwardEpilogue;
use super::folded_weights::{FoldPurpose, FoldedWeights, refill, write_gradient};
use super::matmul::{Accumulate, PackedMatrix, multiply, multiply_transposed};
use super::op::{Backward, CpuOp, Forward, Kernel, Needs};
use super::scratch::with_scratch;
use super::thread_pool::{ThreadPool, split_rows};
use super::vector::vectorized;
use crate::position_embedding::Resampling;
use fieldfit_nets::{Activation, Embed, Shape};
use fieldfit_tensor::{Params, TensorId};
use std::ops::Range;

/// Patch embedding at any image size.
pub(super) struct EmbeddingOp(pub Embed);

impl CpuOp for EmbeddingOp {
    fn folded_len(&self, _: FoldPurpose) -> usize {
        let Embed { width, prefix, grid, .. } = self.0;
        PackedMatrix::size(self.0.patch_len(), width) + (1 + prefix + grid * grid) * width
    }

    fn fold(&self, params: &Params<f32>, _: FoldPurpose, folded: &mut FoldedWeights) {
        let Embed { width, prefix_positions, bias, weight, positions, registers, prefix, class_token, .. } = self.0;
        refill(&mut folded.bias, &params[bias]);
        CheckpointWeight::matrix(&params[weight], self.0.patch_len()).pack_forward(&mut folded.forward);
        let (ahead, learned) = params[positions].split_at(prefix_positions * width);
        let registers: &[f32] = registers.map_or(&[], |registers| &params[registers]);
        folded.tokens.clear();
        folded.tokens.reserve_exact(prefix * width + learned.len());
        folded.tokens.extend(params[class_token].iter().chain(registers));
        folded.tokens.iter_mut().zip(ahead).for_each(|(token, position)| *token += position);
        folded.tokens.extend_from_slice(learned);
    }

    fn kernel(&self, inputs: &[Shape], _: Shape) -> Box<dyn Kernel> {
        Box::new(EmbeddingKernel::new(&self.0, inputs[0]))
    }
}

impl Kernel for EmbeddingKernel {
    fn forward_buffer(&self) -> usize {
        self.token_bias_len()
    }

    fn forward(&self, pass: Forward<'_>) {
        let Forward { threads, folded, inputs, output, buffer, .. } = pass;
        self.write_token_bias(folded, buffer);
        self.embed_all(threads, folded, inputs[0], buffer, output);
    }

    fn needs(&self, _: &dyn Fn(TensorId) -> bool) -> Needs {
        Needs { input: true, ..Needs::default() }
    }

    fn backward(&self, pass: Backward<'_>) -> Vec<f64> {
        self.tensor_gradients(pass.threads, pass.gradient, pass.input, pass.gradients, pass.accumulate);
        Vec::new()
    }
}

/// Patches per tile.
const PATCHES: usize = 64;

/// Patch embedding kernel for one image size.
struct EmbeddingKernel {
    embed: Embed,
    input: Shape,
    /// Of rows and columns; `None` if the image has the grid of the checkpoint.
    resampling: Option<[Resampling; 2]>,
}

impl EmbeddingKernel {
    fn new(embed: &Embed, input: Shape) -> Self {
        let (rows, columns) = (input.height / embed.patch, input.width / embed.patch);
        let stays = (rows, columns) == (embed.grid, embed.grid);
        let resampling = (!stays).then(|| [rows, columns].map(|side| Resampling::new(embed.grid, side)));
        Self { embed: *embed, input, resampling }
    }

    const fn columns(&self) -> usize {
        self.input.width / self.embed.patch
    }

    const fn patches(&self) -> usize {
        self.input.height / self.embed.patch * self.columns()
    }

    const fn tokens(&self) -> usize {
        self.embed.prefix + self.patches()
    }

    /// Values of the token bias, `[tokens, width]`.
    const fn token_bias_len(&self) -> usize {
        self.tokens() * self.embed.width
    }

    /// Computes the token bias, `[tokens, width]`: the prefix tokens, and the position embeddings of the patches.
    fn write_token_bias(&self, folded: &FoldedWeights, token_bias: &mut [f32]) {
        let Embed { width, prefix, .. } = self.embed;
        let (ahead, learned) = folded.tokens.split_at(prefix * width);
        token_bias[..ahead.len()].copy_from_slice(ahead);
        let token_bias = &mut token_bias[ahead.len()..];
        match &self.resampling {
            None => token_bias.copy_from_slice(learned),
            Some(resampling) => {
                token_bias.fill(0.0);
                vectorized(
                    #[inline(always)]
                    || {
                        each_source(resampling, |patch, source, weight| {
                            let learned = &learned[source * width..][..width];
                            let row = token_bias[patch * width..][..width].iter_mut();
                            row.zip(learned).for_each(|(value, learned)| *value += weight * learned);
                        });
                    },
                );
            }
        }
    }

    /// Computes tokens, `[N, tokens, width]`, from images, `[N, H, W, channels]`. Threads split the tokens, so that one
    /// image occupies all of them.
    fn embed_all(
        &self,
        threads: &ThreadPool,
        folded: &FoldedWeights,
        images: &[f32],
        token_bias: &[f32],
        output: &mut [f32],
    ) {
        let (width, tokens) = (self.embed.width, self.tokens());
        let ranges = threads.ranges(output.len() / width);
        let parts = ranges.iter().cloned().zip(split_rows(&ranges, width, output));
        threads.for_each(parts, |(range, mut part): (Range<usize>, &mut [f32])| {
            let mut first = range.start;
            while first < range.end {
                let (image, token) = (first / tokens, first % tokens);
                let ahead = token < self.embed.prefix;
                let rows = if ahead { self.embed.prefix - token } else { PATCHES.min(tokens - token) };
                let rows = rows.min(range.end - first);
                let Some(out) = part.split_off_mut(..rows * width) else { return };
                if ahead {
                    out.copy_from_slice(&token_bias[token * width..][..rows * width]);
                } else {
                    let image = &images[image * self.input.len()..][..self.input.len()];
                    self.project(image, token, folded, token_bias, out);
                }
                first += rows;
            }
        });
    }

    /// Projects patches of one image, starting at `token`.
    fn project(&self, image: &[f32], token: usize, folded: &FoldedWeights, token_bias: &[f32], out: &mut [f32]) {
        let (length, rows) = (self.embed.patch_len(), out.len() / self.embed.width);
        with_scratch([rows * length], |[tile]| {
            self.gather(image, token - self.embed.prefix, tile);
            let mut epilogue = ForwardEpilogue {
                bias: &folded.bias,
                activation: Activation::Identity,
                shortcut: Some(token_bias),
                function: None,
            };
            multiply(tile, &folded.forward, token, out, &mut epilogue);
        });
    }

    /// Gathers patches, starting at `first`, each `[channels, patch, patch]`.
    fn gather(&self, image: &[f32], first: usize, patches: &mut [f32]) {
        let Embed { patch, channels, .. } = self.embed;
        for (index, values) in patches.chunks_exact_mut(self.embed.patch_len()).enumerate() {
            let (row, column) = ((first + index) / self.columns(), (first + index) % self.columns());
            for y in 0..patch {
                let start = ((row * patch + y) * self.input.width + column * patch) * channels;
                for (x, pixel) in image[start..][..patch * channels].chunks_exact(channels).enumerate() {
                    for (channel, value) in pixel.iter().enumerate() {
                        values[(channel * patch + y) * patch + x] = *value;
                    }
                }
            }
        }
    }

    /// Computes the gradients of the trained tensors. Threads split the kernel's output units.
    fn tensor_gradients(
        &self,
        threads: &ThreadPool,
        gradient: &[f32],
        images: &[f32],
        gradients: &mut Params<f32>,
        accumulate: Accumulate,
    ) {
        if gradients.contains(self.embed.weight) {
            self.backward_kernel(threads, gradient, images, &mut gradients[self.embed.weight], accumulate);
        }
        let Embed { width, prefix, prefix_positions, bias, class_token, registers, positions, .. } = self.embed;
        let mut tokens = vec![0.0_f64; self.token_bias_len()];
        for image in gradient.chunks_exact(self.token_bias_len()) {
            tokens.iter_mut().zip(image).for_each(|(total, value)| *total += f64::from(*value));
        }
        let (ahead, patches) = tokens.split_at(prefix * width);
        let narrow = |values: &[f64]| values.iter().map(|value| *value as f32).collect::<Vec<_>>().into_iter();
        if gradients.contains(class_token) {
            write_gradient(&mut gradients[class_token], narrow(&ahead[..width]), accumulate);
        }
        if let Some(registers) = registers.filter(|registers| gradients.contains(*registers)) {
            write_gradient(&mut gradients[registers], narrow(&ahead[width..]), accumulate);
        }
        if gradients.contains(bias) {
            let unit = |unit: usize| patches.iter().skip(unit).step_by(width).sum::<f64>() as f32;
            write_gradient(&mut gradients[bias], (0..width).map(unit), accumulate);
        }
        if gradients.contains(positions) {
            let learned = ahead[..prefix_positions * width].iter().copied().chain(self.resampling_gradient(patches));
            write_gradient(&mut gradients[positions], learned.map(|value| value as f32), accumulate);
        }
    }

    fn backward_kernel(
        &self,
        threads: &ThreadPool,
        gradient: &[f32],
        images: &[f32],
        kernel: &mut [f32],
        accumulate: Accumulate,
    ) {
        let (width, length) = (self.embed.width, self.embed.patch_len());
        let ranges = threads.ranges(width);
        threads.for_each(ranges.iter().cloned().zip(split_rows(&ranges, length, kernel)), |(units, kernel)| {
            if accumulate == Accumulate::Overwrite {
                kernel.fill(0.0);
            }
            for (image, gradient) in
                images.chunks_exact(self.input.len()).zip(gradient.chunks_exact(self.token_bias_len()))
            {
                for first in (0..self.patches()).step_by(PATCHES) {
                    let rows = PATCHES.min(self.patches() - first);
                    with_scratch([rows * length], |[tile]| {
                        self.gather(image, first, tile);
                        let gradient = &gradient[(self.embed.prefix + first) * width..][..rows * width];
                        multiply_transposed((gradient, width), units.clone(), (tile, length), kernel, Accumulate::Add);
                    });
                }
            }
        });
    }

    /// Returns the gradient of the checkpoint's position embeddings from that of the resampled ones.
    fn resampling_gradient(&self, patches: &[f64]) -> Vec<f64> {
        let Some(resampling) = &self.resampling else { return patches.to_vec() };
        let Embed { width, grid, .. } = self.embed;
        let mut learned = vec![0.0; grid * grid * width];
        each_source(resampling, |patch, source, weight| {
            let gradient = &patches[patch * width..][..width];
            let row = learned[source * width..][..width].iter_mut();
            row.zip(gradient).for_each(|(value, gradient)| *value += f64::from(weight) * gradient);
        });
        learned
    }
}

/// Calls `visit` with each patch, a source position of its embedding, and the resampling weight.
#[inline(always)]
fn each_source([rows, columns]: &[Resampling; 2], mut visit: impl FnMut(usize, usize, f32)) {
    for row in 0..rows.to {
        for column in 0..columns.to {
            for (above, tall) in rows.sources(row) {
                for (beside, wide) in columns.sources(column) {
                    visit(row * columns.to + column, above * columns.from + beside, (tall * wide) as f32);
                }
            }
        }
    }
}
