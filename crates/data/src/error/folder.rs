//! Errors of folders: why a folder is no data set.

use super::List;
use crate::layout::Subset;
use crate::skipped::Skipped;
use std::fmt;
use std::path::{Path, PathBuf};

/// Reason why a folder is no data set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// A path that is no folder.
    #[error("{} is not a folder: expected one folder a class, or train, val and test with one folder a class", path.display())]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// A folder without class folders.
    #[error("{} holds no class: expected one folder a class with its images inside", path.display())]
    NoClasses {
        /// The folder.
        path: PathBuf,
    },
    /// A single class, where training needs two.
    #[error("{} holds one class, `{class}`: at least two are needed to learn to tell them apart", path.display())]
    OneClass {
        /// The folder.
        path: PathBuf,
        /// Its only class.
        class: String,
    },
    /// Masks without a file that names their classes.
    #[error(
        "{} holds masks, but neither classes.txt, one class a line in the order of the masks' values, nor label_colors.txt, \
         `red green blue name` a line: write one of them", path.display()
    )]
    ClassNames {
        /// The folder.
        path: PathBuf,
    },
    /// A line of a file of class names that names no class.
    #[error("{}, line {line}: it {problem}", path.display())]
    ClassName {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The defect.
        problem: &'static str,
    },
    /// Fewer than two classes of masks.
    #[error("{} names {found} class(es) that count: at least two are needed to learn to tell them apart", path.display())]
    FewClassNames {
        /// The file.
        path: PathBuf,
        /// Their number.
        found: usize,
    },
    /// Two tables of images in one folder.
    #[error("{} and {} both label the images: keep one of them", first.display(), second.display())]
    TwoTables {
        /// The one table.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// A table of images that cannot be read.
    #[error("{}{}: {problem}", path.display(), line.map(|line| format!(", line {line}")).unwrap_or_default())]
    Table {
        /// The table.
        path: PathBuf,
        /// The line, from 1, if it is one.
        line: Option<u64>,
        /// The defect, with foreign text escaped.
        problem: String,
    },
    /// Images none of which has a mask.
    #[error("no image in {} has a mask in {}: expected a PNG of each image's name", images.display(), masks.display())]
    NoMasks {
        /// Folder of the images.
        images: PathBuf,
        /// Folder of the masks.
        masks: PathBuf,
    },
    /// Images one level deeper than class folders hold them.
    #[error(
        "{} holds no image, but its folders do, for example {}: expected the class folders directly inside {}. \
         Open {} instead, or move its folders up",
        path.display(), example.display(), root.display(), path.display()
    )]
    NestedClasses {
        /// The folder that was to hold the class folders.
        root: PathBuf,
        /// The folder in it that seems to hold them.
        path: PathBuf,
        /// An image.
        example: PathBuf,
    },
    /// No image at any depth.
    #[error(
        "{} holds no image file (JPEG, PNG, WebP, BMP, TIFF or GIF), and no folder in it does{}",
        path.display(), Instead(foreign)
    )]
    NoImage {
        /// The folder.
        path: PathBuf,
        /// A file that was left out, if there is one.
        foreign: Option<Skipped>,
    },
    /// A class without images.
    #[error(
        "class `{class}` has no image: {} holds no JPEG, PNG, WebP, BMP, TIFF or GIF file{}",
        path.display(), Instead(foreign)
    )]
    EmptyClass {
        /// The class.
        class: String,
        /// Its folder.
        path: PathBuf,
        /// An image of a format that is not decoded, if there is one.
        foreign: Option<Skipped>,
    },
    /// A class whose images are all unreadable.
    #[error("class `{class}` has no readable image in {}: repair its images or remove its folder", path.display())]
    UnreadableClass {
        /// The class.
        class: String,
        /// The data set's folder.
        path: PathBuf,
    },
    /// Subsets and other folders side by side.
    #[error(
        "{} holds `{subset}` and `{other}`: expected either one folder a class, or nothing but train, val and test",
        path.display()
    )]
    Mixed {
        /// The folder.
        path: PathBuf,
        /// A subset's folder.
        subset: String,
        /// A folder that is no subset.
        other: String,
    },
    /// Two folders that both name one subset.
    #[error("{} holds `{first}` and `{second}`, which both mean `{subset}`: merge them or remove one", path.display())]
    DuplicateSubset {
        /// The folder.
        path: PathBuf,
        /// The subset.
        subset: Subset,
        /// The one folder's name.
        first: String,
        /// The other's.
        second: String,
    },
    /// The subset that is needed is missing.
    #[error("{} holds subsets of a data set but not `{subset}`, which is needed here", path.display())]
    MissingSubset {
        /// The folder.
        path: PathBuf,
        /// The subset.
        subset: Subset,
    },
    /// A folder name that can't be a label.
    #[error("the folder's name {} becomes a label, and is {problem}: rename it", path.display())]
    Name {
        /// The folder.
        path: PathBuf,
        /// Why it can't be one.
        problem: &'static str,
    },
    /// No image that can be read.
    #[error("none of the {found} images in {} can be read: {first}", path.display())]
    NoReadableImage {
        /// The folder.
        path: PathBuf,
        /// Number of image files.
        found: usize,
        /// The first of them.
        first: Skipped,
    },
    /// Too many images that can't be read.
    #[error(
        "{unreadable} of {found} images in {} cannot be read, more than {} %: repair, convert or remove them. The first: {}",
        path.display(), 100.0 * crate::UNREADABLE_LIMIT, List(first)
    )]
    TooManyUnreadable {
        /// The folder.
        path: PathBuf,
        /// Number of images that can't be read.
        unreadable: usize,
        /// Number of image files.
        found: usize,
        /// The first few.
        first: Vec<Skipped>,
    },
    /// A group pattern that is no regular expression.
    #[error("the group pattern `{pattern}` is not a regular expression: {source}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// The defect.
        source: regex::Error,
    },
    /// A group pattern that matches no file name.
    #[error("the group pattern `{pattern}` matches no file name in {}, for example not `{example}`", path.display())]
    PatternMatchesNothing {
        /// The folder.
        path: PathBuf,
        /// The pattern.
        pattern: String,
        /// A file name.
        example: String,
    },
}

impl FolderError {
    /// Returns the path that the error is about, if it is known.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::NotAFolder { path }
            | Self::ClassNames { path }
            | Self::ClassName { path, .. }
            | Self::FewClassNames { path, .. }
            | Self::NoMasks { images: path, .. }
            | Self::NoClasses { path }
            | Self::OneClass { path, .. }
            | Self::NestedClasses { path, .. }
            | Self::NoImage { path, .. }
            | Self::EmptyClass { path, .. }
            | Self::UnreadableClass { path, .. }
            | Self::Mixed { path, .. }
            | Self::DuplicateSubset { path, .. }
            | Self::MissingSubset { path, .. }
            | Self::Name { path, .. }
            | Self::NoReadableImage { path, .. }
            | Self::TooManyUnreadable { path, .. }
            | Self::TwoTables { first: path, .. }
            | Self::Table { path, .. }
            | Self::PatternMatchesNothing { path, .. } => Some(path),
            Self::Pattern { .. } => None,
        }
    }
}

/// Hint at an image that was found where none is decoded.
struct Instead<'a>(&'a Option<Skipped>);

impl fmt::Display for Instead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(file) => write!(f, ", but {file}"),
            None => Ok(()),
        }
    }
}
