//! Layout of a data set with a table: a file in its folder names each image with its numbers or its labels.

use crate::error::{DataError, FolderError};
use crate::labelling::Labelling;
use crate::layout::{FileLabel, ImageFile, Layout, Purpose, Subset, images_below, label_problem};
use crate::skipped::{SkipKind, Skipped};
use crate::target::Target;
use fieldfit_durable::read_bounded;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The most bytes of a table.
const MAX_TABLE_BYTES: u64 = 64 << 20;
/// Column of the image's path, relative to the table's folder.
const PATH: &str = "path";
/// Column of the name of the image's group, if there is one.
const GROUP: &str = "group";
/// Column of the image's subset, if there is one: `train`, `val` or `test`.
const SUBSET: &str = "subset";
/// Field of a line of JSON that lists the image's labels.
const LABELS: &str = "labels";

/// Tables by their file names.
const TABLES: [(&str, Syntax, Labelling); 4] = [
    ("targets.csv", Syntax::Csv, Labelling::Values),
    ("targets.jsonl", Syntax::JsonLines, Labelling::Values),
    ("labels.csv", Syntax::Csv, Labelling::Labels),
    ("labels.jsonl", Syntax::JsonLines, Labelling::Labels),
];

/// Syntax of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Syntax {
    /// Comma-separated values under a line of names.
    Csv,
    /// A JSON object a line.
    JsonLines,
}

/// Rows of a table, whose cells are those of `names`.
struct Table {
    names: Vec<String>,
    rows: Vec<Row>,
}

/// Row of a table.
struct Row {
    line: u64,
    path: String,
    group: Option<String>,
    subset: Option<String>,
    cells: Vec<String>,
}

/// Lists the images of a folder's table; `None` if it has none.
pub(crate) fn find(root: &Path, purpose: Purpose) -> Result<Option<Layout>, DataError> {
    let mut found = TABLES.into_iter().map(|(name, ..)| root.join(name)).zip(TABLES).filter(|(path, _)| path.is_file());
    let Some((path, (_, syntax, labelling))) = found.next() else { return Ok(None) };
    if let Some((second, _)) = found.next() {
        return Err(FolderError::TwoTables { first: path, second }.into());
    }
    let bytes = read_bounded(&path, MAX_TABLE_BYTES)
        .map_err(|error| DataError::Read { path: path.clone(), source: std::io::Error::other(error) })?;
    let table = match syntax {
        Syntax::Csv => csv(&path, &bytes)?,
        Syntax::JsonLines => json_lines(&path, &bytes)?,
    };
    Ok(Some(layout(root, &path, table, labelling, purpose)?))
}

/// The images of a table that the purpose reads.
fn layout(
    root: &Path,
    table: &Path,
    Table { names, rows }: Table,
    labelling: Labelling,
    purpose: Purpose,
) -> Result<Layout, DataError> {
    if let Some((name, problem)) = names.iter().find_map(|name| Some((name, label_problem(name)?))) {
        return Err(invalid(table, None, format!("the column {name:?} becomes a label, and is {problem}: rename it")));
    }
    if names.is_empty() {
        return Err(invalid(
            table,
            None,
            "it has no column beside `path`, `group` and `subset`: add the targets".into(),
        ));
    }
    let (mut files, mut seen) = (Vec::new(), BTreeMap::new());
    for row in rows {
        let label = FileLabel::Row(target(table, &names, &row, &labelling)?);
        let Row { line, path, group, subset, cells: _ } = row;
        let image = root.join(&path);
        if let Some(first) = seen.insert(image.clone(), line) {
            let problem = format!("{path:?} is on line {first} already: keep one of them");
            return Err(invalid(table, Some(line), problem));
        }
        let subset = subset.map(|name| {
            let expected = "expected `train`, `val` or `test`";
            Subset::named(&name).ok_or_else(|| invalid(table, Some(line), format!("subset {name:?}: {expected}")))
        });
        files.push(ImageFile { group, ..ImageFile::new(image, label, subset.transpose()?) });
    }
    let skipped = without_row(root, &files);
    let files = wanted(root, table, files, purpose)?;
    Ok(Layout { classes: names, files, skipped, labelling })
}

/// What a row labels its image with.
fn target(table: &Path, names: &[String], row: &Row, labelling: &Labelling) -> Result<Target, DataError> {
    let cell = |name: &str, text: &str, expected: &str| {
        invalid(table, Some(row.line), format!("column {name:?}: expected {expected}, found {text:?}"))
    };
    let cells = names.iter().zip(&row.cells);
    if *labelling == Labelling::Labels {
        let has = cells.map(|(name, text)| match text.trim() {
            "1" | "true" => Ok(true),
            "0" | "false" => Ok(false),
            _ => Err(cell(name, text, "1 or 0")),
        });
        let has = has.collect::<Result<Vec<bool>, _>>()?;
        let labels = has.into_iter().zip(0..).filter_map(|(has, label)| has.then_some(label));
        return Ok(Target::Labels(labels.collect()));
    }
    let values = cells.map(|(name, text)| match text.trim().parse::<f32>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) | Err(_) => Err(cell(name, text, "a finite number")),
    });
    Ok(Target::Values(values.collect::<Result<_, _>>()?))
}

