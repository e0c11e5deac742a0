//! Quantisation of an activation: the scale and the code of 0 by which f32 values become u8.

use fieldfit_nets::{Activation, Op};

/// Affine quantisation: `code = requantise(value / scale + zero_point)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Quantisation {
    pub scale: f32,
    pub zero_point: u8,
}

impl Quantisation {
    /// Returns the quantisation of values of a range, widened to hold 0, which padding needs exactly.
    pub fn of_range([low, high]: [f32; 2]) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let scale = (high - low) / 255.0;
        // Values that are always 0, or too small to divide by.
        if !scale.is_normal() {
            return Self { scale: 1.0, zero_point: 0 };
        }
        Self { scale, zero_point: super::kernels::requantise(-low / scale) }
    }

    /// Returns the quantisation of an op's output with that range: after a ReLU, the saturation of u8 is the activation.
    pub fn of_output(op: &Op, [low, high]: [f32; 2]) -> Self {
        let activation = if let Op::Conv(conv) = op { conv.activation } else { Activation::Identity };
        Self::of_range(match activation {
            Activation::Identity => [low, high],
            Activation::Relu => [0.0, high],
            Activation::Relu6 => [0.0, high.min(6.0)],
        })
    }

    /// Returns the scale and the zero point.
    pub const fn parts(self) -> (f32, u8) {
        (self.scale, self.zero_point)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a 0 that is between two codes, a bound that saturates, a range on one side of 0.
    #[test]
    fn zero_is_a_code_and_the_bounds_are_covered() {
        for range in [[-1.0, 3.0], [0.0, 6.0], [2.0, 5.0], [-7.0, -1.0], [-1e-3, 1e3]] {
            let Quantisation { scale, zero_point } = Quantisation::of_range(range);
            for bound in range {
                let code = (bound / scale).round() + f32::from(zero_point);
                assert!((-0.51..=255.51).contains(&code), "{range:?}: {code}");
            }
        }
        assert_eq!(Quantisation::of_range([0.0, 0.0]), Quantisation { scale: 1.0, zero_point: 0 });
        assert_eq!(Quantisation::of_range([0.0, 5.1]).zero_point, 0);
    }
}
