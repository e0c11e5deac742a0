//! Pools and sizes: pools, means, sums, padding, resizes and pixel shuffles.

use super::call::Call;
use crate::import::graph::lower::lowering::{Lowered, Lowering, MAX_SIDE, refuse};
use crate::import::graph::lower::traced::{Size, Traced};
use crate::import::graph::raw::RawArgument;
use fieldfit_nets::{Interpolation, Op, Padding, ResizeTo, Window};

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
        self.append_adaptive_pool(&value, call.pair("output_size", 1)?)
    }

    /// Returns the value of a reduction, its axes, and whether they stay with length 1.
    pub(super) fn reduction(&self, call: &Call<'r, 'a>) -> Lowered<(Traced, Vec<usize>, bool)> {
        let value = self.value(call, "self")?;
        let axes: Option<Vec<usize>> =
            call.ints("dim")?.unwrap_or_default().into_iter().map(|axis| value.axis(axis)).collect();
        let Some(axes) = axes.filter(|axes| !axes.is_empty()) else { return refuse("a mean or sum of all axes") };
        Ok((value, axes, call.flag("keepdim", false)?))
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
        self.append_pixel_shuffle(&value, usize::try_from(call.int("upscale_factor", 1)?).unwrap_or(0))
    }
}
