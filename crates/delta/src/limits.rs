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
/// Values of all differences together, where the base is not known, beyond those that take a byte for eight or fewer of
/// them: see [`max_difference_values`].
pub const MAX_DIFFERENCE_VALUES: usize = 1 << 28;
/// Values of all differences together that a reader decodes without the base at hand: see [`max_values_without_base`].
pub const MAX_VALUES_WITHOUT_BASE: usize = 16 << 20;
/// Values of all replacements together, since no base limits a new head's shape.
pub const MAX_REPLACED_VALUES: usize = 16 << 20;

/// The most values that a byte of a dense codec stands for: those of [`Codec::Sign`](crate::Codec::Sign).
const DENSEST: usize = 8;

/// Returns the greatest number of difference values of a file of that length whose base is not known.
///
/// Only a sparse tensor has more values than its bytes account for. A reader that knows the base uses
/// [`Delta::parse_for`](crate::Delta::parse_for) with the base's number of parameters instead.
pub const fn max_difference_values(file_bytes: usize) -> usize {
    MAX_DIFFERENCE_VALUES.saturating_add(file_bytes.saturating_mul(DENSEST))
}

/// Returns the limit for [`Delta::parse_for`](crate::Delta::parse_for) where a file of that length is decoded whole and its
/// base is not at hand: a few hundred bytes must not take gigabytes of memory.
pub const fn max_values_without_base(file_bytes: usize) -> usize {
    MAX_VALUES_WITHOUT_BASE.saturating_add(file_bytes.saturating_mul(DENSEST))
}