/// The files that the purpose reads, sorted by subset and path.
fn wanted(root: &Path, table: &Path, files: Vec<ImageFile>, purpose: Purpose) -> Result<Vec<ImageFile>, DataError> {
    if files.is_empty() {
        return Err(invalid(table, None, "it has no row: add a row for each image".into()));
    }
    let needed = match purpose {
        Purpose::Adapt => Subset::Train,
        Purpose::Evaluate | Purpose::Unlabelled => Subset::Test,
    };
    if !files.iter().any(|file| file.subset.is_none_or(|subset| subset == needed)) {
        return Err(FolderError::MissingSubset { path: root.into(), subset: needed }.into());
    }
    let is_read = |file: &ImageFile| match (purpose, file.subset) {
        (_, None) => true,
        (Purpose::Adapt, Some(subset)) => subset != Subset::Test,
        (Purpose::Evaluate | Purpose::Unlabelled, Some(subset)) => subset == Subset::Test,
    };
    let mut files: Vec<ImageFile> = files.into_iter().filter(is_read).collect();
    files.sort_by(|one, other| (one.subset, &one.path).cmp(&(other.subset, &other.path)));
    Ok(files)
}

/// The images in the folder that no row names.
fn without_row(root: &Path, files: &[ImageFile]) -> Vec<Skipped> {
    let named: BTreeSet<&PathBuf> = files.iter().map(|file| &file.path).collect();
    let Ok((images, mut skipped)) = images_below(root) else { return Vec::new() };
    let unnamed = images.into_iter().filter(|path| !named.contains(path));
    skipped.extend(unnamed.map(|path| Skipped::new(path, SkipKind::NoRow, "no row of the table names it")));
    skipped
}

fn csv(path: &Path, bytes: &[u8]) -> Result<Table, DataError> {
    let failed = |error: csv::Error| {
        let line = error.position().map(csv::Position::line);
        invalid(path, line, format!("it is no row of the table ({error})"))
    };
    // Spreadsheets write a byte order mark.
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(text);
    let header = reader.headers().map_err(failed)?.clone();
    let position = |name: &str| header.iter().position(|found| found == name);
    let Some(image) = position(PATH) else {
        let found: Vec<&str> = header.iter().collect();
        return Err(invalid(path, None, format!("expected a column `{PATH}`, found {found:?}")));
    };
    if let Some(name) =
        header.iter().enumerate().find_map(|(index, name)| (position(name) != Some(index)).then_some(name))
    {
        return Err(invalid(path, None, format!("two columns are called {name:?}: rename one")));
    }
    let is_target = |name: &str| ![PATH, GROUP, SUBSET].contains(&name);
    let rows = reader.records().map(|record| {
        let record = record.map_err(failed)?;
        let optional = |name| position(name).and_then(|index| record.get(index)).filter(|text| !text.is_empty());
        Ok(Row {
            line: record.position().map_or(0, csv::Position::line),
            path: record.get(image).unwrap_or_default().to_owned(),
            group: optional(GROUP).map(str::to_owned),
            subset: optional(SUBSET).map(str::to_owned),
            cells: header
                .iter()
                .zip(&record)
                .filter(|(name, _)| is_target(name))
                .map(|(_, cell)| cell.to_owned())
                .collect(),
        })
    });
    let rows = rows.collect::<Result<_, DataError>>()?;
    Ok(Table { names: header.iter().filter(|name| is_target(name)).map(str::to_owned).collect(), rows })
}

/// A line of JSON: what is not a target, and the targets by their names.
struct JsonRow {
    row: Row,
    cells: BTreeMap<String, String>,
    /// Whether it lists its labels, so that it has none of the others.
    is_list: bool,
}

fn json_lines(path: &Path, bytes: &[u8]) -> Result<Table, DataError> {
    let lines = bytes.split(|byte| *byte == b'\n').zip(1_u64..).filter(|(line, _)| !line.trim_ascii().is_empty());
    let rows = lines.map(|(line, number)| json_row(path, line, number)).collect::<Result<Vec<_>, _>>()?;
    let names: BTreeSet<String> = rows.iter().flat_map(|row| row.cells.keys()).cloned().collect();
    let complete = |JsonRow { row, mut cells, is_list }: JsonRow| {
        let cells = names.iter().map(|name| match cells.remove(name) {
            Some(cell) => Ok(cell),
            None if is_list => Ok("0".into()),
            None => Err(invalid(path, Some(row.line), format!("it has no {name:?}, which other lines have"))),
        });
        Ok::<_, DataError>(Row { cells: cells.collect::<Result<_, _>>()?, ..row })
    };
    let rows = rows.into_iter().map(complete).collect::<Result<_, _>>()?;
    Ok(Table { names: names.into_iter().collect(), rows })
}

fn json_row(path: &Path, bytes: &[u8], line: u64) -> Result<JsonRow, DataError> {
    let failed = |problem: String| invalid(path, Some(line), problem);
    let object: Result<Map<String, Value>, _> = serde_json::from_slice(bytes);
    let mut object = object.map_err(|error| failed(format!("it is no JSON object ({error})")))?;
    let mut take = |name: &str| object.remove(name).and_then(text);
    let image = take(PATH).ok_or_else(|| failed(format!("expected a text `{PATH}`")))?;
    let (group, subset) = (take(GROUP), take(SUBSET));
    let (mut cells, mut is_list) = (BTreeMap::new(), false);
    if let Some(Value::Array(labels)) = object.get(LABELS) {
        is_list = true;
        for label in labels.clone() {
            let label = text(label).ok_or_else(|| failed(format!("`{LABELS}` lists what is no text")))?;
            cells.insert(label, "1".to_owned());
        }
        object.remove(LABELS);
    }
    for (name, value) in object {
        let found = value.to_string();
        let cell = text(value).ok_or_else(|| failed(format!("{name:?}: expected a number, found {found}")))?;
        cells.insert(name, cell);
    }
    Ok(JsonRow { row: Row { line, path: image, group, subset, cells: Vec::new() }, cells, is_list })
}

/// A text, a number or a truth value as text.
fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is_true) => Some(is_true.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn invalid(path: &Path, line: Option<u64>, problem: String) -> DataError {
    FolderError::Table { path: path.into(), line, problem }.into()
}
