//! Layers: convolutions, linear layers, norms, PReLU, softmax, matrix products and attention.

use super::OnnxLowering;
use super::node::{Node, side};
use super::select::axis_of;
use crate::import::graph::lower::aten::{EVALUATION, Known, Lowered, NormTensors, Operand, Problem, refuse};
use crate::import::graph::lower::traced::{Size, Traced};
use crate::import::graph::lower::view::View;
use crate::text::excerpt;
use fieldfit_nets::{LayerNorm, Op, Padding, Role, Window};

impl<'l, 'r, 'a> OnnxLowering<'l, 'r, 'a> {
    pub(super) fn conv(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let (value, weight) = (self.value(node, 0)?, self.kernel(node)?);
        let bias = self.parameter(node, 2, 0.0)?;
        let groups = usize::try_from(node.int("group", 1)?).unwrap_or(0);
        if let (Operand::Tensor(weight), [_, _, _]) = (&weight, &self.lowering.shape_of(&weight)[..]) {
            let (steps, padding) = self.line(node)?;
            return self.lowering.conv1d_of(value, (*weight, bias), (steps, padding), groups);
        }
        let [_, _, rows, columns] = self.lowering.kernel(&weight)?;
        let window = self.window(node, [rows, columns])?;
        self.lowering.conv_of(&value, (&weight, bias), window, groups)
    }

    pub(super) fn conv_transpose(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let (value, weight) = (self.value(node, 0)?, self.weight(node, 1)?);
        let bias = self.parameter(node, 2, 0.0)?;
        if node.attribute("output_shape").is_some() || !matches!(node.text("auto_pad", "NOTSET")?, "NOTSET" | "VALID") {
            return refuse("a transposed convolution of a stated output");
        }
        let [_, _, rows, columns] = self.lowering.kernel(&Operand::Tensor(weight))?;
        let window = self.window(node, [rows, columns])?;
        let groups = usize::try_from(node.int("group", 1)?).unwrap_or(0);
        let output_padding = node.pair("output_padding", 0)?;
        self.lowering.conv_transpose_of(&value, (weight, bias), (window, output_padding), groups)
    }

    /// Returns stride and dilation of a convolution along one axis, and its padding before and behind.
    pub(super) fn line(&self, node: &Node<'r, 'a>) -> Lowered<([usize; 2], [usize; 2])> {
        let one = |name| match node.ints(name)? {
            None => Ok(1),
            Some([step]) => side(name, *step),
            Some(values) => refuse(format!("attribute `{name}` of {} axes", values.len())),
        };
        let padding = match (node.text("auto_pad", "NOTSET")?, node.ints("pads")?) {
            ("NOTSET" | "VALID", None) | ("VALID", _) => [0; 2],
            ("NOTSET", Some([before, behind])) => [side("pads", *before)?, side("pads", *behind)?],
            _ => return refuse("padding of that form"),
        };
        Ok(([one("strides")?, one("dilations")?], padding))
    }

    /// Returns the window of a convolution or pool of an image.
    pub(super) fn window(&self, node: &Node<'r, 'a>, kernel: [usize; 2]) -> Lowered<Window> {
        if let Some(stated) = node.ints("kernel_shape")? {
            match stated {
                [rows, columns] if [side("kernel_shape", *rows)?, side("kernel_shape", *columns)?] == kernel => {}
                _ => return refuse(format!("a kernel of {kernel:?} pixels that is stated as {stated:?}")),
            }
        }
        let padding = match node.text("auto_pad", "NOTSET")? {
            "NOTSET" => match node.ints("pads")? {
                None => Padding::NONE,
                Some([above, left, below, right]) => {
                    let [above, left, below, right] = [above, left, below, right].map(|amount| side("pads", *amount));
                    Padding::Fixed([[above?, below?], [left?, right?]])
                }
                Some(pads) => return refuse(format!("padding {pads:?}")),
            },
            "VALID" => Padding::NONE,
            "SAME_UPPER" => Padding::Same,
            "SAME_LOWER" => Padding::SameLower,
            other => return refuse(format!("padding `{}`", excerpt(other))),
        };
        let (stride, dilation) = (node.pair("strides", 1)?, node.pair("dilations", 1)?);
        Ok(Window { kernel, stride, dilation, padding, rounds_up: node.flag("ceil_mode", false)? })
    }

    pub(super) fn batch_norm(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(node, 0)?;
        let writes_statistics = node.raw.outputs.iter().skip(1).flatten().any(|name| self.patterns.readers(name) > 0);
        if node.flag("training_mode", false)? || writes_statistics {
            return Err(Problem::Use("a batch norm in training mode".to_owned(), EVALUATION));
        }
        let tensors = NormTensors {
            mean: self.parameter(node, 3, 0.0)?,
            variance: self.parameter(node, 4, 1.0)?,
            ..self.affine(node)?
        };
        self.lowering.batch_norm_of(&value, tensors, node.number("epsilon", 1e-5)?)
    }

