//! Functions: what is computed of each value alone.

use super::OnnxLowering;
use super::node::Node;
use crate::import::graph::lower::aten::{Elu, Known, Lowered, refuse};
use crate::import::graph::lower::traced::Traced;
use fieldfit_nets::{Function, Op};

impl<'l, 'r, 'a> OnnxLowering<'l, 'r, 'a> {
    /// Appends an elementwise function; `None` if the op is another one.
    pub(super) fn function(&mut self, node: &Node<'r, 'a>) -> Lowered<Option<Known>> {
        let op = node.op();
        let function = match op {
            "Relu" => Function::Relu,
            "LeakyRelu" => Function::LeakyRelu { slope: node.number("alpha", 0.01)? },
            "Clip" => self.clip(node)?,
            "Sigmoid" => Function::Sigmoid,
            "HardSigmoid" => return self.hard_sigmoid(node).map(Some),
            "HardSwish" => Function::HardSwish,
            "Swish" if node.number("alpha", 1.0)? == 1.0 => Function::Silu,
            "Gelu" => match node.text("approximate", "none")? {
                "none" => Function::Gelu,
                "tanh" => Function::GeluTanh,
                _ => return refuse("that approximation"),
            },
            "Tanh" => Function::Tanh,
            "Sqrt" => Function::Sqrt,
            "Exp" => Function::Exp,
            "Neg" => {
                let value = self.input(node)?;
                return self.scaled(&value, -1.0, 0.0).map(|value| Some(Known::Traced(value)));
            }
            "Reciprocal" => Function::Power { exponent: -1.0 },
            "Log" => Function::Log,
            "Abs" => Function::Absolute,
            "Erf" => Function::Erf,
            "Selu" => {
                let alpha = node.number("alpha", Elu::SELU.alpha)?;
                return self
                    .elu(node, Elu { alpha, scale: node.number("gamma", Elu::SELU.scale)?, inner: 1.0 })
                    .map(Some);
            }
            "Celu" => return self.elu(node, Elu::celu(node.number("alpha", 1.0)?)).map(Some),
            "Softsign" => {
                let value = self.input(node)?;
                return self.lowering.softsign(&value).map(|value| Some(Known::Traced(value)));
            }
            "Elu" => Function::Elu { alpha: node.number("alpha", 1.0)? },
            "Softplus" => Function::Softplus { beta: 1.0 },
            "Mish" => Function::Mish,
            _ => return Ok(None),
        };
        let value = self.input(node)?;
        Ok(Some(Known::Traced(self.lowering.unary(&value, Op::Activate(function))?)))
    }

    fn elu(&mut self, node: &Node<'r, 'a>, elu: Elu) -> Lowered<Known> {
        let value = self.input(node)?;
        self.lowering.elu_of(&value, elu).map(Known::Traced)
    }

    /// Returns the first input as a value.
    fn input(&mut self, node: &Node<'r, 'a>) -> Lowered<Traced> {
        let known = self.array(node, 0)?;
        self.lowering.traced(known)
    }

    /// Appends `scale · x + shift`.
    pub(super) fn scaled(&mut self, value: &Traced, scale: f64, shift: f64) -> Lowered<Traced> {
        self.lowering.unary(value, Op::Scalar { scale, shift })
    }

    /// Returns the function of a `Clip`, whose bounds are attributes before opset 11 and inputs since.
    fn clip(&mut self, node: &Node<'r, 'a>) -> Lowered<Function> {
        let low = self.number(node, 1)?.unwrap_or(f64::from(f32::MIN)).max(f64::from(f32::MIN));
        let high = self.number(node, 2)?.unwrap_or(f64::from(f32::MAX)).min(f64::from(f32::MAX));
        if low > high {
            return refuse(format!("bounds {low} and {high}"));
        }
        Ok(Function::Clamp { low, high })
    }

    /// Appends `min(max(alpha · x + beta, 0), 1)`.
    fn hard_sigmoid(&mut self, node: &Node<'r, 'a>) -> Lowered<Known> {
        let (alpha, beta) = (node.number("alpha", 0.2)?, node.number("beta", 0.5)?);
        let value = self.input(node)?;
        let value = if is_torch_hard_sigmoid(alpha, beta) {
            self.lowering.unary(&value, Op::Activate(Function::HardSigmoid))?
        } else {
            let value = self.scaled(&value, alpha, beta)?;
            self.lowering.unary(&value, Op::Activate(Function::Clamp { low: 0.0, high: 1.0 }))?
        };
        Ok(Known::Traced(value))
    }
}

/// Whether a hard sigmoid is PyTorch's, `(x + 3) / 6`, whose factors the file has in f32.
pub(super) fn is_torch_hard_sigmoid(alpha: f64, beta: f64) -> bool {
    alpha as f32 == 1.0 / 6.0 && beta == 0.5
}
