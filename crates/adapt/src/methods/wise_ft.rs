//! WiSE-FT (Wortsman et al., CVPR 2022, arXiv 2109.01903): as LP-FT, then part of the way back, θ0 + α·(θ − θ0). The new
//! head goes back too, to the linear probe that it started from.
//!
//! α is the one of 0, 0.1, … 1 with the lowest mean cross-entropy on the validation slice, and the smallest of equals;
//! or the one that is given.

use crate::checkpoint::check::{decode, values, within};
use crate::checkpoint::resume_point::ResumePoint;
use crate::error::{AdaptError, CheckpointDamage};
use crate::event::{Event, Phase};
use crate::methods::entry::MethodEntry;
use crate::methods::method::{HeadStart, Method};
use crate::methods::setting::Setting;
use crate::train::reporter::Reporter;
use crate::train::session::HostSession;
use fieldfit_exec::Objective;
use fieldfit_tpgm::rescale;
use std::ops::ControlFlow;

const ALPHA: Setting = Setting {
    name: "alpha",
    default: None,
    range: 0.0..=1.0,
    about: "α, the share of the way from the base that is kept; chosen on the validation slice if none is given",
};

pub(super) const ENTRY: MethodEntry = MethodEntry {
    name: "wise-ft",
    about: "as lp-ft, then back towards the base, by the validation slice",
    settings: &[ALPHA],
    build: |options, _| Ok(Box::new(WiseFt { given: ALPHA.given(options), losses: Vec::new() })),
};

/// Number of α that are tried, evenly spread over 0 to 1.
const TRIALS: usize = 11;

struct WiseFt {
    given: Option<f64>,
    /// Losses of the α tried so far, ascending.
    losses: Vec<f64>,
}

impl WiseFt {
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
            self.losses.push(validation_loss(session, trial(self.losses.len()))?);
            reporter.report(Event::Progress { phase: Phase::Interpolation, done: self.losses.len(), total: TRIALS });
        }
        Ok(Some(trial(first_least(&self.losses))))
    }
}

impl Method for WiseFt {
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
        for delta in session.state.delta.buffers_mut() {
            rescale(delta, &[alpha as f32]);
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

/// Mean cross-entropy at θ0 + α·δ over the whole validation slice.
fn validation_loss(session: &mut HostSession<'_>, alpha: f64) -> Result<f64, AdaptError> {
    let HostSession { state, executor, weights, validation, class_weights, .. } = session;
    state.merge_projected_into(weights, |_, ratios| ratios.push(alpha as f32));
    let (mut sum, mut images) = (0.0, 0_usize);
    for batch in validation.whole_slice(None)? {
        let batch = batch?;
        let mut logits = executor.logits(weights, &batch.images)?;
        let objective = class_weights.objective(&batch.targets);
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
}
