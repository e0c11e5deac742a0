//! Pools and sizes: pools, reductions, padding, resizes, and shuffles of pixels.

use super::OnnxLowering;
use super::node::{Node, side};
use super::select::axis_of;
use crate::import::graph::lower::aten::{Lowered, refuse};
use crate::import::graph::lower::traced::{Factor, Size, Traced};
use crate::text::excerpt;
use fieldfit_nets::{Function, Interpolation, Op, Padding, ResizeTo, Window};

impl<'l, 'r, 'a> OnnxLowering<'l, 'r, 'a> {
    pub(super) fn pool(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let mut value = self.value(node, 0)?;
        if node.raw.outputs.iter().skip(1).flatten().any(|name| self.patterns.readers(name) > 0) {
            return refuse("a max pool whose positions are read");
        }
        let op = |window| -> Lowered<Op> {
            match node.op() {
                "AveragePool" => Ok(Op::AveragePool { window, counts_padding: node.flag("count_include_pad", false)? }),
                _ => Ok(Op::MaxPool(window)),
            }
        };
        match (node.ints("kernel_shape")?, value.rank()) {
            (None, _) => refuse("a pool without a kernel"),
            (Some([columns]), 3) => {
                let ([stride, dilation], padding) = self.line(node)?;
                let (kernel, padding) = ([1, side("kernel_shape", *columns)?], Padding::Fixed([[0; 2], padding]));
                let rounds_up = node.flag("ceil_mode", false)?;
                let window = Window { kernel, stride: [1, stride], dilation: [1, dilation], padding, rounds_up };
                value.axes.insert(2, Vec::new());
                let mut result = self.lowering.on_image(&value, op(window)?)?;
                result.axes.remove(2);
                Ok(result)
            }
            // The means of a local response norm.
            (Some([taps, 1, 1]), 5) if node.op() == "AveragePool" => {
                let is = |name, expected: i64| -> Lowered<bool> {
                    Ok(node.ints(name)?.is_none_or(|values| values.iter().all(|value| *value == expected)))
                };
                if !is("strides", 1)? || !is("dilations", 1)? || !is("pads", 0)? {
                    return refuse("a pool of three axes");
                }
                self.lowering.mean_of_neighbours(&value, 2, side("kernel_shape", *taps)?)
            }
            (Some(_), _) => {
                let window = self.window(node, node.pair("kernel_shape", 1)?)?;
                self.lowering.on_image(&value, op(window)?)
            }
        }
    }

    pub(super) fn global_pool(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(node, 0)?;
        if value.rank() < 3 {
            return refuse("a pool of an array without pixels");
        }
        let axes: Vec<usize> = (2..value.rank()).collect();
        match node.op() {
            "GlobalMaxPool" => self.lowering.largest_over(&value, &axes, true),
            _ => self.lowering.mean_over(&value, &axes, true),
        }
    }

    /// Lowers a norm by the squares of neighbouring channels.
    pub(super) fn local_response_norm(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(node, 0)?;
        let taps = side("size", node.int("size", 0)?)?;
        let numbers = [node.number("alpha", 1e-4)?, node.number("beta", 0.75)?, node.number("bias", 1.0)?];
        self.lowering.local_response_norm(&value, taps, numbers)
    }

    /// Lowers a reduction over axes, which are an attribute or an input.
    pub(super) fn reduce(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let known = self.array(node, 0)?;
        let value = self.lowering.traced(known)?;
        let axes = self.axes(node)?.unwrap_or_default();
        if axes.is_empty() {
            let is_idle = node.flag("noop_with_empty_axes", false)?;
            return if is_idle { Ok(value) } else { refuse("a reduction over all axes") };
        }
        let axes = axes.into_iter().map(|axis| axis_of(axis, value.rank())).collect::<Lowered<Vec<_>>>()?;
        let keeps = node.flag("keepdims", true)?;
        match node.op() {
            "ReduceMean" => self.lowering.mean_over(&value, &axes, keeps),
            "ReduceSum" => self.lowering.sum_over(&value, &axes, keeps),
            "ReduceMax" => self.lowering.largest_over(&value, &axes, keeps),
            "ReduceMin" => self.lowering.least_over(&value, &axes, keeps),
            "ReduceL1" => self.lowering.size_over(&value, &axes, keeps),
            "ReduceL2" => self.lowering.length_over(&value, &axes, keeps),
            "ReduceLogSumExp" => self.lowering.log_sum_exp_over(&value, &axes, keeps),
            _ => {
                let squares = self.lowering.unary(&value, Op::Activate(Function::Square))?;
                self.lowering.sum_over(&squares, &axes, keeps)
            }
        }
    }

