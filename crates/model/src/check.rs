//! Does a file hold exactly the tensors and labels of an architecture?

use crate::error::ModelError;
use fieldfit_nets::Network;
use std::collections::HashMap;
use std::path::Path;

/// Name and shape of each tensor that a file holds.
pub(crate) type Shapes<'a> = HashMap<&'a str, &'a [usize]>;

/// The network of that architecture under a head for these labels, once the file at `path` holds exactly its tensors.
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
    if labels.is_empty() {
        return Err(ModelError::NoClasses { path: labels_path.to_owned() });
    }
    let network = published.with_classes(labels.len());
    shapes(&network, found, path)?;
    Ok(network)
}

/// Every tensor of the network and no other, each in the network's shape.
fn shapes(network: &Network, found: &Shapes<'_>, path: &Path) -> Result<(), ModelError> {
    let (path, architecture) = (|| path.to_owned(), network.architecture);
    for (_, spec) in network.tensors() {
        let (name, expected) = (|| spec.name.clone(), || spec.shape.clone());
        match found.get(spec.name.as_str()) {
            None => {
                return Err(ModelError::TensorMissing {
                    path: path(),
                    name: name(),
                    expected: expected(),
                    architecture,
                });
            }
            Some(&shape) if shape != spec.shape => {
                let found = shape.to_vec();
                let (path, name, expected) = (path(), name(), expected());
                return Err(ModelError::TensorShape { path, name, expected, found, architecture });
            }
            Some(_) => {}
        }
    }
    let extra = found.iter().filter(|(name, _)| network.find(name).is_none()).min();
    match extra {
        Some((&name, &shape)) => {
            let (name, found) = (name.to_owned(), shape.to_vec());
            Err(ModelError::TensorExtra { path: path(), name, found, architecture })
        }
        None => Ok(()),
    }
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
