//! Output: text for people or JSON lines on standard output, diagnostics on standard error; text from files is escaped.

use crate::args::OutputArgs;
use crate::error::CliError;
use comfy_table::{Attribute, Cell, CellAlignment, presets};
use serde::Serialize;
use std::fmt::{self, Display, Write as _};
use std::io::{self, ErrorKind, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

pub use fieldfit::escape;

/// Standard output of the command, as text or as JSON lines.
///
/// A reader that closes its end of a pipe ends no work: what is written afterwards is discarded.
#[derive(Debug)]
pub struct Output {
    json: bool,
    quiet: bool,
    is_closed: AtomicBool,
}

impl Output {
    /// Creates the output that the arguments ask for.
    pub const fn new(args: &OutputArgs) -> Self {
        Self { json: args.json, quiet: args.quiet, is_closed: AtomicBool::new(false) }
    }

    /// Creates an output of JSON lines.
    pub const fn json() -> Self {
        Self { json: true, quiet: false, is_closed: AtomicBool::new(false) }
    }

    /// Whether results are JSON lines.
    pub const fn is_json(&self) -> bool {
        self.json
    }

    /// Whether progress, notes and warnings are left out.
    pub const fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether nobody reads standard output any more.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// Writes a result: one line of JSON, or its text.
    ///
    /// # Errors
    /// [`CliError::Output`] if standard output cannot be written.
    pub fn show<T: Serialize, U: Into<Text>>(&self, value: &T, text: impl FnOnce(&T) -> U) -> Result<(), CliError> {
        if self.json { self.object(value) } else { self.text(text(value)) }
    }

    /// Writes one line of JSON.
    ///
    /// # Errors
    /// [`CliError::Output`] if standard output cannot be written.
    pub fn object(&self, value: &impl Serialize) -> Result<(), CliError> {
        let line = serde_json::to_string(value).map_err(io::Error::from)?;
        self.write(&escape_json(&line))
    }

    /// Writes text.
    ///
    /// # Errors
    /// [`CliError::Output`] if standard output cannot be written.
    pub fn text(&self, text: impl Into<Text>) -> Result<(), CliError> {
        self.write(&text.into().0)
    }

    fn write(&self, text: &str) -> Result<(), CliError> {
        if self.is_closed() {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        match writeln!(out, "{text}").and_then(|()| out.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.is_closed.store(true, Ordering::Relaxed);
                Ok(())
            }
            written => Ok(written?),
        }
    }
}

/// Writes a line to standard error. A standard error that cannot be written ends no work.
pub fn print_error_line(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Text for people, each line escaped when it is added.
#[derive(Debug, Default)]
pub struct Text(String);

impl Text {
    /// Returns a text of the command's own as it is, lines and tabs included.
    pub fn verbatim(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Adds a line.
    pub fn line(&mut self, line: impl Display) {
        self.start_line();
        let line = line.to_string();
        // Writing to a string can't fail.
        let _ = write!(self.0, "{}", escape(&line));
    }

    /// The lines, escaped.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.lines()
    }

    /// Adds a table, whose cells are escaped already.
    pub fn table(&mut self, table: &Table) {
        self.start_line();
        let _ = write!(self.0, "{table}");
    }

    /// Adds a line for each name and value, but for empty values.
    pub fn fields(&mut self, fields: &[(&str, String)]) {
        let filled = fields.iter().filter(|(_, value)| !value.is_empty());
        filled.for_each(|(name, value)| self.line(format_args!("{name:<13} {value}")));
    }

    fn start_line(&mut self) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
    }
}

/// One line.
impl<T: Display> From<T> for Text {
    fn from(line: T) -> Self {
        let mut text = Self::default();
        text.line(line);
        text
    }
}

/// Table of text, each cell escaped when it is added.
#[derive(Debug)]
pub struct Table(comfy_table::Table);

impl Table {
    /// Creates a table with a header; columns from `numbers` on are aligned to the right.
    pub fn new<T: AsRef<str>>(header: &[T], numbers: usize) -> Self {
        let mut table = comfy_table::Table::new();
        let header = header.iter().map(|name| cell(name.as_ref()));
        table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(header);
        for column in table.column_iter_mut().skip(numbers) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        Self(table)
    }

    /// Adds a row.
    pub fn row<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.0.add_row(cells.into_iter().map(|text| cell(text.as_ref())));
    }

    /// Adds a row of cells, some of them in bold.
    pub fn emphasised_row<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = (T, bool)>) {
        self.0.add_row(cells.into_iter().map(|(text, is_bold)| {
            let cell = cell(text.as_ref());
            if is_bold { cell.add_attribute(Attribute::Bold) } else { cell }
        }));
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn cell(text: &str) -> Cell {
    Cell::new(escape(text))
}

/// Escapes what JSON leaves as it is and a terminal or an editor would interpret: C1 and bidirectional controls.
fn escape_json(line: &str) -> String {
    let mut escaped = String::with_capacity(line.len());
    for letter in line.chars() {
        let text = letter.to_string();
        if escape(&text).to_string() == text {
            escaped.push(letter);
        } else {
            let units =
                letter.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
            escaped.push_str(&units);
        }
    }
    escaped
}

/// Formats a share of 1 in percent, with one decimal.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// Formats a number of bytes in powers of 1000.
pub fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        _ => format!("{:.2} MB", count as f64 / 1e6),
    }
}

/// Formats a signature: its sequence number and public key.
pub fn signature(sequence: u64, key: &str) -> String {
    format!("number {sequence} of the key {key}")
}

/// Formats an amount of memory in powers of 1024.
pub fn mebibytes(count: u64) -> String {
    format!("{:.1} MiB", count as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a label that starts a line, moves the cursor or reorders what follows, in text, tables or JSON.
    #[test]
    fn foreign_text_cannot_forge_output() {
        let label = "cat\nsigned        number 1 of the key ab\u{1b}[2K\u{202e}\u{9b}1A";
        let mut text = Text::from(label);
        text.fields(&[("classes", label.to_owned())]);
        let mut table = Table::new(&["class"], 1);
        table.row([label]);
        text.table(&table);
        let allowed = |letter: char| letter == '\n' || escape(&letter.to_string()).to_string() == letter.to_string();
        assert!(text.0.chars().all(allowed), "{:?}", text.0);
        assert!(text.0.lines().all(|line| !line.starts_with("signed")), "{}", text.0);

        let json = escape_json(&serde_json::to_string(label).unwrap());
        assert!(json.chars().all(|letter| allowed(letter) && letter != '\n'), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), label);
    }
}
