//! Arithmetic: of two values, of a value and a tensor, and of a value and a number.

use super::call::Call;
use super::{Known, Lowered, Lowering, refuse};
use crate::import::graph::lower::array::{Array, joint};
use crate::import::graph::lower::traced::{Factor, Traced};
use crate::import::graph::raw::RawArgument;
use fieldfit_nets::{Arithmetic, Function, Op, Role, Shape};
use fieldfit_tensor::TensorId;
use std::rc::Rc;

/// What is refused of a constant that has more axes than the value.
const RANK: &str = "arithmetic with a constant of more axes";

/// A tensor of the file, or a constant that it computes.
#[derive(Debug, Clone)]
pub(in super::super) enum Operand {
    /// Position of the tensor in the file.
    Tensor(usize),
    /// The values.
    Constant(Rc<Array>),
}

impl<'r, 'a> Lowering<'r, 'a> {
    pub(super) fn arithmetic(&mut self, call: &Call<'r, 'a>, arithmetic: Arithmetic) -> Lowered<Vec<Known>> {
        if !matches!(call.argument("rounding_mode"), None | Some(RawArgument::None)) {
            return refuse("a division that rounds");
        }
        let Some(left) = call.argument("self").map(|argument| self.operand(argument)).transpose()? else {
            return refuse("a call without `self`");
        };
        let Some(mut right) = call.argument("other").map(|argument| self.operand(argument)).transpose()? else {
            return refuse("a call without `other`");
        };
        let alpha = call.number("alpha", 1.0)?;
        if alpha != 1.0 {
            let value = self.traced(right)?;
            right = Known::Traced(self.unary(&value, Op::Scalar { scale: alpha, shift: 0.0 })?);
        }
        Ok(vec![Known::Traced(self.compute(arithmetic, left, right)?)])
    }

    /// Lowers `self + value · tensor1 · tensor2`, or the quotient.
    pub(super) fn add_combined(&mut self, call: &Call<'r, 'a>, arithmetic: Arithmetic) -> Lowered<Traced> {
        let mut operands = Vec::with_capacity(3);
        for name in ["self", "tensor1", "tensor2"] {
            match call.argument(name) {
                Some(argument) => operands.push(self.operand(argument)?),
                None => return refuse(format!("a call without `{name}`")),
            }
        }
        let [added, left, right] = [operands[0].clone(), operands[1].clone(), operands[2].clone()];
        let mut product = self.compute(arithmetic, left, right)?;
        let scale = call.number("value", 1.0)?;
        if scale != 1.0 {
            product = self.unary(&product, Op::Scalar { scale, shift: 0.0 })?;
        }
        self.compute(Arithmetic::Add, Known::Traced(product), added)
    }

    /// Appends a power whose exponent is a value, `e^(exponent · ln x)`; the base must not be negative.
    pub fn power_of(&mut self, base: &Traced, exponent: Traced) -> Lowered<Traced> {
        if !self.sketch.is_non_negative(base.value) {
            return refuse("a power whose exponent is computed, of a base that may be negative");
        }
        let log = self.unary(base, Op::Activate(Function::Log))?;
        let product = self.combine(Arithmetic::Multiply, log, exponent)?;
        self.unary(&product, Op::Activate(Function::Exp))
    }

    /// Returns an argument, which may be a number.
    pub(super) fn operand(&self, argument: &RawArgument<'a>) -> Lowered<Known> {
        let number = match argument {
            RawArgument::Float(value) => *value,
            RawArgument::Int(value) => *value as f64,
            _ => return self.known_argument(argument),
        };
        Ok(Known::Constant(Rc::new(Array::scalar(number))))
    }

