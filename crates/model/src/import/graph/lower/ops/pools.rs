//! Pools and sizes: pools, means, sums and pixel shuffles.

use crate::import::graph::lower::lowering::{Lowered, Lowering, MAX_SIDE, refuse};
use crate::import::graph::lower::traced::{Factor, Size, Traced};
use fieldfit_nets::{Op, Shape, ValueId};

impl<'r, 'a> Lowering<'r, 'a> {
    /// Appends the mean of an image over as many cells as the output has pixels.
    pub fn append_adaptive_pool(&mut self, value: &Traced, output: [usize; 2]) -> Lowered<Traced> {
        let image = self.image(value)?;
        if output == [1, 1] {
            return self.on_image(&image, Op::GlobalAveragePool);
        }
        if output == [image.shape.height, image.shape.width] {
            return Ok(image);
        }
        self.on_image(&image, Op::AdaptiveAveragePool(output))
    }

    /// Appends the mean over axes, which stay with length 1 or go.
    pub fn append_mean(&mut self, value: &Traced, axes: &[usize], keeps: bool) -> Lowered<Traced> {
        let reduced: Option<Vec<Vec<usize>>> = axes.iter().map(|axis| value.pieces(*axis)).collect();
        let Some(reduced) = reduced else { return refuse("a mean over the batch") };
        let reduced = reduced.concat();
        let kept: Vec<usize> = (0..value.sides.len()).filter(|piece| !reduced.contains(piece)).collect();
        // The mean over all pixels keeps the channels, the last in memory.
        let result = if kept.iter().all(|piece| reduced.iter().all(|gone| gone < piece || value.sides[*gone] == 1)) {
            let order = reduced.iter().chain(&kept).copied();
            let channels: usize = kept.iter().map(|piece| value.sides[*piece]).product();
            // In that order, the pixels are the image's own.
            let pooled = match order.eq(0..value.sides.len()) && value.shape.channels == channels {
                true => value.value,
                false => self.sketch.arrange(value, [&[], &reduced, &kept])?.value,
            };
            self.sketch.node(Op::GlobalAveragePool, &[pooled])?
        } else {
            let arranged = self.sketch.arrange(value, [&[], &kept, &reduced])?;
            self.mean_of_channels(&arranged)?
        };
        let position = |piece: usize| kept.iter().position(|kept| *kept == piece);
        let mut left = Vec::new();
        for (axis, factors) in value.axes.iter().enumerate() {
            match axes.contains(&axis) {
                true if keeps => left.push(Vec::new()),
                true => {}
                false => left.push(
                    factors
                        .iter()
                        .map(|factor| match factor {
                            Factor::Batch => Factor::Batch,
                            Factor::Piece(piece) => Factor::Piece(position(*piece).unwrap_or(0)),
                        })
                        .collect(),
                ),
            }
        }
        let sides = kept.iter().map(|piece| value.sides[*piece]).collect();
        Ok(Traced { value: result.0, shape: result.1, sides, axes: left })
    }

    /// Appends the sum over axes, which stay with length 1 or go.
    pub fn append_sum(&mut self, value: &Traced, axes: &[usize], keeps: bool) -> Lowered<Traced> {
        let count: usize = axes.iter().map(|axis| value.length(*axis)).product();
        let mean = self.append_mean(value, axes, keeps)?;
        self.unary(&mean, Op::Scalar { scale: count as f64, shift: 0.0 })
    }

    /// Appends the mean of the channels, by way of columns, which have a kernel.
    fn mean_of_channels(&mut self, value: &Traced) -> Lowered<(ValueId, Shape)> {
        let Shape { height, width, channels } = value.shape;
        let turned = fieldfit_nets::Rearrange {
            dimensions: vec![height * width, channels],
            order: vec![1, 0],
            output: Some(Shape { height: 1, width: channels, channels: height * width }),
        };
        let (turned, _) = self.sketch.node(Op::Rearrange(turned), &[value.value])?;
        Ok(self.sketch.node(Op::GlobalAveragePool, &[turned])?)
    }

    /// Appends a pixel shuffle, `[N, C · f², H, W]` to `[N, C, H · f, W · f]`.
    pub fn append_pixel_shuffle(&mut self, value: &Traced, factor: usize) -> Lowered<Traced> {
        let image = self.image(value)?;
        let Shape { height, width, channels } = image.shape;
        if !(1..=MAX_SIDE).contains(&factor) || !channels.is_multiple_of(factor * factor) {
            return refuse("a pixel shuffle that does not divide the channels");
        }
        let sizes = [channels / (factor * factor), factor, factor, height, width];
        let sizes: Vec<Size> = [Size::Batch(1)].into_iter().chain(sizes.map(Size::Fixed)).collect();
        let split = image.view(&sizes, None).and_then(|value| value.permute(&[0, 1, 4, 2, 5, 3]));
        let merged = [channels / (factor * factor), height * factor, width * factor].map(Size::Fixed);
        let merged: Vec<Size> = [Size::Batch(1)].into_iter().chain(merged).collect();
        split.and_then(|value| value.view(&merged, None)).map_or_else(|| refuse("that pixel shuffle"), Ok)
    }
}
