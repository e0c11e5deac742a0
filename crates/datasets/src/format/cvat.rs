//! CVAT for images: images with tags, and boxes with labels.

use super::{base, read_table};
use crate::crop::{Area, require_upright};
use crate::error::DatasetError;
use crate::record::{Boxes, FileRecord, FileRecords, ReadSummary, SourceOptions};
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
    /// Angle around the centre, in degrees.
    #[serde(default, rename = "@rotation")]
    rotation: f64,
}

pub(super) fn records(path: &Path, options: &SourceOptions) -> Result<FileRecords, DatasetError> {
    let invalid = |problem: String| DatasetError::Invalid { path: path.to_owned(), problem };
    let text = String::from_utf8(read_table(path)?).map_err(|error| invalid(format!("it is not UTF-8 ({error})")))?;
    if !text.contains("<annotations") {
        return Err(invalid("it has no <annotations>: export from CVAT as CVAT for images 1.1 or COCO 1.0".into()));
    }
    let Annotations { images, tracks } = quick_xml::de::from_str(&text)
        .map_err(|error| invalid(format!("it is not what this format holds ({error})")))?;
    if !tracks.is_empty() {
        return Err(invalid("it has tracks of a video: export as CVAT for images 1.1, with the images".into()));
    }
    let records = images.iter().map(|image| image.records(path, options.boxes)).collect::<Result<Vec<_>, _>>()?;
    let unlabelled = records.iter().filter(|of_image| of_image.is_empty()).count();
    let summary = ReadSummary { unlabelled, ..ReadSummary::default() };
    Ok(FileRecords { records: records.into_iter().flatten().collect(), summary })
}

impl Image {
    /// The image, or its boxes; nothing of an image without either.
    fn records(&self, path: &Path, boxes: Boxes) -> Result<Vec<FileRecord>, DatasetError> {
        match boxes {
            Boxes::Crop { pad } => {
                self.boxes.iter().enumerate().map(|(index, marked)| self.crop(path, index, marked, pad)).collect()
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

    fn crop(&self, path: &Path, index: usize, marked: &LabelledBox, pad: f32) -> Result<FileRecord, DatasetError> {
        let LabelledBox { label, left, top, right, bottom, rotation } = marked;
        let name = format!("box {index} ({})", self.name);
        if let Err(problem) = require_upright(*rotation) {
            return Err(DatasetError::Record { path: path.to_owned(), record: name, problem });
        }
        let (width, height) = (right - left, bottom - top);
        let area = Area { left: *left, top: *top, width, height, is_relative: false, pad };
        Ok(FileRecord {
            name,
            path: base(path).join(&self.name),
            class: label.clone(),
            // Crops of one image stay together.
            group: Some(self.name.clone()),
            area: Some(area),
        })
    }
}
