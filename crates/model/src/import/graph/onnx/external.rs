//! External data: values of tensors in files beside the network, mapped.

use super::wire::Message;
use super::{KEY, VALUE};
use crate::file::map;
use crate::import::graph::error::{ExternalProblem, GraphError};
use crate::import::graph::name::Name;
use crate::import::graph::raw::ExternalFile;
use crate::import::graph::tensor::RawData;
use std::collections::HashMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The most files beside a network.
const MAX_FILES: usize = 4096;

/// Place of a tensor's values, as the network states it.
#[derive(Debug, Default)]
pub(super) struct Place<'a> {
    location: Name<'a>,
    offset: Name<'a>,
    length: Name<'a>,
}

impl<'a> Place<'a> {
    /// Adds a member of the list that states it.
    pub fn add(&mut self, entry: Message<'a>) -> Result<(), GraphError> {
        let (mut key, mut value) = (Name::default(), Name::default());
        for field in entry.fields() {
            let field = field?;
            match field.number {
                KEY => key = field.name()?,
                VALUE => value = field.name()?,
                _ => {}
            }
        }
        match key.as_str() {
            "location" => self.location = value,
            "offset" => self.offset = value,
            "length" => self.length = value,
            _ => {}
        }
        Ok(())
    }
}

/// Files beside a network that hold values of its tensors.
#[derive(Debug)]
pub(super) struct ExternalFiles<'p> {
    /// The network's folder.
    folder: Option<&'p Path>,
    /// The position of each file in `files`, by the location that the network states.
    positions: HashMap<String, usize>,
    pub files: Vec<ExternalFile>,
}

impl<'p> ExternalFiles<'p> {
    pub fn new(folder: Option<&'p Path>) -> Self {
        Self { folder, positions: HashMap::new(), files: Vec::new() }
    }

    /// The values of a tensor.
    ///
    /// # Errors
    /// If the file leaves the folder, is no regular file, or ends before the values do.
    pub fn values<'a>(&mut self, tensor: &str, place: &Place<'_>) -> Result<RawData<'a>, GraphError> {
        let location = place.location.as_str();
        let failed =
            |problem| GraphError::External { tensor: tensor.to_owned(), location: location.to_owned(), problem };
        let file = self.open(location).map_err(failed)?;
        let found = self.files[file].bytes.len();
        let start = number("offset", &place.offset).map_err(failed)?.unwrap_or(0);
        let length = number("length", &place.length).map_err(failed)?;
        let end = length.map_or(found as u64, |length| start.saturating_add(length));
        if start > end || end > found as u64 {
            return Err(failed(ExternalProblem::CutShort { expected: start.max(end), found }));
        }
        Ok(RawData::External { file, range: start as usize..end as usize })
    }

    /// The position of a file, which is mapped when it is first asked for.
    fn open(&mut self, location: &str) -> Result<usize, ExternalProblem> {
        if let Some(position) = self.positions.get(location) {
            return Ok(*position);
        }
        if self.files.len() == MAX_FILES {
            return Err(ExternalProblem::TooMany { limit: MAX_FILES });
        }
        let path = resolve(self.folder.ok_or(ExternalProblem::NoFolder)?, location)?;
        let bytes = map(&path).map_err(ExternalProblem::Io)?;
        let position = self.files.len();
        self.files.push(ExternalFile { location: location.to_owned(), bytes });
        self.positions.insert(location.to_owned(), position);
        Ok(position)
    }
}

/// The path of a file inside the folder, links followed.
fn resolve(folder: &Path, location: &str) -> Result<PathBuf, ExternalProblem> {
    if location.is_empty() {
        return Err(ExternalProblem::NoLocation);
    }
    let relative = Path::new(location);
    let is_inside = |component| matches!(component, Component::Normal(_) | Component::CurDir);
    if !relative.components().all(is_inside) {
        return Err(ExternalProblem::Leaves);
    }
    let folder = fs::canonicalize(folder).map_err(ExternalProblem::Io)?;
    let path = fs::canonicalize(folder.join(relative)).map_err(ExternalProblem::Io)?;
    path.starts_with(&folder).then_some(path).ok_or(ExternalProblem::Leaves)
}

fn number(key: &'static str, text: &Name<'_>) -> Result<Option<u64>, ExternalProblem> {
    let invalid = |_| ExternalProblem::Number { key, value: text.as_str().to_owned() };
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(invalid) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a network that reads files outside its folder, by its path or by a link.
    #[test]
    fn locations_stay_inside_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let network = folder.path().join("network");
        fs::create_dir_all(network.join("data")).unwrap();
        fs::write(folder.path().join("secret"), "secret").unwrap();
        fs::write(network.join("data/weights"), "weights").unwrap();
        assert!(resolve(&network, "data/weights").is_ok());
        assert!(resolve(&network, "./data/weights").is_ok());
        for location in ["../secret", "data/../../secret", "/etc/passwd"] {
            assert!(matches!(resolve(&network, location), Err(ExternalProblem::Leaves)), "{location}");
        }
        assert!(matches!(resolve(&network, ""), Err(ExternalProblem::NoLocation)));
        assert!(matches!(resolve(&network, "missing"), Err(ExternalProblem::Io(_))));
        assert!(matches!(resolve(&network, "a\0b"), Err(ExternalProblem::Io(_))));
    }

    /// Catches: a link out of the folder that is followed, or a device that is mapped.
    #[cfg(unix)]
    #[test]
    fn links_stay_inside_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let network = folder.path().join("network");
        fs::create_dir_all(&network).unwrap();
        fs::write(folder.path().join("secret"), "secret").unwrap();
        std::os::unix::fs::symlink("../secret", network.join("weights")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", network.join("zero")).unwrap();
        for location in ["weights", "zero"] {
            assert!(matches!(resolve(&network, location), Err(ExternalProblem::Leaves)), "{location}");
        }
        let mut files = ExternalFiles::new(Some(&network));
        fs::create_dir(network.join("folder")).unwrap();
        assert!(matches!(files.open("folder"), Err(ExternalProblem::Io(_))));
    }
}
