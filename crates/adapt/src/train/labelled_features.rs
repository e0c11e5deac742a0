//! Labelled features: what a linear probe learns from, of images or of pixels.

use fieldfit_data::Targets;
use fieldfit_tensor::Matrix;

/// Features of images or pixels, `[rows, features]`, and the target of each row.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct LabelledFeatures {
    pub matrix: Matrix<f32>,
    pub targets: Targets,
}

impl LabelledFeatures {
    /// Puts a batch's features after those that are there.
    pub fn extend(&mut self, matrix: Matrix<f32>, targets: &Targets) {
        if self.matrix.rows == 0 {
            self.targets = targets.empty();
        }
        self.matrix.rows += matrix.rows;
        self.matrix.columns = matrix.columns;
        self.matrix.values.extend(matrix.values);
        self.targets.extend(targets);
    }

    /// Returns the class of each row; empty where targets are none.
    pub fn classes(&self) -> &[u32] {
        self.targets.classes()
    }
}
