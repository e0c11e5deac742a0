//! Attention and matrix products.

use super::call::Call;
use super::concat::refine_axes;
use super::{Lowered, Lowering, refuse};
use crate::import::graph::lower::traced::{Factor, Traced};
use crate::import::graph::raw::RawArgument;
use fieldfit_nets::{Attention, Axis, Op};

impl<'r, 'a> Lowering<'r, 'a> {
    pub(super) fn attention(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let [query, key, value] = ["query", "key", "value"].map(|name| self.value(call, name));
        let (query, key, value) = (query?, key?, value?);
        let has_mask = !matches!(call.argument("attn_mask"), None | Some(RawArgument::None));
        if call.flag("is_causal", false)? || call.number("dropout_p", 0.0)? != 0.0 || has_mask {
            return refuse("attention with a mask or dropout");
        }
        if query.rank() != 4 {
            return refuse(format!("attention over arrays of {} axes", query.rank()));
        }
        let (heads, depth) = (query.length(1), query.length(3));
        let scale = match call.argument("scale") {
            None | Some(RawArgument::None) => 1.0 / (depth as f64).sqrt(),
            Some(_) => call.number("scale", 1.0)?,
        };
        let is_plain = (scale * (depth as f64).sqrt() - 1.0).abs() < 1e-6;
        let parts = [&query, &key, &value];
        let is_same = parts.iter().all(|part| {
            part.rank() == 4 && part.is_batch(0) && (1..4).all(|axis| part.length(axis) == query.length(axis))
        });
        if is_plain && is_same {
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
        let scores = self.product(&query, &key, true, scale)?;
        let scores = self.channels_last(&scores, 3)?;
        let shares = self.unary(&scores, Op::Softmax(Axis::Channels))?;
        self.product(&shares, &value, false, 1.0)
    }

    /// Appends a matrix product over the last two axes.
    pub(super) fn product(&mut self, left: &Traced, right: &Traced, transposes: bool, scale: f64) -> Lowered<Traced> {
        let rank = left.rank();
        if rank < 3 || right.rank() != rank {
            return refuse("a matrix product of arrays of other ranks");
        }
        let (mut left, mut right) = (left.clone(), right.clone());
        let outer: Vec<usize> = (0..rank - 2).collect();
        if refine_axes(&mut left, &mut right, &outer).is_none() {
            return refuse("a matrix product of arrays of other shapes");
        }
        let mut operands = Vec::with_capacity(2);
        for value in [&left, &right] {
            let rows: Vec<usize> = outer
                .iter()
                .flat_map(|axis| &value.axes[*axis])
                .filter_map(|factor| if let Factor::Piece(piece) = factor { Some(*piece) } else { None })
                .collect();
            let (Some(columns), Some(channels)) = (value.pieces(rank - 2), value.pieces(rank - 1)) else {
                return refuse("a matrix product over the batch");
            };
            let units = self.units(value, &[&rows, &columns, &channels]);
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
        Ok(Traced { value: result, shape, sides, axes })
    }
}

/// Returns the name of a product's second argument.
pub(super) fn call_other(call: &Call<'_, '_>) -> &'static str {
    if call.argument("mat2").is_some() { "mat2" } else { "other" }
}
