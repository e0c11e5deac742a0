//! Attention and matrix products.

use super::call::Call;
use super::concat::refine_axes;
use super::{HIDDEN, Known, Lowered, Lowering, refuse};
use crate::import::graph::lower::array::{Array, joint};
use crate::import::graph::lower::traced::{Factor, Traced};
use crate::import::graph::raw::{RawArgument, RawDtype, RawType};
use fieldfit_nets::{Arithmetic, Attention, Axis, Op};
use std::rc::Rc;

impl<'r, 'a> Lowering<'r, 'a> {
    pub(super) fn attention(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let [query, key, value] = ["query", "key", "value"].map(|name| self.value(call, name));
        let (query, key, value) = (query?, key?, value?);
        if call.number("dropout_p", 0.0)? != 0.0 {
            return refuse("attention with dropout");
        }
        let rank = query.rank();
        if rank < 3 || key.rank() < 2 || call.flag("enable_gqa", false)? {
            return refuse(format!("attention over arrays of {rank} axes, or with shared keys"));
        }
        let mask = self.mask(call, query.length(rank - 2), key.length(key.rank() - 1 - usize::from(key.rank() > 1)))?;
        let scale = match call.argument("scale") {
            None | Some(RawArgument::None) => None,
            Some(_) => Some(call.number("scale", 1.0)?),
        };
        self.attention_of([&query, &key, &value], scale, mask)
    }

    /// Appends attention over arrays `[…, tokens, width]`; the scale is 1 / √width if none is given.
    pub fn attention_of(
        &mut self,
        [query, key, value]: [&Traced; 3],
        scale: Option<f64>,
        mask: Option<Known>,
    ) -> Lowered<Traced> {
        let rank = query.rank();
        let Some(depth) = rank.checked_sub(1).map(|axis| query.length(axis)) else {
            return refuse("attention over a number");
        };
        let scale = scale.unwrap_or(1.0 / (depth as f64).sqrt());
        let is_plain = (scale * (depth as f64).sqrt() - 1.0).abs() < 1e-6;
        let parts = [query, key, value];
        let is_same = parts.iter().all(|part| {
            part.rank() == 4 && part.is_batch(0) && (1..4).all(|axis| part.length(axis) == query.length(axis))
        });
        if is_plain && is_same && rank == 4 && mask.is_none() {
            let heads = query.length(1);
            let mut inputs = Vec::with_capacity(3);
            for part in parts {
                let [Some(head), Some(tokens), Some(depth)] = [1, 2, 3].map(|axis| part.pieces(axis)) else {
                    return refuse("attention over the batch");
                };
                let units = self.units(part, &[&head, &tokens, &depth]);
                let (columns, channels) = ([units, tokens].concat(), [head, depth].concat());
                inputs.push(self.sketch.arrange(part, [&[], &columns, &channels])?.value);
            }
            let (joined, _) = self.sketch.node(Op::Concat(Axis::Channels), &inputs)?;
            let attention = Op::Attention(Attention { heads, width: heads * depth });
            let (result, shape) = self.sketch.node(attention, &[joined])?;
            let sides = vec![query.length(2), heads, depth];
            let axes =
                vec![vec![Factor::Batch], vec![Factor::Piece(1)], vec![Factor::Piece(0)], vec![Factor::Piece(2)]];
            return Ok(Traced { value: result, shape, sides, axes });
        }
        let mut scores = self.product(query, key, true, scale)?;
        if let Some(mask) = mask {
            scores = self.compute(Arithmetic::Add, Known::Traced(scores), mask)?;
        }
        let scores = self.channels_last(&scores, rank - 1)?;
        let shares = self.unary(&scores, Op::Softmax(Axis::Channels))?;
        self.product(&shares, value, false, 1.0)
    }

    /// Returns what an attention's mask adds to its scores; `None` without one.
    fn mask(&mut self, call: &Call<'r, 'a>, queries: usize, keys: usize) -> Lowered<Option<Known>> {
        if call.flag("is_causal", false)? {
            let Some(mut mask) = Array::filled(vec![queries, keys], 0.0) else { return refuse("a mask of that size") };
            let later = mask.values.iter_mut().enumerate().filter(|(at, _)| at % keys > at / keys);
            later.for_each(|(_, value)| *value = HIDDEN);
            return Ok(Some(Known::Constant(Rc::new(mask))));
        }
        let Some(argument) = call.argument("attn_mask").filter(|argument| !matches!(argument, RawArgument::None))
        else {
            return Ok(None);
        };
        let is_flag = matches!(argument, RawArgument::Value(name)
            if matches!(self.raw.types.get(name), Some(RawType::Tensor { dtype: RawDtype::Bool, .. })));
        match (is_flag, self.array(Some(argument))) {
            (true, Some(mask)) => {
                Ok(Some(Known::Constant(Rc::new(mask.map(|shown| if shown == 0.0 { HIDDEN } else { 0.0 })))))
            }
            (true, None) => refuse("a mask that depends on the image"),
            (false, Some(mask)) => Ok(Some(Known::Constant(Rc::new(mask.map(|value| value.max(HIDDEN)))))),
            (false, None) => Ok(Some(self.known_argument(argument)?)),
        }
    }

