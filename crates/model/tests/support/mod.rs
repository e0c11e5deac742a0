//! Test helpers: a tiny model folder to damage, and checkpoints written by hand.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot prepare its files has failed")]

pub mod networks;
pub mod torch;

use fieldfit_model::import::{ImportReport, ImportRequest, import};
use fieldfit_model::{Base, LABELS_FILE, MANIFEST_FILE, Manifest, ModelError};
use fieldfit_tests::{message, tiny};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// One tensor of a safetensors file.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

impl Tensor {
    pub fn f32s(&self) -> Vec<f32> {
        assert_eq!(self.dtype, Dtype::F32);
        self.bytes.as_chunks().0.iter().map(|&bits| f32::from_le_bytes(bits)).collect()
    }
}

/// Every tensor of a safetensors file.
pub fn read_tensors(path: &Path) -> Vec<Tensor> {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = |(name, view): (&str, TensorView<'_>)| Tensor {
        name: name.to_owned(),
        dtype: view.dtype(),
        shape: view.shape().to_vec(),
        bytes: view.data().to_vec(),
    };
    file.iter().map(tensor).collect()
}

/// The bytes of a safetensors file.
pub fn serialise(tensors: &[Tensor]) -> Vec<u8> {
    let view = |t: &Tensor| TensorView::new(t.dtype, t.shape.clone(), &t.bytes).unwrap().data().len();
    assert!(tensors.iter().all(|tensor| view(tensor) == tensor.bytes.len()));
    let views = tensors.iter().map(|t| (&t.name, TensorView::new(t.dtype, t.shape.clone(), &t.bytes).unwrap()));
    safetensors::serialize(views, None::<HashMap<String, String>>).unwrap()
}

/// The tensor of that name.
pub fn find<'a>(tensors: &'a mut [Tensor], name: &str) -> &'a mut Tensor {
    tensors.iter_mut().find(|tensor| tensor.name == name).unwrap()
}

/// A model folder that is gone when this is.
pub struct Model {
    pub temporary: TempDir,
    pub folder: PathBuf,
}

impl Model {
    /// `efficientnet-tiny` with random weights.
    pub fn new() -> Self {
        let temporary = TempDir::new().unwrap();
        let folder = tiny::base(temporary.path(), 7);
        Self { temporary, folder }
    }

    pub fn open(&self) -> Result<Base, ModelError> {
        Base::open(&self.folder)
    }

    pub fn weights(&self) -> PathBuf {
        self.folder.join("weights.safetensors")
    }

    pub fn labels(&self) -> PathBuf {
        self.folder.join(LABELS_FILE)
    }

    /// Replaces the weights file, which is read-only, and leaves the manifest as it is.
    pub fn replace_weights(&self, bytes: &[u8]) {
        fs::remove_file(self.weights()).unwrap();
        fs::write(self.weights(), bytes).unwrap();
    }

    /// Replaces the weights file by one that the manifest vouches for.
    pub fn seal_weights(&self, bytes: &[u8]) {
        self.replace_weights(bytes);
        self.edit_manifest(|manifest| {
            manifest.weights.bytes = bytes.len() as u64;
            manifest.weights.sha256 = Sha256::digest(bytes).into();
        });
    }

    /// Changes tensors under a manifest that vouches for them.
    pub fn edit_tensors(&self, edit: impl FnOnce(&mut Vec<Tensor>)) {
        let mut tensors = read_tensors(&self.weights());
        edit(&mut tensors);
        self.seal_weights(&serialise(&tensors));
    }

    pub fn edit_manifest(&self, edit: impl FnOnce(&mut Manifest)) {
        let path = self.folder.join(MANIFEST_FILE);
        let mut manifest: Manifest = toml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        edit(&mut manifest);
        fs::write(&path, toml::to_string(&manifest).unwrap()).unwrap();
    }
}

/// Classes of the checkpoints of a [`Workshop`].
pub const CLASSES: usize = 10;

/// A folder with the tensors of an `efficientnet-tiny` and labels for it, in which checkpoints are made and imported.
pub struct Workshop {
    pub folder: TempDir,
    pub tensors: Vec<Tensor>,
    labels: PathBuf,
    out: PathBuf,
}

impl Workshop {
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap();
        tiny::checkpoint(&folder.path().join("tiny.safetensors"), 3);
        let tensors = read_tensors(&folder.path().join("tiny.safetensors"));
        let (labels, out) = (folder.path().join(LABELS_FILE), folder.path().join("out"));
        fs::write(&labels, (0..CLASSES).map(|class| format!("thing {class}\n")).collect::<String>()).unwrap();
        Self { folder, tensors, labels, out }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file and returns its path.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// The tensors under names that `rename` makes of theirs.
    pub fn renamed(&self, rename: impl Fn(&str) -> String) -> Vec<Tensor> {
        let renamed = |tensor: &Tensor| Tensor { name: rename(&tensor.name), ..tensor.clone() };
        self.tensors.iter().map(renamed).collect()
    }

    /// Imports the checkpoint at a path under the labels, as `edit` asks for, and opens the new base, whose folder is gone
    /// again when this returns.
    pub fn import_path<'a>(
        &'a self,
        path: &'a Path,
        edit: impl FnOnce(&mut ImportRequest<'a>),
    ) -> Result<(ImportReport, Base), ModelError> {
        let mut request = ImportRequest::new(path, &self.out).with_labels(Some(&self.labels));
        edit(&mut request);
        let report = import(&request)?;
        let base = Base::open(&self.out).unwrap();
        fs::remove_dir_all(&self.out).unwrap();
        Ok((report, base))
    }

    /// Imports a checkpoint of these bytes.
    pub fn import(&self, bytes: &[u8]) -> Result<(ImportReport, Base), ModelError> {
        self.import_path(&self.write("weights.bin", bytes), |_| {})
    }

    /// What is said of a checkpoint that is refused.
    pub fn refusal(&self, bytes: &[u8]) -> String {
        message(&self.import(bytes).unwrap_err())
    }
}
