//! Formats: which one a path is of, and its records.

mod coco;
mod cvat;
mod folder;
mod label_studio;
mod recording;
mod table;
mod time_range;
mod web_dataset;

use crate::error::DatasetError;
use crate::record::{FileRecords, LabelledImage, ReadSummary, SourceOptions};
use fieldfit_durable::read_text;
use fieldfit_recording::{BAG_CONVERTER, is_bag};
use serde_json::Value;
use std::path::Path;

/// Maximum bytes of a table or an annotation file.
const MAX_TABLE_BYTES: u64 = 1 << 30;

/// Format of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DatasetFormat {
    /// Folders of classes.
    ImageFolder,
    /// A folder with `metadata.csv` or `metadata.jsonl`.
    HuggingFace,
    /// Folders with `_classes.csv`.
    Roboflow,
    /// Comma-separated values with a header.
    Csv,
    /// JSON objects, one a line.
    JsonLines,
    /// COCO annotations.
    Coco,
    /// Annotations of CVAT for images.
    Cvat,
    /// Tasks of Label Studio.
    LabelStudio,
    /// A WebDataset archive.
    WebDataset,
    /// An MCAP file, or a rosbag2 folder.
    Recording,
}

impl DatasetFormat {
    /// Recognises the format of a path.
    ///
    /// # Errors
    /// [`DatasetError::Unknown`], [`DatasetError::Convert`] for formats that other tools convert, or if the path can't be read.
    pub fn detect(path: &Path) -> Result<Self, DatasetError> {
        let has = |name: &str| path.join(name).is_file();
        let metadata = std::fs::metadata(path).map_err(|source| DatasetError::Io { path: path.to_owned(), source })?;
        if metadata.is_dir() {
            return Ok(if has("metadata.csv") || has("metadata.jsonl") {
                Self::HuggingFace
            } else if is_bag(path) {
                Self::Recording
            } else if !folder::roboflow_tables(path)?.is_empty() {
                Self::Roboflow
            } else {
                Self::ImageFolder
            });
        }
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        let convert = |format, converter| Err(DatasetError::Convert { path: path.to_owned(), format, converter });
        match extension.as_deref().unwrap_or_default() {
            "csv" => Ok(Self::Csv),
            "jsonl" => Ok(Self::JsonLines),
            "tar" => Ok(Self::WebDataset),
            "mcap" => Ok(Self::Recording),
            "json" => Ok(if json(path)?.is_array() { Self::LabelStudio } else { Self::Coco }),
            "db3" => convert("an SQLite bag of ROS 2", BAG_CONVERTER),
            "bag" => convert("a bag of ROS 1", "rosbags-convert --src IN.bag --dst OUT --dst-storage mcap"),
            "parquet" => convert("Parquet", "python -c \"import pandas; pandas.read_parquet('IN').to_csv('OUT.csv')\""),
            "xml" => Ok(Self::Cvat),
            "zst" | "zstd" => convert("a compressed file", "zstd -d"),
            "gz" | "tgz" | "zip" => convert("an archive", "tar xf or unzip, and give the folder"),
            _ => Err(DatasetError::Unknown { path: path.to_owned() }),
        }
    }
}

/// Reads the labelled images of a data set, of the format that its path shows, and hands each to `visit`, one at a time. Returns what was
/// left out.
///
/// # Errors
/// If the format is unknown, or a table, an annotation, an archive or an image can't be read: the error names the file and the
/// record. An error of `visit` ends the reading.
pub fn each_record<E: From<DatasetError>>(
    path: &Path,
    options: &SourceOptions,
    mut visit: impl FnMut(LabelledImage) -> Result<(), E>,
) -> Result<ReadSummary, E> {
    let files = match DatasetFormat::detect(path)? {
        DatasetFormat::Recording => return recording::each_record(path, &options.recording, &mut visit),
        DatasetFormat::WebDataset => return web_dataset::each_record(path, options, &mut visit),
        DatasetFormat::ImageFolder => folder::image_folder(path)?,
        DatasetFormat::HuggingFace => {
            let table = path.join("metadata.csv");
            let table = if table.is_file() { table } else { path.join("metadata.jsonl") };
            return each_record(&table, options, visit);
        }
        DatasetFormat::Roboflow => folder::roboflow(path)?.into(),
        DatasetFormat::Csv => table::csv(path, options)?.into(),
        DatasetFormat::JsonLines => table::json_lines(path, options)?.into(),
        DatasetFormat::Coco => coco::records(path, options)?,
        DatasetFormat::Cvat => cvat::records(path, options)?,
        DatasetFormat::LabelStudio => label_studio::records(path, options)?,
    };
    let FileRecords { records, summary } = files;
    records.into_iter().try_for_each(|file| visit(file.read(path)?))?;
    Ok(summary)
}

/// Reads the text of a table or an annotation file.
fn read_table(path: &Path) -> Result<Vec<u8>, DatasetError> {
    Ok(read_text(path, MAX_TABLE_BYTES)?)
}

/// Reads a JSON file.
fn json(path: &Path) -> Result<Value, DatasetError> {
    let bytes = read_table(path)?;
    serde_json::from_slice(&bytes)
        .map_err(|error| DatasetError::Invalid { path: path.to_owned(), problem: format!("it is no JSON ({error})") })
}

/// Reads a JSON file of known fields.
fn typed_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, DatasetError> {
    let bytes = read_table(path)?;
    serde_json::from_slice(&bytes).map_err(|error| DatasetError::Invalid {
        path: path.to_owned(),
        problem: format!("it is not what this format holds ({error})"),
    })
}

/// Folder that a file's relative paths start from.
fn base(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}
