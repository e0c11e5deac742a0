//! Elementwise function op. The slope is computed from the function's input, which a backward pass keeps.

use super::op::{Backward, CpuOp, Forward, Kernel, Needs};
use super::thread_pool::{ThreadPool, split_rows};
use super::vector::{erf, exp, gelu, gelu_slope, vectorized};
use fieldfit_nets::{Function, Shape};
use fieldfit_tensor::TensorId;
use std::ops::Range;

/// Elementwise function at any image size.
pub(super) struct Activate(pub Function);

impl CpuOp for Activate {
    fn kernel(&self, inputs: &[Shape], _: Shape) -> Box<dyn Kernel> {
        Box::new(ActivateKernel { function: self.0, channels: inputs[0].channels })
    }
}

/// Elementwise function at one image size.
struct ActivateKernel {
    function: Function,
    channels: usize,
}

impl Kernel for ActivateKernel {
    fn function(&self) -> Option<Function> {
        Some(self.function)
    }

    fn forward(&self, pass: Forward<'_>) {
        let Forward { threads, inputs, output, .. } = pass;
        let input = inputs[0];
        in_parts(threads, self.channels, output, |range, output| apply(self.function, (&input[range], output)));
    }

    fn needs(&self, _: &dyn Fn(TensorId) -> bool) -> Needs {
        Needs { input: true, ..Needs::default() }
    }

    fn backward(&self, pass: Backward<'_>) -> Vec<f64> {
        let Backward { threads, gradient, input, target, .. } = pass;
        let Some((target, epilogue)) = target else { return Vec::new() };
        in_parts(threads, self.channels, target, |range, target| {
            self.multiply_slope(&gradient[range.clone()], &input[range], target);
        });
        epilogue.finish(threads, self.channels, target)
    }
}

/// Runs `work` on each thread's range of values, which consists of whole rows.
pub(super) fn in_parts(
    threads: &ThreadPool,
    width: usize,
    values: &mut [f32],
    work: impl Fn(Range<usize>, &mut [f32]) + Sync + Send,
) {
    let ranges = threads.ranges(values.len() / width.max(1));
    let parts = ranges.iter().cloned().zip(split_rows(&ranges, width, values));
    threads.for_each(parts, |(range, part)| work(range.start * width..range.end * width, part));
}

/// Values that a function is applied to.
pub(super) trait Mapped {
    /// Applies it to every value, vectorised.
    fn map(self, function: impl Fn(f32) -> f32);
}

/// From one slice into another.
impl Mapped for (&[f32], &mut [f32]) {
    #[inline(always)]
    fn map(self, function: impl Fn(f32) -> f32) {
        let (input, output) = self;
        vectorized(
            #[inline(always)]
            || output.iter_mut().zip(input).for_each(|(out, value)| *out = function(*value)),
        );
    }
}

/// In place.
impl Mapped for &mut [f32] {
    #[inline(always)]
    fn map(self, function: impl Fn(f32) -> f32) {
        vectorized(
            #[inline(always)]
            || self.iter_mut().for_each(|value| *value = function(*value)),
        );
    }
}

/// Applies a formula to values.
macro_rules! map {
    ($values:expr, |$x:ident| $value:expr) => {
        $values.map(
            #[inline(always)]
            |$x| $value,
        )
    };
}

/// Computes `target = gradient · slope(input)`, vectorised.
macro_rules! multiply {
    ($gradient:expr, $input:expr, $target:expr, |$x:ident| $slope:expr) => {{
        let (gradient, input, target) = ($gradient, $input, $target);
        vectorized(
            #[inline(always)]
            || {
                for ((out, gradient), value) in target.iter_mut().zip(gradient).zip(input) {
                    let $x = *value;
                    *out = gradient * $slope;
                }
            },
        )
    }};
}

