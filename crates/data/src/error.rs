//! Errors of frames, images, data set folders, splits and loaders.

use crate::decode::ForeignFormat;
use crate::frame::{PixelFormat, Rect};
use crate::layout::Subset;
use crate::read_failures::ReadFailure;
use crate::skipped::Skipped;
use fieldfit_durable::SpecialFile;
use std::fmt;
use std::path::{Path, PathBuf};

/// Error of frames, images, data sets and loaders.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// Opening a data set was broken off on request.
    #[error("stopped on request while images were opened")]
    Interrupted,
    /// A frame without pixels.
    #[error("the frame is {width} × {height} pixels: both sides must be at least 1")]
    EmptyFrame {
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// A stride shorter than a row.
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
    /// Pixel data whose length does not fit the frame's size and stride.
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
    /// A frame whose planes are not those of its format.
    #[error("a frame of {format:?} has {expected} planes: found {found}")]
    Planes {
        /// The format.
        format: PixelFormat,
        /// Planes of the format.
        expected: usize,
        /// Planes given.
        found: usize,
    },
    /// A frame or a part of one that divides pixels which share a colour.
    #[error(
        "{format:?} pixels share a colour in blocks of {} × {}: give corners and sides that are multiples of them",
        block[0], block[1]
    )]
    Subsampling {
        /// The format.
        format: PixelFormat,
        /// Width and height of a block.
        block: [u32; 2],
    },
    /// A part that is empty or reaches outside its frame.
    #[error(
        "the part of {} × {} pixels from column {} and row {} on is not inside the frame of {width} × {height} pixels",
        rect.width, rect.height, rect.left, rect.top
    )]
    Crop {
        /// The part.
        rect: Rect,
        /// Width of the frame.
        width: u32,
        /// Height of the frame.
        height: u32,
    },
    /// A part of an encoded frame.
    #[error("an encoded frame has no parts: decode it to pixels first")]
    CropEncoded,
    /// An output buffer whose length is not the network input's.
    #[error("the buffer has {found} values, but the network's input of {} × {} × 3 has {expected}", input[0], input[1])]
    Output {
        /// Rows and columns of the input, in pixels.
        input: [u32; 2],
        /// Its values.
        expected: usize,
        /// The buffer's.
        found: usize,
    },
    /// An input size or crop out of range.
    #[error("input size {size} and crop {crop}: each side must be 1 to 4096 pixels, the crop above 0 and at most 1")]
    Recipe {
        /// Rows of the input, in pixels.
        size: u32,
        /// Share of the shorter side that the input covers.
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
    /// Bytes that are no image, or a damaged one.
    #[error("not a readable JPEG, PNG, WebP, BMP, TIFF or GIF image: {0}")]
    Decode(#[from] image::ImageError),
    /// An image whose file ends before its data does.
    #[error("the {format} image is truncated: part of its data is missing; copy the file again")]
    Truncated {
        /// The image's format.
        format: &'static str,
    },
    /// An image of a format that is not decoded.
    #[error("{name} is not decoded: convert it to JPEG or PNG, for example with `{converter}`")]
    ForeignFormat {
        /// The format.
        name: &'static str,
        /// A command that converts a file.
        converter: &'static str,
    },
    /// A pipe, socket or device among images.
    #[error("expected a regular file, found {found}")]
    NotRegular {
        /// The kind of file found.
        found: SpecialFile,
    },
    /// A mask of another size than its image.
    #[error("the mask is {} × {} pixels, but its image is {} × {}: label the image as it is", mask[0], mask[1], image[0], image[1])]
    MaskSize {
        /// Width and height of the mask.
        mask: [u32; 2],
        /// Width and height of the image.
        image: [u32; 2],
    },
    /// A value or colour of a mask that is no class.
    #[error(
        "the mask has the value {found}, which is no class of {expected}: name it there, or use 255 for pixels that do not count"
    )]
    MaskValue {
        /// The value, or red, green and blue.
        found: String,
        /// The file that names the classes.
        expected: &'static str,
    },
    /// A mask that is no PNG with a class for each pixel.
    #[error("expected a mask as a grey, palette or RGB PNG of at most 8 bits a channel, found {reason}")]
    MaskFormat {
        /// What was found.
        reason: String,
    },
    /// An image of a data set whose targets are of several kinds.
    #[error("{}: expected a target of the same kind as the data set's others: give each image a class, or each a mask", path.display())]
    MixedTargets {
        /// The image.
        path: PathBuf,
    },
    /// A mask without a pixel that counts.
    #[error("every pixel of the mask is ignored: label some of it, or remove the image")]
    MaskIgnored,
    /// A corruption that moves pixels, of images that have masks.
    #[error("the corruption {corruption} moves pixels, and masks do not follow: leave it out")]
    MovesPixels {
        /// Its name.
        corruption: &'static str,
    },
    /// Resampling failed.
    #[error("the image cannot be resampled: {0}")]
    Resample(Box<dyn std::error::Error + Send + Sync>),
    /// A file that can't be used as an image.
    #[error("{}: {source}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// The defect.
        source: Box<DataError>,
    },
    /// A file or folder that can't be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
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
    /// Class folders whose names are not among the model's labels.
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
    /// More labels than masks can tell apart.
    #[error("the model has {found} classes, and masks tell at most {most} apart")]
    TooManyLabels {
        /// Labels of the model.
        found: usize,
        /// Classes of a mask.
        most: usize,
    },
    /// An unknown name of a preset or corruption.
    #[error("there is no {kind} `{found}`: expected one of {}", List(expected))]
    Unknown {
        /// Kind of name.
        kind: &'static str,
        /// The name given.
        found: String,
        /// All names.
        expected: Vec<&'static str>,
    },
    /// A corruption severity out of range.
    #[error("there is no severity {found}: expected 1 to 5")]
    Severity {
        /// The number given.
        found: u8,
    },
    /// An image that JPEG can't encode.
    #[error("the image of {width} × {height} pixels cannot be made a JPEG: {source}")]
    Compress {
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
        /// The encoder's error.
        source: image::ImageError,
    },
    /// More images than a data set can spare became unreadable while it was in use.
    #[error(
        "{failed} images of the data set became unreadable since it was opened, and {allowed} may: repair or remove them. \
         The first: {}",
        List(first)
    )]
    TooManyFailures {
        /// Number of images that became unreadable.
        failed: usize,
        /// Number that may: see [`Dataset::spare_images`](crate::Dataset::spare_images).
        allowed: usize,
        /// The first few.
        first: Vec<ReadFailure>,
    },
    /// Every image of a slice became unreadable.
    #[error("none of the {images} images that were asked for can be read any more: {first}")]
    NoImageLeft {
        /// Number of images.
        images: usize,
        /// The first of them.
        first: ReadFailure,
    },
    /// Batch size or number of threads that is 0.
    #[error("batches of {batch} images by {threads} threads: both must be at least 1")]
    Batches {
        /// Images in a batch.
        batch: usize,
        /// Background threads.
        threads: usize,
    },
    /// A sample index beyond the data set's end.
    #[error("there is no sample {index}: the data set has {samples}")]
    NoSuchSample {
        /// The position asked for.
        index: usize,
        /// Their number.
        samples: usize,
    },
    /// A background thread could not be started or ended before its work was done.
    #[error("a thread that loads images failed: {reason}")]
    Thread {
        /// The reason.
        reason: String,
    },
}

