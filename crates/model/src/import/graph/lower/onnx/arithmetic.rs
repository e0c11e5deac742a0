//! Arithmetic: of values, of a value and a tensor, and of a value and a number.

use super::node::Node;
use super::{OnnxLowering, Value};
use crate::import::graph::lower::aten::{Known, Lowered, refuse};
use crate::import::graph::lower::traced::Traced;
use crate::import::graph::name::Name;
use fieldfit_nets::{Arithmetic, Function, Op, Role};

impl<'l, 'r, 'a> OnnxLowering<'l, 'r, 'a> {
    pub(super) fn arithmetic(&mut self, node: &Node<'r, 'a>) -> Lowered<Vec<Value>> {
        let names: Vec<&'r Name<'a>> = node.inputs().flatten().collect();
        let mut operands = Vec::with_capacity(names.len());
        for name in &names {
            operands.push(self.known(name)?);
        }
        let arithmetic = match node.op() {
            "Add" | "Sum" => Arithmetic::Add,
            "Sub" => Arithmetic::Subtract,
            "Mul" => Arithmetic::Multiply,
            "Div" => Arithmetic::Divide,
            "Pow" => return self.power(node).map(|value| vec![Known::Traced(value).into()]),
            "Max" => Arithmetic::Maximum,
            _ => Arithmetic::Minimum,
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
        Ok(vec![result.into()])
    }

    /// Appends arithmetic of two operands. What changes nothing leaves a tensor its name.
    fn joined(&mut self, arithmetic: Arithmetic, left: Known, right: Known) -> Lowered<Known> {
        let idle = match arithmetic {
            Arithmetic::Add | Arithmetic::Subtract => Some(0.0),
            Arithmetic::Multiply | Arithmetic::Divide => Some(1.0),
            Arithmetic::Maximum | Arithmetic::Minimum => None,
        };
        let (left, right) = (self.as_constant(left)?, self.as_constant(right)?);
        let single = |known: &Known| if let Known::Constant(array) = known { array.single() } else { None };
        if idle.is_some() && single(&right) == idle {
            return Ok(left);
        }
        if idle.is_some() && single(&left) == idle && matches!(arithmetic, Arithmetic::Add | Arithmetic::Multiply) {
            return Ok(right);
        }
        Ok(Known::Traced(self.lowering.compute(arithmetic, left, right)?))
    }

    /// Returns a tensor of the file that is a number as a constant.
    pub(super) fn as_constant(&mut self, known: Known) -> Lowered<Known> {
        Ok(match self.single(&known)? {
            Some(_) => self.constant(&known)?.map_or(known, Known::Constant),
            None => known,
        })
    }

    fn power(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let known = self.array(node, 0)?;
        let value = self.lowering.traced(known)?;
        let exponent = self.array(node, 1)?;
        let Some(exponent) = self.single(&exponent)? else {
            let exponent = self.lowering.traced(exponent)?;
            return self.lowering.power_of(&value, exponent);
        };
        let function = match exponent {
            1.0 => return Ok(value),
            2.0 => Function::Square,
            0.5 => Function::Sqrt,
            exponent => Function::Power { exponent },
        };
        self.lowering.unary(&value, Op::Activate(function))
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
