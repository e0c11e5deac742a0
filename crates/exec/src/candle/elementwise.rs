//! Elementwise functions and arithmetic with the gradients that the CPU kernels have. candle's own `relu`, `maximum` and
//! `minimum` pass half of a gradient where they tie.

use super::transformer::gelu;
use candle_core::Tensor;
use fieldfit_nets::{Arithmetic, Function};

/// Computes an elementwise function.
pub(super) fn activate(function: Function, x: &Tensor) -> candle_core::Result<Tensor> {
    match function {
        Function::Relu => relu(x),
        Function::Clamp { low, high } => clamp(x, low, high),
        Function::LeakyRelu { slope } => x.gt(0.0)?.where_cond(x, &(x * slope)?),
        Function::Sigmoid => sigmoid(x),
        Function::HardSigmoid => hard_sigmoid(x),
        Function::Silu => x * sigmoid(x)?,
        Function::HardSwish => x * hard_sigmoid(x)?,
        Function::Gelu => gelu(x),
        Function::GeluTanh => {
            let argument = ((x + (x.sqr()? * x)? * 0.044_715)? * (2.0 / std::f64::consts::PI).sqrt())?;
            (argument.tanh()? + 1.0)? * (x * 0.5)?
        }
        Function::Tanh => x.tanh(),
        Function::Sqrt => x.sqrt(),
        Function::Square => x.sqr(),
        Function::Exp => x.exp(),
        Function::Log => x.log(),
        // Its gradient is x / |x| in candle, which is not a number at 0.
        Function::Absolute => x * sign(x)?,
        Function::Erf => x.erf(),
        Function::Elu { alpha } => {
            // Of a large x, the branch that is not taken would overflow.
            let below = ((clamp_above(x)?.exp()? - 1.0)? * alpha)?;
            x.gt(0.0)?.where_cond(x, &below)
        }
        Function::Softplus { beta } => softplus(&(x * beta)?)? / beta,
        Function::Mish => x * softplus(x)?.tanh()?,
        Function::Power { exponent } => x.powf(exponent),
    }
}

/// Computes the arithmetic of two values; sides of length 1 are repeated.
pub(super) fn arithmetic(arithmetic: Arithmetic, left: &Tensor, right: &Tensor) -> candle_core::Result<Tensor> {
    match arithmetic {
        Arithmetic::Add => left.broadcast_add(right),
        Arithmetic::Subtract => left.broadcast_sub(right),
        Arithmetic::Multiply => left.broadcast_mul(right),
        Arithmetic::Divide => left.broadcast_div(right),
        Arithmetic::Maximum => left.broadcast_maximum(right),
        Arithmetic::Minimum => left.broadcast_minimum(right),
    }
}

fn sigmoid(x: &Tensor) -> candle_core::Result<Tensor> {
    ((x.neg()?.exp()? + 1.0)?).recip()
}

/// Computes `ln(1 + eˣ)` as `max(x, 0) + ln(1 + e^−|x|)`, which does not overflow.
fn softplus(x: &Tensor) -> candle_core::Result<Tensor> {
    let small = (x * sign(x)?)?.neg()?;
    relu(x)? + (small.exp()? + 1.0)?.log()?
}

/// Computes −1, 0 or 1, without a gradient.
fn sign(x: &Tensor) -> candle_core::Result<Tensor> {
    let x = x.detach();
    x.gt(0.0)?.to_dtype(x.dtype())? - x.lt(0.0)?.to_dtype(x.dtype())?
}

/// Computes `min(x, 0)`.
fn clamp_above(x: &Tensor) -> candle_core::Result<Tensor> {
    x.gt(0.0)?.where_cond(&fill(0.0, x)?.broadcast_as(x.shape())?, x)
}

fn hard_sigmoid(x: &Tensor) -> candle_core::Result<Tensor> {
    clamp(&(x + 3.0)?, 0.0, 6.0)? / 6.0
}

/// Computes `max(x, 0)` with a gradient of 0 at 0.
pub(super) fn relu(x: &Tensor) -> candle_core::Result<Tensor> {
    x.le(0.0)?.where_cond(&fill(0.0, x)?.broadcast_as(x.shape())?, x)
}

/// Computes `min(max(x, low), high)` with a gradient of 0 at both bounds.
pub(super) fn clamp(x: &Tensor, low: f64, high: f64) -> candle_core::Result<Tensor> {
    let lower = x.le(low)?.where_cond(&fill(low, x)?.broadcast_as(x.shape())?, x)?;
    lower.ge(high)?.where_cond(&fill(high, x)?.broadcast_as(x.shape())?, &lower)
}

/// Creates a scalar with the dtype and device of another tensor.
pub(super) fn fill(value: f64, like: &Tensor) -> candle_core::Result<Tensor> {
    Tensor::full(value, (), like.device())?.to_dtype(like.dtype())
}
