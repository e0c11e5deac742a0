//! Prototypes: a linear head by class means over centred features, alone or behind trained rows.
//!
//! A frame goes to the class whose mean has the smallest angle to its features, both from the centre of all means: the
//! nearest prototype of normalised features (Snell et al., NeurIPS 2017, arXiv 1703.05175; centred as by Wang et al., arXiv
//! 1911.04623). The length of a frame's own features scales all of its logits, so that the head is linear.
//! Behind trained rows, a prototype stands out from their mean row as they do, each at its own class mean: weights are
//! imprinted (Qi et al., CVPR 2018, arXiv 1712.07136) at the scale of what is there.

use crate::covariance::dot;
use crate::train::training_state::HeadParams;
use fieldfit_tensor::Matrix;

/// Logit of a class at its own mean, above those at the centre, in a head of class means alone.
const SCALE: f64 = 10.0;

/// Returns the head of all classes: the trained rows as they are, and a row for each mean behind theirs.
///
/// `means` is `[classes, features]`, those of the trained classes first.
pub(crate) fn head(means: &Matrix<f32>, trained: &HeadParams) -> HeadParams {
    let prototypes = Prototypes::new(means);
    let mut head = trained.clone();
    let (row, share) = prototypes.beside(trained);
    for direction in &prototypes.directions[trained.bias.len()..] {
        let weight: Vec<f64> = direction.iter().zip(&row.direction).map(|(own, mean)| share * (own - mean)).collect();
        let bias = row.bias - dot(&weight, &prototypes.centre);
        head.weight.extend(weight.iter().zip(&row.weight).map(|(own, mean)| (own + mean) as f32));
        head.bias.push(bias as f32);
    }
    head
}

/// Class means, as directions from their centre.
struct Prototypes {
    centre: Vec<f64>,
    /// Mean of each class, from the centre.
    means: Vec<Vec<f64>>,
    /// The same, of length 1; 0 for a class whose mean is the centre.
    directions: Vec<Vec<f64>>,
}

/// Row that a prototype stands out from: the mean of the trained ones, and of their prototypes.
struct MeanRow {
    weight: Vec<f64>,
    bias: f64,
    direction: Vec<f64>,
}

impl Prototypes {
    fn new(means: &Matrix<f32>) -> Self {
        let rows: Vec<Vec<f64>> =
            (0..means.rows).map(|row| means.row(row).iter().map(|&value| f64::from(value)).collect()).collect();
        let centre = mean(&rows, means.columns);
        let means: Vec<Vec<f64>> =
            rows.iter().map(|row| row.iter().zip(&centre).map(|(value, centre)| value - centre).collect()).collect();
        let direction = |row: &Vec<f64>| {
            let length = dot(row, row).sqrt();
            row.iter().map(|value| if length > 0.0 { value / length } else { 0.0 }).collect()
        };
        let directions = means.iter().map(direction).collect();
        Self { centre, means, directions }
    }

    /// The row that prototypes stand out from, and how far: as far as the trained rows do from their mean, at their own class
    /// means.
    fn beside(&self, trained: &HeadParams) -> (MeanRow, f64) {
        let (count, features) = (trained.bias.len(), self.centre.len());
        let lengths = self.means.iter().zip(&self.directions).map(|(mean, direction)| dot(mean, direction));
        let length = lengths.sum::<f64>() / self.means.len().max(1) as f64;
        let alone = if length > 0.0 { SCALE / length } else { 0.0 };
        let rows: Vec<Vec<f64>> = (trained.weight.chunks_exact(features.max(1)))
            .map(|row| row.iter().map(|&value| f64::from(value)).collect())
            .collect();
        let row = MeanRow {
            weight: mean(&rows, features),
            bias: trained.bias.iter().map(|&bias| f64::from(bias)).sum::<f64>() / count.max(1) as f64,
            direction: mean(&self.directions[..count], features),
        };
        let (mut logits, mut angles) = (0.0, 0.0);
        for (class, weight) in rows.iter().enumerate() {
            let at: Vec<f64> = self.means[class].iter().zip(&self.centre).map(|(mean, centre)| mean + centre).collect();
            logits += dot(weight, &at) + f64::from(trained.bias[class]) - dot(&row.weight, &at) - row.bias;
            angles += dot(&self.means[class], &self.directions[class]) - dot(&self.means[class], &row.direction);
        }
        let share = if logits > 0.0 && angles > 0.0 { logits / angles } else { alone };
        (row, share)
    }
}

fn mean(rows: &[Vec<f64>], columns: usize) -> Vec<f64> {
    let mut sum = vec![0.0; columns];
    for row in rows {
        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    sum.iter_mut().for_each(|sum| *sum /= rows.len().max(1) as f64);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::prediction;

    fn none() -> HeadParams {
        HeadParams { weight: Vec::new(), bias: Vec::new() }
    }

    fn logits(head: &HeadParams, features: &[f32]) -> Vec<f32> {
        let rows = head.weight.chunks_exact(features.len()).zip(&head.bias);
        rows.map(|(row, bias)| row.iter().zip(features).map(|(a, b)| a * b).sum::<f32>() + bias).collect()
    }

    const MEANS: [f32; 9] = [5.0, 4.0, 4.0, 4.0, 6.0, 4.0, 4.0, 4.0, 9.0];

    /// Catches: rows that are not centred, so that the longest mean wins everywhere; a distance in place of an angle.
    #[test]
    fn each_mean_is_nearest_to_its_own_prototype_whatever_their_lengths() {
        let means = Matrix { rows: 3, columns: 3, values: MEANS.to_vec() };
        let head = head(&means, &none());
        for class in 0..3 {
            assert_eq!(prediction(&logits(&head, means.row(class))), class, "{:?}", logits(&head, means.row(class)));
        }
        let one = super::head(&Matrix { rows: 1, columns: 3, values: MEANS[..3].to_vec() }, &none());
        assert_eq!(logits(&one, &[1.0, 2.0, 3.0]), [0.0], "a single class has nothing to stand out from");
    }

    /// Catches: a prototype at another scale than the trained rows, which never wins or always does; trained rows that change.
    #[test]
    fn a_prototype_stands_out_as_trained_rows_do() {
        let means = Matrix { rows: 3, columns: 3, values: MEANS.to_vec() };
        for scale in [0.01, 1.0, 100.0] {
            let trained = HeadParams {
                weight: [1.0, -1.0, 0.0, -1.0, 1.0, 0.0].map(|value: f32| value * scale).to_vec(),
                bias: vec![0.0; 2],
            };
            let head = head(&means, &trained);
            assert_eq!((&head.weight[..6], &head.bias[..2]), (&trained.weight[..], &trained.bias[..]));
            for class in 0..3 {
                assert_eq!(prediction(&logits(&head, means.row(class))), class, "at scale {scale}");
            }
            let own = logits(&head, means.row(2));
            assert!(own[2] > 0.5 * scale && own[2] < 50.0 * scale, "{own:?} at scale {scale}");
        }
    }
}
