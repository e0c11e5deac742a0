//! Tokens of images: patches gathered in the checkpoint's order of a kernel's values, products with it, and what was learned
//! for each position, resampled where an image has other patches than those that it was learned for.

use super::finish::Finish;
use super::fold::{Folded, put};
use super::product::{Onto, multiply, outer};
use super::room::with_room;
use super::threads::{Threads, cut};
use super::vector::vectorized;
use crate::positions::Resampling;
use fieldfit_nets::{Activation, Embed, Shape};
use fieldfit_tensor::Params;
use std::ops::Range;

/// Patches that are gathered at once.
const PATCHES: usize = 64;

/// An embedding at one size of image.
pub(super) struct Embedding {
    pub embed: Embed,
    input: Shape,
    /// Of rows and columns; nothing where positions stay as they were learned.
    resampling: Option<[Resampling; 2]>,
}

impl Embedding {
    pub fn new(embed: &Embed, input: Shape) -> Self {
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

    /// Values of [`Embedding::place`]'s result.
    pub const fn placed_len(&self) -> usize {
        self.tokens() * self.embed.width
    }

    /// What each token has beside its patch, `[tokens, width]`.
    pub fn place(&self, folded: &Folded, placed: &mut [f32]) {
        let Embed { width, prefix, .. } = self.embed;
        let (ahead, learned) = folded.tokens.split_at(prefix * width);
        placed[..ahead.len()].copy_from_slice(ahead);
        let placed = &mut placed[ahead.len()..];
        match &self.resampling {
            None => placed.copy_from_slice(learned),
            Some(resampling) => {
                placed.fill(0.0);
                vectorized(
                    #[inline(always)]
                    || {
                        each_source(resampling, |patch, source, weight| {
                            let learned = &learned[source * width..][..width];
                            let row = placed[patch * width..][..width].iter_mut();
                            row.zip(learned).for_each(|(value, learned)| *value += weight * learned);
                        });
                    },
                );
            }
        }
    }

    /// `[N, H, W, channels]` to `[N, tokens, width]`. Threads share tokens, so that one image keeps them all busy.
    pub fn forward(&self, threads: &Threads, folded: &Folded, images: &[f32], placed: &[f32], output: &mut [f32]) {
        let (width, tokens) = (self.embed.width, self.tokens());
        let ranges = threads.ranges(output.len() / width);
        let parts = ranges.iter().cloned().zip(cut(&ranges, width, output));
        threads.each(parts, |(range, mut part): (Range<usize>, &mut [f32])| {
            let mut first = range.start;
            while first < range.end {
                let (image, token) = (first / tokens, first % tokens);
                let ahead = token < self.embed.prefix;
                let rows = if ahead { self.embed.prefix - token } else { PATCHES.min(tokens - token) };
                let rows = rows.min(range.end - first);
                let Some(out) = part.split_off_mut(..rows * width) else { return };
                if ahead {
                    out.copy_from_slice(&placed[token * width..][..rows * width]);
                } else {
                    let image = &images[image * self.input.len()..][..self.input.len()];
                    self.map(image, token, folded, placed, out);
                }
                first += rows;
            }
        });
    }

    /// Tokens of one image from that one on, which is a patch's.
    fn map(&self, image: &[f32], token: usize, folded: &Folded, placed: &[f32], out: &mut [f32]) {
        let (length, rows) = (self.embed.patch_len(), out.len() / self.embed.width);
        with_room([rows * length], |[tile]| {
            self.gather(image, token - self.embed.prefix, tile);
            let mut finish = Finish { bias: &folded.bias, activation: Activation::Identity, shortcut: Some(placed) };
            multiply(tile, &folded.forward, token, out, &mut finish);
        });
    }

    /// Patches from that one on, each `[channels, patch, patch]`.
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

    /// The gradients of its tensors, each where there is room for it. Threads share the kernel's units.
    pub fn backward(
        &self,
        threads: &Threads,
        gradient: &[f32],
        images: &[f32],
        gradients: &mut Params<f32>,
        onto: Onto,
    ) {
        if gradients.contains(self.embed.weight) {
            self.backward_kernel(threads, gradient, images, &mut gradients[self.embed.weight], onto);
        }
        let Embed { width, prefix, placed, bias, class_token, registers, positions, .. } = self.embed;
        let mut tokens = vec![0.0_f64; self.placed_len()];
        for image in gradient.chunks_exact(self.placed_len()) {
            tokens.iter_mut().zip(image).for_each(|(total, value)| *total += f64::from(*value));
        }
        let (ahead, patches) = tokens.split_at(prefix * width);
        let narrow = |values: &[f64]| values.iter().map(|value| *value as f32).collect::<Vec<_>>().into_iter();
        if gradients.contains(class_token) {
            put(&mut gradients[class_token], narrow(&ahead[..width]), onto);
        }
        if let Some(registers) = registers.filter(|registers| gradients.contains(*registers)) {
            put(&mut gradients[registers], narrow(&ahead[width..]), onto);
        }
        if gradients.contains(bias) {
            let unit = |unit: usize| patches.iter().skip(unit).step_by(width).sum::<f64>() as f32;
            put(&mut gradients[bias], (0..width).map(unit), onto);
        }
        if gradients.contains(positions) {
            let learned = ahead[..placed * width].iter().copied().chain(self.learned(patches));
            put(&mut gradients[positions], learned.map(|value| value as f32), onto);
        }
    }

    fn backward_kernel(&self, threads: &Threads, gradient: &[f32], images: &[f32], kernel: &mut [f32], onto: Onto) {
        let (width, length) = (self.embed.width, self.embed.patch_len());
        let ranges = threads.ranges(width);
        threads.each(ranges.iter().cloned().zip(cut(&ranges, length, kernel)), |(units, kernel)| {
            if onto == Onto::Fresh {
                kernel.fill(0.0);
            }
            for (image, gradient) in images.chunks_exact(self.input.len()).zip(gradient.chunks_exact(self.placed_len()))
            {
                for first in (0..self.patches()).step_by(PATCHES) {
                    let rows = PATCHES.min(self.patches() - first);
                    with_room([rows * length], |[tile]| {
                        self.gather(image, first, tile);
                        let gradient = &gradient[(self.embed.prefix + first) * width..][..rows * width];
                        outer((gradient, width), units.clone(), (tile, length), kernel, Onto::Sum);
                    });
                }
            }
        });
    }

    /// The gradient of the positions as they were learned, from that of the patches'.
    fn learned(&self, patches: &[f64]) -> Vec<f64> {
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

/// For each patch: the learned positions that its own is made of, and their weights.
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
