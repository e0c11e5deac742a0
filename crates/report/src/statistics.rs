//! Means over seeds, and what one method has over another.

use std::collections::BTreeMap;

use crate::record::{Run, Scores, distinct};

/// A mean over repetitions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// The standard error of the mean: the sample's standard deviation over √n. Nothing for a single repetition.
    pub error: Option<f64>,
    /// Repetitions, n.
    pub count: usize,
}

impl Estimate {
    /// The mean of some values and its standard error; nothing without values.
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len();
        if count == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let error = (count > 1).then(|| (squares / (count - 1) as f64 / count as f64).sqrt());
        Some(Self { mean, error, count })
    }
}

/// What is compared between two methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Accuracy on held-out images of the source: a pair for each source and seed.
    InDistribution,
    /// Accuracy on shifted images: a pair for each source, seed and shift.
    Shifts,
    /// Agreement with the base on shifted images: a pair for each source, seed and shift; on held-out images of the
    /// source where a run has no shifts.
    Retention,
}

/// What a method has over another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// The mean of the paired differences, −1..1.
    pub mean: f64,
    /// The 95 % interval of that mean; nothing for a single pair.
    pub interval: Option<(f64, f64)>,
    /// Pairs.
    pub pairs: usize,
}

impl Difference {
    /// `method` minus `reference`, over the pairs that both have; nothing where there are none.
    ///
    /// The interval is that of Student's paired t: mean ± t₀.₉₇₅(n−1) · s/√n. At the 3 to 18 pairs of a comparison it
    /// holds what it promises as long as the differences are about normal, where a bootstrap would be too narrow. Pairs
    /// that share a run (the shifts of one seed) or a source are counted as independent, as is usual; where they are
    /// not, the interval is too narrow as well.
    pub fn between(runs: &[Run], method: &str, reference: &str, measure: Measure) -> Option<Self> {
        let runs = distinct(runs);
        let (minuend, subtrahend) = (measure.values(&runs, method), measure.values(&runs, reference));
        let differences: Vec<f64> =
            minuend.iter().filter_map(|(pair, value)| Some(value - subtrahend.get(pair)?)).collect();
        let Estimate { mean, error, count } = Estimate::of(&differences)?;
        let interval = error.map(|error| {
            let half = student_quantile(count - 1) * error;
            (mean - half, mean + half)
        });
        Some(Self { mean, interval, pairs: count })
    }

    /// Whether the interval lies on one side of 0.
    pub fn is_clear(&self) -> bool {
        self.interval.is_some_and(|(low, high)| low > 0.0 || high < 0.0)
    }
}

/// What makes two values a pair: source, seed, and the set's name.
type Pair<'a> = (&'a str, u64, &'a str);

impl Measure {
    fn values<'a>(self, runs: &[&'a Run], method: &str) -> BTreeMap<Pair<'a>, f64> {
        let value = match self {
            Self::InDistribution | Self::Shifts => Scores::accuracy,
            Self::Retention => |scores: &Scores| scores.agreement,
        };
        let of_method = runs.iter().filter(|run| run.method == method);
        of_method
            .flat_map(|run| self.sets(run).iter().map(move |set| ((&*run.source, run.seed, &*set.name), value(set))))
            .collect()
    }

    fn sets(self, run: &Run) -> &[Scores] {
        match self {
            Self::Shifts => &run.shifts,
            Self::Retention if !run.shifts.is_empty() => &run.shifts,
            Self::InDistribution | Self::Retention => std::slice::from_ref(&run.in_distribution),
        }
    }
}

/// The 97.5 % quantile of Student's t with `freedom` ≥ 1 degrees of freedom: the half-width of a two-sided 95 % interval
/// in standard errors.
///
/// By bisection of the angle θ = atan(t/√ν), in which the distribution is a finite sum for whole ν and so needs no gamma
/// function.
fn student_quantile(freedom: usize) -> f64 {
    let (mut low, mut high) = (0.0, std::f64::consts::FRAC_PI_2);
    // Each step gains a bit; a double has 53.
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if student_within(middle, freedom) < 0.95 { low = middle } else { high = middle }
    }
    (0.5 * (low + high)).tan() * (freedom as f64).sqrt()
}

/// P(|T| ≤ √ν·tan θ) for Student's T with ν whole degrees of freedom (Abramowitz & Stegun, 26.7.3 and 26.7.4).
fn student_within(angle: f64, freedom: usize) -> f64 {
    let (sine, cosine) = angle.sin_cos();
    let odd = freedom % 2 == 1;
    // The sum's terms: cos θ · {1, 2/3, 2·4/(3·5), …} or {1, 1/2, 1·3/(2·4), …}, times a power of cos² θ.
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
    use crate::sample::run;

    fn near(found: f64, expected: f64, within: f64) {
        assert!((found - expected).abs() <= within, "found {found}, expected {expected}");
    }

    /// A quantile that is wrong makes every interval wrong. Figures: tables of Student's t.
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

    /// Would catch a division by n where n−1 belongs, or a missing √n.
    #[test]
    fn an_estimate_is_mean_and_standard_error() {
        let Some(estimate) = Estimate::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]) else { panic!("no estimate") };
        near(estimate.mean, 5.0, 1e-12);
        near(estimate.error.unwrap(), (32.0_f64 / 7.0 / 8.0).sqrt(), 1e-12);
        assert_eq!(Estimate::of(&[]), None);
        assert_eq!(Estimate::of(&[3.0]), Some(Estimate { mean: 3.0, error: None, count: 1 }));
    }

    /// Student's own data (Biometrika 1908: hours of sleep gained under two drugs): a paired t that is known to every
    /// statistics package, mean 1.58, 95 % interval 0.7001142 to 2.4598858. Would catch unpaired arithmetic.
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
        // The second method comes in reverse: pairs are found by what they are, not by where they stand.
        let mut reversed: Vec<Run> = of("second", second).collect();
        reversed.reverse();
        let runs: Vec<Run> = of("first", first).chain(reversed).collect();

        let difference = Difference::between(&runs, "second", "first", Measure::Retention).unwrap();
        let (low, high) = difference.interval.unwrap();
        assert_eq!(difference.pairs, 10);
        near(difference.mean, 1.58, 1e-12);
        near(low, 0.700_114_2, 1e-6);
        near(high, 2.459_885_8, 1e-6);
        assert!(difference.is_clear());
    }

    /// Would catch pairs across sources, seeds or shifts, a run counted twice, and pairs of runs that only one has.
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

        let difference = Difference::between(&runs, "better", "worse", Measure::Shifts).unwrap();
        assert_eq!(difference.pairs, 2 * 3 * 2);
        near(difference.mean, 0.01, 1e-12);
        let (low, high) = difference.interval.unwrap();
        near(low, 0.01, 1e-9);
        near(high, 0.01, 1e-9);
        assert_eq!(Difference::between(&runs, "better", "absent", Measure::Shifts), None);
    }
}
