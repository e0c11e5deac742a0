//! Layout of a data set's folder: which folders are subsets and classes, which files are images, and what is neither.

use crate::dataset::LabelledFile;
use crate::decode::{foreign_by_name, is_decodable};
use crate::error::{DataError, FolderError};
use crate::labelling::Labelling;
use crate::listing::Listing;
use crate::mask_layout;
use crate::skipped::{SkipKind, Skipped};
use crate::table_layout;
use crate::target::Target;
use fieldfit_tensor::text::find_unprintable;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

/// Purpose that a data set is opened for: it decides which subsets are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purpose {
    /// Training: all of a folder of classes, or `train` and, if there is one, `val`. Needs two classes.
    #[default]
    Adapt,
    /// Training beside other images: as `Adapt`, and one class will do.
    Continue,
    /// Evaluation: all of a folder of classes, or `test`.
    Evaluate,
    /// Images without labels: every image at any depth. They are one class, `unlabelled`.
    Unlabelled,
}

/// Subset of a data set that lies in a folder of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subset {
    /// `train` or `training`: weights learn from it.
    Train,
    /// `val`, `valid` or `validation`: radii learn from it, and the gate judges by it.
    Val,
    /// `test` or `testing`: evaluation.
    Test,
}

impl Subset {
    const ALL: [Self; 3] = [Self::Train, Self::Val, Self::Test];

    /// Canonical name of the folder.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        }
    }

    /// Names under which the folder is found, in any case.
    const fn aliases(self) -> &'static [&'static str] {
        match self {
            Self::Train => &["train", "training"],
            Self::Val => &["val", "valid", "validation"],
            Self::Test => &["test", "testing"],
        }
    }

    /// Subset whose folder the path is called like.
    pub(crate) fn of_folder(path: &Path) -> Option<Self> {
        Self::named(path.file_name()?.to_str()?)
    }

    /// Subset of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let is_called = |alias: &&str| alias.eq_ignore_ascii_case(name);
        Self::ALL.into_iter().find(|subset| subset.aliases().iter().any(is_called))
    }
}

impl fmt::Display for Subset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The most bytes of a label, which a delta records.
const LONGEST_LABEL: usize = 256;

/// Class of images without labels.
const UNLABELLED: &str = "unlabelled";

/// Classes of a data set, its image files sorted by path, and what was left out.
pub(crate) struct Layout {
    pub classes: Vec<String>,
    pub files: Vec<ImageFile>,
    pub skipped: Vec<Skipped>,
    /// How the images are labelled.
    pub labelling: Labelling,
}

/// A file with the name of an image that is decoded.
pub(crate) struct ImageFile {
    pub path: PathBuf,
    pub label: FileLabel,
    pub subset: Option<Subset>,
    /// Name of its group, where one is known.
    pub group: Option<String>,
    pub is_pseudo_labelled: bool,
}

impl ImageFile {
    /// Creates a file whose group is its own.
    pub const fn new(path: PathBuf, label: FileLabel, subset: Option<Subset>) -> Self {
        Self { path, label, subset, group: None, is_pseudo_labelled: false }
    }
}

/// What a file is labelled with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum FileLabel {
    /// The class whose folder it lies in.
    Class(u32),
    /// A file beside it.
    Mask(PathBuf),
    /// Numbers or labels of a table.
    Row(Target),
}

impl FileLabel {
    /// The mask's file.
    pub fn mask(&self) -> Option<&Path> {
        match self {
            Self::Class(_) | Self::Row(_) => None,
            Self::Mask(path) => Some(path),
        }
    }
}

/// A class in one subset.
struct ClassFolder {
    name: String,
    path: PathBuf,
    subset: Option<Subset>,
    listing: Listing,
}

