//! Errors of reading a checkpoint.

use crate::text::excerpt;
use std::fmt;
use std::io;
use thiserror::Error;

/// Error of reading a checkpoint.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// An empty file.
    #[error("the file is empty: get it again")]
    Empty,
    /// A file of another kind.
    #[error("expected a PyTorch checkpoint or safetensors, found another kind of file")]
    Format,
    /// A file that packs another one.
    #[error("expected a PyTorch checkpoint or safetensors, found a file packed with {packed}: unpack it first")]
    Packed {
        /// The packing's name.
        packed: &'static str,
    },
    /// A pointer that Git LFS keeps in place of a file.
    #[error("expected a checkpoint, found a pointer of Git LFS: fetch the file itself with `git lfs pull`")]
    LfsPointer,
    /// A program with its code, whose weights have to be taken out of it first.
    #[error("expected a state dict, found {0}")]
    Program(Program),
    /// Values of the other byte order.
    #[error("this was saved on a big-endian machine, which is not supported: save it again on a little-endian one")]
    BigEndian,
    /// A pickle that was refused.
    #[error("pickle refused near byte {offset}: {problem}")]
    Pickle {
        /// Offset of the error, in bytes.
        offset: usize,
        /// The problem.
        problem: PickleProblem,
    },
    /// A pickle that holds no dictionary of names.
    #[error("this holds no state dict: save it with torch.save(model.state_dict(), …)")]
    NotAState,
    /// A dictionary that does not hold tensors only.
    #[error("entry `{}`: expected a tensor, found {}: {advice}", excerpt(name), excerpt(found))]
    NotATensor {
        /// The entry.
        name: String,
        /// Kind of the entry.
        found: String,
        /// What to do.
        advice: &'static str,
    },
    /// A missing moving average, which was requested.
    #[error("expected a moving average of the weights beside them, found none: import without `--ema`")]
    NoAverage,
    /// Missing weights: only their moving average is there, and the weights themselves were requested.
    #[error("expected weights beside their moving average `{}`, found none: import without `--no-ema`", excerpt(entry))]
    OnlyAverage {
        /// The entry of the average.
        entry: String,
    },
    /// More tensors than any architecture has.
    #[error("expected at most {limit} tensors, found {found}")]
    TooManyTensors {
        /// The limit.
        limit: usize,
        /// Tensors in the checkpoint.
        found: usize,
    },
    /// Two tensors of one name.
    #[error("tensor `{}` is there twice", excerpt(name))]
    Twice {
        /// The tensor.
        name: String,
    },
    /// A tensor that reaches outside its storage.
    #[error(
        "tensor `{}` of shape {shape:?}, strides {strides:?}, offset {offset} reaches outside its storage",
        excerpt(name)
    )]
    Outside {
        /// The tensor.
        name: String,
        /// Shape of the tensor.
        shape: Vec<usize>,
        /// Strides of the tensor, in values.
        strides: Vec<usize>,
        /// Offset of the first value in the storage, in values.
        offset: usize,
    },
    /// A storage that ends too early.
    #[error("the file is cut short in storage {}: get it again", excerpt(key))]
    StorageCutShort {
        /// The storage.
        key: String,
    },
    /// A storage of another length than its tensors need.
    #[error("storage {} has another length than the checkpoint says: get it again", excerpt(key))]
    StorageLength {
        /// The storage.
        key: String,
    },
    /// A missing storage.
    #[error("storage {} is missing: get it again", excerpt(key))]
    StorageMissing {
        /// The storage.
        key: String,
    },
    /// A storage that no tensor refers to.
    #[error("storage {} belongs to no tensor", excerpt(key))]
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
    /// An archive that cannot be read.
    #[error("the zip archive is damaged: {problem}; get it again")]
    Archive {
        /// The defect.
        problem: &'static str,
    },
    /// A file that is missing from the archive.
    #[error("the zip archive has no `{}`", excerpt(entry))]
    EntryMissing {
        /// The file's name in the archive.
        entry: String,
    },
    /// A damaged file in the archive.
    #[error("`{}` in the zip archive is damaged: get it again", excerpt(entry))]
    Entry {
        /// The file's name in the archive.
        entry: String,
        /// The cause.
        source: io::Error,
    },
    /// A file in the archive that has another length or checksum than its directory says.
    #[error(
        "`{}` in the zip archive has another length or checksum than its directory says: get it again",
        excerpt(entry)
    )]
    EntryAltered {
        /// The file's name in the archive.
        entry: String,
    },
    /// A file in the archive that is encrypted, or packed by an unsupported method.
    #[error(
        "`{}` in the zip archive: expected it stored or deflated, found another method: save it with torch.save",
        excerpt(entry)
    )]
    EntryPacked {
        /// The file's name in the archive.
        entry: String,
    },
    /// A file in the archive that is compressed, where it must lie as it is.
    #[error(
        "`{}` in the zip archive: expected it stored, found it deflated: save it with torch.export.save",
        excerpt(entry)
    )]
    EntryDeflated {
        /// The file's name in the archive.
        entry: String,
    },
    /// A file in the archive that is larger than it may be.
    #[error("`{}` in the zip archive unpacks to more than {limit} bytes", excerpt(entry))]
    EntryLarge {
        /// The file's name in the archive.
        entry: String,
        /// The limit.
        limit: u64,
    },
    /// An invalid safetensors file.
    #[error("invalid safetensors file: {}; get it again", excerpt(problem))]
    Safetensors {
        /// The defect of its header.
        problem: String,
    },
    /// A part of a checkpoint that lacks a tensor that the index says it has.
    #[error("tensor `{}` is missing, which the index says is here: get the file again", excerpt(name))]
    PartLacks {
        /// The tensor.
        name: String,
    },
}

