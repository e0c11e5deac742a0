//! What can be wrong with frames, folders and splits.

use crate::dataset::Skipped;
use crate::frame::PixelFormat;
use crate::layout::Part;
use std::fmt;
use std::path::PathBuf;

/// What can be wrong with what a network is to be fed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A frame without pixels.
    #[error("the frame is {width} × {height} pixels: both sides must be at least 1")]
    EmptyFrame {
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// Rows that would overlap.
    #[error("the frame's stride is {found} bytes, but a row of {width} {format:?} pixels takes {expected}")]
    Stride {
        /// Pixels in a row.
        width: u32,
        /// Their format.
        format: PixelFormat,
        /// Bytes of a row's pixels.
        expected: usize,
        /// The stride given.
        found: usize,
    },
    /// Data that does not fit the frame's description.
    #[error(
        "the frame has {found} bytes, but {width} × {height} pixels at a stride of {stride} bytes take {expected} \
         (and padding of the last row at most)"
    )]
    Length {
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
        /// Bytes from row to row.
        stride: usize,
        /// Bytes up to the last pixel.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// A caller's buffer that is not the network's input.
    #[error("the buffer has {found} values, but the network's input of {size} × {size} × 3 has {expected}")]
    Output {
        /// Side of the input, in pixels.
        size: u32,
        /// Its values.
        expected: usize,
        /// The buffer's.
        found: usize,
    },
    /// An input size or crop that no image can have.
    #[error("input size {size} and crop {crop}: the size must be 1 to 4096 pixels, the crop above 0 and at most 1")]
    Recipe {
        /// Side of the input, in pixels.
        size: u32,
        /// The part of the shorter side that the input covers.
        crop: f32,
    },
    /// More pixels than this crate decodes.
    #[error("the image is {width} × {height} pixels: at most {limit} in all are decoded; scale it down")]
    TooLarge {
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
        /// [`MAX_PIXELS`](crate::MAX_PIXELS).
        limit: u64,
    },
    /// Bytes that are no image.
    #[error("not a readable JPEG, PNG or WebP image: {0}")]
    Decode(#[from] image::ImageError),
    /// Resampling failed.
    #[error("the image can't be resampled: {0}")]
    Resample(Box<dyn std::error::Error + Send + Sync>),
    /// A file that can't be used as an image.
    #[error("{}: {source}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<DataError>,
    },
    /// A file or folder that can't be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file larger than this crate reads.
    #[error("the file has {bytes} bytes: at most {limit} are read")]
    LargeFile {
        /// The file's length.
        bytes: u64,
        /// [`MAX_FILE_BYTES`](crate::MAX_FILE_BYTES).
        limit: u64,
    },
    /// A folder that is no data set.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A data set that can't be split.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// Folders whose names are not the model's labels.
    #[error(
        "the classes {} are not among the model's labels: classes and labels must have the same names. \
         Classes: {}. Labels: {}",
        List(unknown),
        List(classes),
        List(labels)
    )]
    Labels {
        /// The classes that the model does not know.
        unknown: Vec<String>,
        /// All classes of the data set.
        classes: Vec<String>,
        /// All labels of the model.
        labels: Vec<String>,
    },
    /// A name of nothing that there is.
    #[error("there is no {kind} `{found}`: expected one of {}", List(expected))]
    Unknown {
        /// What was looked for.
        kind: &'static str,
        /// The name given.
        found: String,
        /// All names.
        expected: Vec<&'static str>,
    },
    /// A severity that no corruption has.
    #[error("there is no severity {found}: expected 1 to 5")]
    Severity {
        /// The number given.
        found: u8,
    },
    /// An image that could not be compressed.
    #[error("the image of {width} × {height} pixels can't be made a JPEG: {source}")]
    Compress {
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
        /// Why not.
        source: image::ImageError,
    },
    /// A loader that could not do anything.
    #[error("batches of {batch} images by {threads} threads: both must be at least 1")]
    Batches {
        /// Images in a batch.
        batch: usize,
        /// Background threads.
        threads: usize,
    },
    /// An order that names a sample which the data set lacks.
    #[error("there is no sample {index}: the data set has {samples}")]
    NoSuchSample {
        /// The position asked for.
        index: usize,
        /// How many there are.
        samples: usize,
    },
    /// A background thread could not be started or ended before its work was done.
    #[error("a thread that loads images failed: {reason}")]
    Thread {
        /// What happened.
        reason: String,
    },
}

