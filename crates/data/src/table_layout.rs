//! Layout of a data set with a table: a file in its folder names each image with its numbers or its labels.

use crate::error::{DataError, FolderError};
use crate::json_object::json_object;
use crate::labelling::Labelling;
use crate::layout::{FileLabel, ImageFile, Layout, Purpose, Subset, images_below, label_problem};
use crate::listing::Listing;
use crate::skipped::{SkipKind, Skipped};
use crate::target::Target;
use fieldfit_durable::read_text;
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
const TABLES: [(&str, Syntax, Content); 4] = [
    ("targets.csv", Syntax::Csv, Content::Values),
    ("targets.jsonl", Syntax::JsonLines, Content::Values),
    ("labels.csv", Syntax::Csv, Content::Labels),
    ("labels.jsonl", Syntax::JsonLines, Content::Labels),
];

/// Syntax of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Syntax {
    /// Comma-separated cells under a line of names.
    Csv,
    /// A JSON object a line.
    JsonLines,
}

/// Content of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// Numbers by their names.
    Values,
    /// Labels: ones and zeros by their names, or a list.
    Labels,
}

/// Rows of a table. Targets are in the order of the names.
struct Table {
    names: Vec<String>,
    rows: Vec<Row>,
    labelling: Labelling,
}

/// Row of a table.
struct Row {
    line: u64,
    path: String,
    group: Option<String>,
    subset: Option<String>,
    target: Target,
}

/// Lists the images of a folder's table; `None` if it has none.
pub(crate) fn find(root: &Path, purpose: Purpose) -> Result<Option<Layout>, DataError> {
    let paths = TABLES.into_iter().map(|(name, syntax, content)| (root.join(name), syntax, content));
    let mut found = paths.filter(|(path, ..)| path.is_file());
    let Some((path, syntax, content)) = found.next() else { return Ok(None) };
    if let Some((second, ..)) = found.next() {
        return Err(FolderError::TwoTables { first: path, second }.into());
    }
    let bytes = read_text(&path, MAX_TABLE_BYTES)
        .map_err(|error| DataError::Read { path: path.clone(), source: std::io::Error::other(error) })?;
    let table = match (syntax, content) {
        (Syntax::Csv, _) => match csv(&path, &bytes, content)? {
            Some(table) => table,
            // A table of something else, beside folders that are classes. One folder is that of the images.
            None if Listing::read(root)?.folders.len() > 1 => return Ok(None),
            None => return Err(invalid(&path, None, format!("expected a column `{PATH}` in its first line"))),
        },
        (Syntax::JsonLines, Content::Values) => value_lines(&path, &bytes)?,
        (Syntax::JsonLines, Content::Labels) => label_lines(&path, &bytes)?,
    };
    Ok(Some(layout(root, &path, table, purpose)?))
}

/// The images of a table that the purpose reads.
fn layout(root: &Path, path: &Path, table: Table, purpose: Purpose) -> Result<Layout, DataError> {
    let Table { names, rows, labelling } = table;
    if let Some((name, problem)) = names.iter().find_map(|name| Some((name, label_problem(name)?))) {
        return Err(invalid(path, None, format!("the column {name:?} becomes a label, and is {problem}: rename it")));
    }
    if names.is_empty() {
        let problem = "it has no column beside `path`, `group` and `subset`: add the targets";
        return Err(invalid(path, None, problem.into()));
    }
    let has_subsets = rows.iter().any(|row| row.subset.is_some());
    let (mut files, mut seen) = (Vec::new(), BTreeMap::new());
    for Row { line, path: image, group, subset, target } in rows {
        let failed = |problem: String| invalid(path, Some(line), problem);
        if has_subsets && subset.is_none() {
            return Err(failed("it has no subset, which other rows have: write `train`, `val` or `test`".into()));
        }
        let subset = subset.map(|name| {
            let problem = || failed(format!("subset {name:?}: expected `train`, `val` or `test`"));
            Subset::named(&name).ok_or_else(problem)
        });
        let file = root.join(&image);
        if let Some(first) = seen.insert(file.clone(), line) {
            return Err(failed(format!("{image:?} is on line {first} already: keep one of them")));
        }
        files.push(ImageFile { group, ..ImageFile::new(file, FileLabel::Row(target), subset.transpose()?) });
    }
    let skipped = without_row(root, &files);
    let files = wanted(root, path, files, purpose)?;
    Ok(Layout { classes: names, files, skipped, labelling })
}

