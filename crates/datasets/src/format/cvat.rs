//! CVAT for images: images with tags, and boxes with labels.

use super::{MAX_TABLE_BYTES, base};
use crate::crop::Area;
use crate::error::DatasetError;
use crate::record::{Boxes, FileRecord, SourceOptions};
use fieldfit_durable::read_bounded;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeSet;
use std::path::Path;

#[derive(Deserialize)]
struct Annotations {
    #[serde(default, rename = "image")]
    images: Vec<Image>,
    /// Objects of a video, whose frames are no files.
    #[serde(default, rename = "track")]
    tracks: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "@name")]
    name: String,
    #[serde(default, rename = "tag")]
    tags: Vec<Tag>,
    #[serde(default, rename = "box")]
    boxes: Vec<LabelledBox>,
}

#[derive(Deserialize)]
struct Tag {
    #[serde(rename = "@label")]
    label: String,
}

/// Box between two corners, in pixels.
#[derive(Deserialize)]
struct LabelledBox {
    #[serde(rename = "@label")]
    label: String,
    #[serde(rename = "@xtl")]
    left: f64,
    #[serde(rename = "@ytl")]
    top: f64,
    #[serde(rename = "@xbr")]
    right: f64,
    #[serde(rename = "@ybr")]
    bottom: f64,
}

pub(super) fn records(path: &Path, options: &SourceOptions) -> Result<Vec<FileRecord>, DatasetError> {
    let invalid = |problem: String| DatasetError::Invalid { path: path.to_owned(), problem };
    let text = String::from_utf8(read_bounded(path, MAX_TABLE_BYTES)?)
        .map_err(|error| invalid(format!("it is not UTF-8 ({error})")))?;
    if !text.contains("<annotations") {
        return Err(invalid("it has no <annotations>: export from CVAT as CVAT for images 1.1 or COCO 1.0".into()));
    }
    let Annotations { images, tracks } = quick_xml::de::from_str(&text)
        .map_err(|error| invalid(format!("it is not what this format holds ({error})")))?;
    if !tracks.is_empty() {
        return Err(invalid("it has tracks of a video: export as CVAT for images 1.1, with the images".into()));
    }
    let records = images.iter().map(|image| image.records(path, options.boxes)).collect::<Result<Vec<_>, _>>()?;
    Ok(records.into_iter().flatten().collect())
}

impl Image {
    /// The image, or its boxes; nothing of an image without either.
    fn records(&self, path: &Path, boxes: Boxes) -> Result<Vec<FileRecord>, DatasetError> {
        match boxes {
            Boxes::Crop { pad } => {
                Ok(self.boxes.iter().enumerate().map(|(index, marked)| self.crop(path, index, marked, pad)).collect())
            }
            Boxes::Label => self.whole(path),
        }
    }

    /// The whole image: of its tag, or of the label that all of its boxes have.
    fn whole(&self, path: &Path) -> Result<Vec<FileRecord>, DatasetError> {
        let tags: BTreeSet<&String> = self.tags.iter().map(|tag| &tag.label).collect();
        let labels: BTreeSet<&String> = self.boxes.iter().map(|marked| &marked.label).collect();
        let (labels, what) = if tags.is_empty() { (labels, "boxes") } else { (tags, "tags") };
        let class = match labels.first() {
            None => return Ok(Vec::new()),
            Some(class) if labels.len() == 1 => (*class).clone(),
            Some(_) => {
                let advice = if what == "boxes" { "cut each out with --boxes crop" } else { "leave one" };
                let problem = format!("it has {what} of {} labels: {advice}", labels.len());
                return Err(DatasetError::Record { path: path.to_owned(), record: self.name.clone(), problem });
            }
        };
        let (name, file) = (self.name.clone(), base(path).join(&self.name));
        Ok(vec![FileRecord { name, path: file, class, group: None, area: None }])
    }

    fn crop(&self, path: &Path, index: usize, marked: &LabelledBox, pad: f32) -> FileRecord {
        let LabelledBox { label, left, top, right, bottom } = marked;
        let (width, height) = (right - left, bottom - top);
        let area = Area { left: *left, top: *top, width, height, is_relative: false, pad };
        FileRecord {
            name: format!("box {index} ({})", self.name),
            path: base(path).join(&self.name),
            class: label.clone(),
            // Crops of one image stay together.
            group: Some(self.name.clone()),
            area: Some(area),
        }
    }
}
