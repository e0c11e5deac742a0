//! Composed functions: functions of each value that several nodes compute.

use super::call::Call;
use super::{Lowered, Lowering};
use crate::import::graph::lower::traced::Traced;
use fieldfit_nets::{Arithmetic, Function, Op};

/// The numbers of an exponential linear unit: `scale · x` above 0, `scale · alpha · (e^(inner · x) − 1)` below.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Elu {
    pub alpha: f64,
    pub scale: f64,
    pub inner: f64,
}

impl Elu {
    /// The self-normalising one (Klambauer et al., NeurIPS 2017).
    pub const SELU: Self = Self { alpha: 1.673_263_242_354_377_2, scale: 1.050_700_987_355_480_5, inner: 1.0 };

    /// Returns the continuously differentiable one (Barron, arXiv 1704.07483).
    pub const fn celu(alpha: f64) -> Self {
        Self { alpha, scale: 1.0, inner: 1.0 / alpha }
    }
}

impl<'r, 'a> Lowering<'r, 'a> {
    /// Lowers a function that several nodes compute; `None` if it is another op.
    pub(super) fn composed(&mut self, call: &Call<'r, 'a>, name: &str) -> Lowered<Option<Traced>> {
        let name = name.strip_suffix('_').unwrap_or(name);
        let elu = match name {
            "elu" => Elu {
                alpha: call.number("alpha", 1.0)?,
                scale: call.number("scale", 1.0)?,
                inner: call.number("input_scale", 1.0)?,
            },
            "celu" => Elu::celu(call.number("alpha", 1.0)?),
            "selu" => Elu::SELU,
            "log_sigmoid" => {
                let value = self.value(call, "self")?;
                return self.log_sigmoid(&value).map(Some);
            }
            _ => return Ok(None),
        };
        let value = self.value(call, "self")?;
        self.elu_of(&value, elu).map(Some)
    }

    /// Appends an exponential linear unit.
    pub fn elu_of(&mut self, value: &Traced, elu: Elu) -> Lowered<Traced> {
        let inner = self.times(value, elu.inner)?;
        let unit = self.unary(&inner, Op::Activate(Function::Elu { alpha: elu.alpha * elu.inner }))?;
        self.times(&unit, elu.scale / elu.inner)
    }

    /// Appends `x / (1 + |x|)`.
    pub fn softsign(&mut self, value: &Traced) -> Lowered<Traced> {
        let size = self.unary(value, Op::Activate(Function::Absolute))?;
        let divisor = self.unary(&size, Op::Scalar { scale: 1.0, shift: 1.0 })?;
        self.combine(Arithmetic::Divide, value.clone(), divisor)
    }

    /// Appends the logarithm of the sigmoid, `−softplus(−x)`.
    fn log_sigmoid(&mut self, value: &Traced) -> Lowered<Traced> {
        let negative = self.times(value, -1.0)?;
        let softplus = self.unary(&negative, Op::Activate(Function::Softplus { beta: 1.0 }))?;
        self.times(&softplus, -1.0)
    }

    /// Appends a product with a number, unless it is 1.
    pub fn times(&mut self, value: &Traced, scale: f64) -> Lowered<Traced> {
        if scale == 1.0 { Ok(value.clone()) } else { self.unary(value, Op::Scalar { scale, shift: 0.0 }) }
    }
}