impl DataError {
    pub(crate) fn unknown(kind: &'static str, found: &str, expected: impl Into<Vec<&'static str>>) -> Self {
        Self::Unknown { kind, found: found.into(), expected: expected.into() }
    }
}

/// Why a folder is no data set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// No such folder.
    #[error("{} is not a folder: expected one folder a class, or train, val and test with one folder a class", path.display())]
    NotAFolder {
        /// What was named.
        path: PathBuf,
    },
    /// A folder without folders.
    #[error("{} holds no class: expected one folder a class with its images inside", path.display())]
    NoClasses {
        /// The folder.
        path: PathBuf,
    },
    /// Nothing to tell apart.
    #[error("{} holds one class, `{class}`: at least two are needed to learn to tell them apart", path.display())]
    OneClass {
        /// The folder.
        path: PathBuf,
        /// Its only class.
        class: String,
    },
    /// No image at any depth.
    #[error("{} holds no .jpg, .jpeg, .png or .webp file, and no folder in it does", path.display())]
    NoImage {
        /// The folder.
        path: PathBuf,
    },
    /// A class without images.
    #[error("class `{class}` has no image: {} holds no .jpg, .jpeg, .png or .webp file", path.display())]
    EmptyClass {
        /// The class.
        class: String,
        /// Its folder.
        path: PathBuf,
    },
    /// Parts and other folders side by side.
    #[error(
        "{} holds `{part}` and `{other}`: expected either one folder a class, or nothing but train, val and test",
        path.display()
    )]
    Mixed {
        /// The folder.
        path: PathBuf,
        /// A part of a data set.
        part: String,
        /// What is no part.
        other: String,
    },
    /// The part that is needed is missing.
    #[error("{} holds parts of a data set but not `{part}`, which this needs", path.display())]
    NoPart {
        /// The folder.
        path: PathBuf,
        /// The part.
        part: Part,
    },
    /// A name that can't be a label.
    #[error("the folder's name {} is not UTF-8: rename it, it is to be a label", path.display())]
    Name {
        /// The folder.
        path: PathBuf,
    },
    /// Not one image could be read.
    #[error("none of the {found} images in {} can be read: {first}", path.display())]
    NoReadableImage {
        /// The folder.
        path: PathBuf,
        /// How many files look like images.
        found: usize,
        /// The first of them.
        first: Skipped,
    },
    /// Too many images could not be read.
    #[error(
        "{unreadable} of {found} images in {} can't be read, more than {} %: repair or remove them. The first: {}",
        path.display(), 100.0 * crate::UNREADABLE_LIMIT, List(first)
    )]
    TooManyUnreadable {
        /// The folder.
        path: PathBuf,
        /// How many can't be read.
        unreadable: usize,
        /// How many files look like images.
        found: usize,
        /// The first few.
        first: Vec<Skipped>,
    },
    /// A group pattern that is no regular expression.
    #[error("the group pattern `{pattern}` is not a regular expression: {source}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        source: regex::Error,
    },
    /// A group pattern that groups nothing.
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

/// Why a data set can't be split.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SplitError {
    /// Fractions that leave a slice empty.
    #[error(
        "{validation} for validation and {gate} for the gate: each must be above 0, and something must be left to train on"
    )]
    Fractions {
        /// The part that learns radii.
        validation: f64,
        /// The part that judges the result.
        gate: f64,
    },
    /// A class that would be missing from a slice.
    #[error(
        "class `{class}` is too small to split: its {images} images in {groups} groups give {train} to train, \
         {validation} to validation and {gate} to the gate, and each needs {}. Add images of it, or choose a group \
         pattern that makes smaller groups",
        crate::MINIMUM
    )]
    ClassTooSmall {
        /// The class.
        class: String,
        /// Its images.
        images: usize,
        /// The groups that they come in.
        groups: usize,
        /// Images to train on.
        train: usize,
        /// Images that would learn radii.
        validation: usize,
        /// Images that would judge the result.
        gate: usize,
    },
    /// Nothing to tell apart.
    #[error("the data set has {classes} classes: at least two are needed to learn to tell them apart")]
    Classes {
        /// How many there are.
        classes: usize,
    },
}

/// The first few of a list, and how many more there are.
struct List<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 12;
        for (index, item) in self.0.iter().take(SHOWN).enumerate() {
            write!(f, "{}{item}", if index == 0 { "" } else { ", " })?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
