//! What can be wrong with a checkpoint.

use std::io;
use thiserror::Error;

/// Why a checkpoint can't be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A file without a byte.
    #[error("the file is empty: get it again")]
    Empty,
    /// A file of another kind.
    #[error("this is neither a PyTorch checkpoint nor safetensors")]
    Format,
    /// Values of the other byte order.
    #[error("this was saved on a big-endian machine, which is not supported: save it again on a little-endian one")]
    BigEndian,
    /// A pickle that was refused.
    #[error("pickle refused near byte {offset}: {problem}")]
    Pickle {
        /// How far it was read.
        offset: usize,
        /// Why.
        problem: PickleProblem,
    },
    /// A pickle that holds no dictionary of names.
    #[error("this holds no state dict: save it with torch.save(model.state_dict(), …)")]
    NotAState,
    /// A dictionary that doesn't hold tensors only.
    #[error("entry `{name}` is no tensor: save the state dict alone, with torch.save(model.state_dict(), …)")]
    NotATensor {
        /// The entry.
        name: String,
    },
    /// Two tensors of one name.
    #[error("tensor `{name}` stands twice")]
    Twice {
        /// The tensor.
        name: String,
    },
    /// A tensor that reaches outside its storage.
    #[error("tensor `{name}` of shape {shape:?}, strides {strides:?}, offset {offset} reaches outside its storage")]
    Outside {
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Its strides, in values.
        strides: Vec<usize>,
        /// Its first value's place in the storage.
        offset: usize,
    },
    /// A storage that ends too early.
    #[error("the file is cut short in storage {key}: get it again")]
    StorageCutShort {
        /// The storage.
        key: String,
    },
    /// A storage of another length than its tensors need.
    #[error("storage {key} has another length than the checkpoint says: get it again")]
    StorageLength {
        /// The storage.
        key: String,
    },
    /// A storage that isn't in the file.
    #[error("storage {key} is missing: get it again")]
    StorageMissing {
        /// The storage.
        key: String,
    },
    /// A storage that no tensor refers to.
    #[error("storage {key} belongs to no tensor")]
    StorageUnknown {
        /// The storage.
        key: String,
    },
    /// A storage that is larger than any base that can be imported.
    #[error("the storages unpack to more than {limit} bytes")]
    StoragesLarge {
        /// The limit.
        limit: u64,
    },
    /// An archive that can't be read.
    #[error("the zip archive is damaged: get it again")]
    Zip(#[from] zip::result::ZipError),
    /// A file that the archive lacks.
    #[error("the zip archive has no `{entry}`")]
    EntryMissing {
        /// The file's name in the archive.
        entry: String,
    },
    /// A damaged file in the archive.
    #[error("`{entry}` in the zip archive is damaged: get it again")]
    Entry {
        /// The file's name in the archive.
        entry: String,
        /// What failed.
        source: io::Error,
    },
    /// A file in the archive that is larger than it may be.
    #[error("`{entry}` in the zip archive unpacks to more than {limit} bytes")]
    EntryLarge {
        /// The file's name in the archive.
        entry: String,
        /// The limit.
        limit: u64,
    },
    /// A file that isn't whole safetensors.
    #[error("this is no whole safetensors file")]
    Safetensors(#[from] safetensors::SafeTensorError),
}

/// Why a pickle was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PickleProblem {
    /// A name that a state dict has no use for; whatever it is, it was not called.
    #[error("it names `{0}`, which a state dict doesn't need: don't trust this file, or save only the state dict")]
    Global(String),
    /// An instruction that a state dict has no use for.
    #[error("it has opcode {0:#04x}, which a state dict doesn't need")]
    Opcode(u8),
    /// Arguments that don't fit what is called.
    #[error("{0} has unexpected arguments")]
    Arguments(&'static str),
    /// Too few values on the stack, or of the wrong kind.
    #[error("its stack doesn't hold what an instruction needs")]
    Stack,
    /// A memo entry that was never made.
    #[error("it recalls entry {0}, which it never stored")]
    Memo(usize),
    /// Text that isn't.
    #[error("a string is not UTF-8")]
    Text,
    /// The end of the file within the pickle.
    #[error("the file is cut short: get it again")]
    CutShort,
    /// A pickle that asks for more memory than any state dict needs.
    #[error("it is larger than any state dict")]
    TooLarge,
}

impl PickleProblem {
    pub(super) const fn at(self, offset: usize) -> CheckpointError {
        CheckpointError::Pickle { offset, problem: self }
    }
}

impl CheckpointError {
    /// The same, where the pickle begins at `start`.
    pub(super) fn after(self, start: usize) -> Self {
        match self {
            Self::Pickle { offset, problem } => Self::Pickle { offset: start + offset, problem },
            other => other,
        }
    }
}
