//! Labelled features: what a linear probe learns from, of images or of pixels.

use fieldfit_tensor::Matrix;

/// Features of images or pixels, `[rows, features]`, and the label of each row.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct LabelledFeatures {
    pub matrix: Matrix<f32>,
    pub labels: Vec<u32>,
}

impl LabelledFeatures {
    /// Puts a batch's features after those that are there.
    pub fn extend(&mut self, matrix: Matrix<f32>, labels: &[u32]) {
        self.matrix.rows += matrix.rows;
        self.matrix.columns = matrix.columns;
        self.matrix.values.extend(matrix.values);
        self.labels.extend_from_slice(labels);
    }
}
