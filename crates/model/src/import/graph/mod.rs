//! Network files: reads networks that were exported with their graphs, `.pt2` of `torch.export.save` and ONNX.
//!
//! Both readers give a [`RawGraph`]: ops under their own names, arguments, module paths, and tensors that are lent from the
//! mapped file. A file can't make them take more memory than a small multiple of its size, and nothing in it is executed.
//!
//! ```no_run
//! use fieldfit_model::import::graph::NetworkFile;
//!
//! let file = NetworkFile::open("model.pt2".as_ref())?;
//! for (op, count) in file.read()?.op_counts() {
//!     println!("{count:4} {op}");
//! }
//! # Ok::<(), fieldfit_model::ModelError>(())
//! ```

mod error;
mod lower;
mod name;
mod onnx;
mod pt2;
mod raw;
mod tensor;

pub use error::{EXPORT, ExternalProblem, GraphError, NodeProblem, TensorProblem, WireProblem};
pub use lower::{FinalOp, IMPORTED, LowerOptions, Lowered, TensorSource, lower, lower_with};
pub use name::Name;
pub use raw::{
    ExternalFile, MAX_NODES, RawArgument, RawDim, RawDtype, RawEnd, RawGraph, RawInt, RawNamed, RawNode, RawRange,
    RawSource, RawType,
};
pub use tensor::{RawTensor, RawTensorKind};

use crate::error::ModelError;
use crate::file::{Bytes, map};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// How many times its files' bytes a network's tensors may be read: tensors of one storage may overlap.
const MAX_SHARING: usize = 8;

/// Network file, mapped.
#[derive(Debug)]
pub struct NetworkFile {
    path: PathBuf,
    bytes: Bytes,
}

impl NetworkFile {
    /// Maps the file. It must not be truncated or overwritten in place while it is mapped; see
    /// [`Base::open`](crate::Base::open).
    ///
    /// # Errors
    /// If it is missing, no regular file, or can't be mapped.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let bytes = map(path).map_err(|source| ModelError::read(path, source))?;
        Ok(Self { path: path.to_owned(), bytes })
    }

    /// Returns the path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether the file seems to hold a network with its graph, and not a checkpoint of weights alone.
    pub(super) fn is_network(&self) -> bool {
        let bytes = &*self.bytes;
        pt2::is_likely(bytes) || !super::safetensors::is_likely(bytes) && onnx::is_likely(bytes)
    }

    /// Returns SHA-256 of the file.
    pub(super) fn sha256(&self) -> [u8; 32] {
        Sha256::digest(&*self.bytes).into()
    }

    /// Reads the network, whichever of the formats it is in.
    ///
    /// # Errors
    /// If the file is of another kind, damaged, of an unsupported version, or holds what a graph has no form for; the error
    /// names the node or tensor.
    pub fn read(&self) -> Result<RawGraph<'_>, ModelError> {
        let folder =
            self.path.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
        let failed = |problem| ModelError::Graph { path: self.path.clone(), source: Box::new(problem) };
        read(&self.bytes, folder).map_err(failed)
    }
}

/// Reads a network from a file's bytes. Files with values of its tensors are looked for in `folder`.
///
/// # Errors
/// As [`NetworkFile::read`].
pub fn read<'a>(bytes: &'a [u8], folder: Option<&Path>) -> Result<RawGraph<'a>, GraphError> {
    let graph = if bytes.is_empty() {
        return Err(GraphError::Empty);
    } else if bytes.starts_with(pt2::START) {
        pt2::read(bytes)?
    } else if bytes.starts_with(super::LFS_POINTER) {
        return Err(super::CheckpointError::LfsPointer.into());
    } else if onnx::is_likely(bytes) {
        onnx::read(bytes, folder)?
    } else if bytes.starts_with(super::legacy::START) || super::safetensors::is_likely(bytes) {
        return Err(GraphError::WeightsAlone);
    } else {
        return Err(GraphError::Format);
    };
    check_sharing(&graph, bytes.len())?;
    Ok(graph)
}

/// Refuses a network whose tensors, each read once, are many times as long as its files.
fn check_sharing(graph: &RawGraph<'_>, bytes: usize) -> Result<(), GraphError> {
    let stored = graph.external.iter().fold(bytes, |sum, file| sum.saturating_add(file.bytes.len()));
    let limit = stored.saturating_mul(MAX_SHARING);
    let read = graph.tensors.iter().fold(0_usize, |sum, tensor| sum.saturating_add(tensor.byte_len()));
    if read > limit { Err(GraphError::Limit { what: "bytes in overlapping tensors", limit }) } else { Ok(()) }
}
