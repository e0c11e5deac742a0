//! Labels of a new base: from a file of lines or from `config.json`, under one rule for both.
//!
//! ImageNet has two cranes and two maillots: of classes that share a name, all but the first get their number behind it,
//! and the import says so. A label that is blank or would act on a terminal is refused.

use super::config::ConfigLabels;
use crate::check;
use crate::error::ModelError;
use fieldfit_nets::Network;
use std::collections::HashSet;
use std::path::Path;

/// One label per class of the network, each different from the others.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Labels {
    pub labels: Vec<String>,
    /// Labels that were renamed with their class's number.
    pub renamed: Vec<String>,
}

/// The labels of `file` if one is given, else those that `config`, the file at that path, has.
///
/// # Errors
/// If the file cannot be read, a label cannot be used, or there are not as many as the network has classes.
pub(super) fn labels(
    file: Option<&Path>,
    config: &ConfigLabels,
    network: &Network,
    checkpoint: &Path,
) -> Result<Labels, ModelError> {
    let expected = network.head.classes;
    let (labels, path) = match (file, &config.path) {
        (Some(file), _) => (check::lines(file)?, file),
        (None, _) if network.is_headless() => return Ok(Labels::default()),
        (None, Some(path)) if config.labels.len() == expected => (config.labels.clone(), path.as_path()),
        (None, _) => return Err(ModelError::Unlabelled { path: checkpoint.to_owned(), expected }),
    };
    if let Some((index, problem)) = check::unusable(&labels) {
        let label = labels.get(index).cloned().unwrap_or_default();
        return Err(ModelError::Label { path: path.to_owned(), line: index + 1, label, problem });
    }
    if labels.len() != expected {
        return Err(ModelError::Labels { path: path.to_owned(), expected, found: labels.len() });
    }
    Ok(distinct(labels))
}

/// The same labels, with its class's number behind each that another class has before it.
fn distinct(names: Vec<String>) -> Labels {
    let mut taken: HashSet<String> = names.iter().cloned().collect();
    let mut seen = HashSet::new();
    let mut distinct = Labels::default();
    for (class, name) in names.into_iter().enumerate() {
        let label =
            if seen.insert(name.clone()) { name } else { numbered(&name, class, &mut taken, &mut distinct.renamed) };
        distinct.labels.push(label);
    }
    distinct
}

fn numbered(name: &str, class: usize, taken: &mut HashSet<String>, renamed: &mut Vec<String>) -> String {
    let mut label = format!("{name} ({class})");
    while !taken.insert(label.clone()) {
        label.push('\'');
    }
    renamed.push(label.clone());
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a name that stands twice, which no base may have, also where the number makes it another class's name.
    #[test]
    fn classes_of_one_name_are_told_apart() {
        let found = |names: &[&str]| distinct(names.iter().map(|&name| name.to_owned()).collect()).labels;
        assert_eq!(found(&["crane", "owl", "crane"]), ["crane", "owl", "crane (2)"]);
        assert_eq!(found(&["a (2)", "a", "a"]), ["a (2)", "a", "a (2)'"]);
    }
}
