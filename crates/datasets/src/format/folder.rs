//! Folders: of classes, and Roboflow's with a table of classes in each subset.

use super::read_table;
use crate::error::DatasetError;
use crate::record::{FileRecord, FileRecords, ReadSummary};
use fieldfit_data::images_below;
use std::fs;
use std::path::{Path, PathBuf};

/// Table of Roboflow's export: a column of file names, and one of 0 and 1 for each class.
const ROBOFLOW: &str = "_classes.csv";

/// Images at any depth, each of the class that its folder is called.
pub(super) fn image_folder(path: &Path) -> Result<FileRecords, DatasetError> {
    let invalid = |problem: String| DatasetError::Invalid { path: path.to_owned(), problem };
    let (images, skipped) = images_below(path).map_err(|error| invalid(error.to_string()))?;
    let record = |image: PathBuf| {
        let name = image.strip_prefix(path).unwrap_or(&image).to_string_lossy().into_owned();
        let folder = image.parent().filter(|folder| *folder != path).and_then(Path::file_name);
        let Some(class) = folder.and_then(|class| class.to_str()) else {
            let problem = "it lies in no folder of a class, or in one whose name is no text".into();
            return Err(DatasetError::Record { path: path.to_owned(), record: name, problem });
        };
        Ok(FileRecord { name, class: class.to_owned(), path: image, group: None, area: None })
    };
    let records = images.into_iter().map(record).collect::<Result<_, _>>()?;
    Ok(FileRecords { records, summary: ReadSummary { skipped, ..ReadSummary::default() } })
}

/// Roboflow's tables in a folder and the folders in it.
pub(super) fn roboflow_tables(path: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let failed = |source| DatasetError::Io { path: path.to_owned(), source };
    let entries = fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(failed)?;
    let mut folders: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    folders.push(path.to_owned());
    folders.sort();
    Ok(folders.into_iter().map(|folder| folder.join(ROBOFLOW)).filter(|table| table.is_file()).collect())
}

pub(super) fn roboflow(path: &Path) -> Result<Vec<FileRecord>, DatasetError> {
    let mut records = Vec::new();
    for table in roboflow_tables(path)? {
        let invalid = |error: csv::Error| DatasetError::Invalid { path: table.clone(), problem: error.to_string() };
        let text = read_table(&table)?;
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_slice());
        let header = reader.headers().map_err(invalid)?.clone();
        for row in reader.records() {
            let row = row.map_err(invalid)?;
            let line = row.position().map_or(0, csv::Position::line);
            let file = row.get(0).unwrap_or_default();
            let classes: Vec<&str> = header
                .iter()
                .zip(row.iter())
                .skip(1)
                .filter(|(_, value)| *value == "1")
                .map(|(class, _)| class)
                .collect();
            let [class] = classes[..] else {
                let problem =
                    format!("expected one class, found {}: leave the image out, or choose one", classes.len());
                return Err(DatasetError::Record {
                    path: table.clone(),
                    record: format!("line {line} ({file})"),
                    problem,
                });
            };
            records.push(FileRecord {
                name: format!("line {line} ({file})"),
                path: table.with_file_name(file),
                class: class.to_owned(),
                group: original(file),
                area: None,
            });
        }
    }
    Ok(records)
}

/// The image that Roboflow's augmentations were made from: `NAME.rf.HASH.jpg` is one of `NAME`.
fn original(file: &str) -> Option<String> {
    file.split_once(".rf.").map(|(name, _)| name.to_owned())
}
