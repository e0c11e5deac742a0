//! The ball around θ0 that a constrained tensor stays in, once it is encoded.

use crate::error::ModelError;
use fieldfit_delta::Codec;
use fieldfit_tensor::Norm;
use fieldfit_tpgm::distances;

/// How far beyond its radius a decoded difference may lie, relative to the radius: ‖δ‖ ≤ γ·(1 + this).
pub const CONSTRAINT_TOLERANCE: f32 = 1e-3;

/// What is left of a row that rounding pushed out of its ball, after it was scaled back to the radius, try by try. Rounding
/// may push it out again where values are subnormal; in the end the row stays at the base.
const SHRINK: [f32; 6] = [1.0, 1.0 - CONSTRAINT_TOLERANCE, 0.99, 0.9, 0.5, 0.0];

/// The distance of `values` from the base, the greatest of the rows' under [`Norm::Mars`], if it is within the ball.
pub(crate) fn check(name: &str, values: &[f32], rows: usize, norm: Norm, radius: f32) -> Result<f32, ModelError> {
    let mut norms = Vec::new();
    distances(norm, values, rows, &mut norms);
    let distance = norms.iter().copied().fold(0.0, f32::max);
    if norms.iter().all(|&norm| is_inside(norm, radius)) {
        Ok(distance)
    } else {
        Err(ModelError::OutsideBall { name: name.to_owned(), radius, distance })
    }
}

/// Scales back what would decode to something outside its ball.
pub(crate) fn hold(
    values: &mut [f32],
    rows: usize,
    norm: Norm,
    radius: f32,
    codec: Codec,
) -> Result<(), fieldfit_delta::CodecError> {
    let mut norms = Vec::new();
    for shrink in SHRINK {
        distances(norm, &codec.decoded(values, rows)?, rows, &mut norms);
        if norms.iter().all(|&distance| is_inside(distance, radius)) {
            break;
        }
        let span = values.len() / norms.len();
        for (values, &distance) in values.chunks_exact_mut(span).zip(&norms) {
            if !is_inside(distance, radius) {
                values.iter_mut().for_each(|value| *value *= radius / distance * shrink);
            }
        }
    }
    Ok(())
}

/// A NaN is never inside.
fn is_inside(distance: f32, radius: f32) -> bool {
    distance <= radius * (1.0 + CONSTRAINT_TOLERANCE)
}
