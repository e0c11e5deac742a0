//! Constraint of a stored tensor: once decoded, δ lies in the ball of radius γ around θ0.

use crate::error::ModelError;
use fieldfit_delta::Codec;
use fieldfit_tensor::Norm;
use fieldfit_tpgm::distances;

/// Relative tolerance of a constraint: a decoded difference satisfies ‖δ‖ ≤ γ·(1 + this).
pub const CONSTRAINT_TOLERANCE: f32 = 1e-3;

/// Factors of successive tries to scale back a row that rounding pushed out of its ball, relative to the radius. Rounding
/// may push it out again where values are subnormal; the last try leaves the row at the base.
const SHRINK: [f32; 6] = [1.0, 1.0 - CONSTRAINT_TOLERANCE, 0.99, 0.9, 0.5, 0.0];

/// Returns the distance of `values` from the base, the greatest of the rows' under [`Norm::Mars`].
///
/// # Errors
/// If it is outside the ball.
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

/// Scales rows back until their decoded values lie in the ball.
///
/// # Errors
/// If a value is beyond the codec's range.
pub(crate) fn project_decoded(
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

/// Whether a distance is within the radius and its tolerance; a NaN never is.
fn is_inside(distance: f32, radius: f32) -> bool {
    distance <= radius * (1.0 + CONSTRAINT_TOLERANCE)
}
