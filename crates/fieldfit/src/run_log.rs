//! Run log of a comparison: one record per line as JSON, each synced before the next run starts; and its HTML report.

use crate::Error;
use crate::output_file::{OutputKind, folder, special_file, write_output};
use fieldfit_durable::{Disk, sync_folder};
use fieldfit_report::{PageOptions, RunRecord, render_page};
use serde::de::IgnoredAny;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// First bytes of each line of a run log.
const LINE_START: &str = "{\"identity\":\"";

/// Run log: a file of [`RunRecord`]s that grows by a line per run and survives being cut off within a line.
#[derive(Debug)]
pub struct RunLog {
    path: PathBuf,
    file: File,
    runs: Vec<RunRecord>,
}

impl RunLog {
    /// Opens the file, or creates it. A record that was cut off at the end is removed, and its run is repeated.
    ///
    /// # Errors
    /// If the file cannot be read or written, is no regular file, or holds anything else than records; it is then unchanged.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let failed = |source| Error::RunLog { path: path.to_owned(), source };
        let is_new = match fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => false,
            Ok(metadata) => {
                return Err(Error::NotRegular { path: path.to_owned(), found: special_file(metadata.file_type()) });
            }
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(failed)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        if is_new {
            sync_folder(&Disk, folder(path))?;
        }
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let parse = |(number, line): (usize, &str)| {
            let wrong =
                |source: serde_json::Error| Error::RunLogLine { path: path.to_owned(), line: number + 1, source };
            serde_json::from_str(line).map_err(wrong)
        };
        let mut runs = text[..whole].lines().enumerate().map(parse).collect::<Result<Vec<_>, _>>()?;
        let tail = &text[whole..];
        if is_cut_off(tail, !runs.is_empty()) {
            file.set_len(whole as u64).map_err(failed)?;
            file.seek(SeekFrom::End(0)).map_err(failed)?;
        } else if !tail.is_empty() {
            runs.push(parse((runs.len(), tail))?);
            file.write_all(b"\n").map_err(failed)?;
        }
        Ok(Self { path: path.to_owned(), file, runs })
    }

    /// Returns the records, in the order in which the runs ended.
    pub fn runs(&self) -> &[RunRecord] {
        &self.runs
    }

    /// Returns the record with this identity.
    pub fn find(&self, identity: &str) -> Option<&RunRecord> {
        self.runs.iter().find(|run| run.identity == identity)
    }

    /// Appends a record and syncs it.
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

/// Whether an end without a line break is the beginning of a record that a power cut or a kill cut off, and not somebody
/// else's: after records also a part of how lines begin, or zeros that a file system left.
fn is_cut_off(tail: &str, has_records: bool) -> bool {
    let is_beginning =
        tail.starts_with(LINE_START) && serde_json::from_str::<IgnoredAny>(tail).is_err_and(|error| error.is_eof());
    let is_part = !tail.is_empty() && (LINE_START.starts_with(tail) || tail.bytes().all(|byte| byte == 0));
    is_beginning || (has_records && is_part)
}

/// Writes an HTML report of runs, whole or not at all.
///
/// # Errors
/// As [`check_output`](crate::check_output).
pub fn write_page(path: impl AsRef<Path>, runs: &[RunRecord], options: &PageOptions) -> Result<(), Error> {
    let page = render_page(runs, options);
    write_output(path.as_ref(), OutputKind::Page, page.as_bytes())
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
        for foreign in ["my thesis", "{\"name\": 1}", "{}", "{\"iden"] {
            fs::write(&path, foreign).unwrap();
            assert!(matches!(RunLog::open(&path), Err(Error::RunLogLine { line: 1, .. })));
            assert_eq!(fs::read_to_string(&path).unwrap(), foreign);
        }
        fs::write(&path, "{\"identity\":\"ab").unwrap();
        assert!(RunLog::open(&path).unwrap().runs().is_empty());
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
    }
}
