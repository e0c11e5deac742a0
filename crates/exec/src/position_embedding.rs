//! Position embedding resampling from one grid of patches to another, as timm's `resample_abs_pos_embed`: PyTorch's
//! bicubic interpolation with antialiasing, separable by axis.

/// Parameter a of the cubic: −½, as in PyTorch and Pillow with antialiasing.
const SHARPNESS: f64 = -0.5;

/// Resampling matrix along one axis, `[to, from]`; each row sums to 1.
#[derive(Debug, Clone)]
pub(crate) struct Resampling {
    pub from: usize,
    pub to: usize,
    pub weights: Vec<f64>,
}

impl Resampling {
    pub fn new(from: usize, to: usize) -> Self {
        let scale = from as f64 / to as f64;
        // When downsampling, the cubic is stretched by the scale.
        let stretch = scale.max(1.0);
        let mut weights = vec![0.0; to * from];
        for (position, row) in weights.chunks_exact_mut(from.max(1)).enumerate() {
            let centre = scale * (position as f64 + 0.5);
            let first = (centre - 2.0 * stretch + 0.5).max(0.0) as usize;
            let end = ((centre + 2.0 * stretch + 0.5) as usize).min(from);
            for (source, weight) in row.iter_mut().enumerate().take(end).skip(first) {
                *weight = cubic((source as f64 - centre + 0.5) / stretch);
            }
            let total: f64 = row.iter().sum();
            row.iter_mut().for_each(|weight| *weight /= total);
        }
        Self { from, to, weights }
    }

    /// Iterates over the source positions of one position, with their weights.
    pub fn sources(&self, position: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        let row = self.weights[position * self.from..][..self.from].iter();
        row.copied().enumerate().filter(|(_, weight)| *weight != 0.0)
    }
}

/// Computes Keys' cubic convolution kernel (IEEE TASSP 1981).
fn cubic(x: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        ((SHARPNESS + 2.0) * x - (SHARPNESS + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * SHARPNESS
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: weights that are shifted, not antialiased or of another cubic. Expected:
    /// `torch.nn.functional.interpolate(mode="bicubic", antialias=True)` of the positions' squares, in f64 (torch 2.x).
    #[test]
    fn weights_are_pytorchs() {
        let of_squares = |from: usize, to: usize| -> Vec<f64> {
            let resampling = Resampling::new(from, to);
            let value = |to| resampling.sources(to).map(|(source, weight)| weight * (source * source) as f64).sum();
            (0..to).map(value).collect()
        };
        let three = [0.6774193548387136, 9.363858363858364, 28.06451612903226];
        let seven = [0.0, 1.0, 4.0, 9.0, 16.0, 25.0, 36.0];
        let nine = [
            -0.047337278106508916,
            0.4642857142857147,
            2.086419753086421,
            4.93827160493827,
            9.0,
            14.271604938271604,
            20.75308641975309,
            29.178571428571423,
            36.520710059171606,
        ];
        let cases: [&[f64]; 3] = [&three, &seven, &nine];
        for expected in cases {
            let to = expected.len();
            let found = of_squares(7, to);
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "7 to {to}: {found:?}");
        }
    }
}
