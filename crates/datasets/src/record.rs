//! Records: labelled images, and the options by which they are read.

use crate::crop::{Area, cut};
use crate::error::DatasetError;
use fieldfit_data::{MAX_FILE_BYTES, Skipped, encoded_extension};
use fieldfit_durable::read_bounded;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Labelled image of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LabelledImage {
    /// Its name in messages: its file, line or key.
    pub name: String,
    /// Bytes of the image file.
    pub bytes: Vec<u8>,
    /// Name of its class.
    pub class: String,
    /// Name of the group that it stays in one slice with; `None` groups it by its content.
    pub group: Option<String>,
    /// Time of capture, of an image of a recording.
    pub at: Option<Duration>,
}

/// What was left out of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ReadSummary {
    /// Number of images without a label: of a recording those at whose time none holds.
    pub unlabelled: usize,
    /// Number of samples of an archive that have a label and no image.
    pub without_image: usize,
    /// Files of a folder that are not read.
    pub skipped: Vec<Skipped>,
    /// Files of a recording that lack their end.
    pub cut_off: Vec<CutOff>,
}

/// File of a recording that lacks its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CutOff {
    /// The file.
    pub path: PathBuf,
    /// Byte at which its last incomplete record begins.
    pub byte: u64,
}

/// Options of reading a data set.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct SourceOptions {
    /// Column or field of the class; `None` looks for `label`, `class`, `category`, `labels` in this order.
    pub label_column: Option<String>,
    /// Column of the image's file; `None` looks for `file_name`, `image`, `path`, `filename`, `file`.
    pub image_column: Option<String>,
    /// Column or field of the group: recording, sequence, object. `None` groups by content.
    pub group_column: Option<String>,
    /// What boxes of objects become.
    pub boxes: Boxes,
    /// How the images of a recording are found and labelled.
    pub recording: RecordingOptions,
}

/// How the images of a recording are found and labelled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RecordingOptions {
    /// Topic of the images; `None` takes the only one.
    pub topic: Option<String>,
    /// Where the labels come from. A recording needs one.
    pub labels: Option<LabelSource>,
    /// Minimum time between two images.
    pub every: Duration,
}

/// Source of the labels of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelSource {
    /// Messages of a topic: each holds from its time until the next; an empty one ends a label.
    Topic(String),
    /// CSV table of `from,to,class`, in seconds after the recording's first message; `to` does not belong to the range.
    Ranges(PathBuf),
}

/// What boxes of objects become.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum Boxes {
    /// The image's label, if all of its boxes have one class.
    #[default]
    Label,
    /// An image each, with its own class: widened by this share of its sides.
    Crop {
        /// Share of the box's width and height that is added on each side.
        pad: f32,
    },
}

impl SourceOptions {
    /// Returns the options with these columns of [label](Self::label_column), [image](Self::image_column) and
    /// [group](Self::group_column).
    #[must_use]
    pub fn with_columns(mut self, label: Option<String>, image: Option<String>, group: Option<String>) -> Self {
        (self.label_column, self.image_column, self.group_column) = (label, image, group);
        self
    }

    /// Returns the options with that use of [`boxes`](Self::boxes).
    #[must_use]
    pub const fn with_boxes(mut self, boxes: Boxes) -> Self {
        self.boxes = boxes;
        self
    }

    /// Returns the options with those of the [`recording`](Self::recording): topic, source of labels, time between images.
    #[must_use]
    pub fn with_recording(mut self, topic: Option<String>, labels: Option<LabelSource>, every: Duration) -> Self {
        self.recording = RecordingOptions { topic, labels, every };
        self
    }
}

/// Records of files, and what was left out of them.
#[derive(Debug, Default)]
pub(crate) struct FileRecords {
    pub records: Vec<FileRecord>,
    pub summary: ReadSummary,
}

/// Records of which nothing was left out.
impl From<Vec<FileRecord>> for FileRecords {
    fn from(records: Vec<FileRecord>) -> Self {
        Self { records, summary: ReadSummary::default() }
    }
}

/// Labelled image whose bytes are a file, or a part of one, that is read when its turn comes.
#[derive(Debug, Clone)]
pub(crate) struct FileRecord {
    pub name: String,
    pub path: PathBuf,
    pub class: String,
    pub group: Option<String>,
    pub area: Option<Area>,
}

impl FileRecord {
    /// Reads the image; `source` is the file that names it.
    pub fn read(self, source: &Path) -> Result<LabelledImage, DatasetError> {
        let Self { name, path, class, group, area } = self;
        let invalid = |problem: String| DatasetError::Record { path: source.to_owned(), record: name.clone(), problem };
        let bytes = read_bounded(&path, MAX_FILE_BYTES).map_err(|error| invalid(error.to_string()))?;
        let bytes = match area {
            Some(area) => cut(&bytes, area).map_err(invalid)?,
            None => bytes,
        };
        record(source, name, bytes, class, group)
    }
}

/// Returns a record whose bytes are an image.
pub(crate) fn record(
    source: &Path,
    name: String,
    bytes: Vec<u8>,
    class: String,
    group: Option<String>,
) -> Result<LabelledImage, DatasetError> {
    if encoded_extension(&bytes).is_some() {
        return Ok(LabelledImage { name, bytes, class, group, at: None });
    }
    let problem = "it is no JPEG, PNG, WebP, BMP, TIFF or GIF image".into();
    Err(DatasetError::Record { path: source.to_owned(), record: name, problem })
}
