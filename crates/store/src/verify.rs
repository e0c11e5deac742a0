//! Store verification: reads every version and reports those that can't be used.

use crate::{
    error::{Problem, StoreError},
    record::{Base, Record},
    store::Store,
    version::VersionEntry,
};
use fieldfit_delta::Delta;
use std::path::PathBuf;

/// Finding of a verification: a version that cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub struct Finding {
    /// Number of the version.
    pub version: u32,
    /// Path of the version's file.
    pub path: PathBuf,
    /// The problem.
    pub problem: Problem,
}

impl Store {
    /// Reads every version and returns those that can't be used; none if all is well.
    ///
    /// # Errors
    /// If the state can't be read.
    pub fn verify(&self) -> Result<Vec<Finding>, StoreError> {
        let record = self.record()?;
        let findings = record.versions.iter().filter_map(|entry| {
            let problem = self.problem(entry, &record)?;
            Some(Finding { version: entry.version, path: self.delta_path(entry.version), problem })
        });
        Ok(findings.collect())
    }

    fn problem(&self, entry: &VersionEntry, record: &Record) -> Option<Problem> {
        let bytes = match self.intact(entry) {
            Ok(bytes) => bytes,
            Err(problem) => return Some(problem),
        };
        let delta = match Delta::parse(&bytes) {
            Ok(delta) => delta,
            Err(error) => return Some(Problem::Delta(Box::new(error))),
        };
        let found = Base(delta.header().base);
        let expected = record.fixed_base().or(record.base_of(entry)).filter(|expected| *expected != found)?;
        Some(Problem::OtherBase { expected: expected.to_string(), found: found.to_string() })
    }
}
