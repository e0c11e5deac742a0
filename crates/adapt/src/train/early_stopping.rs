//! Early stopping: ends training once the accuracy on the validation slice has stopped rising.

use serde::{Deserialize, Serialize};

/// Early-stopping state: the best epoch so far, and how many epochs have passed since.
///
/// The weights stay those of the last epoch, as Keras' and Lightning's `EarlyStopping` leave them by default.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct EarlyStopping {
    /// Highest accuracy so far, 0..1; `None` before the first epoch's end.
    pub best: Option<f64>,
    /// Number of epochs since, none of which was better.
    pub stale: u32,
}

impl EarlyStopping {
    /// Records an epoch's accuracy, 0..1.
    pub fn record(&mut self, accuracy: f64) {
        if self.best.is_none_or(|best| accuracy > best) {
            *self = Self { best: Some(accuracy), stale: 0 };
        } else {
            self.stale += 1;
        }
    }

    /// Whether training is over, where it may go on for `patience` epochs without a better one.
    pub fn is_over(&self, patience: Option<u32>) -> bool {
        patience.is_some_and(|patience| self.stale >= patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: an equal accuracy that counts as a better one, or a better one that doesn't start the count anew.
    #[test]
    fn patience_is_counted_in_epochs_without_a_better_one() {
        let mut stopping = EarlyStopping::default();
        let over = [0.5, 0.5, 0.6, 0.4, 0.6].map(|accuracy| {
            stopping.record(accuracy);
            stopping.is_over(Some(2))
        });
        assert_eq!(over, [false, false, false, false, true]);
        assert!(!stopping.is_over(None));
        assert_eq!(stopping.best, Some(0.6));
    }
}
