//! Interpolation: after training, part of the way back to the base, by a share that the validation slice chooses.
//!
//! α is the one of 0, 0.1, … 1 with the lowest mean cross-entropy on the validation slice, and the smallest of equals;
//! or the one that is given.

use crate::checkpoint::check::{decode, values, within};
use crate::checkpoint::resume_point::ResumePoint;
use crate::error::{AdaptError, CheckpointDamage};
use crate::event::{Event, Phase};
use crate::methods::method::{HeadStart, Method};
use crate::train::reporter::Reporter;
use crate::train::session::HostSession;
use fieldfit_exec::Objective;
use fieldfit_tpgm::rescale;
use std::ops::ControlFlow;

/// Number of α that are tried, evenly spread over 0 to 1.
const TRIALS: usize = 11;

/// Interpolation towards the base after training: a tensor keeps α + (1 − α)·d of its δ, d its own in 0..1.
pub(super) struct Interpolation {
    given: Option<f64>,
    /// d of each tensor, by [`TensorId::index`](fieldfit_tensor::TensorId::index).
    kept: Vec<f64>,
    /// Losses of the α tried so far, ascending.
    losses: Vec<f64>,
}

impl Interpolation {
    /// Interpolation by a given α, or by the one of the least validation loss. `kept` are the d by
    /// [`TensorId::index`](fieldfit_tensor::TensorId::index).
    pub const fn new(given: Option<f64>, kept: Vec<f64>) -> Self {
        Self { given, kept, losses: Vec::new() }
    }

    /// Share of its δ that each tensor keeps at that α.
    fn shares(&self, alpha: f64) -> Vec<f32> {
        self.kept.iter().map(|kept| (alpha + (1.0 - alpha) * kept) as f32).collect()
    }

    /// The best α, once all are tried; `None` if the run is stopped before.
    fn choose(
        &mut self,
        session: &mut HostSession<'_>,
        reporter: &mut Reporter<'_>,
    ) -> Result<Option<f64>, AdaptError> {
        while self.losses.len() < TRIALS {
            if reporter.is_stopped() {
                return Ok(None);
            }
            let shares = self.shares(trial(self.losses.len()));
            self.losses.push(validation_loss(session, &shares)?);
            reporter.report(Event::Progress { phase: Phase::Interpolation, done: self.losses.len(), total: TRIALS });
        }
        Ok(Some(trial(first_least(&self.losses))))
    }
}

impl Method for Interpolation {
    fn head(&self) -> HeadStart {
        HeadStart::Probe
    }

    fn finish(
        &mut self,
        session: &mut HostSession<'_>,
        reporter: &mut Reporter<'_>,
    ) -> Result<ControlFlow<()>, AdaptError> {
        let alpha = match self.given {
            Some(alpha) => Some(alpha),
            None => self.choose(session, reporter)?,
        };
        let Some(alpha) = alpha else { return Ok(ControlFlow::Break(())) };
        reporter.report(Event::Interpolation { alpha, losses: self.losses.clone() });
        for (delta, share) in session.state.delta.buffers_mut().iter_mut().zip(self.shares(alpha)) {
            rescale(delta, &[share]);
        }
        Ok(ControlFlow::Continue(()))
    }

    fn save(&self) -> Result<Vec<u8>, AdaptError> {
        Ok(postcard::to_stdvec(&self.losses)?)
    }

    fn restore(&mut self, bytes: &[u8], point: &ResumePoint<'_>) -> Result<(), CheckpointDamage> {
        let losses: Vec<f64> = decode("the losses", bytes)?;
        within("shares tried", point.after_training(TRIALS as u64), &(losses.len() as u64))?;
        values("the losses of the shares tried", losses.len(), f64::MIN..=f64::MAX, &losses)?;
        self.losses = losses;
        Ok(())
    }
}

fn trial(index: usize) -> f64 {
    index as f64 / (TRIALS - 1) as f64
}

/// The position of the least loss, the first among equals.
fn first_least(losses: &[f64]) -> usize {
    (0..losses.len()).fold(0, |best, position| if losses[position] < losses[best] { position } else { best })
}

/// Mean cross-entropy over the whole validation slice, where tensors keep such shares of their δ.
fn validation_loss(session: &mut HostSession<'_>, shares: &[f32]) -> Result<f64, AdaptError> {
    let HostSession { state, executor, weights, validation, target_scaling, .. } = session;
    state.merge_projected_into(weights, |id, ratios| ratios.push(shares[id.index()]));
    let (mut sum, mut images) = (0.0, 0_usize);
    for batch in validation.whole_slice(None)? {
        let batch = batch?;
        let mut logits = executor.logits(weights, &batch.images)?;
        let objective = target_scaling.objective(&batch.targets);
        let of_image = logits.values.len() / batch.images.count.max(1);
        let rows = logits.values.chunks_exact_mut(of_image.max(1)).enumerate();
        sum += rows.map(|(image, row)| objective.loss_and_gradient(image, row)).sum::<f64>();
        images += batch.images.count;
    }
    Ok(sum / images.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: ties that go to the larger α, which is further from the base; a grid that misses an end.
    #[test]
    fn the_smallest_alpha_of_equal_losses_wins() {
        assert_eq!(first_least(&[0.5, 0.25, 0.25, 0.3]), 1);
        assert_eq!(first_least(&[0.25, 0.25, 0.25]), 0);
        assert_eq!([0, 3, TRIALS - 1].map(trial), [0.0, 0.3, 1.0]);
    }

    /// Catches: shares that are not LiNeS's, as reference values have them: of 12 blocks at α = 0.3, from the first to the last.
    #[test]
    fn shares_run_from_alpha_to_all() {
        let depths = (0..12).map(|block| f64::from(block) / 11.0).collect();
        let shares = Interpolation::new(Some(0.3), depths).shares(0.3);
        let expected = [
            0.3,
            0.363636364,
            0.427272727,
            0.490909091,
            0.554545455,
            0.618181818,
            0.681818182,
            0.745454545,
            0.809090909,
            0.872727273,
            0.936363636,
            1.0,
        ];
        shares.iter().zip(expected).for_each(|(found, expected)| assert!((f64::from(*found) - expected).abs() < 1e-7));
    }
}
