//! Where things are in a file: the numbers behind the diagram in the crate's documentation.

/// What every delta file begins with. The first byte is not ASCII, so that nothing takes the file for text.
pub(crate) const MAGIC: [u8; 8] = *b"\x89FFDELTA";
/// The newest format that this crate reads, and the one that it writes.
pub const VERSION: u32 = 2;
/// The first format whose header tells the cost of the codecs, and whose files may be signed.
pub(crate) const SIGNABLE_VERSION: u32 = 2;
/// The length of the fixed part: magic, version, header length, file length.
pub(crate) const PROLOGUE_BYTES: usize = 24;
/// The length of the SHA-256 at the end.
pub(crate) const TRAILER_BYTES: usize = 32;
/// The length of what follows the SHA-256 in a signed file: sequence, public key, signature.
pub(crate) const SIGNATURE_BYTES: usize = size_of::<u64>() + 32 + 64;
/// The length of a file with nothing between its fixed part and its hash.
pub(crate) const MINIMUM_BYTES: usize = PROLOGUE_BYTES + TRAILER_BYTES;
/// Where the file's length stands.
#[cfg(feature = "alloc")]
pub(crate) const FILE_LENGTH_OFFSET: usize = 16;
