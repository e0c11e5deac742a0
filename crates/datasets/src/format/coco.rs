//! COCO: images, categories, and a category for each box.

use super::{base, typed_json};
use crate::crop::{Area, require_upright};
use crate::error::DatasetError;
use crate::record::{Boxes, FileRecord, FileRecords, ReadSummary, SourceOptions};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

#[derive(Deserialize)]
struct Coco {
    images: Vec<Image>,
    annotations: Vec<Annotation>,
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct Image {
    id: u64,
    file_name: String,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: u64,
    category_id: u64,
    /// Left, top, width and height in pixels.
    bbox: Option<Vec<f64>>,
    #[serde(default)]
    attributes: Attributes,
}

/// What CVAT says of an annotation.
#[derive(Deserialize, Default)]
struct Attributes {
    /// Angle of the box around its centre, in degrees.
    #[serde(default)]
    rotation: f64,
}

#[derive(Deserialize)]
struct Category {
    id: u64,
    name: String,
}

pub(super) fn records(path: &Path, options: &SourceOptions) -> Result<FileRecords, DatasetError> {
    let Coco { images, annotations, categories } = typed_json(path)?;
    require_distinct(path, "images", images.iter().map(|image| image.id))?;
    require_distinct(path, "categories", categories.iter().map(|category| category.id))?;
    let categories: BTreeMap<u64, String> =
        categories.into_iter().map(|category| (category.id, category.name)).collect();
    let mut of_image: BTreeMap<u64, Vec<(usize, Annotation)>> = BTreeMap::new();
    for (index, annotation) in annotations.into_iter().enumerate() {
        of_image.entry(annotation.image_id).or_default().push((index, annotation));
    }
    let (mut records, mut summary) = (Vec::new(), ReadSummary::default());
    for Image { id, file_name } in images {
        let Some(annotations) = of_image.remove(&id) else {
            // Negatives of detectors.
            summary.unlabelled += 1;
            continue;
        };
        let image = Labelled { path, file_name: &file_name, categories: &categories };
        match options.boxes {
            Boxes::Label => records.push(image.whole(&annotations)?),
            Boxes::Crop { pad } => {
                let crops = annotations.iter().map(|(index, annotation)| image.crop(*index, annotation, pad));
                records.extend(crops.collect::<Result<Vec<_>, _>>()?);
            }
        }
    }
    match of_image.first_key_value() {
        Some((id, annotations)) => Err(DatasetError::Record {
            path: path.to_owned(),
            record: format!("annotation {}", annotations[0].0),
            problem: format!("there is no image {id}"),
        }),
        None => Ok(FileRecords { records, summary }),
    }
}

/// Refuses two entries of one identity, of which either could be meant.
fn require_distinct(path: &Path, what: &str, mut identities: impl Iterator<Item = u64>) -> Result<(), DatasetError> {
    let mut seen = BTreeSet::new();
    let twice = identities.find(|identity| !seen.insert(*identity));
    let problem = |identity| format!("two {what} have the id {identity}: give each its own");
    twice.map_or(Ok(()), |identity| Err(DatasetError::Invalid { path: path.to_owned(), problem: problem(identity) }))
}

/// Image with what its annotations are looked up in.
struct Labelled<'a> {
    path: &'a Path,
    file_name: &'a str,
    categories: &'a BTreeMap<u64, String>,
}

impl Labelled<'_> {
    /// The whole image, whose annotations are of one category.
    fn whole(&self, annotations: &[(usize, Annotation)]) -> Result<FileRecord, DatasetError> {
        let classes = annotations.iter().map(|(index, annotation)| self.class(*index, annotation));
        let classes: BTreeSet<String> = classes.collect::<Result<_, _>>()?;
        match classes.first() {
            Some(class) if classes.len() == 1 => Ok(self.record(self.file_name.to_owned(), class.clone(), None)),
            _ => Err(self.invalid(
                self.file_name.to_owned(),
                format!("it has boxes of {} categories: cut each out with --boxes crop", classes.len()),
            )),
        }
    }

    fn crop(&self, index: usize, annotation: &Annotation, pad: f32) -> Result<FileRecord, DatasetError> {
        let name = format!("annotation {index} ({})", self.file_name);
        let Some(&[left, top, width, height]) = annotation.bbox.as_deref() else {
            return Err(self.invalid(name, "expected a box of 4 numbers".into()));
        };
        require_upright(annotation.attributes.rotation).map_err(|problem| self.invalid(name.clone(), problem))?;
        let area = Area { left, top, width, height, is_relative: false, pad };
        Ok(self.record(name, self.class(index, annotation)?, Some(area)))
    }

    fn class(&self, index: usize, annotation: &Annotation) -> Result<String, DatasetError> {
        self.categories.get(&annotation.category_id).cloned().ok_or_else(|| {
            self.invalid(format!("annotation {index}"), format!("there is no category {}", annotation.category_id))
        })
    }

    fn record(&self, name: String, class: String, area: Option<Area>) -> FileRecord {
        // Crops of one image stay together.
        let group = area.is_some().then(|| self.file_name.to_owned());
        FileRecord { name, path: base(self.path).join(self.file_name), class, group, area }
    }

    fn invalid(&self, record: String, problem: String) -> DatasetError {
        DatasetError::Record { path: self.path.to_owned(), record, problem }
    }
}
