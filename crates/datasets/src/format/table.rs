//! Tables: CSV with a header, and JSON lines; a row has an image's file and its class.

use super::{base, read_table};
use crate::error::DatasetError;
use crate::record::{FileRecord, SourceOptions};
use fieldfit_data::json_object;
use serde_json::{Map, Value};
use std::path::Path;

/// Names under which the columns are looked for.
const IMAGE: [&str; 5] = ["file_name", "image", "path", "filename", "file"];
const LABEL: [&str; 4] = ["label", "class", "category", "labels"];

/// Columns of a table.
struct Columns<'a> {
    image: &'a str,
    label: &'a str,
    group: Option<&'a str>,
}

impl<'a> Columns<'a> {
    fn find(path: &Path, names: &[&'a str], options: &'a SourceOptions) -> Result<Self, DatasetError> {
        let column = |what: &str, flag: &str, named: &'a Option<String>, usual: &[&'a str]| {
            let found = match named {
                Some(name) => names.contains(&name.as_str()).then_some(name.as_str()),
                None => usual.iter().copied().find(|name| names.contains(name)),
            };
            let problem = match found {
                Some(found) if names.iter().filter(|name| **name == found).count() > 1 => {
                    format!("two columns are called `{found}`: leave one, or give them different names")
                }
                Some(found) => return Ok(found),
                None => format!(
                    "no column of the {what}: expected {}, found {}; name it with {flag}",
                    named.clone().unwrap_or_else(|| usual.join(", ")),
                    names.join(", ")
                ),
            };
            Err(DatasetError::Invalid { path: path.to_owned(), problem })
        };
        Ok(Self {
            image: column("image", "--image-column", &options.image_column, &IMAGE)?,
            label: column("class", "--label-column", &options.label_column, &LABEL)?,
            group: match &options.group_column {
                None => None,
                named => Some(column("group", "--group-column", named, &[])?),
            },
        })
    }

    /// The record of a row; `cell` gives the text of a column.
    fn record(
        &self,
        path: &Path,
        line: u64,
        cell: impl Fn(&str) -> Option<String>,
    ) -> Result<FileRecord, DatasetError> {
        let filled = |column: &str| {
            cell(column).filter(|text| !text.is_empty()).ok_or_else(|| DatasetError::Record {
                path: path.to_owned(),
                record: format!("line {line}"),
                problem: format!("`{column}` is empty or no text"),
            })
        };
        let image = filled(self.image)?;
        Ok(FileRecord {
            name: format!("line {line} ({image})"),
            path: base(path).join(image),
            class: filled(self.label)?,
            group: self.group.map(filled).transpose()?,
            area: None,
        })
    }
}

pub(super) fn csv(path: &Path, options: &SourceOptions) -> Result<Vec<FileRecord>, DatasetError> {
    let bytes = read_table(path)?;
    let invalid = |error: csv::Error| match error.position().map(csv::Position::line) {
        Some(line) => DatasetError::Record {
            path: path.to_owned(),
            record: format!("line {line}"),
            problem: format!("it is no row of the table ({error})"),
        },
        None => DatasetError::Invalid { path: path.to_owned(), problem: error.to_string() },
    };
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(bytes.as_slice());
    let header = reader.headers().map_err(invalid)?.clone();
    let names: Vec<&str> = header.iter().collect();
    let columns = Columns::find(path, &names, options)?;
    let position = |column: &str| names.iter().position(|name| *name == column);
    let rows = reader.records().map(|row| {
        let row = row.map_err(invalid)?;
        let line = row.position().map_or(0, csv::Position::line);
        columns.record(path, line, |column| row.get(position(column)?).map(str::to_owned))
    });
    rows.collect()
}

pub(super) fn json_lines(path: &Path, options: &SourceOptions) -> Result<Vec<FileRecord>, DatasetError> {
    let bytes = read_table(path)?;
    let lines = bytes.split(|byte| *byte == b'\n').zip(1_u64..).filter(|(line, _)| !line.trim_ascii().is_empty());
    let rows = lines.map(|(line, number)| {
        let row: Map<String, Value> = json_object(line).map_err(|error| DatasetError::Record {
            path: path.to_owned(),
            record: format!("line {number}"),
            problem: format!("it is no JSON object ({error})"),
        })?;
        let names: Vec<&str> = row.keys().map(String::as_str).collect();
        let columns = Columns::find(path, &names, options)?;
        columns.record(path, number, |column| text(row.get(column)?))
    });
    rows.collect()
}

/// The text of a value: a string or a number.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}
