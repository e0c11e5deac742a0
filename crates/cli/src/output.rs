//! Standard output: text for people, or one JSON object a line and nothing else.

use crate::error::CliError;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, Write};

/// Where results go, and in which form.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
}

impl Output {
    /// For people, or for programs.
    pub const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether programs read it.
    pub const fn is_json(self) -> bool {
        self.json
    }

    /// Writes a result: one line of JSON, or what a person reads of it.
    ///
    /// # Errors
    /// If standard output can't be written.
    pub fn show<T: Serialize, H: Display>(self, value: &T, human: impl FnOnce(&T) -> H) -> Result<(), CliError> {
        if self.json { self.object(value) } else { self.text(human(value)) }
    }

    /// Writes one line of JSON.
    ///
    /// # Errors
    /// If standard output can't be written.
    pub fn object(self, value: &impl Serialize) -> Result<(), CliError> {
        let line = serde_json::to_string(value).map_err(io::Error::from)?;
        self.text(line)
    }

    /// Writes text and a line's end.
    ///
    /// # Errors
    /// If standard output can't be written.
    pub fn text(self, text: impl Display) -> Result<(), CliError> {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
        Ok(out.flush()?)
    }
}

/// A table under that header; columns from `numbers` on are aligned to the right.
pub fn table(header: &[&str], numbers: usize) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(header);
    for column in table.column_iter_mut().skip(numbers) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// A share of one in percent, with one digit after the point.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// A number of bytes as a person reads it: powers of 1000.
pub fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        _ => format!("{:.2} MB", count as f64 / 1e6),
    }
}

/// Which of its signer's deltas one is.
pub fn signature(sequence: u64, key: &str) -> String {
    format!("number {sequence} of the key {key}")
}

/// An amount of memory as a person reads it: powers of 1024.
pub fn mebibytes(count: u64) -> String {
    format!("{:.1} MiB", count as f64 / f64::from(1 << 20))
}