    /// Returns the scale and shift of a norm, inputs 1 and 2.
    fn affine(&mut self, node: &Node<'r, 'a>) -> Lowered<NormTensors> {
        let (scale, shift) = (self.parameter(node, 1, 1.0)?, self.parameter(node, 2, 0.0)?);
        Ok(NormTensors { scale, shift, ..NormTensors::default() })
    }

    pub(super) fn layer_norm(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(node, 0)?;
        let axis = axis_of(node.int("axis", -1)?, value.rank())?;
        if node.raw.outputs.iter().skip(1).flatten().any(|name| self.patterns.readers(name) > 0) {
            return refuse("a layer norm whose statistics are read");
        }
        let (tensors, count) = (self.affine(node)?, value.rank() - axis);
        self.lowering.layer_norm_of(value, count, tensors, node.number("epsilon", 1e-5)?)
    }

    pub(super) fn group_norm(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(node, 0)?;
        let tensors = self.affine(node)?;
        let groups = usize::try_from(node.int("num_groups", 1)?).unwrap_or(0);
        self.lowering.group_norm_of(&value, tensors, node.number("epsilon", 1e-5)?, groups)
    }

    /// Lowers a norm of each channel of an image; or of `[N, groups, values]`, as a group norm is written.
    pub(super) fn instance_norm(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(node, 0)?;
        let epsilon = node.number("epsilon", 1e-5)?;
        let tensors = self.affine(node)?;
        if value.rank() == 4 {
            let channels = value.length(1);
            return self.lowering.group_norm_of(&value, tensors, epsilon, channels);
        }
        if value.rank() < 3 {
            return refuse(format!("an instance norm of an array of {} axes", value.rank()));
        }
        // The groups of channels are a piece that the channels within a group follow in memory.
        let groups = value.pieces(1).unwrap_or_default();
        let (has_affine, rank) = (tensors.scale.is_some() || tensors.shift.is_some(), value.rank());
        let channels = value.shape.channels;
        let behind: usize = match groups[..] {
            [] => channels,
            [piece] => value.sides[piece..].iter().product(),
            _ => 0,
        };
        if rank != 3 || has_affine || behind != channels || value.pieces(2).is_none() {
            return refuse(format!("an instance norm of an array of {rank} axes"));
        }
        let mut filled = |name: &str, fill| {
            let name = format!("{}.{name}", self.lowering.sketch.path);
            self.lowering.sketch.filled(name, (vec![channels], Role::Constant), fill)
        };
        let norm = LayerNorm { scale: filled("weight", 1.0), shift: filled("bias", 0.0), epsilon };
        self.lowering.unary(&value, Op::GroupNorm { norm, groups: value.length(1) })
    }

    pub(super) fn gemm(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(node, 0)?;
        let (alpha, beta) = (node.number("alpha", 1.0)?, node.number("beta", 1.0)?);
        if node.flag("transA", false)? || alpha != 1.0 || (beta != 1.0 && node.input(2).is_some()) {
            return refuse("a matrix product with factors, or of a transposed value");
        }
        let (weight, is_turned) = match self.array(node, 1)? {
            Known::Traced(mut weight) if weight.rank() == 2 => {
                if !node.flag("transB", false)? {
                    weight.axes.reverse();
                }
                let bias = self.parameter(node, 2, 0.0)?;
                return self.lowering.linear_computed(value, weight, bias);
            }
            Known::Turned { index } => (index, true),
            known => (self.whole_tensor(known, "weight")?, false),
        };
        // The weight of a linear layer is `[out, in]`.
        let is_turned = is_turned == node.flag("transB", false)?;
        let bias = self.parameter(node, 2, 0.0)?;
        self.lowering.linear_turned(&value, (weight, bias), is_turned)
    }

    pub(super) fn matmul(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let (left, right) = (self.array(node, 0)?, self.array(node, 1)?);
        let matrix = |known: &Known| match known {
            Known::Tensor { index, shape } if shape.len() == 2 && *shape == self.lowering.raw.tensors[*index].shape => {
                Some((*index, true))
            }
            Known::Turned { index } => Some((*index, false)),
            Known::Tensor { .. }
            | Known::Traced(_)
            | Known::Expanded { .. }
            | Known::Constant(_)
            | Known::Int(_)
            | Known::Unread => None,
        };
        match (matrix(&left), matrix(&right), left, right) {
            (_, Some((weight, is_turned)), Known::Traced(value), _) => {
                self.products.extend(node.output().cloned());
                self.lowering.linear_turned(&value, (weight, None), is_turned)
            }
            // A matrix from the left is a linear layer over the second last axis.
            (Some((weight, is_turned)), _, _, right @ Known::Traced(_)) => {
                let swapped = self.swapped(right)?;
                let result = self.lowering.linear_turned(&swapped, (weight, None), !is_turned)?;
                self.swapped(Known::Traced(result))
            }
            (_, _, left, right) => {
                let (left, right) = (self.lowering.traced(left)?, self.lowering.traced(right)?);
                if left.rank() != right.rank() || left.rank() == 2 {
                    return self.lowering.matrix_product(Known::Traced(left), Known::Traced(right));
                }
                self.product(&left, right)
            }
        }
    }