/// The files that the purpose reads, sorted by subset and path.
fn wanted(root: &Path, table: &Path, files: Vec<ImageFile>, purpose: Purpose) -> Result<Vec<ImageFile>, DataError> {
    if files.is_empty() {
        return Err(invalid(table, None, "it has no row: add a row for each image".into()));
    }
    let needed = match purpose {
        Purpose::Adapt | Purpose::Continue => Subset::Train,
        Purpose::Evaluate | Purpose::Unlabelled => Subset::Test,
    };
    if !files.iter().any(|file| file.subset.is_none_or(|subset| subset == needed)) {
        return Err(FolderError::MissingSubset { path: root.into(), subset: needed }.into());
    }
    let is_read = |file: &ImageFile| match (purpose, file.subset) {
        (_, None) => true,
        (Purpose::Adapt | Purpose::Continue, Some(subset)) => subset != Subset::Test,
        (Purpose::Evaluate | Purpose::Unlabelled, Some(subset)) => subset == Subset::Test,
    };
    let mut files: Vec<ImageFile> = files.into_iter().filter(is_read).collect();
    files.sort_by(|one, other| (one.subset, &one.path).cmp(&(other.subset, &other.path)));
    Ok(files)
}

/// The images in the folder that no row names, whatever their format.
fn without_row(root: &Path, files: &[ImageFile]) -> Vec<Skipped> {
    let named: BTreeSet<&PathBuf> = files.iter().map(|file| &file.path).collect();
    let Ok((images, skipped)) = images_below(root) else { return Vec::new() };
    let no_row = |path: PathBuf| Skipped::new(path, SkipKind::NoRow, "no row of the table names it");
    let unnamed = skipped.into_iter().filter(|skipped| !named.contains(&skipped.path));
    let skipped = unnamed.map(|skipped| match skipped.kind == SkipKind::UnsupportedFormat {
        true => no_row(skipped.path),
        false => skipped,
    });
    skipped.chain(images.iter().filter(|path| !named.contains(path)).cloned().map(no_row)).collect()
}

/// Reads comma-separated values; `None` if no column is called `path`.
fn csv(path: &Path, bytes: &[u8], content: Content) -> Result<Option<Table>, DataError> {
    let failed = |error: csv::Error| {
        let line = error.position().map(csv::Position::line);
        invalid(path, line, format!("it is no row of the table ({error})"))
    };
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(bytes);
    let header = reader.headers().map_err(failed)?.clone();
    let position = |name: &str| header.iter().position(|found| found == name);
    let Some(image) = position(PATH) else { return Ok(None) };
    let mut columns = header.iter().enumerate();
    if let Some((_, name)) = columns.find(|(index, name)| position(name) != Some(*index)) {
        return Err(invalid(path, None, format!("two columns are called {name:?}: rename one")));
    }
    let is_target = |name: &str| ![PATH, GROUP, SUBSET].contains(&name);
    let rows = reader.records().map(|record| {
        let record = record.map_err(failed)?;
        let line = record.position().map_or(0, csv::Position::line);
        let optional = |name| position(name).and_then(|index| record.get(index)).filter(|text| !text.is_empty());
        let cells = header.iter().zip(&record).filter(|(name, _)| is_target(name));
        Ok(Row {
            line,
            path: record.get(image).unwrap_or_default().to_owned(),
            group: optional(GROUP).map(str::to_owned),
            subset: optional(SUBSET).map(str::to_owned),
            target: match content {
                Content::Values => values(path, line, cells)?,
                Content::Labels => labels(path, line, cells)?,
            },
        })
    });
    let rows = rows.collect::<Result<_, DataError>>()?;
    let names = header.iter().filter(|name| is_target(name)).map(str::to_owned).collect();
    let labelling = match content {
        Content::Values => Labelling::Values,
        Content::Labels => Labelling::Labels { is_open: false },
    };
    Ok(Some(Table { names, rows, labelling }))
}

/// The values of a row's cells, by their names.
fn values<'a>(path: &Path, line: u64, cells: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Target, DataError> {
    let values = cells.map(|(name, text)| match text.trim().parse::<f32>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) | Err(_) => Err(cell(path, line, (name, text), "a finite number")),
    });
    Ok(Target::Values(values.collect::<Result<_, _>>()?))
}

/// The labels of a row's cells, by their names.
fn labels<'a>(path: &Path, line: u64, cells: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Target, DataError> {
    let mut labels = Vec::new();
    for (label, (name, text)) in (0..).zip(cells) {
        match text.trim() {
            "1" | "true" => labels.push(label),
            "0" | "false" => {}
            _ => return Err(cell(path, line, (name, text), "1 or 0")),
        }
    }
    Ok(Target::Labels(labels))
}

