//! Scalar types: the trait that numeric code is generic over.

use num_traits::{Float, NumAssign};
use std::fmt::Debug;
use std::iter::Sum;

/// A scalar: `f32` on the robot, `f64` for the oracle of the tests.
pub trait Real: Float + NumAssign + Sum + Debug + Default + Send + Sync + 'static {
    /// Returns the nearest value to a constant.
    fn of(value: f64) -> Self;

    /// Converts to `f64` without loss.
    fn wide(self) -> f64;
}

impl Real for f32 {
    #[inline]
    fn of(value: f64) -> Self {
        value as Self
    }

    #[inline]
    fn wide(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    #[inline]
    fn of(value: f64) -> Self {
        value
    }

    #[inline]
    fn wide(self) -> f64 {
        self
    }
}