impl DataError {
    /// Returns the path that the error is about, if it is known.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Image { path, .. } | Self::Read { path, .. } | Self::MixedTargets { path } => Some(path),
            Self::Folder(error) => error.path(),
            Self::Interrupted
            | Self::EmptyFrame { .. }
            | Self::Stride { .. }
            | Self::Length { .. }
            | Self::Planes { .. }
            | Self::Subsampling { .. }
            | Self::Crop { .. }
            | Self::CropEncoded
            | Self::MaskSize { .. }
            | Self::MaskValue { .. }
            | Self::MaskFormat { .. }
            | Self::MaskIgnored
            | Self::MovesPixels { .. }
            | Self::Output { .. }
            | Self::Recipe { .. }
            | Self::TooLarge { .. }
            | Self::Decode(_)
            | Self::Truncated { .. }
            | Self::ForeignFormat { .. }
            | Self::NotRegular { .. }
            | Self::Resample(_)
            | Self::LargeFile { .. }
            | Self::Split(_)
            | Self::Labels { .. }
            | Self::TooManyLabels { .. }
            | Self::Unknown { .. }
            | Self::Severity { .. }
            | Self::Compress { .. }
            | Self::TooManyFailures { .. }
            | Self::NoImageLeft { .. }
            | Self::Batches { .. }
            | Self::NoSuchSample { .. }
            | Self::Thread { .. } => None,
        }
    }
}