    /// Appends arithmetic of values, tensors, constants and numbers.
    pub fn compute(&mut self, arithmetic: Arithmetic, left: Known, right: Known) -> Lowered<Traced> {
        let single = |known: &Known| if let Known::Constant(array) = known { array.single() } else { None };
        let rank = |known: &Known| if let Known::Constant(array) = known { array.shape.len() } else { 0 };
        match (single(&left), single(&right)) {
            (None, Some(number)) => {
                let (value, rank) = (self.traced(left)?, rank(&right));
                return if rank <= value.rank() { self.with_number(arithmetic, &value, number) } else { refuse(RANK) };
            }
            (Some(number), None) => {
                let (value, rank) = (self.traced(right)?, rank(&left));
                return if rank <= value.rank() {
                    self.with_number_first(arithmetic, number, &value)
                } else {
                    refuse(RANK)
                };
            }
            _ => {}
        }
        match (left, right) {
            (Known::Traced(left), Known::Tensor { index, shape }) => {
                self.with_tensor(arithmetic, left, (Operand::Tensor(index), shape), false)
            }
            (Known::Tensor { index, shape }, Known::Traced(right)) => {
                self.with_tensor(arithmetic, right, (Operand::Tensor(index), shape), true)
            }
            (Known::Traced(left), Known::Constant(array)) => {
                let shape = array.shape.clone();
                self.with_tensor(arithmetic, left, (Operand::Constant(array), shape), false)
            }
            (Known::Constant(array), Known::Traced(right)) => {
                let shape = array.shape.clone();
                self.with_tensor(arithmetic, right, (Operand::Constant(array), shape), true)
            }
            (left, right) => {
                let (left, wanted) = self.unexpanded(left)?;
                let (right, other_wanted) = self.unexpanded(right)?;
                let left = self.covered(left, &wanted, &right)?;
                let right = self.covered(right, &other_wanted, &left)?;
                self.combine(arithmetic, left, right)
            }
        }
    }

    /// Returns a value without its repetitions, and the lengths that they make.
    fn unexpanded(&mut self, known: Known) -> Lowered<(Traced, Vec<usize>)> {
        if let Known::Expanded { value, lengths } = known {
            return Ok((value, lengths));
        }
        let value = self.traced(known)?;
        let lengths = value.lengths();
        Ok((value, lengths))
    }

    /// Repeats a value to these lengths, unless the other one has them.
    fn covered(&mut self, value: Traced, wanted: &[usize], other: &Traced) -> Lowered<Traced> {
        match joint(&value.lengths(), &other.lengths()) {
            Some(joint) if joint.ends_with(wanted) => Ok(value),
            _ => self.repeated(&value, wanted),
        }
    }

    /// Appends arithmetic of a value and a number.
    fn with_number(&mut self, arithmetic: Arithmetic, value: &Traced, number: f64) -> Lowered<Traced> {
        let (scale, shift) = match arithmetic {
            Arithmetic::Add => (1.0, number),
            Arithmetic::Subtract => (1.0, -number),
            Arithmetic::Multiply => (number, 0.0),
            Arithmetic::Divide => (1.0 / number, 0.0),
            Arithmetic::Maximum => return self.clamp(value, number, f64::from(f32::MAX)),
            Arithmetic::Minimum => return self.clamp(value, f64::from(f32::MIN), number),
        };
        self.unary(value, Op::Scalar { scale, shift })
    }

    /// Appends arithmetic of a number and a value.
    fn with_number_first(&mut self, arithmetic: Arithmetic, number: f64, value: &Traced) -> Lowered<Traced> {
        match arithmetic {
            Arithmetic::Subtract => self.unary(value, Op::Scalar { scale: -1.0, shift: number }),
            Arithmetic::Divide => {
                let inverse = self.unary(value, Op::Activate(Function::Power { exponent: -1.0 }))?;
                self.unary(&inverse, Op::Scalar { scale: number, shift: 0.0 })
            }
            Arithmetic::Add | Arithmetic::Multiply | Arithmetic::Maximum | Arithmetic::Minimum => {
                self.with_number(arithmetic, value, number)
            }
        }
    }

    fn clamp(&mut self, value: &Traced, low: f64, high: f64) -> Lowered<Traced> {
        self.unary(value, Op::Activate(Function::Clamp { low, high }))
    }

