//! Attention and matrix products.

use super::concat::refine_axes;
use crate::import::graph::lower::lowering::{Lowered, Lowering, refuse};
use crate::import::graph::lower::traced::{Factor, Traced};
use fieldfit_nets::{Attention, Axis, Op};

impl<'r, 'a> Lowering<'r, 'a> {
    /// Appends attention over `[N, heads, tokens, width]`; the scale is 1 / √width if none is given.
    pub fn append_attention(
        &mut self,
        query: &Traced,
        key: &Traced,
        value: &Traced,
        scale: Option<f64>,
    ) -> Lowered<Traced> {
        if query.rank() != 4 {
            return refuse(format!("attention over arrays of {} axes", query.rank()));
        }
        let (heads, depth) = (query.length(1), query.length(3));
        let scale = scale.unwrap_or(1.0 / (depth as f64).sqrt());
        let is_plain = (scale * (depth as f64).sqrt() - 1.0).abs() < 1e-6;
        let parts = [query, key, value];
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
        let scores = self.append_product(query, key, true, scale)?;
        let scores = self.channels_last(&scores, 3)?;
        let shares = self.unary(&scores, Op::Softmax(Axis::Channels))?;
        self.append_product(&shares, value, false, 1.0)
    }

    /// Appends a matrix product over the last two axes.
    pub fn append_product(&mut self, left: &Traced, right: &Traced, transposes: bool, scale: f64) -> Lowered<Traced> {
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
