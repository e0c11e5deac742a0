//! ELF requirements: the shared libraries and glibc version of a binary, checked against a board.

use crate::error::XtaskError;
use fieldfit_target::{SoftwareVersion, TargetProfile};
use goblin::elf::Elf;
use std::path::Path;

/// Requirements of an ELF binary on its system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElfRequirements {
    /// Names of the shared libraries, sorted.
    pub libraries: Vec<String>,
    /// Latest glibc version of its symbols; `None` without glibc.
    pub glibc: Option<SoftwareVersion>,
    /// Whether the symbol table is stripped.
    pub is_stripped: bool,
}

impl ElfRequirements {
    /// Reads the requirements of the binary in `bytes`; `path` is for messages.
    pub fn of(path: &Path, bytes: &[u8]) -> Result<Self, XtaskError> {
        let elf = Elf::parse(bytes).map_err(|source| XtaskError::Elf { path: path.to_owned(), source })?;
        let mut libraries: Vec<String> = elf.libraries.iter().map(|&library| library.to_owned()).collect();
        libraries.sort_unstable();
        let files = elf.verneed.iter().flat_map(|needed| needed.iter());
        let versions = files.flat_map(|file| file.iter().map(|version| version.vna_name).collect::<Vec<_>>());
        let glibc = versions.filter_map(|name| glibc(elf.dynstrtab.get_at(name)?)).max();
        Ok(Self { libraries, glibc, is_stripped: elf.syms.is_empty() })
    }

    /// Checks the requirements against a board. A GPU build may require libraries that come with the GPU's driver.
    pub fn check(&self, board: &TargetProfile, gpu: bool) -> Result<(), XtaskError> {
        let unmet = |required: String, found: String| {
            Err(XtaskError::UnmetRequirement { board: board.name.clone(), required, found })
        };
        if let (Some(required), Some(found)) = (self.glibc, board.system.glibc)
            && required > found
        {
            return unmet(format!("glibc {required}"), format!("glibc {found}"));
        }
        let is_missing = |library: &&String| !board.system.libraries.contains(*library);
        match self.libraries.iter().find(is_missing) {
            Some(missing) if !gpu => unmet(missing.clone(), board.system.libraries.join(", ")),
            Some(_) | None => Ok(()),
        }
    }
}

/// Parses a symbol version such as `GLIBC_2.34` or `GLIBC_2.2.5`; `None` for other libraries.
fn glibc(name: &str) -> Option<SoftwareVersion> {
    let mut numbers = name.strip_prefix("GLIBC_")?.split('.');
    let (major, minor) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    Some(SoftwareVersion { major, minor })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requirements(library: &str, glibc: &str) -> ElfRequirements {
        let libraries = vec!["libc.so.6".into(), library.into()];
        ElfRequirements { libraries, glibc: Some(glibc.parse().unwrap()), is_stripped: true }
    }

    /// Catches: a bundle whose binary starts on the build machine only.
    #[test]
    fn what_the_board_lacks_is_refused_by_name() {
        let board = TargetProfile::named("jetson-orin-nano").unwrap();
        requirements("libm.so.6", "2.35").check(&board, false).unwrap();
        let later = requirements("libm.so.6", "2.36").check(&board, false).unwrap_err().to_string();
        assert!(later.contains("2.36") && later.contains("2.35") && later.contains("jetson-orin-nano"), "{later}");
        let foreign = requirements("libstdc++.so.6", "2.17").check(&board, false).unwrap_err().to_string();
        assert!(foreign.contains("libstdc++.so.6"), "{foreign}");
        requirements("libcuda.so.1", "2.17").check(&board, true).unwrap();
    }

    /// Catches: requirements that are not found, and a symbol table that is taken for stripped.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_requirements_of_this_program_are_found() {
        let path = std::env::current_exe().unwrap();
        let found = ElfRequirements::of(&path, &std::fs::read(&path).unwrap()).unwrap();
        assert!(found.libraries.iter().any(|library| library == "libc.so.6"), "{found:?}");
        assert!(found.glibc.unwrap() >= SoftwareVersion { major: 2, minor: 14 }, "{found:?}");
        assert!(!found.is_stripped, "a test's program has its names");
        assert!(ElfRequirements::of(&path, b"#!/bin/sh").is_err());
    }

    /// Catches: a symbol version of another library, or of glibc's private symbols, taken for a glibc version.
    #[test]
    fn only_glibcs_versions_count() {
        assert_eq!(glibc("GLIBC_2.34"), Some(SoftwareVersion { major: 2, minor: 34 }));
        assert_eq!(glibc("GLIBC_2.2.5"), Some(SoftwareVersion { major: 2, minor: 2 }));
        for name in ["GCC_3.0", "GLIBC_PRIVATE", "GLIBCXX_3.4"] {
            assert_eq!(glibc(name), None, "{name}");
        }
    }
}