impl ActivateKernel {
    fn multiply_slope(&self, gradient: &[f32], input: &[f32], target: &mut [f32]) {
        match self.function {
            Function::Relu => multiply!(gradient, input, target, |x| if x > 0.0 { 1.0 } else { 0.0 }),
            Function::Clamp { low, high } => {
                let (low, high) = (low as f32, high as f32);
                multiply!(gradient, input, target, |x| if x > low && x < high { 1.0 } else { 0.0 })
            }
            Function::LeakyRelu { slope } => {
                let slope = slope as f32;
                multiply!(gradient, input, target, |x| if x > 0.0 { 1.0 } else { slope });
            }
            Function::Sigmoid => multiply!(gradient, input, target, |x| sigmoid(x) * (1.0 - sigmoid(x))),
            Function::HardSigmoid => multiply!(gradient, input, target, |x| hard_sigmoid_slope(x)),
            Function::Silu => {
                multiply!(gradient, input, target, |x| sigmoid(x) * x.mul_add(1.0 - sigmoid(x), 1.0))
            }
            Function::HardSwish => {
                multiply!(gradient, input, target, |x| x.mul_add(hard_sigmoid_slope(x), hard_sigmoid(x)))
            }
            Function::Gelu => multiply!(gradient, input, target, |x| gelu_slope(x)),
            Function::GeluTanh => multiply!(gradient, input, target, |x| gelu_tanh_slope(x)),
            Function::Tanh => multiply!(gradient, input, target, |x| 1.0 - tanh(x) * tanh(x)),
            Function::Sqrt => multiply!(gradient, input, target, |x| 0.5 / x.sqrt()),
            Function::Square => multiply!(gradient, input, target, |x| 2.0 * x),
            Function::Exp => multiply!(gradient, input, target, |x| exp(x)),
            Function::Log => multiply!(gradient, input, target, |x| 1.0 / x),
            Function::Absolute => multiply!(gradient, input, target, |x| sign(x)),
            Function::Erf => multiply!(gradient, input, target, |x| std::f32::consts::FRAC_2_SQRT_PI * exp(-x * x)),
            Function::Elu { alpha } => {
                let alpha = alpha as f32;
                multiply!(gradient, input, target, |x| if x > 0.0 { 1.0 } else { alpha * exp(x) });
            }
            Function::Softplus { beta } => {
                let beta = beta as f32;
                multiply!(gradient, input, target, |x| sigmoid(beta * x));
            }
            Function::Mish => multiply!(gradient, input, target, |x| mish_slope(x)),
            Function::Power { exponent } => {
                let exponent = exponent as f32;
                multiply!(gradient, input, target, |x| if exponent == 0.0 {
                    0.0
                } else {
                    exponent * x.powf(exponent - 1.0)
                });
            }
        }
    }
}

