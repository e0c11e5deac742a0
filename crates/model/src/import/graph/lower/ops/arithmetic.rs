//! Arithmetic: of two values, of a value and a tensor, and of a value and a number.

use crate::import::graph::lower::lowering::{Known, Lowered, Lowering, refuse};
use crate::import::graph::lower::traced::{Factor, Traced};
use fieldfit_nets::{Arithmetic, Op, Role, Shape};

impl<'r, 'a> Lowering<'r, 'a> {
    /// Appends arithmetic of two values, or of a value and a tensor.
    pub fn append_arithmetic(&mut self, arithmetic: Arithmetic, left: Known, right: Known) -> Lowered<Traced> {
        match (left, right) {
            (Known::Traced(left), Known::Traced(right)) => self.combine(arithmetic, left, right),
            (Known::Traced(left), Known::Tensor { index, shape }) => {
                self.with_tensor(arithmetic, left, (index, shape), false)
            }
            (Known::Tensor { index, shape }, Known::Traced(right)) => {
                self.with_tensor(arithmetic, right, (index, shape), true)
            }
            _ => refuse("arithmetic of tensors alone"),
        }
    }

    /// Appends arithmetic of a value and a number.
    pub fn append_scalar(&mut self, arithmetic: Arithmetic, value: &Traced, number: f64) -> Lowered<Traced> {
        let (scale, shift) = match arithmetic {
            Arithmetic::Add => (1.0, number),
            Arithmetic::Subtract => (1.0, -number),
            Arithmetic::Multiply => (number, 0.0),
            Arithmetic::Divide => (1.0 / number, 0.0),
        };
        self.unary(value, Op::Scalar { scale, shift })
    }

    /// Appends arithmetic of two values.
    fn combine(&mut self, arithmetic: Arithmetic, mut left: Traced, mut right: Traced) -> Lowered<Traced> {
        let rank = left.rank().max(right.rank());
        for value in [&mut left, &mut right] {
            while value.rank() < rank {
                value.axes.insert(0, Vec::new());
            }
        }
        if left.refine(&mut right).is_none() {
            return refuse("arithmetic of arrays of other shapes");
        }
        let len = |value: &Traced| value.sides.iter().product::<usize>();
        let is_swapped = len(&right) > len(&left);
        let (large, small) = if is_swapped { (right, left) } else { (left, right) };
        let (large, small) = self.conform(large, small)?;
        let operands = if is_swapped { [small.value, large.value] } else { [large.value, small.value] };
        let (value, shape) = self.sketch.node(Op::Arithmetic(arithmetic), &operands)?;
        if shape != large.shape {
            return refuse("arithmetic in which both arrays are repeated");
        }
        Ok(Traced { value, shape, ..large })
    }

    /// Brings a smaller value into the larger one's order in memory.
    fn conform(&mut self, large: Traced, small: Traced) -> Lowered<(Traced, Traced)> {
        // Of each piece of the larger value, the smaller one's piece at the same place of the same axis.
        let mut partner = vec![None; large.sides.len()];
        for axis in 0..large.rank() {
            if small.length(axis) == 1 {
                continue;
            }
            if large.length(axis) == 1 {
                return refuse("arithmetic in which both arrays are repeated");
            }
            for (ours, theirs) in large.axes[axis].iter().zip(&small.axes[axis]) {
                if let (Factor::Piece(ours), Factor::Piece(theirs)) = (ours, theirs) {
                    partner[*ours] = Some(*theirs);
                }
            }
        }
        let is_there = |piece: usize| partner[piece].is_some() || large.sides[piece] == 1;
        // Runs of pieces that the smaller value has, or has not, are rows, columns and channels.
        let current = self.groups_of(&large);
        let is_uniform = |group: &Vec<usize>| {
            group.iter().all(|piece| is_there(*piece)) || group.iter().all(|piece| partner[*piece].is_none())
        };
        let groups = match current.filter(|groups| groups.iter().all(is_uniform)) {
            Some(groups) => groups,
            None => {
                let mut runs: Vec<Vec<usize>> = Vec::new();
                for piece in 0..large.sides.len() {
                    match runs.last_mut() {
                        Some(run) if run.iter().all(|other| partner[*other].is_some() == partner[piece].is_some()) => {
                            run.push(piece)
                        }
                        _ => runs.push(vec![piece]),
                    }
                }
                if runs.len() > 3 {
                    return refuse("arithmetic of arrays that are repeated along alternating axes");
                }
                while runs.len() < 3 {
                    runs.insert(0, Vec::new());
                }
                runs
            }
        };
        let large = self.sketch.arrange(&large, [&groups[0], &groups[1], &groups[2]])?;
        let theirs: Vec<Vec<usize>> =
            groups.iter().map(|group| group.iter().filter_map(|piece| partner[*piece]).collect()).collect();
        let units = self.units(&small, &[&theirs[0], &theirs[1], &theirs[2]]);
        if units.iter().any(|piece| small.sides[*piece] != 1) {
            return refuse("arithmetic of arrays of other shapes");
        }
        let rows = [units, theirs[0].clone()].concat();
        let small = self.sketch.arrange(&small, [&rows, &theirs[1], &theirs[2]])?;
        Ok((large, small))
    }

