//! Time ranges: a table `from,to,class` of seconds after the start of a recording.

use super::read_table;
use crate::error::DatasetError;
use crate::frame_label::TimeRange;
use std::path::Path;
use std::time::Duration;

/// Columns of the table.
const COLUMNS: [&str; 3] = ["from", "to", "class"];

/// Reads a table; returns its ranges in the order of time.
pub(super) fn read(path: &Path) -> Result<Vec<TimeRange>, DatasetError> {
    let bytes = read_table(path)?;
    let invalid = |problem: String| DatasetError::Invalid { path: path.to_owned(), problem };
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes.as_slice());
    let header = reader.headers().map_err(|error| invalid(error.to_string()))?.clone();
    let column = |name: &str| header.iter().position(|column| column == name);
    let [Some(from), Some(to), Some(class)] = COLUMNS.map(column) else {
        let found: Vec<&str> = header.iter().collect();
        return Err(invalid(format!("expected the columns {}, found {}", COLUMNS.join(", "), found.join(", "))));
    };
    let mut ranges = Vec::new();
    for row in reader.records() {
        let row = row.map_err(|error| invalid(error.to_string()))?;
        let line = row.position().map_or(0, csv::Position::line);
        let cell = |column: usize| row.get(column).unwrap_or_default();
        let range = range(cell(from), cell(to), cell(class));
        ranges.push((line, range.map_err(|problem| of_line(path, line, problem))?));
    }
    ranges.sort_by_key(|(_, range)| range.from);
    match ranges.windows(2).find(|pair| pair[0].1.to > pair[1].1.from) {
        Some(pair) => Err(of_line(path, pair[1].0, format!("it overlaps the range of line {}", pair[0].0))),
        None => Ok(ranges.into_iter().map(|(_, range)| range).collect()),
    }
}

fn of_line(path: &Path, line: u64, problem: String) -> DatasetError {
    DatasetError::Record { path: path.to_owned(), record: format!("line {line}"), problem }
}

fn range(from: &str, to: &str, class: &str) -> Result<TimeRange, String> {
    let [start, end] = [seconds(from)?, seconds(to)?];
    if start >= end {
        return Err(format!("expected a range that ends after its start, found {from} to {to}"));
    }
    if class.is_empty() {
        return Err("`class` is empty".into());
    }
    Ok(TimeRange { from: start, to: end, class: class.to_owned() })
}

/// Nanoseconds of a number of seconds.
fn seconds(text: &str) -> Result<u64, String> {
    let duration = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let nanoseconds = duration.and_then(|duration| u64::try_from(duration.as_nanos()).ok());
    nanoseconds.ok_or_else(|| format!("expected seconds after the start of the recording, found `{text}`"))
}
