//! Feature statistics of labelled images: class means, and the covariance within classes as a few directions and a residual.

use crate::train::labelled_features::LabelledFeatures;
use fieldfit_model::FeatureStatistics;
use fieldfit_tensor::Matrix;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// Most directions in which the variance within classes is told apart.
const MOST_FACTORS: usize = 16;
/// Most images that directions are found by.
const MOST_IMAGES: usize = 512;
/// Steps of subspace iteration.
const STEPS: usize = 24;
/// Variance of a direction, at most so many times the residual's: few images overstate it, and f16 has no room for more.
const MOST_CONDITION: f64 = 100.0;

/// Computes the statistics of features whose labels are below `classes`. The covariance is `None` where no class has two
/// images, or all images of each are alike.
pub(crate) fn statistics(features: &LabelledFeatures, classes: usize) -> FeatureStatistics {
    let columns = features.matrix.columns;
    let (means, counts) = class_means(features, classes);
    let present = counts.iter().filter(|&&count| count > 0).count();
    let freedom = features.classes().len().saturating_sub(present);
    // One at a time: all of them take twice the memory of the features.
    let residual = |row: usize| -> Vec<f64> {
        let mean = &means[features.classes()[row] as usize];
        features.matrix.row(row).iter().zip(mean).map(|(&value, mean)| f64::from(value) - mean).collect()
    };
    let images = features.classes().len();
    let squares = |row| {
        let residual = residual(row);
        dot(&residual, &residual)
    };
    let total: f64 = (0..images).map(squares).sum::<f64>() / freedom.max(1) as f64;
    let stride = images.div_ceil(MOST_IMAGES).max(1);
    let sampled: Vec<Vec<f64>> = (0..images).step_by(stride).map(residual).collect();
    let values = means.iter().flatten().map(|value| *value as f32).collect();
    let means = Matrix { rows: classes, columns, values };
    if freedom == 0 || total <= 0.0 {
        return FeatureStatistics { means, ..FeatureStatistics::default() };
    }
    // As many directions as can be told by two images each, and with some left for the residual.
    let count = MOST_FACTORS.min(freedom / 2).min(columns / 2);
    let mut axes = principal(&sampled, count, columns);
    let scale = sampled.len() as f64 * freedom as f64 / images as f64;
    axes.iter_mut().for_each(|(variance, _)| *variance /= scale);
    let explained: f64 = axes.iter().map(|(variance, _)| variance).sum();
    let residual =
        ((total - explained) / (columns - count).max(1) as f64).max(total / (columns as f64 * MOST_CONDITION));
    let mut factors = Matrix { rows: 0, columns, values: Vec::new() };
    for (variance, axis) in axes.into_iter().filter(|(variance, _)| *variance > residual) {
        let length = (1.0 - residual / variance.min(MOST_CONDITION * residual)).sqrt();
        factors.rows += 1;
        factors.values.extend(axis.iter().map(|value| (length * value) as f32));
    }
    FeatureStatistics { means, factors, variance: Some(residual as f32) }
}

/// Mean of each class, and number of its images; 0 of a class without any.
pub(crate) fn class_means(features: &LabelledFeatures, classes: usize) -> (Vec<Vec<f64>>, Vec<usize>) {
    let (mut means, mut counts) = (vec![vec![0.0; features.matrix.columns]; classes], vec![0_usize; classes]);
    for (row, &label) in features.classes().iter().enumerate() {
        let sum = &mut means[label as usize];
        sum.iter_mut().zip(features.matrix.row(row)).for_each(|(sum, &value)| *sum += f64::from(value));
        counts[label as usize] += 1;
    }
    for (mean, &count) in means.iter_mut().zip(&counts) {
        mean.iter_mut().for_each(|value| *value /= count.max(1) as f64);
    }
    (means, counts)
}

/// The directions of the largest sums of squares of these rows, with those sums, by subspace iteration from a fixed start.
fn principal(rows: &[Vec<f64>], count: usize, columns: usize) -> Vec<(f64, Vec<f64>)> {
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let mut axes: Vec<Vec<f64>> =
        (0..count).map(|_| (0..columns).map(|_| random.random_range(-1.0..1.0)).collect()).collect();
    orthonormalise(&mut axes);
    for _ in 0..STEPS {
        for axis in &mut axes {
            *axis = spread(rows, axis);
        }
        orthonormalise(&mut axes);
    }
    axes.into_iter().map(|axis| (dot(&axis, &spread(rows, &axis)), axis)).collect()
}

/// `Σ row · (row · axis)`.
fn spread(rows: &[Vec<f64>], axis: &[f64]) -> Vec<f64> {
    let mut sum = vec![0.0; axis.len()];
    for row in rows {
        let share = dot(row, axis);
        sum.iter_mut().zip(row.iter()).for_each(|(sum, value)| *sum += share * value);
    }
    sum
}

/// Gram–Schmidt, twice for its rounding; an axis of which nothing is left becomes 0.
fn orthonormalise(axes: &mut [Vec<f64>]) {
    for index in 0..axes.len() {
        let (before, rest) = axes.split_at_mut(index);
        let axis = &mut rest[0];
        let start = dot(axis, axis).sqrt();
        for earlier in before.iter().chain(before.iter()) {
            let share = dot(axis, earlier);
            axis.iter_mut().zip(earlier).for_each(|(value, earlier)| *value -= share * earlier);
        }
        let length = dot(axis, axis).sqrt();
        let factor = if length > 1e-12 * start && length > 0.0 { 1.0 / length } else { 0.0 };
        axis.iter_mut().for_each(|value| *value *= factor);
    }
}

/// `one · other`.
pub(crate) fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::novelty::NoveltyModel;
    use fieldfit_data::Targets;

    /// Two classes around (±5, 0, 0, …) whose images differ by as much as ±0.8 along the second axis, and little elsewhere.
    fn stretched(images: usize) -> LabelledFeatures {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let mut features = LabelledFeatures::default();
        for image in 0..images {
            let label = (image % 2) as u32;
            let mut row: Vec<f32> = (0..8).map(|_| random.random_range(-0.1..0.1)).collect();
            row[0] += if label == 0 { 5.0 } else { -5.0 };
            row[1] += random.random_range(-0.8..0.8);
            features.extend(Matrix { rows: 1, columns: 8, values: row }, &Targets::Classes(vec![label]));
        }
        features
    }

    /// Catches: a covariance that is taken over all images instead of within classes, that has the wrong scale, or that loses
    /// its directions.
    #[test]
    fn distances_are_in_units_of_the_spread_within_classes() {
        let features = stretched(400);
        let model = NoveltyModel::new(statistics(&features, 2)).unwrap();
        let mean: f64 =
            (0..400).map(|row| f64::from(model.distance(features.matrix.row(row))).powi(2)).sum::<f64>() / 400.0;
        assert!((7.0..9.0).contains(&mean), "the mean of 8 squares is {mean}");
        let at = |row: [f32; 8]| model.distance(&row);
        let along = at([5.0, 0.8, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        let across = at([5.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        let between = at([0.0; 8]);
        assert!(along < 3.0 && across > 20.0 && between > 20.0, "{along}, {across}, {between}");
    }

    /// Catches: a division by nothing where no class has two images, and a covariance that is made up there.
    #[test]
    fn single_images_have_no_covariance() {
        let features = stretched(2);
        let found = statistics(&features, 2);
        assert_eq!((found.variance, found.factors.rows, found.means.rows), (None, 0, 2));
        assert!(NoveltyModel::new(found).is_none());
    }
}
