//! The two scalar types that everything here is generic over.

use num_traits::{Float, NumAssign};
use std::fmt::Debug;
use std::iter::Sum;

/// `f32` on the robot, `f64` where the tests want an oracle.
pub trait Real: Float + NumAssign + Sum + Debug + Default + Send + Sync + 'static {
    /// The nearest value to a constant.
    fn of(value: f64) -> Self;

    /// Widened without loss.
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
