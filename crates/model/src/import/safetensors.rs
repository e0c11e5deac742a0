//! Reader of checkpoints in safetensors, by the crate of that name.

use super::CheckpointError;
use super::storage::{Element, StateDict, Storage, StorageId, View, contiguous};
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use std::borrow::Cow;

/// Returns whether the header of a safetensors file, a JSON object, seems to follow its length.
pub(super) fn is_likely(bytes: &[u8]) -> bool {
    bytes.get(8) == Some(&b'{')
}

/// Every tensor of the checkpoint.
pub(crate) fn read(bytes: &[u8]) -> Result<StateDict<'_>, CheckpointError> {
    let invalid = |error: SafeTensorError| CheckpointError::Safetensors { problem: error.to_string() };
    let tensors = SafeTensors::deserialize(bytes).map_err(invalid)?;
    let views: Vec<_> = tensors.iter().collect();
    let storages =
        views.iter().map(|(_, view)| Storage { element: element(view.dtype()), bytes: Cow::Borrowed(view.data()) });
    let mut state = StateDict::new(storages.collect());
    for (index, (name, view)) in views.iter().enumerate() {
        let (shape, strides) = (view.shape().to_vec(), contiguous(view.shape()));
        state.insert(name, StorageId(index), View { element: None, offset: 0, shape, strides })?;
    }
    Ok(state)
}

fn element(dtype: Dtype) -> Element {
    match dtype {
        Dtype::F16 => Element::F16,
        Dtype::BF16 => Element::Bf16,
        Dtype::F32 => Element::F32,
        Dtype::F64 => Element::F64,
        Dtype::I64 | Dtype::U64 => Element::Other("a 64-bit integer", 8),
        Dtype::I32 | Dtype::U32 => Element::Other("a 32-bit integer", 4),
        Dtype::I16 | Dtype::U16 => Element::Other("a 16-bit integer", 2),
        _ => Element::Other("a type of a byte or less", 1),
    }
}
