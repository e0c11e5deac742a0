//! Arithmetic: of values, of a value and a tensor, and of a value and a number.

use super::node::Node;
use super::{OnnxLowering, Value};
use crate::import::graph::lower::lowering::{Known, Lowered, refuse};
use crate::import::graph::lower::traced::Traced;
use crate::import::graph::name::Name;
use fieldfit_nets::{Arithmetic, Function, Op, Role, Shape};

impl<'r, 'a> OnnxLowering<'r, 'a> {
    pub(super) fn arithmetic(&mut self, node: &Node<'r, 'a>) -> Lowered<Vec<Value>> {
        let names: Vec<&'r Name<'a>> = node.inputs().flatten().collect();
        let mut operands = Vec::with_capacity(names.len());
        let mut repeated = Vec::new();
        for name in &names {
            operands.push(match self.named(name)? {
                Value::Expanded { value, lengths } => {
                    repeated.push(lengths.clone());
                    Known::Traced(value.clone())
                }
                Value::Known(_) | Value::Sizes(_) | Value::Sequence(_) => self.known(name)?,
            });
        }
        let arithmetic = match node.op() {
            "Add" | "Sum" => Arithmetic::Add,
            "Sub" => Arithmetic::Subtract,
            "Mul" => Arithmetic::Multiply,
            "Div" => Arithmetic::Divide,
            "Pow" => return self.power(node).map(|value| vec![Known::Traced(value).into()]),
            _ => return self.bounded(node, &operands).map(|value| vec![Known::Traced(value).into()]),
        };
        if let ("Add", [left, right]) = (node.op(), &names[..])
            && let [left_known, right_known] = &operands[..]
        {
            let biased = match self.biased(left, left_known, right_known)? {
                None => self.biased(right, right_known, left_known)?,
                biased => biased,
            };
            if let Some(value) = biased {
                return Ok(vec![Known::Traced(value).into()]);
            }
        }
        let mut operands = operands.into_iter();
        let Some(mut result) = operands.next() else { return refuse("arithmetic of nothing") };
        for operand in operands {
            result = self.joined(arithmetic, result, operand)?;
        }
        check_repeated(&result, &repeated)?;
        Ok(vec![result.into()])
    }

    /// Appends arithmetic of two operands, of which at least one is no constant.
    fn joined(&mut self, arithmetic: Arithmetic, left: Known, right: Known) -> Lowered<Known> {
        if let Some(number) = self.single(&right)? {
            return self.with_number(arithmetic, left, number);
        }
        if let Some(number) = self.single(&left)? {
            return match arithmetic {
                Arithmetic::Add | Arithmetic::Multiply => self.with_number(arithmetic, right, number),
                Arithmetic::Subtract => {
                    let value = self.as_value(right)?;
                    Ok(Known::Traced(self.scaled(&value, -1.0, number)?))
                }
                Arithmetic::Divide => {
                    let value = self.as_value(right)?;
                    Ok(Known::Traced(self.quotient(number, value)?))
                }
            };
        }
        let (left, right) = match (left, right) {
            (left @ Known::Traced(_), right @ Known::Tensor { .. })
            | (left @ Known::Tensor { .. }, right @ Known::Traced(_)) => (left, right),
            (left, right) => (Known::Traced(self.as_value(left)?), Known::Traced(self.as_value(right)?)),
        };
        Ok(Known::Traced(self.lowering.append_arithmetic(arithmetic, left, right)?))
    }

    /// Appends arithmetic of an operand and a number. What changes nothing leaves a tensor its name.
    fn with_number(&mut self, arithmetic: Arithmetic, operand: Known, number: f64) -> Lowered<Known> {
        let is_idle = match arithmetic {
            Arithmetic::Add | Arithmetic::Subtract => number == 0.0,
            Arithmetic::Multiply | Arithmetic::Divide => number == 1.0,
        };
        if is_idle {
            return Ok(operand);
        }
        let value = self.as_value(operand)?;
        Ok(Known::Traced(self.lowering.append_scalar(arithmetic, &value, number)?))
    }