impl DataError {
    pub(crate) fn unknown(kind: &'static str, found: &str, expected: impl Into<Vec<&'static str>>) -> Self {
        Self::Unknown { kind, found: found.into(), expected: expected.into() }
    }
}

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
            | Self::PatternMatchesNothing { path, .. } => Some(path),
            Self::Pattern { .. } => None,
        }
    }
}

/// Reason why a data set can't be split.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SplitError {
    /// Fractions that leave a slice empty.
    #[error(
        "{validation} for validation and {gate} for the gate: each must be above 0, and something must be left to train on"
    )]
    Fractions {
        /// Fraction for the validation slice, which learns radii.
        validation: f64,
        /// Fraction for the gate slice, which the result is accepted by.
        gate: f64,
    },
    /// A class that would be missing from a slice.
    #[error(
        "class `{class}` is too small to split: its {images} images in {groups} groups give {train} to train, \
         {validation} to validation and {gate} to the gate, and each needs {}. Add images of it, or choose a group \
         pattern that makes smaller groups",
        crate::MIN_IMAGES_PER_SLICE
    )]
    ClassTooSmall {
        /// The class.
        class: String,
        /// Its images.
        images: usize,
        /// The groups that they come in.
        groups: usize,
        /// Images for the training slice.
        train: usize,
        /// Images for the validation slice.
        validation: usize,
        /// Images for the gate slice.
        gate: usize,
    },
    /// A class with too few images in the `train` or `val` folder, which hold all that training may see.
    #[error(
        "class `{class}` has {train} images in `train` and {val} in `val`: `train` needs {} of each class, and `val`, which \
         is divided between validation and gate, {}. Add images there, or remove `val` so that `train` is split in three",
        crate::MIN_IMAGES_PER_SLICE, 2 * crate::MIN_IMAGES_PER_SLICE
    )]
    ClassTooSmallInSubset {
        /// The class.
        class: String,
        /// Its images in `train`.
        train: usize,
        /// Its images in `val`.
        val: usize,
    },
    /// Images with masks of which a slice would have too few.
    #[error(
        "the data set is too small to split: its {images} images in {groups} groups give {train} to train, {validation} to \
         validation and {gate} to the gate, and each needs {}. Add images, or choose a group pattern that makes smaller groups",
        crate::MIN_IMAGES_PER_SLICE
    )]
    TooFewImages {
        /// The images.
        images: usize,
        /// The groups that they come in.
        groups: usize,
        /// Images for the training slice.
        train: usize,
        /// Images for the validation slice.
        validation: usize,
        /// Images for the gate slice.
        gate: usize,
    },
    /// Fewer than two classes.
    #[error("the data set has {classes} classes: at least two are needed to learn to tell them apart")]
    Classes {
        /// Their number.
        classes: usize,
    },
}

/// Error of an image whose format is not decoded.
pub(crate) const fn foreign(format: &'static ForeignFormat) -> DataError {
    DataError::ForeignFormat { name: format.name, converter: format.converter }
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

/// The first few of a list, and how many more there are.
pub(crate) struct List<'a, T>(pub &'a [T]);

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