    /// Lowers a matrix product of arrays whose ranks may differ.
    pub fn matrix_product(&mut self, left: Known, right: Known) -> Lowered<Traced> {
        if let (Known::Traced(value), Known::Turned { index }) = (&left, &right) {
            let value = value.clone();
            return self.linear_of(&value, *index, None);
        }
        let (mut left, mut right) = (self.traced(left)?, self.traced(right)?);
        if left.rank() < 2 || right.rank() < 2 {
            return refuse("a matrix product of a vector");
        }
        let (rank, drops) = (left.rank().max(right.rank()).max(3), left.rank().max(right.rank()) == 2);
        for value in [&mut left, &mut right] {
            while value.rank() < rank {
                value.axes.insert(0, Vec::new());
            }
        }
        let mut result = self.product(&left, &right, false, 1.0)?;
        if drops {
            result.axes.remove(0);
        }
        Ok(result)
    }

    /// Appends a matrix product over the last two axes.
    pub fn product(&mut self, left: &Traced, right: &Traced, transposes: bool, scale: f64) -> Lowered<Traced> {
        let rank = left.rank();
        if rank < 3 || right.rank() != rank {
            return refuse("a matrix product of arrays of other ranks");
        }
        if !left.is_aligned_with(right) {
            return refuse("a matrix product between the images of a batch");
        }
        let (mut left, mut right) = (left.clone(), right.clone());
        let mut outer: Vec<usize> = (0..rank - 2).collect();
        let is_one = |value: &Traced, axis: usize| value.length(axis) == 1;
        // One right matrix for all: the left matrices are rows of one.
        let is_shared = outer.iter().all(|axis| is_one(&right, *axis) && !right.axes[*axis].contains(&Factor::Batch));
        if is_shared {
            outer.clear();
        } else {
            let lengths = joint(&left.lengths()[..rank - 2], &right.lengths()[..rank - 2]);
            let Some(lengths) = lengths else { return refuse("a matrix product of arrays of other shapes") };
            for value in [&mut left, &mut right] {
                let wanted = [lengths.clone(), value.lengths()[rank - 2..].to_vec()].concat();
                *value = self.repeated(value, &wanted)?;
            }
            if refine_axes(&mut left, &mut right, &outer).is_none() {
                return refuse("a matrix product of arrays of other shapes");
            }
        }
        let mut operands = Vec::with_capacity(2);
        for (value, shared) in [(&left, is_shared), (&right, false)] {
            let pieces_of = |axes: &[usize]| -> Vec<usize> {
                let factors = axes.iter().flat_map(|axis| &value.axes[*axis]);
                factors
                    .filter_map(|factor| if let Factor::Piece(piece) = factor { Some(*piece) } else { None })
                    .collect()
            };
            let rows = pieces_of(&outer);
            let columns =
                if shared { Some(pieces_of(&(0..rank - 1).collect::<Vec<_>>())) } else { value.pieces(rank - 2) };
            let (Some(columns), Some(channels)) = (columns, value.pieces(rank - 1)) else {
                return refuse("a matrix product over the batch");
            };
            let units = self.units(value, &[&rows, &columns, &channels]);
            if units.iter().any(|piece| value.sides[*piece] != 1) {
                return refuse("a matrix product of arrays of other shapes");
            }
            let rows = [units, rows].concat();
            operands.push(self.sketch.arrange(value, [&rows, &columns, &channels])?);
        }
        let op = Op::MatMul { transposes, scale };
        let (result, shape) = self.sketch.node(op, &[operands[0].value, operands[1].value])?;
        let left = &operands[0];
        let kept = left.sides.len() - left.axes[rank - 1].len();
        let mut sides = left.sides[..kept].to_vec();
        sides.push(shape.channels);
        let mut axes = left.axes.clone();
        axes[rank - 1] = vec![Factor::Piece(kept)];
        let mut result = Traced { value: result, shape, sides, axes };
        if !result.has_batch() {
            let batch = |axis: &usize| operands[1].axes[*axis].first() == Some(&Factor::Batch);
            match (0..rank).find(batch) {
                Some(axis) if axis < rank - 2 => result.axes[axis].insert(0, Factor::Batch),
                Some(_) => return refuse("a matrix product over the batch"),
                None => {}
            }
        }
        Ok(result)
    }
}

/// Returns the name of a product's second argument.
pub(super) fn call_other(call: &Call<'_, '_>) -> &'static str {
    if call.argument("mat2").is_some() { "mat2" } else { "other" }
}
