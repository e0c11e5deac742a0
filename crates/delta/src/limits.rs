//! Limits of a delta file. A reader rejects larger values before it allocates or computes anything of that size.

pub use fieldfit_tensor::MAX_TENSORS;

/// Bytes of a file. The code that applies a delta also limits it by the base.
pub const MAX_FILE_BYTES: usize = 256 << 20;
/// Bytes of the encoded header.
pub const MAX_HEADER_BYTES: usize = 4096;
/// Dimensions of a tensor; at least one.
pub const MAX_RANK: usize = 6;
/// Bytes of a tensor's name; at least one.
pub const MAX_NAME_BYTES: usize = 128;
/// Classes; at least one.
pub const MAX_CLASSES: usize = 65_536;
/// Bytes of a label.
pub const MAX_LABEL_BYTES: usize = 256;
/// Pixels of the input's side; at least one.
pub const MAX_INPUT_SIZE: u32 = 8192;
/// Values of one tensor. The code that applies a delta also checks a difference against the base's shape.
pub const MAX_TENSOR_VALUES: usize = 1 << 28;
/// Values of all replacements together, since no base limits a new head's shape.
pub const MAX_REPLACED_VALUES: usize = 16 << 20;
