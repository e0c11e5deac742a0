//! Pools and sizes: pools, means, sums, padding, resizes and pixel shuffles.

use super::MAX_SIDE;
use super::arithmetic::Operand;
use super::call::Call;
use super::{Known, Lowered, Lowering, refuse};
use crate::import::graph::lower::array::Array;
use crate::import::graph::lower::traced::{Factor, Size, Traced};
use crate::import::graph::raw::RawArgument;
use fieldfit_nets::{Arithmetic, Function, Interpolation, Op, Padding, ResizeTo, Shape, ValueId, Window};
use std::rc::Rc;

/// Image sizes that a reduction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ImageSizes {
    /// Any.
    Any,
    /// That of the file alone: the count of values is a constant.
    Own,
}

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
        if output == [1, 1] {
            return self.on_image(&image, Op::GlobalAveragePool);
        }
        // Also where it changes nothing: it does at other sizes of the image.
        self.on_image(&image, Op::AdaptiveAveragePool(output))
    }

    /// Lowers an adaptive max pool.
    pub(super) fn adaptive_max_pool(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let (value, output) = (self.value(call, "self")?, call.pair("output_size", 1)?);
        self.greatest_of_cells(&value, output)
    }

    /// Appends the greatest values of the cells that [`Op::AdaptiveAveragePool`] has: cells of different sizes have their last
    /// positions repeated.
    pub fn greatest_of_cells(&mut self, value: &Traced, output: [usize; 2]) -> Lowered<Traced> {
        if output == [1; 2] {
            return self.largest_over(value, &[2, 3], true);
        }
        let mut image = self.image(value)?;
        let mut kernel = [1; 2];
        for axis in 0..2 {
            let (from, to) = (image.length(2 + axis), output[axis]);
            if to == 0 || to > MAX_SIDE {
                return refuse(format!("an adaptive max pool to {to} cells"));
            }
            let cell = |index: usize| index * from / to..((index + 1) * from).div_ceil(to);
            let longest = (0..to).map(|index| cell(index).len()).max().unwrap_or(1);
            let positions =
                |index: usize| (0..longest).map(move |at| (cell(index).start + at).min(cell(index).end - 1));
            let positions: Vec<usize> = (0..to).flat_map(positions).collect();
            image = self.gather_each(&image, 2 + axis, positions)?;
            kernel[axis] = longest;
        }
        self.on_image(&image, Op::MaxPool(whole(kernel)))
    }

    /// Lowers a pool along one axis: one of an image of one row.
    pub(super) fn pool1d(&mut self, call: &Call<'r, 'a>, name: &str) -> Lowered<Traced> {
        let mut value = self.value(call, "self")?;
        if value.rank() != 3 {
            return refuse("a pool of that form");
        }
        value.axes.insert(2, Vec::new());
        let image = self.image(&value)?;
        let cells = || -> Lowered<[usize; 2]> { Ok([1, call.pair("output_size", 1)?[1]]) };
        let mut result = match name {
            "adaptive_avg_pool1d" => self.on_image(&image, Op::AdaptiveAveragePool(cells()?))?,
            "adaptive_max_pool1d" => self.greatest_of_cells(&image, cells()?)?,
            name => {
                let (_, window) = self.window(call)?;
                let window = of_one_row(window);
                let op = if name == "max_pool1d" { Op::MaxPool(window) } else { average_pool(call, window)? };
                self.on_image(&image, op)?
            }
        };
        result.axes.remove(2);
        Ok(result)
    }

    /// Lowers an average pool of `[N, 1, C, H, W]` along `C`: the sums of a local response norm.
    pub(super) fn pool_of_channels(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "self")?;
        let triple = |name| -> Lowered<Vec<i64>> { Ok(call.ints(name)?.unwrap_or_default()) };
        let (kernel, stride, padding) = (triple("kernel_size")?, triple("stride")?, triple("padding")?);
        let is_along_channels = matches!(kernel[..], [_, 1, 1]) && value.rank() == 5;
        if !is_along_channels || stride.iter().any(|step| *step != 1) || padding.iter().any(|amount| *amount != 0) {
            return refuse("a pool of three axes");
        }
        let taps = usize::try_from(kernel[0]).ok().filter(|taps| (1..=MAX_SIDE).contains(taps));
        let Some(taps) = taps else { return refuse("a kernel of that size") };
        self.mean_of_neighbours(&value, 2, taps)
    }

    /// Appends `x / (bias + alpha · mean(x²))^beta`, the mean over that many neighbours among the channels (Krizhevsky et al.,
    /// NeurIPS 2012).
    pub fn local_response_norm(&mut self, value: &Traced, taps: usize, numbers: [f64; 3]) -> Lowered<Traced> {
        let [alpha, beta, bias] = numbers;
        if value.rank() < 2 || !(1..=MAX_SIDE).contains(&taps) {
            return refuse("a local response norm of that form");
        }
        let squares = self.unary(value, Op::Activate(Function::Square))?;
        let mut sides = vec![[0; 2]; value.rank()];
        sides[1] = [(taps - 1) / 2, taps / 2];
        let padded = self.pad_with_zeros(&squares, &sides)?;
        let means = self.mean_of_neighbours(&padded, 1, taps)?;
        let shifted = self.unary(&means, Op::Scalar { scale: alpha, shift: bias })?;
        let divisor = self.unary(&shifted, Op::Activate(Function::Power { exponent: beta }))?;
        self.combine(Arithmetic::Divide, value.clone(), divisor)
    }

    /// Appends the means of that many neighbours along an axis.
    pub fn mean_of_neighbours(&mut self, value: &Traced, axis: usize, taps: usize) -> Lowered<Traced> {
        let Some(own) = value.pieces(axis) else { return refuse("a pool over the batch") };
        let others: Vec<usize> = (0..value.sides.len()).filter(|piece| !own.contains(piece)).collect();
        let arranged = self.sketch.arrange(value, [&others, &own, &[]])?;
        let window = of_one_row(Window { stride: [1; 2], ..whole([taps; 2]) });
        let result = self.sketch.node(Op::AveragePool { window, counts_padding: true }, &[arranged.value])?;
        Ok(arranged.with_axis(axis, (value.length(axis) + 1).saturating_sub(taps), result))
    }

    /// Returns the axes that a call reduces: all but the batch, if it names none.
    pub(super) fn axes_of(&self, call: &Call<'r, 'a>, value: &Traced) -> Lowered<Vec<usize>> {
        let axes = match call.ints("dim")?.filter(|axes| !axes.is_empty()) {
            Some(axes) => axes.into_iter().map(|axis| value.axis(axis)).collect(),
            None => None,
        };
        axes.map_or_else(|| refuse("a reduction of all axes, or of one that is not there"), Ok)
    }

    /// Lowers `mean` and `sum`.
    pub(super) fn mean(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        self.check_inert(call)?;
        let value = self.value(call, "self")?;
        let axes = self.axes_of(call, &value)?;
        self.mean_over(&value, &axes, call.flag("keepdim", false)?)
    }

    pub(super) fn sum(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        self.check_inert(call)?;
        let value = self.value(call, "self")?;
        let axes = self.axes_of(call, &value)?;
        self.sum_over(&value, &axes, call.flag("keepdim", false)?)
    }

    /// Lowers `cumsum`: the sums of all values up to each position of an axis.
    pub(super) fn cumulated(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        self.check_inert(call)?;
        let value = self.value(call, "self")?;
        match value.axis(call.int("dim", 0)?) {
            Some(axis) => self.cumulated_along(value, axis),
            None => refuse("an axis that is not there"),
        }
    }

    /// Appends the sums of all values up to each position of an axis: a product with a triangle of ones.
    pub fn cumulated_along(&mut self, mut value: Traced, axis: usize) -> Lowered<Traced> {
        let (length, rank) = (value.length(axis), value.rank());
        if value.axes[axis].contains(&Factor::Batch) {
            return refuse("a sum over the images of a batch");
        }
        let Some(ones) = Array::filled(vec![length; 2], 1.0) else { return refuse("sums along that many positions") };
        let triangle = ones.triangle(|row, column| column > row, 0.0);
        let mut weight = self.operand_value(&Operand::Constant(Rc::new(triangle)), &[length; 2])?;
        value.axes.swap(axis, rank - 1);
        // A product is of matrices, one for each image at least.
        let ahead = 3_usize.saturating_sub(rank);
        value.axes.splice(rank - 1..rank - 1, vec![Vec::new(); ahead]);
        weight.axes.splice(0..0, vec![Vec::new(); value.rank() - 2]);
        let mut result = self.product(&value, &weight, true, 1.0)?;
        result.axes.drain(rank - 1..rank - 1 + ahead);
        result.axes.swap(axis, rank - 1);
        Ok(result)
    }

    /// Lowers the unbiased or biased variance along axes.
    pub(super) fn variance(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "self")?;
        let axes = self.axes_of(call, &value)?;
        let count = axes.iter().map(|axis| value.length(*axis)).product::<usize>() as f64;
        let correction = self.correction(call)?;
        let mean = self.mean_over(&value, &axes, true)?;
        let centred = self.combine(Arithmetic::Subtract, value, mean)?;
        let squares = self.unary(&centred, Op::Activate(Function::Square))?;
        let mean = self.counted_mean_over(&squares, &axes, call.flag("keepdim", false)?)?;
        self.unary(&mean, Op::Scalar { scale: count / (count - correction), shift: 0.0 })
    }

    /// Lowers `amax`, `amin` and the values of `max` and `min` along axes.
    pub(super) fn extreme(&mut self, call: &Call<'r, 'a>, is_least: bool) -> Lowered<Traced> {
        let value = self.value(call, "self")?;
        let (axes, keeps) = (self.axes_of(call, &value)?, call.flag("keepdim", false)?);
        if is_least { self.least_over(&value, &axes, keeps) } else { self.largest_over(&value, &axes, keeps) }
    }

    /// Appends the least value over axes.
    pub fn least_over(&mut self, value: &Traced, axes: &[usize], keeps: bool) -> Lowered<Traced> {
        let negative = self.times(value, -1.0)?;
        let largest = self.largest_over(&negative, axes, keeps)?;
        self.times(&largest, -1.0)
    }

    /// Appends the sum over axes.
    pub fn sum_over(&mut self, value: &Traced, axes: &[usize], keeps: bool) -> Lowered<Traced> {
        let count: usize = axes.iter().map(|axis| value.length(*axis)).product();
        let mean = self.counted_mean_over(value, axes, keeps)?;
        self.unary(&mean, Op::Scalar { scale: count as f64, shift: 0.0 })
    }

    /// Appends the mean over axes.
    pub fn mean_over(&mut self, value: &Traced, axes: &[usize], keeps: bool) -> Lowered<Traced> {
        self.mean_of(value, axes, keeps, ImageSizes::Any)
    }

    /// Appends the mean over axes, of as many values as there are now: the caller multiplies by their number.
    pub fn counted_mean_over(&mut self, value: &Traced, axes: &[usize], keeps: bool) -> Lowered<Traced> {
        self.mean_of(value, axes, keeps, ImageSizes::Own)
    }

    fn mean_of(&mut self, value: &Traced, axes: &[usize], keeps: bool, sizes: ImageSizes) -> Lowered<Traced> {
        let (arranged, kept) = self.reduced_first(value, axes, sizes)?;
        let result = self.sketch.node(Op::GlobalAveragePool, &[arranged.value])?;
        Ok(without(value, axes, (&kept, keeps), result))
    }

    /// Appends the greatest value over axes.
    pub fn largest_over(&mut self, value: &Traced, axes: &[usize], keeps: bool) -> Lowered<Traced> {
        let (arranged, kept) = self.reduced_first(value, axes, ImageSizes::Own)?;
        let result =
            self.sketch.node(Op::MaxPool(whole([arranged.shape.height, arranged.shape.width])), &[arranged.value])?;
        Ok(without(value, axes, (&kept, keeps), result))
    }

    /// Brings the axes that are reduced to rows and columns, and the others to the channels; returns the others' pieces, too.
    fn reduced_first(&mut self, value: &Traced, axes: &[usize], sizes: ImageSizes) -> Lowered<(Traced, Vec<usize>)> {
        let reduced: Option<Vec<Vec<usize>>> = axes.iter().map(|axis| value.pieces(*axis)).collect();
        let Some(reduced) = reduced else { return refuse("a reduction of the batch") };
        let mut reduced = reduced.concat();
        reduced.sort_unstable();
        if reduced.windows(2).any(|pair| pair[0] == pair[1]) {
            return refuse("a reduction of one axis twice");
        }
        let kept: Vec<usize> = (0..value.sides.len()).filter(|piece| !reduced.contains(piece)).collect();
        let channels: usize = kept.iter().map(|piece| value.sides[*piece]).product();
        let is_so = reduced.iter().chain(&kept).copied().eq(0..value.sides.len()) && channels == value.shape.channels;
        let stays = is_so && sizes == ImageSizes::Any;
        let arranged = if stays { value.clone() } else { self.sketch.arrange(value, [&[], &reduced, &kept])? };
        Ok((arranged, kept))
    }

    pub(super) fn pad(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "self")?;
        let mode = match call.argument("mode") {
            Some(RawArgument::Text(mode)) => mode.as_str(),
            _ => "constant",
        };
        let fill = match call.argument("value") {
            None | Some(RawArgument::None) => 0.0,
            Some(_) => call.number("value", 0.0)?,
        };
        let amounts = call.ints("pad")?.unwrap_or_default();
        if amounts.len() > 2 * value.rank() {
            return refuse("padding of more axes than there are");
        }
        let mut sides = vec![[0; 2]; value.rank()];
        for (position, amount) in amounts.into_iter().enumerate() {
            let amount = usize::try_from(amount).ok().filter(|amount| *amount <= MAX_SIDE);
            let Some(amount) = amount else { return refuse("padding that cuts off, or of that size") };
            let axis = value.rank() - 1 - position / 2;
            sides[axis][position % 2] = amount;
        }
        if (0..value.rank()).any(|axis| sides[axis] != [0; 2] && value.axes[axis].contains(&Factor::Batch)) {
            return refuse("padding of the batch");
        }
        if mode != "constant" {
            return self.pad_by_values(value, &sides, mode);
        }
        let padded = self.pad_with_zeros(&value, &sides)?;
        if fill == 0.0 { Ok(padded) } else { self.fill_padding(padded, &sides, fill) }
    }

    pub fn pad_with_zeros(&mut self, value: &Traced, sides: &[[usize; 2]]) -> Lowered<Traced> {
        if let [[0, 0], [0, 0], rows, columns] = *sides {
            if (rows, columns) == ([0; 2], [0; 2]) {
                return Ok(value.clone());
            }
            return self.on_image(value, Op::Pad([rows, columns]));
        }
        let mut value = value.clone();
        for (axis, amounts) in sides.iter().enumerate().filter(|(_, amounts)| **amounts != [0; 2]) {
            if value.axes[axis].is_empty() {
                value.insert_unit(axis);
            }
            let Some(own) = value.pieces(axis) else { return refuse("padding of the batch") };
            let first = own.iter().copied().min().unwrap_or(0);
            let others = (0..value.sides.len()).filter(|piece| !own.contains(piece));
            let (before, after): (Vec<usize>, Vec<usize>) = others.partition(|piece| *piece < first);
            let arranged = self.sketch.arrange(&value, [&before, &own, &after])?;
            let result = self.sketch.node(Op::Pad([[0; 2], *amounts]), &[arranged.value])?;
            value = arranged.with_axis(axis, value.length(axis) + amounts[0] + amounts[1], result);
        }
        Ok(value)
    }

    /// Adds the value of padding to zeros.
    pub fn fill_padding(&mut self, padded: Traced, sides: &[[usize; 2]], fill: f64) -> Lowered<Traced> {
        // A finite value stands for an infinite one: what is added to zeros keeps the zeros' neighbours as they are.
        let fill = fill.clamp(f64::from(f32::MIN) / 2.0, f64::from(f32::MAX) / 2.0);
        let lengths = padded.lengths();
        let shape: Vec<usize> =
            lengths.iter().zip(sides).map(|(length, amounts)| if *amounts == [0; 2] { 1 } else { *length }).collect();
        let Some(mut border) = Array::filled(shape, 0.0) else { return refuse("padding of that size") };
        for (index, value) in border.values.iter_mut().enumerate() {
            let mut rest = index;
            for (length, [before, behind]) in border.shape.iter().zip(sides).rev() {
                let position = rest % length;
                rest /= length;
                if position < *before || position >= length - behind {
                    *value = fill;
                }
            }
        }
        self.compute(Arithmetic::Add, Known::Traced(padded), Known::Constant(Rc::new(border)))
    }

    /// Pads by values of the array itself.
    pub fn pad_by_values(&mut self, mut value: Traced, sides: &[[usize; 2]], mode: &str) -> Lowered<Traced> {
        for (axis, [before, behind]) in sides.iter().enumerate() {
            let length = value.length(axis) as i64;
            let position = |index: i64| match mode {
                "reflect" if index < 0 => -index,
                "reflect" if index >= length => 2 * length - 2 - index,
                "replicate" => index.clamp(0, length - 1),
                "circular" => index.rem_euclid(length),
                _ => index,
            };
            let indices = (-(*before as i64)..length + *behind as i64).map(position);
            let indices: Option<Vec<usize>> =
                indices.map(|index| usize::try_from(index).ok().filter(|index| (*index as i64) < length)).collect();
            let Some(indices) = indices else { return refuse(format!("padding by `{mode}` of that size")) };
            if *before + *behind > 0 {
                value = self.gather(&value, axis, indices)?;
            }
        }
        Ok(value)
    }

    pub(super) fn resize(&mut self, call: &Call<'r, 'a>, name: &str) -> Lowered<Traced> {
        let value = self.value(call, if call.argument("input").is_some() { "input" } else { "self" })?;
        let image = self.image(&value)?;
        let interpolation = match (name, call.flag("align_corners", false)?) {
            ("upsample_nearest2d", _) => Interpolation::Nearest,
            ("_upsample_nearest_exact2d", _) => Interpolation::NearestExact,
            ("_upsample_bilinear2d_aa", false) => Interpolation::BilinearAntialiased,
            ("_upsample_bicubic2d_aa", false) => Interpolation::BicubicAntialiased,
            ("_upsample_bilinear2d_aa" | "_upsample_bicubic2d_aa", true) => {
                return refuse("a resize against aliasing with aligned corners");
            }
            ("upsample_bicubic2d", true) => Interpolation::BicubicCorners,
            ("upsample_bicubic2d", false) => Interpolation::Bicubic,
            (_, true) => Interpolation::BilinearCorners,
            (_, false) => Interpolation::Bilinear,
        };
        let to = match call.argument("scale_factors") {
            Some(RawArgument::Floats(factors)) if factors.len() == 2 => {
                let is_whole = |factor: &f64| factor.fract() == 0.0 && (1.0..=1024.0).contains(factor);
                let sides = [image.shape.height as f64 * factors[0], image.shape.width as f64 * factors[1]];
                let is_exact = sides.iter().all(|side| side.fract() == 0.0 && (1.0..=65536.0).contains(side));
                if factors.iter().all(is_whole) {
                    ResizeTo::Times([factors[0] as usize, factors[1] as usize])
                } else if is_exact {
                    ResizeTo::Fixed(sides.map(|side| side as usize))
                } else {
                    return refuse(format!("a resize by {factors:?}"));
                }
            }
            _ => match self.sizes(call, "output_size")?[..] {
                [Size::Fixed(rows), Size::Fixed(columns)] => ResizeTo::Fixed([rows, columns]),
                _ => return refuse("a resize to a size that is computed"),
            },
        };
        let mut result = self.on_image(&image, Op::Resize { to, interpolation })?;
        if !value.has_batch() {
            // A resized tensor of the file, such as position codes, is the same for each image.
            result.axes[0].clear();
        }
        Ok(result)
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

    /// Lowers `pixel_unshuffle`, the inverse of a pixel shuffle.
    pub(super) fn pixel_unshuffle(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "self")?;
        let image = self.image(&value)?;
        let factor = usize::try_from(call.int("downscale_factor", 1)?).unwrap_or(0);
        let Shape { height, width, channels } = image.shape;
        if factor == 0 || !height.is_multiple_of(factor) || !width.is_multiple_of(factor) {
            return refuse("a pixel unshuffle that does not divide the image");
        }
        let (rows, columns) = (height / factor, width / factor);
        let sizes = |sizes: &[usize]| -> Vec<Size> {
            [Size::Batch(1)].into_iter().chain(sizes.iter().copied().map(Size::Fixed)).collect()
        };
        let split = image.view(&sizes(&[channels, rows, factor, columns, factor]), None);
        let split = split.and_then(|value| value.permute(&[0, 1, 3, 5, 2, 4]));
        let merged = split.and_then(|value| value.view(&sizes(&[channels * factor * factor, rows, columns]), None));
        merged.map_or_else(|| refuse("that pixel unshuffle"), Ok)
    }

    /// Lowers `channel_shuffle`: the groups of channels become the inner axis.
    pub(super) fn channel_shuffle(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(call, "self")?;
        let groups = usize::try_from(call.int("groups", 1)?).unwrap_or(0);
        if value.rank() < 2 || groups == 0 || !value.length(1).is_multiple_of(groups) {
            return refuse("a channel shuffle that does not divide the channels");
        }
        let sizes = value.sizes();
        let (mut split, channels) = (sizes.clone(), value.length(1));
        split.splice(1..=1, [Size::Fixed(groups), Size::Fixed(channels / groups)]);
        let mut order: Vec<usize> = (0..=value.rank()).collect();
        order.swap(1, 2);
        let shuffled = value.view(&split, None).and_then(|value| value.permute(&order)?.view(&sizes, None));
        shuffled.map_or_else(|| refuse("that channel shuffle"), Ok)
    }
}

