//! Delta errors: invalid files, and values that cannot be encoded.

use crate::codec::CodecError;
use crate::layout::{SIGNABLE_VERSION, VERSION};
use crate::limits::{
    MAX_CLASSES, MAX_FILE_BYTES, MAX_HEADER_BYTES, MAX_INPUT_SIZE, MAX_LABEL_BYTES, MAX_NAME_BYTES, MAX_RANK,
    MAX_REPLACED_VALUES, MAX_TENSOR_VALUES, MAX_TENSORS,
};
use crate::signature::PublicKey;
use core::fmt;
use fieldfit_tensor::text::escape;
use thiserror::Error;

/// Delta error: the file is not a delta, is damaged or malformed, or values cannot be encoded.
///
/// Offsets count bytes from the file's start.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum DeltaError {
    /// The magic number is wrong.
    #[error(
        "not a delta file: expected the first bytes {:02x?}, found {found:02x?}: check the path",
        crate::layout::MAGIC
    )]
    Magic {
        /// The first bytes.
        found: [u8; 8],
    },
    /// An unsupported format version.
    #[error(
        "expected format version 1 to {VERSION}, found {found}: update fieldfit, or write the delta with this version"
    )]
    Version {
        /// The file's version.
        found: u32,
    },
    /// The file is shorter than its header says.
    #[error("expected {expected} bytes, found {found}: the delta is truncated, copy it again")]
    Truncated {
        /// Bytes that the file declares, or bytes of its fixed part.
        expected: u64,
        /// Bytes present.
        found: u64,
    },
    /// The file is longer than its header says.
    #[error("expected {expected} bytes, found {found}: bytes were appended to the delta, copy it again")]
    TrailingBytes {
        /// Bytes that the file declares.
        expected: u64,
        /// Bytes present.
        found: u64,
    },
    /// The file's SHA-256 differs from the stored one.
    #[error(
        "expected a SHA-256 that begins with {stored:08x}, found {computed:08x}: the delta was altered or damaged, copy it again"
    )]
    Hash {
        /// First four bytes of the hash in the file.
        stored: u32,
        /// First four bytes of the hash of the file's contents.
        computed: u32,
    },
    /// An invalid signature.
    #[error(
        "expected a signature of this delta by the key {key}, found another: the delta, its sequence or its signature was \
         altered, get it again from its signer"
    )]
    Signature {
        /// The key that the file names.
        key: PublicKey,
    },
    /// A format version that cannot be signed.
    #[error("expected format version {SIGNABLE_VERSION} or later to be signed, found {found}: create the delta again")]
    NotSignable {
        /// The file's version.
        found: u32,
    },
    /// A file over the limit.
    #[error("expected a file of at most {MAX_FILE_BYTES} bytes, found {found}: use a smaller delta")]
    FileLength {
        /// Bytes present.
        found: u64,
    },
    /// A header over the limit.
    #[error("header: expected at most {MAX_HEADER_BYTES} bytes, found {found}: the delta is malformed")]
    HeaderLength {
        /// Bytes that the file declares.
        found: u32,
    },
    /// An invalid header.
    #[error("header: invalid encoding of format version {VERSION} ({reason}): the delta is malformed")]
    HeaderEncoding {
        /// The decoder's error.
        reason: postcard::Error,
    },
    /// Surplus bytes after the header's last field.
    #[error("header: found {surplus} bytes after the last field: the delta is malformed")]
    HeaderSurplus {
        /// The number found.
        surplus: usize,
    },
    /// An input size of 0, or over the limit.
    #[error("header: expected an input of 1 to {MAX_INPUT_SIZE} pixels a side, found {found}")]
    InputSize {
        /// Pixels of the side.
        found: u32,
    },
    /// A header field outside its range.
    #[error(
        "header: expected {field} {expected}, found {found}: the delta is malformed or was created from invalid values"
    )]
    HeaderValue {
        /// Name of the field.
        field: &'static str,
        /// Its range.
        expected: &'static str,
        /// Its value.
        found: f64,
    },
    /// A field beyond the end of its section.
    #[error("{what} at byte {offset}: expected {expected} bytes, found {found}: the delta is malformed")]
    Section {
        /// The field.
        what: &'static str,
        /// Its offset.
        offset: usize,
        /// Bytes required.
        expected: usize,
        /// Bytes left in the section.
        found: usize,
    },
    /// Surplus bytes after a section's last field.
    #[error("found {surplus} bytes after the last of the {section}, at byte {offset}: the delta is malformed")]
    Surplus {
        /// Labels or records.
        section: &'static str,
        /// Offset of the first surplus byte.
        offset: usize,
        /// The number found.
        surplus: usize,
    },
    /// Text that is not UTF-8.
    #[error("{what} at byte {offset}: expected UTF-8, found other bytes: the delta is malformed")]
    Utf8 {
        /// The field.
        what: &'static str,
        /// Its offset.
        offset: usize,
    },
    /// 0 classes, or more than the limit.
    #[error("expected 1 to {MAX_CLASSES} classes, found {found}")]
    Classes {
        /// The number found.
        found: usize,
    },
    /// A number of labels other than the number of classes.
    #[error("expected one label for each of {classes} classes, found {labels} labels: pass one label per class")]
    LabelCount {
        /// Classes in the header.
        classes: u32,
        /// Labels given.
        labels: usize,
    },
    /// A label over the limit.
    #[error("label {index}: expected at most {MAX_LABEL_BYTES} bytes, found {found}: shorten it")]
    LabelLength {
        /// Index of the label.
        index: usize,
        /// Its bytes.
        found: usize,
    },
    /// A label with a control or bidirectional character.
    #[error("label {index}: expected printable text, found the character U+{:04X}: rename the class", u32::from(*found))]
    LabelText {
        /// Index of the label, from 0.
        index: usize,
        /// The first such character.
        found: char,
    },
    /// A text of the header with a control or bidirectional character.
    #[error("header: expected printable text for {field}, found the character U+{:04X}: the delta is malformed", u32::from(*found))]
    HeaderText {
        /// Name of the field.
        field: &'static str,
        /// The first such character.
        found: char,
    },
    /// More tensors than the limit.
    #[error("expected at most {MAX_TENSORS} tensors, found {found}")]
    TensorCount {
        /// The number found.
        found: usize,
    },
    /// An empty tensor name, or one over the limit.
    #[error("tensor {index}: expected a name of 1 to {MAX_NAME_BYTES} bytes, found {found}")]
    NameLength {
        /// Index of the tensor.
        index: usize,
        /// Its name's bytes.
        found: usize,
    },
    /// A tensor's name with a control or bidirectional character.
    #[error("tensor {index}: expected a name of printable text, found the character U+{:04X}", u32::from(*found))]
    NameText {
        /// Index of the tensor, from 0.
        index: usize,
        /// The first such character.
        found: char,
    },
    /// Two tensors of one name.
    #[error("tensor `{name}`: duplicate name: a delta changes each tensor once")]
    DuplicateName {
        /// The name.
        name: TensorName,
    },
    /// 0 dimensions, or more than the limit.
    #[error("tensor `{name}`: expected 1 to {MAX_RANK} dimensions, found {found}")]
    Rank {
        /// The tensor.
        name: TensorName,
        /// Its dimensions.
        found: usize,
    },
    /// A dimension of zero.
    #[error("tensor `{name}`: expected a size of at least 1 along dimension {axis}, found 0")]
    EmptyDimension {
        /// The tensor.
        name: TensorName,
        /// Index of the dimension.
        axis: usize,
    },
    /// A tensor of more values than the limit.
    #[error("tensor `{name}`: expected a shape of at most {MAX_TENSOR_VALUES} values, found more")]
    TensorSize {
        /// The tensor.
        name: TensorName,
    },
    /// Differences that decode to more values than the base has, or than the limit where the base is not known.
    #[error(
        "tensor `{name}`: expected at most {limit} values of differences in all, found {found} with this one: the delta is \
         malformed, or made for another base"
    )]
    DifferenceSize {
        /// The tensor that is too much.
        name: TensorName,
        /// The most values.
        limit: usize,
        /// Values of all differences up to it.
        found: usize,
    },
    /// Replacements of more values than the limit.
    #[error(
        "tensor `{name}`: expected at most {MAX_REPLACED_VALUES} replaced values in all, found {found} with this one"
    )]
    ReplacedSize {
        /// The first tensor over the limit.
        name: TensorName,
        /// Values of all replacements up to it.
        found: usize,
    },
    /// An unknown kind of record.
    #[error("tensor `{name}`: unknown kind {found}: update fieldfit")]
    UnknownKind {
        /// The tensor.
        name: TensorName,
        /// Its number in the file.
        found: u8,
    },
    /// An unknown norm.
    #[error("tensor `{name}`: unknown norm {found}: update fieldfit")]
    UnknownNorm {
        /// The tensor.
        name: TensorName,
        /// Its number in the file.
        found: u8,
    },
    /// An unknown codec.
    #[error("tensor `{name}`: unknown codec {found}: update fieldfit")]
    UnknownCodec {
        /// The tensor.
        name: TensorName,
        /// Its number in the file.
        found: u8,
    },
    /// An invalid radius.
    #[error("tensor `{name}`: expected a finite radius of at least 0, found {found}: the training run diverged")]
    Radius {
        /// The tensor.
        name: TensorName,
        /// The radius.
        found: f32,
    },
    /// An invalid distance.
    #[error("tensor `{name}`: expected a finite distance of at least 0, found {found}: the training run diverged")]
    Distance {
        /// The tensor.
        name: TensorName,
        /// The distance.
        found: f32,
    },
    /// A replacement with a constraint; it has no base tensor.
    #[error("tensor `{name}`: expected no constraint on a replacement, found one: remove it, or store a difference")]
    ConstraintOfReplacement {
        /// The tensor.
        name: TensorName,
    },
    /// A number of values other than the shape's.
    #[error("tensor `{name}`: expected {expected} values according to its shape, found {found}")]
    ValueCount {
        /// The tensor.
        name: TensorName,
        /// Values of the shape.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// Values that the tensor's codec cannot encode or decode.
    #[error("tensor `{name}`: {source}")]
    Payload {
        /// The tensor.
        name: TensorName,
        /// The codec's error.
        source: CodecError,
    },
}

/// Tensor name in an error, truncated so that errors need no heap.
#[derive(Clone, PartialEq, Eq)]
pub struct TensorName {
    start: heapless::String<64, u8>,
    cut: bool,
}

impl From<&str> for TensorName {
    fn from(name: &str) -> Self {
        let mut start = heapless::String::new();
        let cut = name.chars().any(|letter| start.push(letter).is_err());
        Self { start, cut }
    }
}

impl fmt::Display for TensorName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", escape(&self.start), if self.cut { "…" } else { "" })
    }
}

impl fmt::Debug for TensorName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "`{self}`")
    }
}