impl Layout {
    /// Lists a data set's files. Hidden and system folders, and files that are not called like images, do not belong to it.
    pub fn find(root: &Path, purpose: Purpose) -> Result<Self, DataError> {
        if !root.is_dir() {
            return Err(FolderError::NotAFolder { path: root.into() }.into());
        }
        if purpose == Purpose::Unlabelled {
            return Self::unlabelled(mask_layout::images_folder(root)?.as_deref().unwrap_or(root));
        }
        if let Some(layout) = table_layout::find(root, purpose)? {
            return Ok(layout);
        }
        if let Some(layout) = mask_layout::find(root, purpose)? {
            return Ok(layout);
        }
        let mut skipped = Vec::new();
        let folders = class_folders(root, purpose, &mut skipped)?;
        let classes = class_names(root, &folders.iter().map(|folder| &folder.name).collect(), purpose)?;
        let mut files = Vec::new();
        for folder in folders {
            let class = classes.partition_point(|name| *name < folder.name) as u32;
            folder.require_images()?;
            skipped.extend(folder.listing.unused());
            let file = |path| ImageFile::new(path, FileLabel::Class(class), folder.subset);
            files.extend(folder.listing.images.into_iter().map(file));
        }
        Ok(Self { classes, files, skipped, labelling: Labelling::Classes })
    }

    /// Files whose classes are known, sorted by path.
    pub fn of_files(folder: &Path, mut files: Vec<LabelledFile>, purpose: Purpose) -> Result<Self, DataError> {
        files.sort_by(|one, other| one.path.cmp(&other.path));
        let names = match purpose {
            Purpose::Adapt | Purpose::Continue | Purpose::Evaluate => files.iter().map(|file| &file.class).collect(),
            Purpose::Unlabelled => BTreeSet::new(),
        };
        let classes = match purpose {
            Purpose::Adapt | Purpose::Continue | Purpose::Evaluate => class_names(folder, &names, purpose)?,
            Purpose::Unlabelled => vec![UNLABELLED.into()],
        };
        let file = |LabelledFile { path, class, group, is_pseudo_labelled }| {
            let label = FileLabel::Class(classes.binary_search(&class).unwrap_or_default() as u32);
            ImageFile { path, label, subset: None, group, is_pseudo_labelled }
        };
        let files = files.into_iter().map(file).collect();
        Ok(Self { classes, files, skipped: Vec::new(), labelling: Labelling::Classes })
    }

    /// Every image at any depth, as one class.
    fn unlabelled(root: &Path) -> Result<Self, DataError> {
        let (images, skipped) = images_below(root)?;
        let files = images.into_iter().map(|path| ImageFile::new(path, FileLabel::Class(0), None)).collect();
        Ok(Self { classes: vec![UNLABELLED.into()], files, skipped, labelling: Labelling::Classes })
    }
}

/// Returns the images of a folder at any depth, sorted by path, and what was left out. Hidden and system folders do not
/// belong to it; links to folders are not followed, since they may lead in a circle. The files are not read.
///
/// # Errors
/// [`DataError::Read`] if a folder can't be read, [`FolderError::NoImage`] if there is no image.
pub fn images_below(root: &Path) -> Result<(Vec<PathBuf>, Vec<Skipped>), DataError> {
    let (mut folders, mut images, mut skipped) = (vec![root.to_owned()], Vec::new(), Vec::new());
    while let Some(folder) = folders.pop() {
        let listing = Listing::read(&folder)?;
        skipped.extend(listing.foreign());
        skipped.extend(listing.dangling());
        let (links, inner): (Vec<_>, Vec<_>) = listing.folders.into_iter().partition(|path| path.is_symlink());
        let linked = |path| Skipped::new(path, SkipKind::LinkedFolder, "a link to a folder");
        skipped.extend(links.into_iter().map(linked));
        folders.extend(inner);
        images.extend(listing.images);
    }
    if images.is_empty() {
        return Err(FolderError::NoImage { path: root.into(), foreign: skipped.into_iter().next() }.into());
    }
    images.sort();
    Ok((images, skipped))
}

impl ClassFolder {
    /// Refuses a class without an image that is decoded.
    fn require_images(&self) -> Result<(), FolderError> {
        if !self.listing.images.is_empty() {
            return Ok(());
        }
        let foreign = self.listing.foreign().next();
        Err(FolderError::EmptyClass { class: self.name.clone(), path: self.path.clone(), foreign })
    }
}