/// Applies a function to values.
pub(super) fn apply(function: Function, values: impl Mapped) {
    match function {
        Function::Relu => map!(values, |x| if x < 0.0 { 0.0 } else { x }),
        Function::Clamp { low, high } => {
            let (low, high) = (low as f32, high as f32);
            map!(values, |x| bounded(x, low, high));
        }
        Function::LeakyRelu { slope } => {
            let slope = slope as f32;
            map!(values, |x| if x > 0.0 { x } else { slope * x });
        }
        Function::Sigmoid => values.map(sigmoid),
        Function::HardSigmoid => values.map(hard_sigmoid),
        Function::Silu => map!(values, |x| x * sigmoid(x)),
        Function::HardSwish => map!(values, |x| x * hard_sigmoid(x)),
        Function::Gelu => values.map(gelu),
        Function::GeluTanh => map!(values, |x| 0.5 * x * (1.0 + tanh(gelu_argument(x)))),
        Function::Tanh => values.map(tanh),
        Function::Sqrt => map!(values, |x| x.sqrt()),
        Function::Square => map!(values, |x| x * x),
        Function::Exp => values.map(exp),
        Function::Log => map!(values, |x| x.ln()),
        Function::Absolute => map!(values, |x| x.abs()),
        Function::Erf => values.map(erf),
        Function::Elu { alpha } => {
            let alpha = alpha as f32;
            map!(values, |x| if x > 0.0 { x } else { alpha * x.exp_m1() });
        }
        Function::Softplus { beta } => {
            let beta = beta as f32;
            map!(values, |x| softplus(beta * x) / beta);
        }
        Function::Mish => map!(values, |x| x * tanh(softplus(x))),
        Function::Power { exponent } => {
            let exponent = exponent as f32;
            map!(values, |x| x.powf(exponent));
        }
    }
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Returns a value between two bounds; NaN stays what it is.
#[inline(always)]
pub(super) fn bounded(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

#[inline(always)]
fn hard_sigmoid(x: f32) -> f32 {
    bounded(x + 3.0, 0.0, 6.0) * (1.0 / 6.0)
}

#[inline(always)]
fn hard_sigmoid_slope(x: f32) -> f32 {
    if x > -3.0 && x < 3.0 { 1.0 / 6.0 } else { 0.0 }
}

/// Computes `ln(1 + eˣ)`, which does not overflow.
#[inline(always)]
fn softplus(x: f32) -> f32 {
    (if x > 0.0 { x } else { 0.0 }) + exp(-x.abs()).ln_1p()
}

/// Computes `tanh(softplus(x)) + x · (1 − tanh²(softplus(x))) · sigmoid(x)`.
#[inline(always)]
fn mish_slope(x: f32) -> f32 {
    let t = tanh(softplus(x));
    (x * sigmoid(x)).mul_add(1.0 - t * t, t)
}

/// Returns −1, 0 or 1.
#[inline(always)]
fn sign(x: f32) -> f32 {
    if x > 0.0 {
        1.0
    } else if x < 0.0 {
        -1.0
    } else {
        0.0
    }
}

/// Computes the hyperbolic tangent; near 0 by its series, where the exponentials cancel.
#[inline(always)]
fn tanh(x: f32) -> f32 {
    let size = x.abs();
    let square = x * x;
    // Taylor's series up to x⁷, exact to an ulp below 0.1.
    let near = x * square.mul_add(square.mul_add(square.mul_add(-17.0 / 315.0, 2.0 / 15.0), -1.0 / 3.0), 1.0);
    let far = (1.0 - 2.0 / (exp(2.0 * size) + 1.0)).copysign(x);
    if size < 0.1 { near } else { far }
}

/// √(2/π).
const ROOT: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;

#[inline(always)]
fn gelu_argument(x: f32) -> f32 {
    ROOT * (CUBIC * x * x).mul_add(x, x)
}

#[inline(always)]
fn gelu_tanh_slope(x: f32) -> f32 {
    let t = tanh(gelu_argument(x));
    0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * ROOT * (3.0 * CUBIC * x).mul_add(x, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each function in f64, by its definition.
    fn exact(function: Function, x: f64) -> f64 {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let hard = |x: f64| (x + 3.0).clamp(0.0, 6.0) / 6.0;
        match function {
            Function::Relu => x.max(0.0),
            Function::Clamp { low, high } => x.clamp(low, high),
            Function::LeakyRelu { slope } => {
                if x > 0.0 {
                    x
                } else {
                    slope * x
                }
            }
            Function::Sigmoid => sigmoid(x),
            Function::HardSigmoid => hard(x),
            Function::Silu => x * sigmoid(x),
            Function::HardSwish => x * hard(x),
            Function::Gelu => f64::from(gelu(x as f32)),
            Function::GeluTanh => {
                0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
            }
            Function::Tanh => x.tanh(),
            Function::Sqrt => x.sqrt(),
            Function::Square => x * x,
            Function::Exp => x.exp(),
            Function::Log => x.ln(),
            Function::Absolute => x.abs(),
            Function::Erf => f64::from(erf(x as f32)),
            Function::Elu { alpha } => {
                if x > 0.0 {
                    x
                } else {
                    alpha * x.exp_m1()
                }
            }
            Function::Softplus { beta } => (beta * x).exp().ln_1p() / beta,
            Function::Mish => x * x.exp().ln_1p().tanh(),
            Function::Power { exponent } => x.powf(exponent),
        }
    }

    const FUNCTIONS: [Function; 22] = [
        Function::Relu,
        Function::Clamp { low: 0.0, high: 6.0 },
        Function::LeakyRelu { slope: 0.125 },
        Function::Sigmoid,
        Function::HardSigmoid,
        Function::Silu,
        Function::HardSwish,
        Function::Gelu,
        Function::GeluTanh,
        Function::Tanh,
        Function::Sqrt,
        Function::Square,
        Function::Exp,
        Function::Log,
        Function::Absolute,
        Function::Erf,
        Function::Elu { alpha: 1.25 },
        Function::Softplus { beta: 2.0 },
        Function::Mish,
        Function::Power { exponent: 3.0 },
        Function::Power { exponent: -0.5 },
        Function::Power { exponent: -1.0 },
    ];

    /// Catches: a formula with a wrong sign or constant, a slope that is another function's: values against the definition
    /// in f64, slopes against its central difference.
    #[test]
    fn functions_and_slopes_follow_the_definition() {
        for function in FUNCTIONS {
            let kernel = ActivateKernel { function, channels: 1 };
            for step in 1..400 {
                let is_positive = matches!(function, Function::Sqrt | Function::Log | Function::Power { .. });
                let x = (step as f32 - if is_positive { 0.5 } else { 200.5 }) / 25.0;
                let (mut value, mut slope) = ([f32::NAN], [f32::NAN]);
                apply(function, (&[x][..], &mut value[..]));
                kernel.multiply_slope(&[2.0], &[x], &mut slope);
                let expected = exact(function, f64::from(x));
                assert!(
                    (f64::from(value[0]) - expected).abs() <= 2e-6 * expected.abs().max(1.0),
                    "{function:?}({x}): {value:?}, {expected}"
                );
                // Of these, the definition here is in f32.
                if matches!(function, Function::Gelu | Function::Erf) {
                    continue;
                }
                let difference = |d: f64| (exact(function, f64::from(x) + d) - exact(function, f64::from(x) - d)) / d;
                let expected = difference(1e-4);
                assert!(
                    (f64::from(slope[0]) - expected).abs() <= 2e-4 * expected.abs().max(1.0),
                    "{function:?}'({x}): {slope:?}, {expected}"
                );
            }
        }
    }
}