/// A program with its code. An import reads weights alone; two lines of Python take them out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Program {
    /// TorchScript, as `torch.jit.save` writes it.
    TorchScript,
    /// Exported program, as `torch.export.save` writes it.
    Exported,
    /// A module that was pickled whole, with `torch.save(model, …)`.
    Module {
        /// Name of the module's class.
        class: String,
        /// The checkpoint's entry that it is, if the checkpoint is a dictionary.
        entry: Option<&'static str>,
    },
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, load, save) = match self {
            Self::TorchScript => {
                ("a TorchScript program".to_owned(), "torch.jit.load(FILE, map_location=\"cpu\")", "state_dict()")
            }
            Self::Exported => ("an exported program".to_owned(), "torch.export.load(FILE)", "state_dict"),
            Self::Module { class, .. } => (
                format!("a pickled module of class `{}`", excerpt(class)),
                "torch.load(FILE, map_location=\"cpu\", weights_only=False)",
                "state_dict()",
            ),
        };
        let entry = match self {
            Self::Module { entry: Some(entry), .. } => format!("[\"{entry}\"]"),
            Self::Module { entry: None, .. } | Self::TorchScript | Self::Exported => String::new(),
        };
        write!(
            f,
            "{what}: if you trust it, make one in Python with\n    model = {load}{entry}\n    \
             torch.save(model.{save}, \"state_dict.pth\")"
        )
    }
}

/// Reason for which a pickle is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PickleProblem {
    /// A name that acts on the system. It was not called.
    #[error("it names `{}`, which no state dict needs: do not trust this file", excerpt(.0))]
    Global(String),
    /// A call of a class or function that is not known to be plain data. It was not called.
    #[error(
        "it calls `{}`, which no state dict needs: do not trust this file, or save the state dict alone in Python, with \
         torch.save(torch.load(FILE, weights_only=False)[\"state_dict\"], \"state_dict.pth\")", excerpt(.0)
    )]
    Call(String),
    /// An instruction that no state dict needs.
    #[error("it has opcode {0:#04x}, which a state dict does not need")]
    Opcode(u8),
    /// Arguments that do not fit the callee.
    #[error("{0} has unexpected arguments")]
    Arguments(&'static str),
    /// Too few values on the stack, or of the wrong kind.
    #[error("its stack does not hold what an instruction needs")]
    Stack,
    /// A memo entry that was never made.
    #[error("it recalls entry {0}, which it never stored")]
    Memo(usize),
    /// Text that is not UTF-8.
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
    /// Returns the error at an offset counted from `start`, where the pickle begins.
    pub(super) fn after(self, start: usize) -> Self {
        match self {
            Self::Pickle { offset, problem } => Self::Pickle { offset: start + offset, problem },
            other => other,
        }
    }
}
