//! Source of an import: the files of weights that a path names, and the configuration beside them.
//!
//! Weights that are too large for one file are published in parts, with an index that says which part has which tensor:
//! `model.safetensors.index.json` beside `model-00001-of-00002.safetensors`.

use super::config::{Config, read_json};
use super::embedded;
use crate::error::ModelError;
use crate::file;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Weights in a folder, the preferred first: safetensors can ask for nothing.
const WEIGHTS: [&str; 5] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "model.bin",
];
const INDEX: &str = ".index.json";
/// File that torch.distributed.checkpoint writes beside the parts.
const DISTRIBUTED: &str = ".metadata";
/// The most files that an index may list.
const MOST_PARTS: usize = 1024;

/// Source of an import: weight files and configuration.
#[derive(Debug)]
pub(super) struct Source {
    /// The checkpoint, or the index of its parts.
    pub path: PathBuf,
    /// The file, or each part, by name.
    pub files: Vec<WeightsPart>,
    pub config: Config,
    /// Part of each tensor, by the index; empty without one.
    pub index: BTreeMap<String, PathBuf>,
}

/// A file of weights, read whole.
#[derive(Debug)]
pub(super) struct WeightsPart {
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

impl Source {
    /// Reads the weights that `path` is, holds or is an index of.
    ///
    /// # Errors
    /// If a file is missing or cannot be read, a folder has no weights, or an index names anything but files beside it.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let is_folder = path.is_dir();
        let (path, mut config) = locate(path)?;
        let is_index = path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(INDEX));
        let index = if is_index { read_index(&path)? } else { BTreeMap::new() };
        if let Some(index) = index_of_part(&path) {
            return Err(ModelError::Part { path, index });
        }
        let parts: BTreeSet<&PathBuf> = if is_index { index.values().collect() } else { BTreeSet::from([&path]) };
        if parts.len() > MOST_PARTS {
            return Err(ModelError::Index { path, problem: "it lists more than 1024 files".to_owned() });
        }
        let files: Vec<_> = parts.into_iter().map(|part| WeightsPart::read(part)).collect::<Result<_, _>>()?;
        if let ([file], false) = (files.as_slice(), is_folder) {
            config = embedded::read(&file.path, &file.bytes)?;
        }
        Ok(Self { path, files, config, index })
    }

    /// SHA-256 of the file; of parts, over their bytes one after another, by name.
    pub fn sha256(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        self.files.iter().for_each(|part| hash.update(&part.bytes));
        hash.finalize().into()
    }
}

impl WeightsPart {
    fn read(path: &Path) -> Result<Self, ModelError> {
        let bytes = file::read(path, u64::MAX - 1);
        let bytes = bytes.map_err(|source| ModelError::Read { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), bytes })
    }
}

/// The weights file or index that `path` is or holds, and the configuration beside it in a folder.
fn locate(path: &Path) -> Result<(PathBuf, Config), ModelError> {
    if !path.is_dir() {
        return Ok((path.to_owned(), Config::default()));
    }
    match WEIGHTS.iter().map(|name| path.join(name)).find(|file| file.exists()) {
        Some(weights) => Ok((weights, Config::read(path)?)),
        None if path.join(DISTRIBUTED).exists() => Err(ModelError::Distributed { path: path.to_owned() }),
        None => Err(ModelError::NoWeights { path: path.to_owned(), looked_for: WEIGHTS.join(", ") }),
    }
}

/// The part that has each tensor.
fn read_index(path: &Path) -> Result<BTreeMap<String, PathBuf>, ModelError> {
    let invalid = |problem: &str| ModelError::Index { path: path.to_owned(), problem: problem.to_owned() };
    let json = read_json(path)?;
    if json.is_null() {
        let source = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(ModelError::Read { path: path.to_owned(), source });
    }
    let map = json["weight_map"].as_object().filter(|map| !map.is_empty());
    let map = map.ok_or_else(|| invalid("it has no `weight_map`"))?;
    let part = |(tensor, file): (&String, &serde_json::Value)| {
        let name = file.as_str().ok_or_else(|| invalid("a file in its `weight_map` is no text"))?;
        if Path::new(name).file_name().is_none_or(|plain| plain != name) {
            return Err(invalid("a file in its `weight_map` is not beside it"));
        }
        Ok((tensor.clone(), path.with_file_name(name)))
    };
    map.iter().map(part).collect()
}

/// The index that a part, `NAME-00001-of-00002.EXTENSION`, belongs to, if it is beside it.
fn index_of_part(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let (stem, count) = name.split_once("-of-")?;
    let (stem, part) = stem.rsplit_once('-')?;
    let (count, extension) = count.split_once('.')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let index = path.with_file_name(format!("{stem}.{extension}{INDEX}"));
    (is_number(part) && is_number(count) && index.exists()).then_some(index)
}
