//! Run log: an append-only file of run records, one JSON object a line, each synced before the next run begins.

use crate::Error;
use fieldfit_durable::{Disk, commit};
use fieldfit_report::{PageOptions, RunRecord, render_page};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// How the line of a record begins.
const RECORD_START: &str = "{\"identity\":";

/// Run log: a file of [`RunRecord`]s that grows by a line a run, and survives being cut off in one.
#[derive(Debug)]
pub struct RunLog {
    path: PathBuf,
    file: File,
    runs: Vec<RunRecord>,
}

impl RunLog {
    /// Opens or creates a run log. A last line that was cut off is removed: its run is done again.
    ///
    /// # Errors
    /// If the file cannot be read or written, or has a line that is not a run record, or not the beginning of one: the
    /// file is left as it is then.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let failed = |source| Error::RunLog { path: path.to_owned(), source };
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(failed)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        let (whole, rest) = text.split_at(text.rfind('\n').map_or(0, |end| end + 1));
        let parse = |(number, line)| Self::parse(path, number + 1, line);
        let runs: Vec<RunRecord> = whole.lines().enumerate().map(parse).collect::<Result<_, _>>()?;
        if !rest.is_empty() {
            if !rest.starts_with(RECORD_START) && !RECORD_START.starts_with(rest) {
                Self::parse(path, runs.len() + 1, rest)?;
            }
            file.set_len(whole.len() as u64).map_err(failed)?;
            file.seek(SeekFrom::End(0)).map_err(failed)?;
        }
        Ok(Self { path: path.to_owned(), file, runs })
    }

    fn parse(path: &Path, line: usize, text: &str) -> Result<RunRecord, Error> {
        serde_json::from_str(text).map_err(|source| Error::RunLogLine { path: path.to_owned(), line, source })
    }

    /// Returns the records in the log, in the order in which the runs ended.
    pub fn runs(&self) -> &[RunRecord] {
        &self.runs
    }

    /// Returns the record with that identity.
    pub fn find(&self, identity: &str) -> Option<&RunRecord> {
        self.runs.iter().find(|run| run.identity == identity)
    }

    /// Appends a record, on disk when this returns.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add(&mut self, run: RunRecord) -> Result<(), Error> {
        let mut write = || -> io::Result<()> {
            let mut line = serde_json::to_vec(&run)?;
            line.push(b'\n');
            self.file.write_all(&line)?;
            self.file.sync_data()
        };
        write().map_err(|source| Error::RunLog { path: self.path.clone(), source })?;
        self.runs.push(run);
        Ok(())
    }
}

/// Writes an HTML page of run records, whole or not at all.
///
/// # Errors
/// If it cannot be written.
pub fn write_page(path: impl AsRef<Path>, runs: &[RunRecord], options: &PageOptions) -> Result<(), Error> {
    let path = path.as_ref();
    let page = render_page(runs, options);
    let failed = |source| Error::Page { path: path.to_owned(), source: Box::new(source) };
    commit(&Disk, path, page.as_bytes()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a file of somebody else's that is truncated because its last line does not end, and a record that was cut
    /// off and stays.
    #[test]
    fn only_a_record_that_was_cut_off_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes");
        for foreign in ["my thesis", "{\"name\": 1}", "{}"] {
            std::fs::write(&path, foreign).unwrap();
            assert!(matches!(RunLog::open(&path), Err(Error::RunLogLine { line: 1, .. })));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), foreign);
        }
        for cut in ["{\"iden", "{\"identity\":\"ab"] {
            std::fs::write(&path, cut).unwrap();
            assert!(RunLog::open(&path).unwrap().runs().is_empty());
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
        }
    }
}