    /// Appends arithmetic of two values.
    pub fn combine(&mut self, arithmetic: Arithmetic, mut left: Traced, mut right: Traced) -> Lowered<Traced> {
        let rank = left.rank().max(right.rank());
        for value in [&mut left, &mut right] {
            while value.rank() < rank {
                value.axes.insert(0, Vec::new());
            }
        }
        if !left.is_aligned_with(&right) {
            return refuse("arithmetic between the images of a batch");
        }
        let Some(lengths) = joint(&left.lengths(), &right.lengths()) else {
            return refuse("arithmetic of arrays of other shapes");
        };
        // Only one of the two is repeated by the op itself.
        if left.lengths() != lengths && right.lengths() != lengths {
            left = self.repeated(&left, &lengths)?;
        }
        if left.refine(&mut right).is_none() {
            return refuse("arithmetic of arrays of other shapes");
        }
        let len = |value: &Traced| value.sides.iter().product::<usize>();
        let is_swapped = len(&right) > len(&left);
        let (large, small) = if is_swapped { (right, left) } else { (left, right) };
        let (mut large, small) = self.conform(large, small)?;
        if arithmetic == Arithmetic::Multiply && large.value == small.value {
            return self.unary(&large, Op::Activate(Function::Square));
        }
        let operands = if is_swapped { [small.value, large.value] } else { [large.value, small.value] };
        let (value, shape) = self.sketch.node(Op::Arithmetic(arithmetic), &operands)?;
        if shape != large.shape {
            return refuse("arithmetic in which both arrays are repeated");
        }
        large.adopt_batch(&small);
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
            // The batch may be among the factors of one of them alone.
            let pieces = |value: &Traced| -> Vec<usize> {
                let piece = |factor: &Factor| if let Factor::Piece(piece) = factor { Some(*piece) } else { None };
                value.axes[axis].iter().filter_map(piece).collect()
            };
            for (ours, theirs) in pieces(&large).into_iter().zip(pieces(&small)) {
                partner[ours] = Some(theirs);
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
                    // Repeated along alternating axes: the op repeats runs alone.
                    let (mut large, mut small) = (large.clone(), self.repeated(&small, &large.lengths())?);
                    return match large.refine(&mut small) {
                        Some(()) => self.conform(large, small),
                        None => refuse("arithmetic of arrays of other shapes"),
                    };
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
    pub fn groups_of(&self, value: &Traced) -> Option<Vec<Vec<usize>>> {
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
        (operand, shape): (Operand, Vec<usize>),
        is_first: bool,
    ) -> Lowered<Traced> {
        let ahead = value.rank().saturating_sub(shape.len());
        let wide: Vec<usize> = (0..shape.len()).filter(|axis| shape[*axis] != 1).map(|axis| ahead + axis).collect();
        if let ([axis], Arithmetic::Add | Arithmetic::Multiply) = (&wide[..], arithmetic)
            && shape.len() <= value.rank()
            && shape[*axis - ahead] == value.length(*axis)
            && !value.axes[*axis].contains(&Factor::Batch)
        {
            let value = self.channels_last(&value, *axis)?;
            let is_product = arithmetic == Arithmetic::Multiply;
            let role = if is_product { Role::LayerScale } else { Role::Bias };
            let tensor = Some(self.operand_tensor(&operand, vec![value.shape.channels], role));
            let (scale, shift) = if is_product { (tensor, None) } else { (None, tensor) };
            return self.unary(&value, Op::Affine { scale, shift });
        }
        let parameter = self.operand_value(&operand, &shape)?;
        if is_first { self.combine(arithmetic, parameter, value) } else { self.combine(arithmetic, value, parameter) }
    }

    /// Returns an operand's shape.
    pub fn shape_of(&self, operand: &Operand) -> Vec<usize> {
        match operand {
            Operand::Tensor(index) => self.raw.tensors[*index].shape.clone(),
            Operand::Constant(array) => array.shape.clone(),
        }
    }

    /// Returns the network's tensor of an operand.
    fn operand_tensor(&mut self, operand: &Operand, shape: Vec<usize>, role: Role) -> TensorId {
        match operand {
            Operand::Tensor(index) => self.tensor(*index, shape, role),
            Operand::Constant(array) => self.sketch.constant(array, shape),
        }
    }

    /// Returns a tensor as a value of that shape, without a batch.
    pub(super) fn operand_value(&mut self, operand: &Operand, shape: &[usize]) -> Lowered<Traced> {
        let sides = shape.to_vec();
        let channels = sides.last().copied().unwrap_or(1);
        let len: usize = sides.iter().product();
        let role = if shape.len() > 1 { Role::Positions } else { Role::Token };
        let own = self.shape_of(operand);
        let tensor = self.operand_tensor(operand, if own.is_empty() { vec![1] } else { own }, role);
        let shape = Shape { height: 1, width: len / channels.max(1), channels };
        let (value, shape) = self.sketch.parameter(tensor, shape)?;
        let axes = (0..sides.len()).map(|piece| vec![Factor::Piece(piece)]).collect();
        Ok(Traced { value, shape, sides, axes })
    }
}
