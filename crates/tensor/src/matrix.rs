//! Matrix: values of a batch, one row an image.

/// A dense row-major matrix, `[rows, columns]`: logits or features of a batch, one row an image.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Matrix<T> {
    /// Number of rows, one an image.
    pub rows: usize,
    /// Number of values an image: classes or features.
    pub columns: usize,
    /// `rows · columns` values, row-major.
    pub values: Vec<T>,
}

impl<T> Matrix<T> {
    /// Returns the values of one image.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, row: usize) -> &[T] {
        &self.values[row * self.columns..][..self.columns]
    }
}
