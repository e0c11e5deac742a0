//! Statistics over seeds: means with standard errors, and paired differences between two methods.

use std::collections::BTreeMap;

use crate::record::{RunRecord, Scores, distinct};

/// Mean over repetitions with its standard error.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct MeanEstimate {
    /// Mean.
    pub mean: f64,
    /// Standard error of the mean: the sample standard deviation divided by √n. `None` for a single repetition.
    pub standard_error: Option<f64>,
    /// Number of repetitions, n.
    pub count: usize,
}

impl MeanEstimate {
    /// Computes the mean of the values and its standard error; `None` without values.
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len();
        if count == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let standard_error = (count > 1).then(|| (squares / (count - 1) as f64 / count as f64).sqrt());
        Some(Self { mean, standard_error, count })
    }
}

/// Metric by which two methods are compared in pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// [Quality](Scores::quality) on held-out images of the source: one pair per source and seed.
    InDistribution,
    /// [Quality](Scores::quality) on shifted images: one pair per source, seed and shift.
    Shifts,
    /// Agreement with the base on shifted images: one pair per source, seed and shift. A run without shifts contributes its
    /// agreement on held-out images of the source.
    Retention,
}

/// Mean paired difference between two methods, with its 95 % confidence interval.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct PairedDifference {
    /// Mean of the paired differences, −1..1.
    pub mean: f64,
    /// 95 % confidence interval of the mean, (low, high); `None` for a single pair.
    pub interval: Option<(f64, f64)>,
    /// Number of pairs.
    pub pairs: usize,
}

impl PairedDifference {
    /// Computes `method` minus `reference` over the pairs that both have; `None` if there are none.
    ///
    /// The interval is Student's paired t interval: mean ± t₀.₉₇₅(n−1) · s/√n. For the 3 to 18 pairs of a typical comparison
    /// it has its nominal coverage if the differences are approximately normal; a bootstrap interval would be too narrow.
    /// Pairs that share a run (the shifts of one seed) or a source are treated as independent, as is usual; if they are
    /// correlated, this interval is too narrow as well.
    pub fn between(runs: &[RunRecord], method: &str, reference: &str, metric: Metric) -> Option<Self> {
        let runs = distinct(runs);
        let (minuend, subtrahend) = (metric.values(&runs, method), metric.values(&runs, reference));
        let differences: Vec<f64> =
            minuend.iter().filter_map(|(pair, value)| Some(value - subtrahend.get(pair)?)).collect();
        let MeanEstimate { mean, standard_error, count } = MeanEstimate::of(&differences)?;
        let interval = standard_error.map(|error| {
            let half = student_quantile(count - 1) * error;
            (mean - half, mean + half)
        });
        Some(Self { mean, interval, pairs: count })
    }

    /// Returns whether the interval excludes 0.
    pub fn is_significant(&self) -> bool {
        self.interval.is_some_and(|(low, high)| low > 0.0 || high < 0.0)
    }
}

/// Key of a pair: source, seed and name of the data set.
type Pair<'a> = (&'a str, u64, &'a str);

impl Metric {
    fn values<'a>(self, runs: &[&'a RunRecord], method: &str) -> BTreeMap<Pair<'a>, f64> {
        let value = match self {
            Self::InDistribution | Self::Shifts => Scores::quality,
            Self::Retention => |scores: &Scores| scores.agreement,
        };
        let of_method = runs.iter().filter(|run| run.method == method);
        of_method
            .flat_map(|run| self.sets(run).iter().map(move |set| ((&*run.source, run.seed, &*set.name), value(set))))
            .collect()
    }

    fn sets(self, run: &RunRecord) -> &[Scores] {
        match self {
            Self::Shifts => &run.shifts,
            Self::Retention if !run.shifts.is_empty() => &run.shifts,
            Self::InDistribution | Self::Retention => std::slice::from_ref(&run.in_distribution),
        }
    }
}

/// Computes the 97.5 % quantile of Student's t distribution with `freedom` ≥ 1 degrees of freedom: the half-width of a
/// two-sided 95 % confidence interval in standard errors.
///
/// Bisects the angle θ = atan(t/√ν), in which the distribution is a finite sum for integer ν and needs no gamma function.
fn student_quantile(freedom: usize) -> f64 {
    let (mut low, mut high) = (0.0, std::f64::consts::FRAC_PI_2);
    // Each iteration gains one bit; an f64 has 53.
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if student_probability(middle, freedom) < 0.95 { low = middle } else { high = middle }
    }
    (0.5 * (low + high)).tan() * (freedom as f64).sqrt()
}

