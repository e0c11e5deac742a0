//! Runs on disk, one JSON object a line, each written through before the next begins.

use crate::Error;
use fieldfit_durable::{Disk, commit};
use fieldfit_report::{PageOptions, RunRecord, render_page};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A file of [`RunRecord`]s that grows by a line a run, and survives being cut off in one.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    runs: Vec<RunRecord>,
}

impl Journal {
    /// Opens the file, or makes it. A last line that was cut off is dropped: its run is done again.
    ///
    /// # Errors
    /// If the file can't be read or written, or a whole line of it is no run.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Journal { path: path.to_owned(), source };
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(failed)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let parse = |(number, line): (usize, &str)| {
            let wrong =
                |source: serde_json::Error| Error::JournalLine { path: path.to_owned(), line: number + 1, source };
            serde_json::from_str(line).map_err(wrong)
        };
        let runs = text[..whole].lines().enumerate().map(parse).collect::<Result<_, _>>()?;
        if whole < text.len() {
            file.set_len(whole as u64).map_err(failed)?;
            file.seek(SeekFrom::End(0)).map_err(failed)?;
        }
        Ok(Self { path: path.to_owned(), file, runs })
    }

    /// The runs in it, in the order in which they ended.
    pub fn runs(&self) -> &[RunRecord] {
        &self.runs
    }

    /// The run of that identity.
    pub fn find(&self, identity: &str) -> Option<&RunRecord> {
        self.runs.iter().find(|run| run.identity == identity)
    }

    /// Adds a run, on disk when this returns.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn add(&mut self, run: RunRecord) -> Result<(), Error> {
        let mut write = || -> io::Result<()> {
            let mut line = serde_json::to_vec(&run)?;
            line.push(b'\n');
            self.file.write_all(&line)?;
            self.file.sync_data()
        };
        write().map_err(|source| Error::Journal { path: self.path.clone(), source })?;
        self.runs.push(run);
        Ok(())
    }
}

/// Writes an HTML page of runs, whole or not at all.
///
/// # Errors
/// If it can't be written.
pub fn write_page(path: &Path, runs: &[RunRecord], options: &PageOptions) -> Result<(), Error> {
    let page = render_page(runs, options);
    let failed = |source| Error::Page { path: path.to_owned(), source: Box::new(source) };
    commit(&Disk, path, page.as_bytes()).map_err(failed)
}
