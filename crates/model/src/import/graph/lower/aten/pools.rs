//! Pools and sizes: pools, means, sums, padding, resizes and pixel shuffles.

use super::MAX_SIDE;
use super::call::Call;
use super::{Lowered, Lowering, refuse};
use crate::import::graph::lower::traced::{Factor, Size, Traced};
use crate::import::graph::raw::RawArgument;
use fieldfit_nets::{Interpolation, Op, Padding, ResizeTo, Shape, ValueId, Window};

impl<'r, 'a> Lowering<'r, 'a> {
    /// Returns the image and the window of a pool.
    pub(super) fn window(&mut self, call: &Call<'r, 'a>) -> Lowered<(Traced, Window)> {
        let value = self.value(call, "self")?;
        let kernel = call.pair("kernel_size", 1)?;
        let stride = match call.ints("stride")? {
            None => kernel,
            Some(stride) if stride.is_empty() => kernel,
            Some(_) => call.pair("stride", 1)?,
        };
        let padding = Padding::Fixed(call.pair("padding", 0)?.map(|amount| [amount; 2]));
        let rounds_up = call.flag("ceil_mode", false)?;
        Ok((value, Window { kernel, stride, dilation: call.pair("dilation", 1)?, padding, rounds_up }))
    }

    pub(super) fn adaptive_pool(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "self")?;
        let (image, output) = (self.image(&value)?, call.pair("output_size", 1)?);
        let sides = [image.shape.height, image.shape.width];
        if output == [1, 1] {
            return self.on_image(&image, Op::GlobalAveragePool);
        }
        if output == sides {
            return Ok(image);
        }
        self.on_image(&image, Op::AdaptiveAveragePool(output))
    }

    pub(super) fn mean(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "self")?;
        let axes: Option<Vec<usize>> =
            call.ints("dim")?.unwrap_or_default().into_iter().map(|axis| value.axis(axis)).collect();
        let Some(axes) = axes.filter(|axes| !axes.is_empty()) else { return refuse("a mean of all axes") };
        let keeps = call.flag("keepdim", false)?;
        let reduced: Option<Vec<Vec<usize>>> = axes.iter().map(|axis| value.pieces(*axis)).collect();
        let Some(reduced) = reduced else { return refuse("a mean over the batch") };
        let reduced = reduced.concat();
        let kept: Vec<usize> = (0..value.sides.len()).filter(|piece| !reduced.contains(piece)).collect();
        // The mean over all pixels keeps the channels, the last in memory.
        let result = if kept.iter().all(|piece| reduced.iter().all(|gone| gone < piece || value.sides[*gone] == 1)) {
            let arranged = self.sketch.arrange(&value, [&[], &reduced, &kept])?;
            self.sketch.node(Op::GlobalAveragePool, &[arranged.value])?
        } else {
            let arranged = self.sketch.arrange(&value, [&[], &kept, &reduced])?;
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

    /// Returns the number of values that a reduction adds.
    pub(super) fn reduced(&self, call: &Call<'r, 'a>) -> Lowered<usize> {
        let value = self.value(call, "self")?;
        let axes = call.ints("dim")?.unwrap_or_default();
        let length = |axis: &i64| value.axis(*axis).map(|axis| value.length(axis));
        axes.iter()
            .map(length)
            .product::<Option<usize>>()
            .map_or_else(|| refuse("a sum of an axis that is not there"), Ok)
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

    pub(super) fn pad(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "self")?;
        let mode = match call.argument("mode") {
            Some(RawArgument::Text(mode)) => mode.as_str() == "constant",
            _ => true,
        };
        let fill = match call.argument("value") {
            None | Some(RawArgument::None) => 0.0,
            Some(_) => call.number("value", 0.0)?,
        };
        if !mode || fill != 0.0 {
            return refuse("padding with something else than zeros");
        }
        let amounts = call.ints("pad")?.unwrap_or_default();
        let of = |position: usize| match amounts.get(position) {
            None => Ok(0),
            Some(amount) => {
                let amount = usize::try_from(*amount).ok().filter(|amount| *amount <= MAX_SIDE);
                amount.map_or_else(|| refuse("padding that cuts off, or of that size"), Ok)
            }
        };
        if amounts.len() > 4 && amounts[4..].iter().any(|amount| *amount != 0) {
            return refuse("padding of channels");
        }
        self.on_image(&value, Op::Pad([[of(2)?, of(3)?], [of(0)?, of(1)?]]))
    }

    pub(super) fn resize(&mut self, call: &Call<'r, 'a>, op: &str) -> Lowered<Traced> {
        let value = self.value(call, "input")?;
        let image = self.image(&value)?;
        let interpolation = match (op, call.flag("align_corners", false)?) {
            ("upsample_nearest2d.vec", _) => Interpolation::Nearest,
            (_, true) => Interpolation::BilinearCorners,
            (_, false) => Interpolation::Bilinear,
        };
        let to = match call.argument("scale_factors") {
            Some(RawArgument::Floats(factors)) if factors.len() == 2 => {
                if factors.iter().any(|factor| factor.fract() != 0.0 || *factor < 1.0 || *factor > 1024.0) {
                    return refuse(format!("a resize by {factors:?}"));
                }
                ResizeTo::Times([factors[0] as usize, factors[1] as usize])
            }
            _ => match self.sizes(call, "output_size")?[..] {
                [Size::Fixed(rows), Size::Fixed(columns)] => ResizeTo::Fixed([rows, columns]),
                _ => return refuse("a resize to a size that is computed"),
            },
        };
        self.on_image(&image, Op::Resize { to, interpolation })
    }

    pub(super) fn pixel_shuffle(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "self")?;
        let image = self.image(&value)?;
        let factor = usize::try_from(call.int("upscale_factor", 1)?).unwrap_or(0);
        let Shape { height, width, channels } = image.shape;
        if factor == 0 || !channels.is_multiple_of(factor * factor) {
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