/// Computes P(|T| ≤ √ν·tan θ) for Student's T with integer ν (Abramowitz & Stegun, 26.7.3 and 26.7.4).
fn student_probability(angle: f64, freedom: usize) -> f64 {
    let (sine, cosine) = angle.sin_cos();
    let odd = freedom % 2 == 1;
    // Terms of the sum: cos θ · {1, 2/3, 2·4/(3·5), …} or {1, 1/2, 1·3/(2·4), …}, times a power of cos² θ.
    let mut term = if odd { cosine } else { 1.0 };
    let mut sum = 0.0;
    for index in 0..freedom / 2 {
        sum += term;
        let step = (2 * index + 1 + usize::from(odd)) as f64;
        term *= step / (step + 1.0) * cosine * cosine;
    }
    if odd { std::f64::consts::FRAC_2_PI * (angle + sine * sum) } else { sine * sum }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::run;
    use fieldfit_tensor::Task;

    fn near(found: f64, expected: f64, within: f64) {
        assert!((found - expected).abs() <= within, "found {found}, expected {expected}");
    }

    /// Catches: a wrong quantile, with which every interval is wrong. Values: published tables of Student's t.
    #[test]
    fn student_quantiles_are_the_tables() {
        let table = [
            (1, 12.706_204_74),
            (2, 4.302_652_73),
            (3, 3.182_446_31),
            (4, 2.776_445_11),
            (5, 2.570_581_84),
            (8, 2.306_004_14),
            (10, 2.228_138_85),
            (17, 2.109_815_58),
            (30, 2.042_272_46),
            (1000, 1.962_339_08),
        ];
        for (freedom, quantile) in table {
            near(student_quantile(freedom), quantile, 1e-7);
        }
    }

    /// Catches: a division by n in place of n−1, or a missing √n.
    #[test]
    fn an_estimate_is_mean_and_standard_error() {
        let Some(estimate) = MeanEstimate::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]) else { panic!("no estimate") };
        near(estimate.mean, 5.0, 1e-12);
        near(estimate.standard_error.unwrap(), (32.0_f64 / 7.0 / 8.0).sqrt(), 1e-12);
        assert_eq!(MeanEstimate::of(&[]), None);
        assert_eq!(MeanEstimate::of(&[3.0]), Some(MeanEstimate { mean: 3.0, standard_error: None, count: 1 }));
    }

    /// Catches: values and labels that are compared by an accuracy that they lack, which was 0 for every method.
    #[test]
    fn every_task_is_compared_by_its_own_quality() {
        let of = |method: &str, score: f64| {
            let mut run = run(method, 0, "slopes");
            run.in_distribution.confusion.clear();
            (run.in_distribution.task, run.in_distribution.task_score) = (Task::Regression, Some(score));
            run
        };
        let runs = [of("full", 0.7), of("lp-ft", 0.4)];
        let difference = PairedDifference::between(&runs, "full", "lp-ft", Metric::InDistribution).unwrap();
        near(difference.mean, 0.3, 1e-12);
    }

    /// Catches: unpaired arithmetic. Student's sleep data (Biometrika 1908: hours of sleep gained under two drugs), whose
    /// paired t every statistics package documents: mean 1.58, 95 % interval 0.7001142 to 2.4598858.
    #[test]
    fn the_interval_is_that_of_students_sleep_data() {
        let first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0];
        let second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4];
        let of = |method: &'static str, values: [f64; 10]| {
            values.into_iter().enumerate().map(move |(seed, value)| {
                let mut run = run(method, seed as u64, "patients");
                run.shifts.clear();
                run.in_distribution.agreement = value;
                run
            })
        };
        // The second method's runs are reversed: pairs match by key, not by position.
        let mut reversed: Vec<RunRecord> = of("second", second).collect();
        reversed.reverse();
        let runs: Vec<RunRecord> = of("first", first).chain(reversed).collect();

        let difference = PairedDifference::between(&runs, "second", "first", Metric::Retention).unwrap();
        let (low, high) = difference.interval.unwrap();
        assert_eq!(difference.pairs, 10);
        near(difference.mean, 1.58, 1e-12);
        near(low, 0.700_114_2, 1e-6);
        near(high, 2.459_885_8, 1e-6);
        assert!(difference.is_significant());
    }

    /// Catches: pairs across sources, seeds or shifts, a run counted twice, and runs that only one method has.
    #[test]
    fn pairs_share_source_seed_and_shift() {
        let mut runs = Vec::new();
        for (source, offset) in [("photo", 10), ("sketch", 40)] {
            for seed in 0..3 {
                let mut better = run("better", seed, source);
                let mut worse = run("worse", seed, source);
                for (index, (one, other)) in better.shifts.iter_mut().zip(&mut worse.shifts).enumerate() {
                    let right = offset + 5 * index + seed as usize;
                    one.confusion = vec![vec![right + 1, 99 - right], vec![0, 0]];
                    other.confusion = vec![vec![right, 100 - right], vec![0, 0]];
                }
                runs.extend([better.clone(), better, worse]);
            }
        }
        runs.push(run("better", 7, "photo"));

        let difference = PairedDifference::between(&runs, "better", "worse", Metric::Shifts).unwrap();
        assert_eq!(difference.pairs, 2 * 3 * 2);
        near(difference.mean, 0.01, 1e-12);
        let (low, high) = difference.interval.unwrap();
        near(low, 0.01, 1e-9);
        near(high, 0.01, 1e-9);
        assert_eq!(PairedDifference::between(&runs, "better", "absent", Metric::Shifts), None);
    }
}
