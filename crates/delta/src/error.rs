//! What can be wrong with a delta file, or with what should become one.

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

/// A file that is no delta, a damaged or abusive one, or values that no delta can hold.
///
/// Offsets count bytes from the file's start.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum DeltaError {
    /// The file doesn't begin as a delta does.
    #[error(
        "not a delta file: expected it to begin with {:02x?}, found {found:02x?}: check the path",
        crate::layout::MAGIC
    )]
    Magic {
        /// The first bytes.
        found: [u8; 8],
    },
    /// A format that this reader doesn't know.
    #[error(
        "expected format version 1 to {VERSION}, found {found}: update fieldfit, or write the delta with this version"
    )]
    Version {
        /// The file's version.
        found: u32,
    },
    /// The file ends before it says.
    #[error("expected {expected} bytes, found {found}: the delta was cut short, copy it again")]
    Truncated {
        /// Bytes that the file announces, or that its fixed part has.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// The file goes on after its end.
    #[error("expected {expected} bytes, found {found}: something was appended to the delta, copy it again")]
    TrailingBytes {
        /// Bytes that the file announces.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// The file's SHA-256 is not the one that it carries.
    #[error(
        "expected a SHA-256 that begins with {stored:08x}, found {computed:08x}: the delta was altered or damaged, copy it again"
    )]
    Hash {
        /// First four bytes of the hash in the file.
        stored: u32,
        /// First four bytes of the hash of the file's contents.
        computed: u32,
    },
    /// A signature that its key didn't make for this file.
    #[error(
        "expected a signature of this delta by the key {key}, found another: the delta, its sequence or its signature was \
         altered, get it again from who signed it"
    )]
    Signature {
        /// The key that the file names.
        key: PublicKey,
    },
    /// A file of a format that has no place for a signature.
    #[error("expected format version {SIGNABLE_VERSION} or later to be signed, found {found}: make the delta anew")]
    NotSignable {
        /// The file's version.
        found: u32,
    },
    /// A file over the limit.
    #[error("expected a file of at most {MAX_FILE_BYTES} bytes, found {found}: this is no delta for a robot")]
    FileLength {
        /// Bytes there are.
        found: u64,
    },
    /// A header over the limit.
    #[error("header: expected at most {MAX_HEADER_BYTES} bytes, found {found}: the delta is malformed")]
    HeaderLength {
        /// Bytes that the file announces.
        found: u32,
    },
    /// A header that is not one.
    #[error("header: can't be read or written as format version {VERSION} has it ({reason}): the delta is malformed")]
    HeaderEncoding {
        /// What the decoder met.
        reason: postcard::Error,
    },
    /// Bytes in the header's place that are no part of it.
    #[error("header: {surplus} bytes too many after its last field: the delta is malformed")]
    HeaderSurplus {
        /// How many.
        surplus: usize,
    },
    /// An input without pixels, or over the limit.
    #[error("header: expected an input of 1 to {MAX_INPUT_SIZE} pixels a side, found {found}")]
    InputSize {
        /// Pixels of the side.
        found: u32,
    },
    /// A header's number outside its range.
    #[error("header: expected {field} {expected}, found {found}: the delta is malformed, or was made from such values")]
    HeaderValue {
        /// Which number.
        field: &'static str,
        /// Its range.
        expected: &'static str,
        /// Its value.
        found: f64,
    },
    /// A field that runs over the end of its section.
    #[error("{what} at byte {offset}: expected {expected} bytes, found {found}: the delta is malformed")]
    Section {
        /// The field.
        what: &'static str,
        /// Where it starts.
        offset: usize,
        /// Bytes it needs.
        expected: usize,
        /// Bytes left in the section.
        found: usize,
    },
    /// Bytes in a section that no field accounts for.
    #[error("{surplus} bytes too many after the last of the {section}, at byte {offset}: the delta is malformed")]
    Surplus {
        /// Labels or records.
        section: &'static str,
        /// Where the first one is.
        offset: usize,
        /// How many.
        surplus: usize,
    },
    /// Text that is not UTF-8.
    #[error("{what} at byte {offset}: expected UTF-8, found other bytes: the delta is malformed")]
    Utf8 {
        /// Whose text.
        what: &'static str,
        /// Where it starts.
        offset: usize,
    },
    /// More classes than the limit, or none.
    #[error("expected 1 to {MAX_CLASSES} classes, found {found}")]
    Classes {
        /// How many.
        found: usize,
    },
    /// Not one label a class.
    #[error("expected one label for each of {classes} classes, found {labels} labels: give every class its label")]
    LabelCount {
        /// Classes in the header.
        classes: u32,
        /// Labels given.
        labels: usize,
    },
    /// A label over the limit.
    #[error("label {index}: expected at most {MAX_LABEL_BYTES} bytes, found {found}: shorten it")]
    LabelLength {
        /// Which label, from 0.
        index: usize,
        /// Its bytes.
        found: usize,
    },
    /// A label with a control or bidirectional character.
    #[error("label {index}: expected printable text, found the character U+{:04X}: rename the class", u32::from(*found))]
    LabelText {
        /// Which label, from 0.
        index: usize,
        /// The first such character.
        found: char,
    },
    /// A text of the header with a control or bidirectional character.
    #[error("header: expected printable text for {field}, found the character U+{:04X}: the delta is malformed", u32::from(*found))]
    HeaderText {
        /// Which text.
        field: &'static str,
        /// The first such character.
        found: char,
    },
    /// More tensors than the limit.
    #[error("expected at most {MAX_TENSORS} tensors, found {found}")]
    TensorCount {
        /// How many.
        found: usize,
    },
    /// A tensor without a name, or with one over the limit.
    #[error("tensor {index}: expected a name of 1 to {MAX_NAME_BYTES} bytes, found {found}")]
    NameLength {
        /// Which tensor, from 0.
        index: usize,
        /// Its name's bytes.
        found: usize,
    },
    /// A tensor's name with a control or bidirectional character.
    #[error("tensor {index}: expected a name of printable text, found the character U+{:04X}", u32::from(*found))]
    NameText {
        /// Which tensor, from 0.
        index: usize,
        /// The first such character.
        found: char,
    },
    /// Two tensors of one name.
    #[error("tensor `{name}` is there twice: a delta changes each tensor once")]
    DuplicateName {
        /// The name.
        name: Name,
    },
    /// More dimensions than the limit, or none.
    #[error("tensor `{name}`: expected 1 to {MAX_RANK} dimensions, found {found}")]
    Rank {
        /// The tensor.
        name: Name,
        /// Its dimensions.
        found: usize,
    },
    /// A dimension of zero.
    #[error("tensor `{name}`: expected at least one value along dimension {axis}, found none")]
    EmptyDimension {
        /// The tensor.
        name: Name,
        /// Which dimension, from 0.
        axis: usize,
    },
    /// A tensor over the limit.
    #[error("tensor `{name}`: expected at most {MAX_TENSOR_VALUES} values, found a shape of more")]
    TensorSize {
        /// The tensor.
        name: Name,
    },
    /// Differences that decode to more values than the base has, or than the limit where the base is not known.
    #[error(
        "tensor `{name}`: expected at most {limit} values of differences in all, found {found} with this one: the delta is \
         malformed, or made for another base"
    )]
    DifferenceSize {
        /// The tensor that is too much.
        name: Name,
        /// The most values.
        limit: usize,
        /// Values of all differences up to it.
        found: usize,
    },
    /// Replacements over the limit.
    #[error(
        "tensor `{name}`: expected at most {MAX_REPLACED_VALUES} replaced values in all, found {found} with this one"
    )]
    ReplacedSize {
        /// The tensor that is too much.
        name: Name,
        /// Values of all replacements up to it.
        found: usize,
    },
    /// A kind of record that this reader doesn't know.
    #[error("tensor `{name}`: kind {found} is not known to this version: update fieldfit")]
    UnknownKind {
        /// The tensor.
        name: Name,
        /// Its number in the file.
        found: u8,
    },
    /// A norm that this reader doesn't know.
    #[error("tensor `{name}`: norm {found} is not known to this version: update fieldfit")]
    UnknownNorm {
        /// The tensor.
        name: Name,
        /// Its number in the file.
        found: u8,
    },
    /// A codec that this reader doesn't know.
    #[error("tensor `{name}`: codec {found} is not known to this version: update fieldfit")]
    UnknownCodec {
        /// The tensor.
        name: Name,
        /// Its number in the file.
        found: u8,
    },
    /// A radius that is none.
    #[error("tensor `{name}`: expected a finite radius of at least 0, found {found}: the run that made it went astray")]
    Radius {
        /// The tensor.
        name: Name,
        /// The radius.
        found: f32,
    },
    /// A distance that is none.
    #[error(
        "tensor `{name}`: expected a finite distance of at least 0, found {found}: the run that made it went astray"
    )]
    Distance {
        /// The tensor.
        name: Name,
        /// The distance.
        found: f32,
    },
    /// A replacement with a radius: it has no base to be near to.
    #[error("tensor `{name}`: a replaced tensor has no ball, found one: leave it out, or store a difference")]
    BallOfReplacement {
        /// The tensor.
        name: Name,
    },
    /// Not as many values as the shape says.
    #[error("tensor `{name}`: expected {expected} values as its shape says, found {found}")]
    ValueCount {
        /// The tensor.
        name: Name,
        /// Values of the shape.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// Values that the tensor's codec can't encode or decode.
    #[error("tensor `{name}`: {source}")]
    Payload {
        /// The tensor.
        name: Name,
        /// Why.
        source: CodecError,
    },
}

/// A tensor's name in a message: its beginning, should it be long, so that an error needs no heap.
#[derive(Clone, PartialEq, Eq)]
pub struct Name {
    start: heapless::String<64, u8>,
    cut: bool,
}

impl From<&str> for Name {
    fn from(name: &str) -> Self {
        let mut start = heapless::String::new();
        let cut = name.chars().any(|letter| start.push(letter).is_err());
        Self { start, cut }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", escape(&self.start), if self.cut { "…" } else { "" })
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "`{self}`")
    }
}
