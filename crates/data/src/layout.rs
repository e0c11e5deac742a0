//! Which folders of a data set are classes, and which files in them are images.

use crate::decode::EXTENSIONS;
use crate::error::{DataError, FolderError};
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

/// What a data set is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purpose {
    /// To learn from it: all of a folder of classes, or `train` and, if there is one, `val`. Needs two classes.
    #[default]
    Adapt,
    /// To measure on it: all of a folder of classes, or `test`.
    Evaluate,
    /// To look at it: every image at any depth, whatever it shows. They are one class, `unlabelled`.
    Unlabelled,
}

/// A part that somebody has set apart as a folder of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// `train`: weights learn from it.
    Train,
    /// `val`: radii learn from it, and it judges the result.
    Val,
    /// `test`: it measures.
    Test,
}

impl Part {
    const ALL: [Self; 3] = [Self::Train, Self::Val, Self::Test];

    /// The folder's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The classes of a data set and what looks like an image in their folders, sorted by path.
pub(crate) struct Layout {
    pub classes: Vec<String>,
    pub files: Vec<Found>,
}

/// A file that looks like an image.
pub(crate) struct Found {
    pub path: PathBuf,
    pub class: u32,
    pub part: Option<Part>,
}

/// A folder of a class.
struct ClassFolder {
    name: String,
    path: PathBuf,
    part: Option<Part>,
}

impl Layout {
    /// Lists the data set's files. Hidden files and folders, and files that are not called like images, are none of it.
    pub fn find(root: &Path, purpose: Purpose) -> Result<Self, DataError> {
        if !root.is_dir() {
            return Err(FolderError::NotAFolder { path: root.into() }.into());
        }
        if purpose == Purpose::Unlabelled {
            return Self::unlabelled(root);
        }
        let folders = class_folders(root, purpose)?;
        let classes = class_names(root, &folders, purpose)?;
        let mut files = Vec::new();
        for folder in &folders {
            let class = classes.partition_point(|name| *name < folder.name) as u32;
            let images = images(folder)?;
            files.extend(images.into_iter().map(|path| Found { path, class, part: folder.part }));
        }
        Ok(Self { classes, files })
    }

    /// Every image at any depth, as one class. Links to folders are not followed: they may lead in a circle.
    fn unlabelled(root: &Path) -> Result<Self, DataError> {
        let (mut folders, mut files) = (vec![root.to_owned()], Vec::new());
        while let Some(folder) = folders.pop() {
            folders.extend(entries(&folder, |path| path.is_dir() && !path.is_symlink())?);
            files.extend(entries(&folder, is_image)?.into_iter().map(|path| Found { path, class: 0, part: None }));
        }
        if files.is_empty() {
            return Err(FolderError::NoImage { path: root.into() }.into());
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(Self { classes: vec!["unlabelled".into()], files })
    }
}

fn class_folders(root: &Path, purpose: Purpose) -> Result<Vec<ClassFolder>, DataError> {
    let present = parts(root)?;
    if present.is_empty() {
        return classes_in(root, None);
    }
    let wanted = match purpose {
        Purpose::Adapt => [Some(Part::Train), present.contains(&Part::Val).then_some(Part::Val)],
        Purpose::Evaluate | Purpose::Unlabelled => [Some(Part::Test), None],
    };
    let mut folders = Vec::new();
    for part in wanted.into_iter().flatten() {
        if !present.contains(&part) {
            return Err(FolderError::NoPart { path: root.into(), part }.into());
        }
        folders.extend(classes_in(&root.join(part.name()), Some(part))?);
    }
    Ok(folders)
}

/// The parts that the folder is laid out in: none if its folders are classes.
fn parts(root: &Path) -> Result<Vec<Part>, DataError> {
    let folders = entries(root, Path::is_dir)?;
    let part_of = |path: &PathBuf| Part::ALL.into_iter().find(|part| path.file_name() == Some(part.name().as_ref()));
    let mut parts = Vec::new();
    for path in &folders {
        if let Some(part) = part_of(path)
            && !entries(path, Path::is_dir)?.is_empty()
        {
            parts.push(part);
        }
    }
    match (parts.first(), folders.iter().find(|path| part_of(path).is_none())) {
        (Some(part), Some(other)) => {
            let other = other.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Err(FolderError::Mixed { path: root.into(), part: part.to_string(), other }.into())
        }
        _ => Ok(parts),
    }
}

fn classes_in(folder: &Path, part: Option<Part>) -> Result<Vec<ClassFolder>, DataError> {
    let class = |path: PathBuf| match path.file_name().and_then(|name| name.to_str()).map(str::to_owned) {
        Some(name) => Ok(ClassFolder { name, path, part }),
        None => Err(FolderError::Name { path }.into()),
    };
    entries(folder, Path::is_dir)?.into_iter().map(class).collect()
}

fn class_names(root: &Path, folders: &[ClassFolder], purpose: Purpose) -> Result<Vec<String>, DataError> {
    let names: BTreeSet<&String> = folders.iter().map(|folder| &folder.name).collect();
    let classes: Vec<String> = names.into_iter().cloned().collect();
    match (classes.as_slice(), purpose) {
        ([], _) => Err(FolderError::NoClasses { path: root.into() }.into()),
        ([class], Purpose::Adapt) => Err(FolderError::OneClass { path: root.into(), class: class.clone() }.into()),
        _ => Ok(classes),
    }
}

fn images(folder: &ClassFolder) -> Result<Vec<PathBuf>, DataError> {
    let images = entries(&folder.path, is_image)?;
    if images.is_empty() {
        return Err(FolderError::EmptyClass { class: folder.name.clone(), path: folder.path.clone() }.into());
    }
    Ok(images)
}

/// Whether it is called like an image, and no folder.
fn is_image(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
    EXTENSIONS.iter().any(|known| extension == *known) && !path.is_dir()
}

/// What the folder holds of that kind, sorted, nothing hidden.
fn entries(folder: &Path, keep: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>, DataError> {
    let failed = |source| DataError::Read { path: folder.into(), source };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !is_hidden && keep(&path) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
