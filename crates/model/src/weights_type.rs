//! Weights type: how a model folder stores the tensors of its weights.

use fieldfit_tensor::Dtype;

/// Stored type of a model's tensors of two or more dimensions; the others are f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightsType {
    /// Floating-point numbers.
    Float(Dtype),
    /// Signed bytes, with an f32 scale for each row, which is an index of the first dimension.
    Int8,
}

impl From<Dtype> for WeightsType {
    fn from(dtype: Dtype) -> Self {
        Self::Float(dtype)
    }
}

/// Returns the name of the tensor that holds the scales of an int8 tensor, f32, `[rows]`.
pub(crate) fn scales_name(tensor: &str) -> String {
    format!("{tensor}_scale")
}