    /// Lowers the sum of windows at each pixel.
    pub(super) fn fold(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(node, 0)?;
        let (output, kernel) = (self.ints(node, 1)?.unwrap_or_default(), self.ints(node, 2)?.unwrap_or_default());
        let ([rows, columns], [kernel_rows, kernel_columns]) = (&output[..], &kernel[..]) else {
            return refuse("windows of other than two axes");
        };
        let kernel = [side("block_shape", *kernel_rows)?, side("block_shape", *kernel_columns)?];
        let window = self.window(node, kernel)?;
        self.lowering.fold_of(value, [side("image_shape", *rows)?, side("image_shape", *columns)?], window)
    }

    /// Lowers an Einstein sum.
    pub(super) fn einsum(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let operands = node.inputs().flatten().map(|name| self.known(name)).collect::<Lowered<Vec<_>>>()?;
        self.lowering.einsum_of(node.text("equation", "")?, operands)
    }

    /// Lowers the sums of all values up to each position of an axis.
    pub(super) fn cumulated(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(node, 0)?;
        if node.flag("exclusive", false)? || node.flag("reverse", false)? {
            return refuse("sums from the end, or without their position");
        }
        match self.ints(node, 1)?.as_deref() {
            Some([axis]) => self.lowering.cumulated_along(value.clone(), axis_of(*axis, value.rank())?),
            Some(_) | None => refuse("sums along no axis"),
        }
    }

    /// Lowers padding with a number, or with values of the array.
    pub(super) fn pad(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(node, 0)?;
        let fill = self.number(node, 2)?.unwrap_or(0.0);
        let mode = match node.text("mode", "constant")? {
            "edge" => "replicate",
            "wrap" => "circular",
            mode => mode,
        };
        if !matches!(mode, "constant" | "reflect" | "replicate" | "circular") {
            return refuse(format!("padding `{}`", excerpt(mode)));
        }
        let amounts = self.ints(node, 1)?.unwrap_or_default();
        let axes = match self.ints(node, 3)? {
            Some(axes) => axes.into_iter().map(|axis| axis_of(axis, value.rank())).collect::<Lowered<Vec<_>>>()?,
            None => (0..value.rank()).collect(),
        };
        if amounts.len() != 2 * axes.len() || axes.len() > value.rank() {
            return refuse(format!("{} amounts of padding for {} axes", amounts.len(), axes.len()));
        }
        let mut pads = vec![[0; 2]; value.rank()];
        for (position, axis) in axes.iter().enumerate() {
            pads[*axis] = [side("pads", amounts[position])?, side("pads", amounts[position + axes.len()])?];
        }
        if (0..value.rank()).any(|axis| pads[axis] != [0; 2] && value.axes[axis].contains(&Factor::Batch)) {
            return refuse("padding of the batch");
        }
        if mode != "constant" {
            return self.lowering.pad_by_values(value, &pads, mode);
        }
        let padded = self.lowering.pad_with_zeros(&value, &pads)?;
        if fill == 0.0 { Ok(padded) } else { self.lowering.fill_padding(padded, &pads, fill) }
    }

    pub(super) fn resize(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(node, 0)?;
        let image = self.lowering.image(&value)?;
        let from = [image.shape.height, image.shape.width];
        if node.flag("antialias", false)? || node.attribute("axes").is_some() {
            return refuse("a resize of stated axes, or against aliasing");
        }
        let to = match self.ints_or_sizes(node, from)? {
            Some(to) => to,
            None => return refuse("a resize by no factors"),
        };
        let output = match to {
            ResizeTo::Times([rows, columns]) => [from[0].saturating_mul(rows), from[1].saturating_mul(columns)],
            ResizeTo::Fixed(output) => output,
        };
        let interpolation = interpolation(node, from, output)?;
        if output == from {
            return Ok(image);
        }
        self.lowering.on_image(&image, Op::Resize { to, interpolation })
    }

    /// Returns the size of a resize: factors, input 2, or sizes, input 3, of which one is empty.
    fn ints_or_sizes(&mut self, node: &Node<'r, 'a>, from: [usize; 2]) -> Lowered<Option<ResizeTo>> {
        let factors = self.numbers(node, 2)?.unwrap_or_default();
        match factors[..] {
            [] => {}
            [1.0, 1.0, rows, columns] => return times([rows, columns], from).map(Some),
            _ => return refuse(format!("a resize by {factors:?}")),
        }
        if node.input(3).is_none() {
            return Ok(None);
        }
        match self.sizes(node, 3)?[..] {
            [_, channels, Size::Fixed(rows), Size::Fixed(columns)] if channels != Size::Rest => {
                Ok(Some(ResizeTo::Fixed([rows, columns])))
            }
            _ => refuse("a resize to a size that is computed"),
        }
    }

