//! Import of labelled data sets: copies another tool's images and labels into a collection.

use crate::Error;
use fieldfit_collect::{Collection, Label, NewImage, Origin};
use fieldfit_data::{Frame, SkipSummary};
use fieldfit_datasets::{DatasetError, LabelledImage, ReadSummary, each_record};
use serde::Serialize;
use std::path::Path;

pub use fieldfit_datasets::{Boxes, CutOff, DatasetFormat, LabelSource, RecordingOptions, SourceOptions};

/// Result of an import.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Imported {
    /// Labelled images of the source.
    pub images: usize,
    /// Images that were stored.
    pub stored: usize,
    /// Images that were there already, under the same class.
    pub known: usize,
    /// Images that were there under another class, and now have this one.
    pub relabelled: usize,
    /// Images that have no label.
    #[serde(skip_serializing_if = "is_zero")]
    pub unlabelled: usize,
    /// Samples of an archive that have a label and no image.
    #[serde(skip_serializing_if = "is_zero")]
    pub without_image: usize,
    /// Files of a folder that are not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<SkipSummary>,
    /// Files of a recording that lack their end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cut_off: Vec<CutOff>,
}

const fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Copies the labelled images of a data set of another tool into a collection, byte by byte, but for boxes that are cut out
/// and raw pixels of a recording, which become PNG.
///
/// Every record is read, decoded and checked before the first is stored: a source with a defect changes nothing.
///
/// # Errors
/// [`Error::Dataset`] with the file and the record; [`Error::Collect`] if a class cannot be one, or the collection can't be written.
pub fn import_data(
    source: impl AsRef<Path>,
    collection: &mut Collection,
    options: &SourceOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Imported, Error> {
    let source = source.as_ref();
    let mut total = 0;
    let ReadSummary { unlabelled, without_image, skipped, cut_off, .. } = each_record(source, options, |record| {
        check(source, &record)?;
        total += 1;
        Ok::<(), Error>(())
    })?;
    let session = source.file_name().map_or_else(|| "import".into(), |name| name.to_string_lossy());
    let skipped = SkipSummary::of(&skipped);
    let mut imported = Imported { unlabelled, without_image, skipped, cut_off, ..Imported::default() };
    each_record(source, options, |record| {
        let group = record.group.as_ref().map(|group| format!("{session}/{group}"));
        let image = NewImage::new(&record.bytes, &session).with_group(group.as_deref()).with_at(record.at);
        let added = collection.add(&[image], &Label::new(record.class, Origin::Import))?;
        imported.images += 1;
        imported.stored += added.stored.len();
        imported.known += added.known.len();
        imported.relabelled += added.relabelled.len();
        progress(imported.images, total);
        Ok::<(), Error>(())
    })?;
    Ok(imported)
}

/// Refuses a record whose class or image can't be used.
fn check(source: &Path, record: &LabelledImage) -> Result<(), Error> {
    let invalid =
        |problem: String| DatasetError::Record { path: source.to_owned(), record: record.name.clone(), problem };
    Label::new(record.class.clone(), Origin::Import).check().map_err(|error| invalid(error.to_string()))?;
    Frame::Encoded(&record.bytes).to_rgb().map_err(|error| invalid(error.to_string()))?;
    Ok(())
}
