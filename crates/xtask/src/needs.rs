//! What a binary needs of its system, against what the board has.

use crate::error::Error;
use fieldfit_target::{SoftwareVersion, TargetProfile};
use goblin::elf::Elf;
use std::path::Path;

/// What a binary asks of its system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// Shared libraries, by name.
    pub libraries: Vec<String>,
    /// The latest version of glibc that one of its symbols is of.
    pub glibc: Option<SoftwareVersion>,
    /// Whether it is without names that a debugger alone reads.
    pub is_stripped: bool,
}

impl Needs {
    /// Those of the ELF binary in those bytes.
    pub fn of(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let elf = Elf::parse(bytes).map_err(|source| Error::Elf { path: path.to_owned(), source })?;
        let mut libraries: Vec<String> = elf.libraries.iter().map(|&library| library.to_owned()).collect();
        libraries.sort_unstable();
        let files = elf.verneed.iter().flat_map(|needed| needed.iter());
        let versions = files.flat_map(|file| file.iter().map(|version| version.vna_name).collect::<Vec<_>>());
        let glibc = versions.filter_map(|name| glibc(elf.dynstrtab.get_at(name)?)).max();
        Ok(Self { libraries, glibc, is_stripped: elf.syms.is_empty() })
    }

    /// Refuses what the board doesn't have. A GPU build's own libraries are the GPU's.
    pub fn check(&self, board: &TargetProfile, gpu: bool) -> Result<(), Error> {
        let refused = |needs: String, has: String| Err(Error::Needs { board: board.name.clone(), needs, has });
        if let (Some(needs), Some(has)) = (self.glibc, board.system.glibc)
            && needs > has
        {
            return refused(format!("glibc {needs}"), format!("glibc {has}"));
        }
        let is_missing = |library: &&String| !board.system.libraries.contains(*library);
        match self.libraries.iter().find(is_missing) {
            Some(missing) if !gpu => refused(missing.clone(), board.system.libraries.join(", ")),
            _ => Ok(()),
        }
    }
}

/// `GLIBC_2.34` or `GLIBC_2.2.5`; nothing for other libraries' symbols.
fn glibc(name: &str) -> Option<SoftwareVersion> {
    let mut numbers = name.strip_prefix("GLIBC_")?.split('.');
    let (major, minor) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    Some(SoftwareVersion { major, minor })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(library: &str, glibc: &str) -> Needs {
        let libraries = vec!["libc.so.6".into(), library.into()];
        Needs { libraries, glibc: Some(glibc.parse().unwrap()), is_stripped: true }
    }

    /// A binary that would start on the builder's machine alone.
    #[test]
    fn what_the_board_lacks_is_refused_by_name() {
        let board = TargetProfile::named("jetson-orin-nano").unwrap();
        needs("libm.so.6", "2.35").check(&board, false).unwrap();
        let later = needs("libm.so.6", "2.36").check(&board, false).unwrap_err().to_string();
        assert!(later.contains("2.36") && later.contains("2.35") && later.contains("jetson-orin-nano"), "{later}");
        let foreign = needs("libstdc++.so.6", "2.17").check(&board, false).unwrap_err().to_string();
        assert!(foreign.contains("libstdc++.so.6"), "{foreign}");
        needs("libcuda.so.1", "2.17").check(&board, true).unwrap();
    }

    /// Needs that are read as none; names that are taken for stripped.
    #[cfg(target_os = "linux")]
    #[test]
    fn this_programs_own_needs_are_seen() {
        let path = std::env::current_exe().unwrap();
        let found = Needs::of(&path, &std::fs::read(&path).unwrap()).unwrap();
        assert!(found.libraries.iter().any(|library| library == "libc.so.6"), "{found:?}");
        assert!(found.glibc.unwrap() >= SoftwareVersion { major: 2, minor: 14 }, "{found:?}");
        assert!(!found.is_stripped, "a test's program has its names");
        assert!(Needs::of(&path, b"#!/bin/sh").is_err());
    }

    /// Symbols of another library, or of glibc's private part, taken for a version.
    #[test]
    fn only_glibcs_versions_count() {
        assert_eq!(glibc("GLIBC_2.34"), Some(SoftwareVersion { major: 2, minor: 34 }));
        assert_eq!(glibc("GLIBC_2.2.5"), Some(SoftwareVersion { major: 2, minor: 2 }));
        for name in ["GCC_3.0", "GLIBC_PRIVATE", "GLIBCXX_3.4"] {
            assert_eq!(glibc(name), None, "{name}");
        }
    }
}