/// Returns the window of a pool without overlaps.
fn whole(kernel: [usize; 2]) -> Window {
    Window { kernel, stride: kernel, dilation: [1; 2], padding: Padding::NONE, rounds_up: false }
}

/// Returns the window along columns alone.
fn of_one_row(window: Window) -> Window {
    let columns = |[_, columns]: [usize; 2], one| [one, columns];
    let padding = match window.padding {
        Padding::Fixed([_, columns]) => Padding::Fixed([[0; 2], columns]),
        same @ (Padding::Same | Padding::SameLower) => same,
    };
    let (kernel, stride, dilation) =
        (columns(window.kernel, 1), columns(window.stride, 1), columns(window.dilation, 1));
    Window { kernel, stride, dilation, padding, ..window }
}

/// Returns the average pool that a call computes.
pub(super) fn average_pool(call: &Call<'_, '_>, window: Window) -> Lowered<Op> {
    if !matches!(call.argument("divisor_override"), None | Some(RawArgument::None)) {
        return refuse("a divisor of one's own");
    }
    Ok(Op::AveragePool { window, counts_padding: call.flag("count_include_pad", true)? })
}

/// Returns the value of an op that left of each image the pieces `kept` alone; reduced axes are gone or have length 1.
fn without(
    value: &Traced,
    axes: &[usize],
    (kept, keeps): (&[usize], bool),
    (result, shape): (ValueId, Shape),
) -> Traced {
    let moved = |factor: &Factor| match factor {
        Factor::Batch => Some(Factor::Batch),
        Factor::Piece(piece) => kept.iter().position(|kept| kept == piece).map(Factor::Piece),
    };
    let mut left: Vec<Vec<Factor>> = Vec::new();
    for (axis, factors) in value.axes.iter().enumerate() {
        match axes.contains(&axis) {
            true if keeps => left.push(Vec::new()),
            true => {}
            false => left.push(factors.iter().filter_map(moved).collect()),
        }
    }
    let sides = kept.iter().map(|piece| value.sides[*piece]).collect();
    Traced { value: result, shape, sides, axes: left }
}