    /// Appends `number / x`.
    pub(super) fn quotient(&mut self, number: f64, value: Traced) -> Lowered<Traced> {
        let name = format!("{}.dividend", self.lowering.sketch.path);
        let tensor = self.lowering.sketch.filled(name, (vec![1], Role::Constant), number as f32);
        let (dividend, shape) = self.lowering.sketch.node(Op::Parameter { tensor, shape: Shape::vector(1) }, &[])?;
        let dividend = Traced { value: dividend, shape, sides: shape.sides().to_vec(), axes: Vec::new() };
        self.lowering.append_arithmetic(Arithmetic::Divide, Known::Traced(dividend), Known::Traced(value))
    }

    fn power(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let known = self.array(node, 0)?;
        let value = self.as_value(known)?;
        let Some(exponent) = self.number(node, 1)? else { return refuse("a power without an exponent") };
        let function = match exponent {
            1.0 => return Ok(value),
            2.0 => Function::Square,
            0.5 => Function::Sqrt,
            -1.0 => return self.quotient(1.0, value),
            other => return refuse(format!("the power {other}")),
        };
        self.lowering.unary(&value, Op::Activate(function))
    }

    /// Appends the maximum or minimum of a value and a number.
    fn bounded(&mut self, node: &Node<'r, 'a>, operands: &[Known]) -> Lowered<Traced> {
        let (mut low, mut high) = (f64::from(f32::MIN), f64::from(f32::MAX));
        let mut value = None;
        for operand in operands {
            match self.single(operand)? {
                Some(number) if node.op() == "Max" => low = low.max(number),
                Some(number) => high = high.min(number),
                None if value.is_none() => value = Some(operand.clone()),
                None => return refuse("the greater or lesser of two values"),
            }
        }
        let Some(value) = value else { return refuse("the greater or lesser of numbers") };
        let value = self.as_value(value)?;
        self.lowering.unary(&value, Op::Activate(Function::Clamp { low, high }))
    }

    /// Makes an addend of one value a channel the bias of the matrix product that it is added to, if nothing else reads that.
    fn biased(&mut self, name: &Name<'a>, product: &Known, addend: &Known) -> Lowered<Option<Traced>> {
        let (Known::Traced(value), Known::Tensor { index, shape }) = (product, addend) else { return Ok(None) };
        if !self.products.contains(name) || self.patterns.readers(name) != 1 || self.is_frozen(*index) {
            return Ok(None);
        }
        let Some(node) = value.value.node() else { return Ok(None) };
        let Op::Linear(linear) = &self.lowering.sketch.nodes[node].op else { return Ok(None) };
        let output = linear.output;
        if linear.bias.is_some() || *shape != [output] || self.lowering.raw.tensors[*index].shape != [output] {
            return Ok(None);
        }
        let bias = self.lowering.vector(*index, output, Role::Bias)?;
        if let Op::Linear(linear) = &mut self.lowering.sketch.nodes[node].op {
            linear.bias = Some(bias);
        }
        Ok(Some(value.clone()))
    }
}

/// Refuses arithmetic whose result is shorter than an operand that the file repeats.
fn check_repeated(result: &Known, repeated: &[Vec<usize>]) -> Lowered<()> {
    let covers = |lengths: &Vec<usize>| match result {
        Known::Traced(value) => {
            let ahead = value.rank().checked_sub(lengths.len());
            let at = |(axis, length): (usize, &usize)| ahead.is_some_and(|ahead| value.length(ahead + axis) == *length);
            lengths.iter().enumerate().all(at)
        }
        Known::Tensor { .. } | Known::Turned { .. } | Known::Constant(_) | Known::Int(_) | Known::Unread => false,
    };
    if repeated.iter().all(covers) { Ok(()) } else { refuse("arithmetic in which both arrays are repeated") }
}
