//! Means over seeds, and what sets two methods apart.

use crate::{Run, Scores};

/// A quantity over several runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mean {
    /// Its mean.
    pub mean: f64,
    /// The standard error of the mean; nothing for one run.
    pub error: Option<f64>,
    /// How many runs.
    pub count: usize,
}

impl Mean {
    /// Of those values; nothing if there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let values: Vec<f64> = values.into_iter().collect();
        let count = values.len();
        if count == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let error = (count > 1).then(|| (squares / (count - 1) as f64 / count as f64).sqrt());
        Some(Self { mean, error, count })
    }

    /// Half the width of the 95 % interval of the mean, by Student's t; nothing for one run.
    pub fn half_width(&self) -> Option<f64> {
        Some(student_95(self.count - 1) * self.error?)
    }
}

/// One method on one source, over its seeds.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The images that it learned from.
    pub source: String,
    /// The method, with its settings.
    pub method: String,
    /// How many runs.
    pub runs: usize,
    /// How many of them passed their gate.
    pub accepted: usize,
    /// Accuracy on held-out images of the source, 0..1.
    pub in_distribution: Option<Mean>,
    /// Accuracy on each shift, 0..1, by its name.
    pub shifts: Vec<(String, Option<Mean>)>,
    /// Mean accuracy over the shifts, 0..1; nothing without shifts.
    pub shifted: Option<Mean>,
    /// Agreement with the base, 0..1.
    pub retention: Option<Mean>,
    /// Calibration error on held-out images of the source, 0..1.
    pub calibration_error: Option<Mean>,
    /// Cross-entropy on the validation slice, nats.
    pub validation_loss: Option<Mean>,
    /// Wall time, seconds.
    pub seconds: Option<Mean>,
    /// Peak memory, bytes; nothing where a run doesn't tell.
    pub peak_bytes: Option<Mean>,
    /// Size of the delta file, bytes.
    pub delta_bytes: Option<Mean>,
}

/// A summary of each method on each source, in the order in which they come first.
pub fn summaries(runs: &[Run]) -> Vec<Summary> {
    let mut keys: Vec<(&str, &str)> = Vec::new();
    for run in runs {
        let key = (run.source.as_str(), run.method.as_str());
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys.into_iter().map(|(source, method)| summary(source, method, runs)).collect()
}

fn summary(source: &str, method: &str, runs: &[Run]) -> Summary {
    let runs: Vec<&Run> = runs.iter().filter(|run| run.source == source && run.method == method).collect();
    let mean = |value: fn(&Run) -> f64| Mean::of(runs.iter().map(|run| value(run)));
    let names = runs.first().map_or(&[][..], |run| &run.shifts).iter().map(|shift| &shift.name);
    let shift = |name: &String| {
        let scores = runs.iter().flat_map(|run| &run.shifts).filter(|shift| shift.name == *name);
        (name.clone(), Mean::of(scores.map(Scores::accuracy)))
    };
    let peaks: Option<Vec<f64>> = runs.iter().map(|run| run.peak_bytes.map(|bytes| bytes as f64)).collect();
    Summary {
        source: source.to_owned(),
        method: method.to_owned(),
        runs: runs.len(),
        accepted: runs.iter().filter(|run| run.accepted).count(),
        in_distribution: mean(|run| run.in_distribution.accuracy()),
        shifts: names.map(shift).collect(),
        shifted: Mean::of(runs.iter().filter_map(|run| run.shifted())),
        retention: mean(Run::retention),
        calibration_error: mean(|run| run.in_distribution.calibration_error),
        validation_loss: mean(|run| run.validation_loss),
        seconds: mean(|run| run.seconds),
        peak_bytes: peaks.and_then(Mean::of),
        delta_bytes: mean(|run| run.delta_bytes as f64),
    }
}

/// What a method has more than another of a quantity, over the pairs of runs of the same source and seed: the mean of
/// the differences, and its error.
///
/// `quantities` gives a run's values (one a shift, say), which are paired in their order. Nothing if there is no pair.
pub fn paired<V: IntoIterator<Item = f64>>(
    runs: &[Run],
    method: &str,
    other: &str,
    quantities: impl Fn(&Run) -> V,
) -> Option<Mean> {
    let of = |name: &str| runs.iter().filter(move |run| run.method == name).collect::<Vec<_>>();
    let others = of(other);
    let mut differences = Vec::new();
    for run in of(method) {
        let Some(other) = others.iter().find(|other| other.source == run.source && other.seed == run.seed) else {
            continue;
        };
        differences.extend(quantities(run).into_iter().zip(quantities(other)).map(|(one, other)| one - other));
    }
    Mean::of(differences)
}

/// The 97.5 % quantile of Student's t: 95 % of its values lie within ± this.
fn student_95(freedom: usize) -> f64 {
    /// For 1 to 30 degrees of freedom.
    const QUANTILES: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
        2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
    ];
    /// The normal distribution's, which t comes to.
    const NORMAL: f64 = 1.959_964;
    match freedom {
        0 => f64::INFINITY,
        1..=30 => QUANTILES[freedom - 1],
        // The first term of the expansion in 1/freedom (Abramowitz and Stegun, 26.7.5): right to 1e-3 from here on.
        _ => NORMAL + (NORMAL.powi(3) + NORMAL) / (4.0 * freedom as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error of the values instead of the mean's, or one that divides by n where n − 1 is due.
    #[test]
    fn a_mean_has_the_error_of_the_mean() {
        let mean = Mean::of([1.0, 2.0, 3.0, 6.0]).unwrap();
        assert_eq!(mean.mean, 3.0);
        // Σ(x − 3)² = 14; 14 / 3 / 4.
        assert!((mean.error.unwrap() - (14.0_f64 / 12.0).sqrt()).abs() < 1e-12);
        assert!((mean.half_width().unwrap() - 3.182 * (14.0_f64 / 12.0).sqrt()).abs() < 1e-12);
        assert_eq!(Mean::of([5.0]).unwrap().half_width(), None);
        assert_eq!(Mean::of([]), None);
    }

    /// A quantile of the wrong tail or freedom; a step where the table ends.
    #[test]
    fn quantiles_of_t_are_students() {
        for (freedom, expected) in [(1, 12.706), (8, 2.306), (30, 2.042), (40, 2.021), (60, 2.000), (120, 1.980)] {
            assert!((student_95(freedom) - expected).abs() < 1.1e-3, "{freedom}: {}", student_95(freedom));
        }
    }
}
