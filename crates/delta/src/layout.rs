//! File layout: constants of the diagram in the crate's documentation.

/// Magic number of delta files. The first byte is not ASCII, so that the file is not taken for text.
pub(crate) const MAGIC: [u8; 8] = *b"\x89FFDELTA";
/// Newest format version that this crate reads and writes. A file is written in the earliest that has room for it.
pub const VERSION: u32 = 4;
/// First format version with [`Fidelity`](crate::Fidelity) and signatures.
pub(crate) const SIGNABLE_VERSION: u32 = 2;
/// First format version with a [`HeadDescription`](crate::HeadDescription).
pub(crate) const HEAD_VERSION: u32 = 3;
/// First format version with regression and multi-label classification.
pub(crate) const VALUE_VERSION: u32 = 4;
/// Length of the fixed part: magic, version, header length, file length.
pub(crate) const PROLOGUE_BYTES: usize = 24;
/// Length of the SHA-256 at the end.
pub(crate) const TRAILER_BYTES: usize = 32;
/// Length of a signature block: sequence, public key, signature.
pub(crate) const SIGNATURE_BYTES: usize = size_of::<u64>() + 32 + 64;
/// Minimum file length: fixed part and hash.
pub(crate) const MINIMUM_BYTES: usize = PROLOGUE_BYTES + TRAILER_BYTES;
/// Offset of the file's length.
#[cfg(feature = "alloc")]
pub(crate) const FILE_LENGTH_OFFSET: usize = 16;