    /// Returns the pieces of a value's rows, columns and channels, if each is whole pieces.
    fn groups_of(&self, value: &Traced) -> Option<Vec<Vec<usize>>> {
        let mut groups = Vec::new();
        let mut next = 0;
        for side in value.shape.sides() {
            let (first, mut len) = (next, 1);
            while len < side {
                len *= value.sides.get(next)?;
                next += 1;
            }
            if len != side {
                return None;
            }
            groups.push((first..next).collect::<Vec<_>>());
        }
        groups[2].extend(next..value.sides.len());
        Some(groups)
    }

    /// Appends arithmetic of a value and a tensor.
    fn with_tensor(
        &mut self,
        arithmetic: Arithmetic,
        value: Traced,
        (index, mut shape): (usize, Vec<usize>),
        is_first: bool,
    ) -> Lowered<Traced> {
        if shape.len() > value.rank() {
            return refuse("arithmetic that repeats the image's value");
        }
        while shape.len() < value.rank() {
            shape.insert(0, 1);
        }
        let wide: Vec<usize> = (0..value.rank()).filter(|axis| shape[*axis] != 1).collect();
        if wide.iter().any(|axis| shape[*axis] != value.length(*axis) || value.axes[*axis].contains(&Factor::Batch)) {
            return refuse("arithmetic with a tensor of another shape");
        }
        if let ([axis], Arithmetic::Add | Arithmetic::Multiply) = (&wide[..], arithmetic) {
            let value = self.channels_last(&value, *axis)?;
            let is_product = arithmetic == Arithmetic::Multiply;
            let role = if is_product { Role::LayerScale } else { Role::Bias };
            let tensor = Some(self.tensor(index, (vec![value.shape.channels], role), false)?);
            let (scale, shift) = if is_product { (tensor, None) } else { (None, tensor) };
            return self.unary(&value, Op::Affine { scale, shift });
        }
        let parameter = self.parameter_value(index, &shape)?;
        if is_first { self.combine(arithmetic, parameter, value) } else { self.combine(arithmetic, value, parameter) }
    }

    /// Appends a tensor as a value of that shape, without a batch.
    pub fn parameter_value(&mut self, index: usize, shape: &[usize]) -> Lowered<Traced> {
        let sides = shape.to_vec();
        let channels = sides.last().copied().unwrap_or(1);
        let len: usize = sides.iter().product();
        let value_shape = Shape { height: 1, width: len / channels.max(1), channels };
        let role = if shape.len() > 1 { Role::Positions } else { Role::Token };
        let tensor = self.tensor(index, (self.raw.tensors[index].shape.clone(), role), false)?;
        let (value, value_shape) = self.sketch.node(Op::Parameter { tensor, shape: value_shape }, &[])?;
        let axes = (0..sides.len()).map(|piece| vec![Factor::Piece(piece)]).collect();
        Ok(Traced { value, shape: value_shape, sides, axes })
    }
}
