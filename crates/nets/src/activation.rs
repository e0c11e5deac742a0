//! Activation functions: those that a convolution ends with, and all that a node of its own applies.

use serde::{Deserialize, Serialize};

/// Activation function that ends a convolution: its slope follows from its output, so that the backward pass keeps
/// nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activation {
    /// `x`.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
}

/// Elementwise function of a node of its own.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Function {
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, low), high)`: ReLU6 with 0 and 6; either bound may be infinite.
    Clamp {
        /// The least output.
        low: f64,
        /// The greatest output.
        high: f64,
    },
    /// `x` above 0, `slope · x` below.
    LeakyRelu {
        /// The factor of negative values.
        slope: f64,
    },
    /// `1 / (1 + e⁻ˣ)`.
    Sigmoid,
    /// `min(max(x + 3, 0), 6) / 6`.
    HardSigmoid,
    /// `x · sigmoid(x)` (Ramachandran et al., arXiv 1710.05941).
    Silu,
    /// `x · hardsigmoid(x)` (Howard et al., ICCV 2019).
    HardSwish,
    /// The exact GELU, `x · ½ (1 + erf(x / √2))` (Hendrycks & Gimpel, arXiv 1606.08415).
    Gelu,
    /// GELU by the hyperbolic tangent, `½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))` (ibid.).
    GeluTanh,
    /// The hyperbolic tangent.
    Tanh,
    /// `√x`.
    Sqrt,
    /// `x²`.
    Square,
    /// `eˣ`.
    Exp,
    /// The natural logarithm.
    Log,
    /// `|x|`, with a slope of 0 at 0.
    Absolute,
    /// The error function.
    Erf,
    /// `x` above 0, `alpha · (eˣ − 1)` below (Clevert et al., ICLR 2016).
    Elu {
        /// The negative of the limit at −∞.
        alpha: f64,
    },
    /// `ln(1 + e^(beta · x)) / beta`.
    Softplus {
        /// The inverse of the width of the bend.
        beta: f64,
    },
    /// `x · tanh(softplus(x))` (Misra, BMVC 2020).
    Mish,
    /// `x` to a constant power.
    Power {
        /// The exponent.
        exponent: f64,
    },
}
