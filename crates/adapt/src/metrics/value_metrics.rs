//! Metrics of regression: errors of each target's values.

use fieldfit_exec::huber;
use fieldfit_model::TargetScales;

/// Errors of values, target by target, over the images counted so far.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueMetrics {
    /// Standard deviation of each target, in which the errors of all are put on one scale.
    deviations: Vec<f32>,
    /// Errors of each target.
    pub targets: Vec<TargetErrors>,
}

/// Errors of one target, in its unit.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TargetErrors {
    images: usize,
    /// Sum of the errors' absolute values.
    absolute: f64,
    /// Sum of their squares.
    squares: f64,
    /// Mean of the true values so far, and the sum of their squared distances from it (Welford, 1962).
    mean: f64,
    spread: f64,
}

impl ValueMetrics {
    /// Creates the metrics of no image.
    pub(super) fn new(scales: &TargetScales) -> Self {
        let targets = vec![TargetErrors::default(); scales.deviations.len()];
        Self { deviations: scales.deviations.clone(), targets }
    }

    /// Counts one image; returns the mean over targets of its error, in their standard deviations, and of Huber's loss of it.
    pub(super) fn add(&mut self, truth: &[f32], answer: &[f32]) -> (f64, f64) {
        let mut errors = Vec::with_capacity(truth.len());
        for (target, (truth, answer)) in truth.iter().zip(answer).enumerate() {
            let (truth, answer) = (f64::from(*truth), f64::from(*answer));
            self.targets[target].add(truth, answer);
            errors.push((answer - truth) / f64::from(self.deviations[target]));
        }
        let error = errors.iter().map(|error| error.abs()).sum::<f64>() / errors.len().max(1) as f64;
        (error, huber(&mut errors, |_| 0.0))
    }
}

impl TargetErrors {
    fn add(&mut self, truth: f64, answer: f64) {
        self.images += 1;
        self.absolute += (answer - truth).abs();
        self.squares += (answer - truth).powi(2);
        let distance = truth - self.mean;
        self.mean += distance / self.images as f64;
        self.spread += distance * (truth - self.mean);
    }

    /// Returns the mean absolute error; 0 without images.
    pub fn mean_absolute_error(&self) -> f64 {
        self.absolute / self.images.max(1) as f64
    }

    /// Returns the root mean square error; 0 without images.
    pub fn root_mean_square_error(&self) -> f64 {
        (self.squares / self.images.max(1) as f64).sqrt()
    }

    /// Returns the coefficient of determination R², the share of the values' variance that the answers explain; below 0 if they
    /// are worse than the values' mean. `None` where all values are the same.
    pub fn determination(&self) -> Option<f64> {
        (self.spread > 0.0).then(|| 1.0 - self.squares / self.spread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: errors of another target, a spread around 0 instead of the mean, which makes far values look explained.
    #[test]
    fn errors_are_those_of_their_targets() {
        let scales = TargetScales { means: vec![0.0; 2], deviations: vec![1.0, 10.0] };
        let mut metrics = ValueMetrics::new(&scales);
        let (error, loss) = metrics.add(&[101.0, 5.0], &[102.0, 25.0]);
        assert_eq!((error, loss), ((1.0 + 2.0) / 2.0, (0.5 + 1.5) / 2.0));
        metrics.add(&[103.0, 5.0], &[102.5, 5.0]);
        let [first, second] = [metrics.targets[0], metrics.targets[1]];
        assert_eq!((first.mean_absolute_error(), second.mean_absolute_error()), (0.75, 10.0));
        assert_eq!(second.root_mean_square_error(), 200_f64.sqrt());
        assert_eq!((first.determination(), second.determination()), (Some(1.0 - 1.25 / 2.0), None));
    }
}
