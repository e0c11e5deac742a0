//! Checks of a model's tensors and labels against its architecture.

use crate::error::ModelError;
use crate::file;
use crate::text::excerpt;
use fieldfit_nets::Network;
use fieldfit_tensor::text::is_unprintable;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;

/// Name and shape of each tensor that a file holds.
pub(crate) type Shapes<'a> = HashMap<&'a str, &'a [usize]>;

/// A tensor that differs between a file and a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// The file lacks it.
    Missing { name: String, expected: Vec<usize> },
    /// The file has it in another shape.
    Shape { name: String, expected: Vec<usize>, found: Vec<usize> },
    /// The network doesn't have it.
    Extra { name: String, found: Vec<usize> },
}

impl Mismatch {
    /// Returns the error of the file at `path`, which should hold that architecture.
    pub fn error(self, path: &Path, architecture: &'static str) -> ModelError {
        let path = path.to_owned();
        match self {
            Self::Missing { name, expected } => ModelError::TensorMissing { path, name, expected, architecture },
            Self::Shape { name, expected, found } => {
                ModelError::TensorShape { path, name, expected, found, architecture }
            }
            Self::Extra { name, found } => ModelError::TensorExtra { path, name, found, architecture },
        }
    }
}

impl Mismatch {
    fn name(&self) -> &str {
        match self {
            Self::Missing { name, .. } | Self::Shape { name, .. } | Self::Extra { name, .. } => name,
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = excerpt(self.name());
        match self {
            Self::Missing { expected, .. } => write!(f, "`{name}` of shape {expected:?} is missing"),
            Self::Shape { expected, found, .. } => write!(f, "`{name}` has shape {found:?} in place of {expected:?}"),
            Self::Extra { found, .. } => write!(f, "`{name}` of shape {found:?} has no place in it"),
        }
    }
}

/// The published network under a head for these labels, once the file at `path` holds exactly its tensors. Without a label,
/// the file must hold no head.
pub(crate) fn network(
    published: &Network,
    labels: &[String],
    labels_path: &Path,
    found: &Shapes<'_>,
    path: &Path,
) -> Result<Network, ModelError> {
    let head = published.tensor(published.head.weight);
    if let Some(&&[classes, _, ..]) = found.get(head.name.as_str())
        && classes != labels.len()
    {
        return Err(ModelError::Labels { path: labels_path.to_owned(), expected: classes, found: labels.len() });
    }
    // A node without outputs is none: a dense network has a head.
    if published.head.is_dense() && labels.is_empty() {
        let expected = published.head.classes;
        return Err(ModelError::Labels { path: labels_path.to_owned(), expected, found: 0 });
    }
    let network = published.with_classes(labels.len());
    let first = mismatches(&network, found).next();
    match first {
        Some(mismatch) => Err(mismatch.error(path, network.architecture)),
        None => Ok(network),
    }
}

/// Lists the differences: the network's tensors in its order, then those that it doesn't have, by name. A headless
/// network lacks no head.
pub(crate) fn mismatches<'a>(network: &'a Network, found: &'a Shapes<'_>) -> impl Iterator<Item = Mismatch> + 'a {
    let own = network.tensors().filter_map(|(_, spec)| {
        let (name, expected) = (spec.name.clone(), spec.shape.clone());
        match found.get(spec.name.as_str()) {
            None if spec.is_empty() => None,
            None => Some(Mismatch::Missing { name, expected }),
            Some(&shape) if shape != spec.shape => Some(Mismatch::Shape { name, expected, found: shape.to_vec() }),
            Some(_) => None,
        }
    });
    let known: HashSet<&str> = network.tensors.iter().map(|spec| spec.name.as_str()).collect();
    let mut extra: Vec<_> = found.iter().filter(|(name, _)| !known.contains(*name)).collect();
    extra.sort();
    own.chain(
        extra.into_iter().map(|(name, shape)| Mismatch::Extra { name: (*name).to_owned(), found: shape.to_vec() }),
    )
}

/// The labels of a model folder: one a line, each usable and different from the others; a final newline is not a line.
///
/// # Errors
/// If the file cannot be read or is no UTF-8, or a label is blank, acts on a terminal or is there twice.
pub(crate) fn labels(path: &Path) -> Result<Vec<String>, ModelError> {
    let labels = lines(path)?;
    let mut seen = HashSet::new();
    let twice = labels.iter().position(|label| !seen.insert(label)).map(|index| (index, "is there twice"));
    match unusable(&labels).into_iter().chain(twice).min() {
        Some((index, problem)) => {
            let (path, line, label) = (path.to_owned(), index + 1, labels[index].clone());
            Err(ModelError::Label { path, line, label, problem })
        }
        None => Ok(labels),
    }
}

/// The lines of a labels file, without the byte order mark at its start that some editors write and without the white
/// space around each.
///
/// # Errors
/// If the file cannot be read or is no UTF-8.
pub(crate) fn lines(path: &Path) -> Result<Vec<String>, ModelError> {
    let bytes = file::read(path, file::LONGEST_TEXT).map_err(|source| ModelError::read(path, source))?;
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| ModelError::LabelEncoding {
        path: path.to_owned(),
        line: 1 + bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count(),
        found: if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
            "UTF-16"
        } else {
            "Latin-1 or another encoding"
        },
    })?;
    Ok(text.lines().map(|line| line.trim().to_owned()).collect())
}

/// The first label that no class can have, and why.
pub(crate) fn unusable(labels: &[String]) -> Option<(usize, &'static str)> {
    let problem = |label: &String| match (label.is_empty(), label.chars().any(is_unprintable)) {
        (true, _) => Some("is blank"),
        (false, true) => Some("has a control character or one that changes the direction of text"),
        (false, false) => None,
    };
    labels.iter().enumerate().find_map(|(index, label)| Some((index, problem(label)?)))
}