fn class_folders(root: &Path, purpose: Purpose, skipped: &mut Vec<Skipped>) -> Result<Vec<ClassFolder>, DataError> {
    let listing = Listing::read(root)?;
    let subsets = subsets(root, &listing)?;
    if subsets.is_empty() {
        return classes_in(root, listing, None, skipped);
    }
    skipped.extend(listing.outside_classes());
    let wanted = match purpose {
        Purpose::Adapt | Purpose::Continue => {
            [Some(Subset::Train), subsets.contains_key(&Subset::Val).then_some(Subset::Val)]
        }
        Purpose::Evaluate | Purpose::Unlabelled => [Some(Subset::Test), None],
    };
    let mut folders = Vec::new();
    for subset in wanted.into_iter().flatten() {
        let Some(folder) = subsets.get(&subset) else {
            return Err(FolderError::MissingSubset { path: root.into(), subset }.into());
        };
        folders.extend(classes_in(folder, Listing::read(folder)?, Some(subset), skipped)?);
    }
    Ok(folders)
}

/// The subsets that the folder is divided into; none if its folders are classes.
fn subsets(root: &Path, listing: &Listing) -> Result<BTreeMap<Subset, PathBuf>, DataError> {
    let mut subsets: BTreeMap<Subset, PathBuf> = BTreeMap::new();
    for path in &listing.folders {
        let Some(subset) = Subset::of_folder(path) else { continue };
        if Listing::read(path)?.folders.is_empty() {
            continue;
        }
        if let Some(first) = subsets.insert(subset, path.clone()) {
            let (first, second) = (name_of(&first), name_of(path));
            return Err(FolderError::DuplicateSubset { path: root.into(), subset, first, second }.into());
        }
    }
    let other = listing.folders.iter().find(|path| Subset::of_folder(path).is_none());
    match (subsets.values().next(), other) {
        (Some(subset), Some(other)) => {
            let (subset, other) = (name_of(subset), name_of(other));
            Err(FolderError::Mixed { path: root.into(), subset, other }.into())
        }
        _ => Ok(subsets),
    }
}

fn classes_in(
    folder: &Path,
    listing: Listing,
    subset: Option<Subset>,
    skipped: &mut Vec<Skipped>,
) -> Result<Vec<ClassFolder>, DataError> {
    skipped.extend(listing.outside_classes());
    let mut classes = Vec::new();
    for path in listing.folders {
        let name = class_name(&path)?;
        let listing = Listing::read(&path)?;
        if listing.images.is_empty()
            && let Some(example) = listing.first_nested(is_decodable)
        {
            return Err(FolderError::NestedClasses { root: folder.into(), path, example }.into());
        }
        classes.push(ClassFolder { name, path, subset, listing });
    }
    Ok(classes)
}

/// Class that a folder's name is: a label, as a model folder and a delta hold it.
fn class_name(folder: &Path) -> Result<String, FolderError> {
    let name = folder.file_name().and_then(|name| name.to_str());
    match name.map_or(Some("not UTF-8"), label_problem) {
        Some(problem) => Err(FolderError::Name { path: folder.to_owned(), problem }),
        None => Ok(name.unwrap_or_default().to_owned()),
    }
}

/// Why a name cannot be a label, if it cannot.
pub(crate) fn label_problem(name: &str) -> Option<&'static str> {
    match name {
        name if find_unprintable(name).is_some() => Some("not printable"),
        name if name.trim().is_empty() => Some("blank"),
        name if name.len() > LONGEST_LABEL => Some("longer than 256 bytes"),
        _ => None,
    }
}

fn class_names(root: &Path, names: &BTreeSet<&String>, purpose: Purpose) -> Result<Vec<String>, DataError> {
    let classes: Vec<String> = names.iter().copied().cloned().collect();
    match (classes.as_slice(), purpose) {
        ([], _) => Err(FolderError::NoClasses { path: root.into() }.into()),
        ([class], Purpose::Adapt) => Err(FolderError::OneClass { path: root.into(), class: class.clone() }.into()),
        _ => Ok(classes),
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether the file is called like an image, decoded or not.
pub(crate) fn is_image(path: &Path) -> bool {
    is_decodable(path) || foreign_by_name(path).is_some()
}
