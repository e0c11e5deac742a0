//! Trainable projected gradients: distances, projections, radii and how they are learned.

mod real;

pub use real::Real;