    /// Appends a matrix product; the second value is read as it lies in memory.
    fn product(&mut self, left: &Traced, right: Traced) -> Lowered<Traced> {
        let Some(last) = right.rank().checked_sub(1).filter(|last| *last > 0) else {
            return refuse("a matrix product of a vector");
        };
        let place = |axis: usize| right.pieces(axis).and_then(|pieces| pieces.into_iter().max());
        if place(last - 1) > place(last) {
            let right = self.swapped(Known::Traced(right))?;
            return self.lowering.product(left, &right, true, 1.0);
        }
        self.lowering.product(left, &right, false, 1.0)
    }

    /// Exchanges the last two axes.
    fn swapped(&mut self, known: Known) -> Lowered<Traced> {
        let swapped = self.view(known, &View::Swap(-1, -2))?;
        self.lowering.traced(swapped)
    }

    pub(super) fn prelu(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let value = self.value(node, 0)?;
        let Known::Tensor { index, shape } = self.array(node, 1)? else { return refuse("slopes that are computed") };
        // The slopes are broadcast: [C, 1, 1] is one for each channel of an image.
        let from_end = shape.iter().rev().position(|side| *side != 1);
        if from_end.is_some_and(|axis| axis + 2 != value.rank()) || shape.iter().filter(|side| **side != 1).count() > 1
        {
            return refuse(format!("slopes of shape {shape:?}"));
        }
        self.lowering.prelu_of(&value, index)
    }

    /// Lowers a softmax: over one axis since opset 13, over that axis and all behind it before.
    pub(super) fn softmax(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        const ONE_AXIS: i64 = 13;
        let value = self.value(node, 0)?;
        let default = if self.opset < ONE_AXIS { 1 } else { -1 };
        let axis = axis_of(node.int("axis", default)?, value.rank())?;
        let has_others = (axis + 1..value.rank()).any(|axis| value.length(axis) != 1);
        if self.opset < ONE_AXIS && has_others {
            return refuse("a softmax over several axes");
        }
        match node.op() {
            "LogSoftmax" => self.lowering.log_softmax_of(&value, axis as i64),
            _ => self.lowering.softmax_of(&value, axis as i64),
        }
    }

    /// Lowers attention over `[N, heads, tokens, width]`, or `[N, tokens, heads · width]` with the number of heads stated.
    pub(super) fn attention(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let inputs = [self.value(node, 0)?, self.value(node, 1)?, self.value(node, 2)?];
        let has_more = node.inputs().skip(3).any(|input| input.is_some());
        if has_more || node.flag("is_causal", false)? || node.number("softcap", 0.0)? != 0.0 {
            return refuse("attention with a mask, a cap or earlier keys");
        }
        if node.raw.outputs.iter().skip(1).flatten().any(|name| self.patterns.readers(name) > 0) {
            return refuse("attention whose scores are read");
        }
        let scale = node.attribute("scale").map(|_| node.number("scale", 1.0)).transpose()?;
        let is_joined = inputs[0].rank() == 3;
        let mut parts = Vec::with_capacity(3);
        for (input, heads) in inputs.into_iter().zip(["q_num_heads", "kv_num_heads", "kv_num_heads"]) {
            parts.push(if is_joined {
                self.heads(input, usize::try_from(node.int(heads, 0)?).unwrap_or(0))?
            } else {
                input
            });
        }
        let result = self.lowering.attention_of([&parts[0], &parts[1], &parts[2]], scale, None)?;
        if !is_joined {
            return Ok(result);
        }
        let result = result.permute(&[0, 2, 1, 3]).map(Known::Traced);
        let Some(result) = result else { return refuse("attention over arrays of other shapes") };
        let merged = self.view(result, &View::Flatten { first: 2, last: 3 })?;
        self.lowering.traced(merged)
    }

    /// Splits the last axis of `[N, tokens, heads · width]` and brings the heads ahead.
    fn heads(&mut self, value: Traced, heads: usize) -> Lowered<Traced> {
        let sizes = vec![Size::Fixed(heads), Size::Rest];
        let is_even = value.rank() == 3 && heads > 0 && value.length(2).is_multiple_of(heads);
        let split = match is_even {
            true => self.view(Known::Traced(value), &View::Unflatten { axis: 2, sizes })?,
            false => return refuse(format!("attention of {heads} heads over such an array")),
        };
        let split = self.lowering.traced(split)?.permute(&[0, 2, 1, 3]);
        split.map_or_else(|| refuse("attention over such an array"), Ok)
    }
}