    pub(super) fn depth_to_space(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(node, 0)?;
        let factor = side("blocksize", node.int("blocksize", 0)?)?;
        let image = self.lowering.image(&value)?;
        let (rows, columns, channels) = (image.shape.height, image.shape.width, image.shape.channels);
        let Some(depth) = channels.checked_div(factor.saturating_mul(factor)).filter(|depth| *depth > 0) else {
            return refuse(format!("blocks of {factor} pixels"));
        };
        let is_depth_first = node.text("mode", "DCR")? == "DCR";
        let (split, order) = match is_depth_first {
            true => ([factor, factor, depth, rows, columns], [0, 3, 4, 1, 5, 2]),
            false => ([depth, factor, factor, rows, columns], [0, 1, 4, 2, 5, 3]),
        };
        reshaped(image, &split, &order, &[depth, rows.saturating_mul(factor), columns.saturating_mul(factor)])
    }

    pub(super) fn space_to_depth(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(node, 0)?;
        let factor = side("blocksize", node.int("blocksize", 0)?)?;
        let image = self.lowering.image(&value)?;
        let (rows, columns, channels) = (image.shape.height, image.shape.width, image.shape.channels);
        if factor == 0 || !rows.is_multiple_of(factor) || !columns.is_multiple_of(factor) {
            return refuse(format!("blocks of {factor} pixels"));
        }
        let (rows, columns) = (rows / factor, columns / factor);
        let split = [channels, rows, factor, columns, factor];
        let merged = [channels.saturating_mul(factor * factor), rows, columns];
        reshaped(image, &split, &[0, 3, 5, 1, 2, 4], &merged)
    }
}

/// Splits the axes of an image, exchanges them, and merges them; the batch stays.
fn reshaped(image: Traced, split: &[usize], order: &[usize], merged: &[usize]) -> Lowered<Traced> {
    let sizes = |sides: &[usize]| -> Vec<Size> {
        [Size::Batch(1)].into_iter().chain(sides.iter().map(|side| Size::Fixed(*side))).collect()
    };
    let result = image.view(&sizes(split), None).and_then(|value| value.permute(order));
    let result = result.and_then(|value| value.view(&sizes(merged), None));
    result.map_or_else(|| refuse("blocks that do not divide the image"), Ok)
}

/// Returns the size of a resize by factors: multiples where they are whole numbers.
fn times(factors: [f64; 2], from: [usize; 2]) -> Lowered<ResizeTo> {
    const MOST: f64 = 1024.0;
    if factors.iter().all(|factor| factor.fract() == 0.0 && (1.0..=MOST).contains(factor)) {
        return Ok(ResizeTo::Times(factors.map(|factor| factor as usize)));
    }
    let sides = [factors[0] * from[0] as f64, factors[1] * from[1] as f64];
    let is_side = |side: &f64| *side >= 1.0 && *side <= f64::from(u16::MAX) && (side.round() - side).abs() < 1e-4;
    if !sides.iter().all(is_side) {
        return refuse(format!("a resize by {factors:?}"));
    }
    Ok(ResizeTo::Fixed(sides.map(|side| side.round() as usize)))
}

/// Returns the interpolation of a resize, if it is one of PyTorch's.
fn interpolation(node: &Node<'_, '_>, from: [usize; 2], to: [usize; 2]) -> Lowered<Interpolation> {
    let mode = node.text("mode", "nearest")?;
    let coordinates = node.text("coordinate_transformation_mode", "half_pixel")?;
    let rounding = node.text("nearest_mode", "round_prefer_floor")?;
    let is_whole = to[0].is_multiple_of(from[0].max(1)) && to[1].is_multiple_of(from[1].max(1));
    let is_keys = node.number("cubic_coeff_a", -0.75)? == -0.75 && !node.flag("exclude_outside", false)?;
    let is_rounded = matches!(rounding, "round_prefer_floor" | "round_prefer_ceil");
    let is_single = (0..2).any(|axis| to[axis] == 1 && from[axis] != 1);
    Ok(match (mode, coordinates) {
        ("nearest", "asymmetric") if rounding == "floor" => Interpolation::Nearest,
        // By a whole factor, the nearest centre is in the pixel that is enlarged.
        ("nearest", "half_pixel" | "pytorch_half_pixel") if is_rounded && is_whole => Interpolation::Nearest,
        ("cubic", "half_pixel") if is_keys => Interpolation::Bicubic,
        ("cubic", "pytorch_half_pixel") if is_keys && !is_single => Interpolation::Bicubic,
        ("cubic", "align_corners") if is_keys => Interpolation::BicubicCorners,
        ("linear", "align_corners") => Interpolation::BilinearCorners,
        ("linear", "half_pixel") => Interpolation::Bilinear,
        ("linear", "pytorch_half_pixel") if !is_single => Interpolation::Bilinear,
        _ => {
            let [mode, coordinates, rounding] = [mode, coordinates, rounding].map(excerpt);
            return refuse(format!("a resize `{mode}` with coordinates `{coordinates}` and rounding `{rounding}`"));
        }
    })
}
