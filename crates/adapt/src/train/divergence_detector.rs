//! Divergence detector: ends a run whose loss diverged or whose predictions collapsed.

use crate::error::AdaptError;
use crate::metrics::Metrics;
use serde::{Deserialize, Serialize};

/// Weight of the newest loss in the smoothed one.
const NEWEST: f64 = 0.2;
/// Steps in a row over the limit that end a run.
pub(crate) const PATIENCE: u32 = 10;
/// A run whose first loss is below this share of chance knew something that it can lose.
const KNEW_SOMETHING: f64 = 0.75;

/// Divergence detector over a run's losses, gradients and validation predictions.
///
/// Chance is the loss of answers that look at no image, such as ln(classes), that of uniform guesses. A run that starts well below it has collapsed once its smoothed
/// loss stays near chance: every image gets the same class. One that starts near chance, with a random head, has once
/// the loss stays well above both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DivergenceDetector {
    pub chance: f64,
    pub first: Option<f64>,
    pub smoothed: f64,
    pub above: u32,
}

impl DivergenceDetector {
    pub const fn new(chance: f64) -> Self {
        Self { chance, first: None, smoothed: 0.0, above: 0 }
    }

    /// Checks one step's loss and gradient norm; `step` counts from 1.
    pub fn step(&mut self, step: u64, loss: f64, gradient: f64) -> Result<(), AdaptError> {
        for (what, value) in [("the loss", loss), ("the gradient", gradient)] {
            if !value.is_finite() {
                return Err(AdaptError::Diverged { step, what });
            }
        }
        let is_first = self.first.is_none();
        let first = *self.first.get_or_insert(loss);
        self.smoothed = if is_first { loss } else { (1.0 - NEWEST) * self.smoothed + NEWEST * loss };
        let limit = self.limit(first);
        self.above = if self.smoothed > limit { self.above + 1 } else { 0 };
        if self.above < PATIENCE {
            return Ok(());
        }
        let Self { smoothed, chance, .. } = self;
        let reason = format!(
            "the loss stays at {smoothed:.2}, above {limit:.2}; it started at {first:.2}, and guessing gives {chance:.2}"
        );
        Err(AdaptError::Collapsed { step, reason })
    }

    /// Checks the validation slice after an epoch: a network that gives every image the same class, at no lower loss
    /// than it started with, has collapsed, unless it never knew better and may still learn.
    pub fn epoch(&self, step: u64, loss: f64, scores: &Metrics, last: bool) -> Result<(), AdaptError> {
        let first = self.first.unwrap_or(loss);
        let may_still_learn = !last && first > KNEW_SOMETHING * self.chance;
        if may_still_learn || loss < first || !scores.is_constant() {
            return Ok(());
        }
        let reason = format!("every validation image gets the same class, and the loss is {loss:.2} from {first:.2}");
        Err(AdaptError::Collapsed { step, reason })
    }

    fn limit(&self, first: f64) -> f64 {
        if first < KNEW_SOMETHING * self.chance { 0.95 * self.chance } else { 1.25 * first.max(self.chance) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(classes: u32, losses: impl IntoIterator<Item = f64>) -> Result<(), AdaptError> {
        let mut divergence = DivergenceDetector::new(f64::from(classes).ln());
        losses.into_iter().zip(1..).try_for_each(|(loss, step)| divergence.step(step, loss, 1.0))
    }

    /// Catches: the collapse that PyTorch showed: from a good probe to ln(classes) within twenty steps.
    #[test]
    fn a_good_start_that_ends_at_chance_has_collapsed() {
        let losses = [0.1, 0.2, 0.9, 3.0].into_iter().chain(std::iter::repeat_n(7_f64.ln(), 30));
        let error = run(7, losses).unwrap_err();
        assert!(matches!(error, AdaptError::Collapsed { step: 10..25, .. }), "{error}");
    }

    /// Catches: a divergence that ends healthy runs: one that starts at chance and learns, one with a single bad batch,
    /// a slow one.
    #[test]
    fn healthy_runs_go_on() {
        run(7, (0..100).map(|step| 2.1 * (-f64::from(step) / 40.0).exp())).unwrap();
        run(7, (0..100).map(|step| if step % 20 == 7 { 5.0 } else { 0.3 })).unwrap();
        run(7, (0..100).map(|step| 1.95 + 0.1 * f64::from(step).sin())).unwrap();
    }

    /// Catches: a random start that only gets worse.
    #[test]
    fn a_loss_well_above_chance_has_collapsed() {
        assert!(matches!(run(7, (0..40).map(|step| 2.0 + 0.2 * f64::from(step))), Err(AdaptError::Collapsed { .. })));
    }

    /// Catches: NaN, which compares false with every limit.
    #[test]
    fn what_is_not_finite_ends_the_run_at_once() {
        assert!(matches!(run(7, [1.0, f64::NAN]), Err(AdaptError::Diverged { step: 2, what: "the loss" })));
        let gradient = DivergenceDetector::new(7_f64.ln()).step(1, 1.0, f64::INFINITY);
        assert!(matches!(gradient, Err(AdaptError::Diverged { step: 1, what: "the gradient" })));
    }
}
