//! Stored tensors of an exported program: views of the files in the archive's folders `data/weights` and `data/constants`.

use super::schema::{PayloadConfig, PayloadMeta, STRIDED, SymInt, TensorMeta, ValueMeta, dtype};
use super::{Entries, parse};
use crate::import::CheckpointError;
use crate::import::graph::error::{GraphError, TensorProblem};
use crate::import::graph::name::Name;
use crate::import::graph::tensor::{RawTensor, RawTensorKind, StorageView};
use std::collections::HashMap;

/// Folders of stored tensors, and the ends of the names of their lists.
const FOLDERS: [(&str, &str); 2] =
    [("data/weights/", "_weights_config.json"), ("data/constants/", "_constants_config.json")];

/// Stored tensors of a program by name.
pub(super) struct Payloads<'a, 'e> {
    entries: &'e Entries<'a>,
    /// The folder that each tensor is in, and what its list says of it.
    tensors: HashMap<Name<'a>, (&'static str, PayloadMeta<'a>)>,
    /// The files that were read and verified, by name: tensors may share one.
    storages: HashMap<String, &'a [u8]>,
}

impl<'a, 'e> Payloads<'a, 'e> {
    /// Reads the lists of the program of that name.
    ///
    /// # Errors
    /// If a list is invalid, or missing although its folder has files.
    pub fn read(entries: &'e Entries<'a>, program: &str) -> Result<Self, GraphError> {
        let mut tensors = HashMap::new();
        // Constants first: of two tensors of one name, that of the weights is meant.
        for (folder, end) in FOLDERS.into_iter().rev() {
            let list = format!("{folder}{program}{end}");
            if entries.contains(&list) {
                let config: PayloadConfig<'a> = parse(&list, entries.read(&list)?)?;
                tensors.extend(config.config.into_iter().map(|(name, meta)| (name, (folder, meta))));
            } else if entries.contains(&format!("{folder}{program}.pt")) {
                return Err(GraphError::Earlier);
            }
        }
        Ok(Self { entries, tensors, storages: HashMap::new() })
    }

    /// The stored tensor `name`, to which the graph refers as `value` and of which it says `expected`.
    ///
    /// # Errors
    /// If it is missing, pickled, sparse, of a type that can't be read, not inside its file, or not as `expected`.
    pub fn tensor(
        &mut self,
        name: Name<'a>,
        value: Name<'a>,
        kind: RawTensorKind,
        expected: Option<&ValueMeta<'a>>,
    ) -> Result<RawTensor<'a>, GraphError> {
        let failed = |problem| GraphError::tensor(&name, problem);
        let (folder, meta) = self.tensors.get(&name).ok_or_else(|| failed(TensorProblem::Missing))?;
        let Some(tensor_meta) = meta.tensor_meta.as_ref().filter(|_| !meta.use_pickle) else {
            return Err(failed(TensorProblem::Pickled));
        };
        let view = view(tensor_meta).map_err(failed)?;
        if expected.is_some_and(|expected| !is_same(expected, &view)) {
            return Err(failed(TensorProblem::Contradiction));
        }
        if meta.path_name.contains('/') {
            return Err(failed(TensorProblem::Path(meta.path_name.as_str().to_owned())));
        }
        let file = format!("{folder}{}", meta.path_name.as_str());
        let storage = match self.storages.get(&file) {
            Some(storage) => *storage,
            None => {
                let storage = self.entries.read(&file).map_err(|error| missing(&name, error))?;
                self.storages.insert(file, storage);
                storage
            }
        };
        RawTensor::view((name.clone(), value), kind, view, storage).map_err(failed)
    }
}

fn missing(name: &str, error: GraphError) -> GraphError {
    match error {
        GraphError::Archive(CheckpointError::EntryMissing { .. }) => GraphError::tensor(name, TensorProblem::Missing),
        other => other,
    }
}

fn view(meta: &TensorMeta<'_>) -> Result<StorageView, TensorProblem> {
    if meta.layout != STRIDED {
        return Err(TensorProblem::Layout { found: meta.layout });
    }
    let numbers = |sizes: &[SymInt<'_>]| sizes.iter().map(number).collect::<Result<Vec<_>, _>>();
    Ok(StorageView {
        dtype: dtype(meta.dtype),
        shape: numbers(&meta.sizes)?,
        strides: numbers(&meta.strides)?,
        offset: number(&meta.storage_offset)?,
    })
}

fn number(size: &SymInt<'_>) -> Result<usize, TensorProblem> {
    match size {
        SymInt::AsInt(size) => usize::try_from(*size).map_err(|_| TensorProblem::Symbolic),
        SymInt::AsExpr(_) => Err(TensorProblem::Symbolic),
    }
}

/// Whether the graph says the same of a tensor's type and shape as the list of stored tensors.
fn is_same(expected: &ValueMeta<'_>, view: &StorageView) -> bool {
    let sizes = expected.sizes.iter().map(number);
    dtype(expected.dtype) == view.dtype && sizes.eq(view.shape.iter().map(|size| Ok(*size)))
}