fn cell(path: &Path, line: u64, (name, text): (&str, &str), expected: &str) -> DataError {
    invalid(path, Some(line), format!("column {name:?}: expected {expected}, found {text:?}"))
}

/// Reads lines of JSON with numbers by their names, which are the same on each line.
fn value_lines(path: &Path, bytes: &[u8]) -> Result<Table, DataError> {
    let (mut names, mut rows): (Vec<String>, Vec<Row>) = (Vec::new(), Vec::new());
    for line in json_lines(path, bytes) {
        let JsonLine { line, path: image, group, subset, rest } = line?;
        let failed = |problem: String| invalid(path, Some(line), problem);
        // Sorted: an object of JSON has no order.
        let found: BTreeMap<String, Value> = rest.into_iter().collect();
        if rows.is_empty() {
            names = found.keys().cloned().collect();
        }
        if let Some(missing) = names.iter().find(|name| !found.contains_key(*name)) {
            return Err(failed(format!("it has no {missing:?}, which other lines have")));
        }
        if let Some(more) = found.keys().find(|name| !names.contains(name)) {
            return Err(failed(format!("it has {more:?}, which other lines do not have")));
        }
        let value = |(name, value): (&String, &Value)| match value.as_f64().map(|value| value as f32) {
            Some(value) if value.is_finite() => Ok(value),
            Some(_) | None => Err(failed(format!("{name:?}: expected a finite number, found {value}"))),
        };
        let target = Target::Values(found.iter().map(value).collect::<Result<_, _>>()?);
        rows.push(Row { line, path: image, group, subset, target });
    }
    Ok(Table { names, rows, labelling: Labelling::Values })
}

/// Reads lines of JSON with a list of labels each.
fn label_lines(path: &Path, bytes: &[u8]) -> Result<Table, DataError> {
    let mut lists = Vec::new();
    for line in json_lines(path, bytes) {
        let mut line = line?;
        let failed = |problem: String| invalid(path, Some(line.line), problem);
        let Some(Value::Array(labels)) = line.rest.remove(LABELS) else {
            return Err(failed(format!("expected a list `{LABELS}` of texts")));
        };
        if let Some(more) = line.rest.keys().next() {
            return Err(failed(format!("found {more:?}: labels are listed in `{LABELS}`")));
        }
        let text = |label: Value| match label {
            Value::String(text) => Ok(text),
            other => Err(failed(format!("`{LABELS}` lists {other}, which is no text"))),
        };
        let labels: BTreeSet<String> = labels.into_iter().map(text).collect::<Result<_, _>>()?;
        lists.push((line, labels));
    }
    let names: BTreeSet<String> = lists.iter().flat_map(|(_, labels)| labels).cloned().collect();
    let positions: BTreeMap<&String, u32> = names.iter().zip(0..).collect();
    let row = |(line, labels): (JsonLine, BTreeSet<String>)| {
        let JsonLine { line, path, group, subset, rest: _ } = line;
        Row { line, path, group, subset, target: Target::Labels(labels.iter().map(|label| positions[label]).collect()) }
    };
    let rows = lists.into_iter().map(row).collect();
    Ok(Table { rows, labelling: Labelling::Labels { is_open: true }, names: names.iter().cloned().collect() })
}

/// A line of JSON: what every table has, and the rest.
struct JsonLine {
    line: u64,
    path: String,
    group: Option<String>,
    subset: Option<String>,
    rest: Map<String, Value>,
}

/// The lines of a file, without blank ones.
fn json_lines<'a>(path: &'a Path, bytes: &'a [u8]) -> impl Iterator<Item = Result<JsonLine, DataError>> + 'a {
    let lines = bytes.split(|byte| *byte == b'\n').zip(1_u64..).filter(|(line, _)| !line.trim_ascii().is_empty());
    lines.map(move |(bytes, line)| {
        let failed = |problem: String| invalid(path, Some(line), problem);
        let mut rest = json_object(bytes).map_err(|error| failed(format!("it is no JSON object ({error})")))?;
        let mut take = |name: &str| match rest.remove(name) {
            Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
            None | Some(Value::Null) => Ok(None),
            Some(other) => Err(failed(format!("{name:?}: expected a text, found {other}"))),
        };
        let image = take(PATH)?.ok_or_else(|| failed(format!("expected a text `{PATH}`")))?;
        let (group, subset) = (take(GROUP)?, take(SUBSET)?);
        Ok(JsonLine { line, path: image, group, subset, rest })
    })
}

fn invalid(path: &Path, line: Option<u64>, problem: String) -> DataError {
    FolderError::Table { path: path.into(), line, problem }.into()
}
