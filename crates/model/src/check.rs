//! Does a file hold exactly the tensors and labels of an architecture?

use crate::error::ModelError;
use fieldfit_nets::Network;
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
    /// What is wrong with the file at `path`, which should hold that architecture.
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

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { name, expected } => write!(f, "`{name}` of shape {expected:?} is missing"),
            Self::Shape { name, expected, found } => write!(f, "`{name}` has shape {found:?} in place of {expected:?}"),
            Self::Extra { name, found } => write!(f, "`{name}` of shape {found:?} has no place in it"),
        }
    }
}

/// The network of that architecture under a head for these labels, once the file at `path` holds exactly its tensors.
/// Without a label, the file must hold no head.
pub(crate) fn network(
    architecture: &str,
    labels: &[String],
    labels_path: &Path,
    found: &Shapes<'_>,
    path: &Path,
) -> Result<Network, ModelError> {
    let published = fieldfit_nets::by_name(architecture)?;
    let head = published.tensor(published.head.weight);
    if let Some(&&[classes, _]) = found.get(head.name.as_str())
        && classes != labels.len()
    {
        return Err(ModelError::Labels { path: labels_path.to_owned(), expected: classes, found: labels.len() });
    }
    let network = published.with_classes(labels.len());
    let first = mismatches(&network, found).next();
    match first {
        Some(mismatch) => Err(mismatch.error(path, network.architecture)),
        None => Ok(network),
    }
}

/// What differs: the network's tensors in its order, then those that it doesn't have, by name. A headless network lacks no
/// head.
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

/// One label a line; blank lines and repeated names are refused, a final newline is not a line.
pub(crate) fn labels(path: &Path) -> Result<Vec<String>, ModelError> {
    let text = std::fs::read_to_string(path).map_err(|source| ModelError::read(path, source))?;
    let labels: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
    let mut lines = HashMap::new();
    for (index, label) in labels.iter().enumerate() {
        let problem = match (label.is_empty(), lines.insert(label, index)) {
            (true, _) => "is blank",
            (false, Some(_)) => "stands twice",
            (false, None) => continue,
        };
        let (path, line, label) = (path.to_owned(), index + 1, label.clone());
        return Err(ModelError::Label { path, line, label, problem });
    }
    Ok(labels)
}
