//! Errors of frames, images, data sets and loaders; those of folders, replay and splits have a file each.

mod folder;
mod replay;
mod split;

pub use folder::FolderError;
pub use replay::ReplayError;
pub use split::SplitError;

use crate::decode::ForeignFormat;
use crate::frame::{PixelFormat, Rect};
use crate::read_failures::ReadFailure;
use fieldfit_durable::SpecialFile;
use fieldfit_tensor::Task;
use fieldfit_tensor::text::escape;
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
    #[error(
        "{image}: expected a target of the same kind as the data set's others: give each image a class, or each a mask"
    )]
    MixedTargets {
        /// The image's file, or its number.
        image: String,
    },
    /// A mask without a pixel that counts.
    #[error("every pixel of the mask is ignored: label some of it, or remove the image")]
    MaskIgnored,
    /// A corruption that moves pixels, of images whose masks or values do not follow.
    #[error("the corruption {corruption} moves pixels, and masks and values do not follow: leave it out")]
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
    /// Images of earlier days that can't be added.
    #[error(transparent)]
    Replay(#[from] ReplayError),
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
    /// Images without targets or labels that the model answers.
    #[error("the images say nothing of {}, which the model answers: found {}", List(missing), List(targets))]
    MissingTargets {
        /// The targets or labels that are missing.
        missing: Vec<String>,
        /// Those of the data set.
        targets: Vec<String>,
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
    /// An image in memory that can't be used.
    #[error("sample {number}: {source}")]
    Sample {
        /// Its position, from 0, among the images of its data set.
        number: usize,
        /// The defect.
        source: Box<DataError>,
    },
    /// A target or label that cannot be called so.
    #[error("the target or label `{}` is {problem}: give it another name", escape(name))]
    TargetName {
        /// The name.
        name: String,
        /// The defect.
        problem: &'static str,
    },
    /// Images of values or labels without a target or label.
    #[error("the data set names no target or label: name at least one")]
    NoTargets,
    /// A target that a flip is to negate and that there is not.
    #[error("flips are to negate target {found}, but there are {targets}: they count from 0")]
    NegatedTarget {
        /// The index given.
        found: usize,
        /// Number of targets.
        targets: usize,
    },
    /// An image whose target does not fit a builder.
    #[error("sample {number} of images for {task}: expected {expected}")]
    SampleTarget {
        /// The sample's number, from 0.
        number: usize,
        /// The task that the builder's images are labelled for.
        task: Task,
        /// What the target must be.
        expected: &'static str,
    },
    /// A class of an image in memory whose name can't be a label.
    #[error("sample {number}: the class `{}` becomes a label, and is {problem}: give it another name", escape(class))]
    ClassName {
        /// Position of the image, from 0.
        number: usize,
        /// The class.
        class: String,
        /// Why it can't be one.
        problem: &'static str,
    },
    /// A data set from memory without images.
    #[error("the data set has no images: add labelled frames before it is built")]
    NoSamples,
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
            Self::Image { path, .. } | Self::Read { path, .. } => Some(path),
            Self::Folder(error) => error.path(),
            Self::Interrupted
            | Self::MixedTargets { .. }
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
            | Self::Replay(_)
            | Self::Labels { .. }
            | Self::MissingTargets { .. }
            | Self::TooManyLabels { .. }
            | Self::Unknown { .. }
            | Self::Severity { .. }
            | Self::Sample { .. }
            | Self::ClassName { .. }
            | Self::SampleTarget { .. }
            | Self::TargetName { .. }
            | Self::NoTargets
            | Self::NegatedTarget { .. }
            | Self::NoSamples
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

/// Error of an image whose format is not decoded.
pub(crate) const fn foreign(format: &'static ForeignFormat) -> DataError {
    DataError::ForeignFormat { name: format.name, converter: format.converter }
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
