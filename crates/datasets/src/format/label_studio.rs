//! Label Studio: tasks with choices for an image, or rectangles with labels.

use super::{base, typed_json};
use crate::crop::{Area, require_upright};
use crate::error::DatasetError;
use crate::record::{Boxes, FileRecord, FileRecords, ReadSummary, SourceOptions};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::path::Path;

#[derive(Deserialize)]
struct Task {
    id: Option<u64>,
    data: Map<String, Value>,
    #[serde(default)]
    annotations: Vec<Annotation>,
}

#[derive(Deserialize)]
struct Annotation {
    #[serde(default)]
    was_cancelled: bool,
    #[serde(default)]
    result: Vec<Region>,
}

#[derive(Deserialize)]
struct Region {
    #[serde(default)]
    value: Choice,
}

/// Choices of an image, or a rectangle in percent of its sides.
#[derive(Deserialize, Default)]
struct Choice {
    #[serde(default)]
    choices: Vec<String>,
    #[serde(default)]
    rectanglelabels: Vec<String>,
    #[serde(default)]
    x: f64,
    #[serde(default)]
    y: f64,
    #[serde(default)]
    width: f64,
    #[serde(default)]
    height: f64,
    /// Angle around the corner at the left and top, in degrees.
    #[serde(default)]
    rotation: f64,
}

pub(super) fn records(path: &Path, options: &SourceOptions) -> Result<FileRecords, DatasetError> {
    let tasks: Vec<Task> = typed_json(path)?;
    let (mut records, mut summary) = (Vec::new(), ReadSummary::default());
    for (index, task) in tasks.into_iter().enumerate() {
        let name = format!("task {}", task.id.unwrap_or(index as u64));
        let invalid = |problem: String| DatasetError::Record { path: path.to_owned(), record: name.clone(), problem };
        let regions = || {
            let done = task.annotations.iter().filter(|annotation| !annotation.was_cancelled);
            done.flat_map(|annotation| &annotation.result).map(|region| &region.value)
        };
        if regions().next().is_none() {
            // Skipped, or not yet labelled.
            summary.unlabelled += 1;
            continue;
        }
        let image = image(&task.data, options).map_err(invalid)?;
        let file = base(path).join(&image);
        match options.boxes {
            Boxes::Label => {
                let classes: BTreeSet<&String> = regions().flat_map(|value| &value.choices).collect();
                let class = match classes.first() {
                    Some(class) if classes.len() == 1 => (*class).clone(),
                    _ => {
                        return Err(invalid(format!(
                            "expected one choice, of all annotators, found {}: decide, or cut rectangles out with --boxes crop",
                            classes.len()
                        )));
                    }
                };
                records.push(FileRecord { name: name.clone(), path: file, class, group: None, area: None });
            }
            Boxes::Crop { pad } => {
                for value in regions() {
                    let [class] = value.rectanglelabels.as_slice() else {
                        return Err(invalid(format!(
                            "expected rectangles of one label, found {}",
                            value.rectanglelabels.len()
                        )));
                    };
                    require_upright(value.rotation).map_err(invalid)?;
                    let [left, top, width, height] = [value.x, value.y, value.width, value.height].map(|v| v / 100.0);
                    let area = Some(Area { left, top, width, height, is_relative: true, pad });
                    let (path, class, group) = (file.clone(), class.clone(), Some(image.clone()));
                    records.push(FileRecord { name: name.clone(), path, class, group, area });
                }
            }
        }
    }
    Ok(FileRecords { records, summary })
}

/// The image's path. Uploads and local storage are URLs of the server: their files lie beside the export.
fn image(data: &Map<String, Value>, options: &SourceOptions) -> Result<String, String> {
    let column = options.image_column.as_deref().unwrap_or("image");
    let text = data.get(column).and_then(Value::as_str);
    let text = text.ok_or_else(|| format!("`data` has no text `{column}`: name the field with --image-column"))?;
    if text.contains("://") {
        return Err(format!("its image is at {text}: download it, and put its path there"));
    }
    let local = text.split_once("?d=").map_or(text, |(_, path)| path);
    Ok(local.trim_start_matches("/data/upload/").trim_start_matches('/').to_owned())
}
