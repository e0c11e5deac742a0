//! Records: labelled images, and the options by which they are read.

use crate::crop::{Area, cut};
use crate::error::DatasetError;
use fieldfit_data::{MAX_FILE_BYTES, encoded_extension};
use fieldfit_durable::read_bounded;
use std::path::{Path, PathBuf};

/// Labelled image of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// Its name in messages: its file, line or key.
    pub name: String,
    /// Bytes of the image file.
    pub bytes: Vec<u8>,
    /// Name of its class.
    pub class: String,
    /// Name of the group that it stays in one slice with; `None` groups it by its content.
    pub group: Option<String>,
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
}

/// Record whose image is a file, or a part of one, that is read when its turn comes.
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
    pub fn read(self, source: &Path) -> Result<Record, DatasetError> {
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
) -> Result<Record, DatasetError> {
    if encoded_extension(&bytes).is_some() {
        return Ok(Record { name, bytes, class, group });
    }
    let problem = "it is no JPEG, PNG, WebP, BMP, TIFF or GIF image".into();
    Err(DatasetError::Record { path: source.to_owned(), record: name, problem })
}
