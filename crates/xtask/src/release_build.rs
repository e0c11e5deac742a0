//! Release build: compiles the command and the C library for a board with cargo.

use crate::error::XtaskError;
use crate::process::{cargo, output, run};
use fieldfit_target::{Feature, TargetProfile};
use std::env::consts::{ARCH, OS};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Paths of what was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    pub command: PathBuf,
    /// The shared library.
    pub library: PathBuf,
}

/// Builds the command and the C library for a board.
pub fn release(
    repository: &Path,
    board: &TargetProfile,
    gpu: bool,
    std_from_source: bool,
) -> Result<Release, XtaskError> {
    check(board, gpu)?;
    let triple = board.triple.as_str();
    if !std_from_source && !has_std(triple)? {
        return Err(XtaskError::StdMissing { triple: triple.into() });
    }
    let folder = repository.join("target").join(if std_from_source { "boards-std" } else { "boards" });
    // The library without its static twin, which nobody links to on a board and which would be optimised once more.
    let command = &["build", "-p", "fieldfit-cli", "--features", "serve"][..];
    for what in [command, &["rustc", "-p", "fieldfit-capi", "--crate-type", "cdylib"]] {
        let mut cargo = cargo();
        cargo.current_dir(repository).args(what).args(["--release", "--locked", "--target", triple]);
        cargo.arg("--target-dir").arg(&folder);
        if gpu {
            let features: Vec<_> = board.features.iter().map(|feature| feature.name()).collect();
            cargo.args(["--features", &features.join(",")]);
        }
        if std_from_source {
            // The flag is unstable; the second variable is cargo's own for a standard library outside its sysroot.
            let source = std_source(repository)?;
            cargo.env("RUSTC_BOOTSTRAP", "1").env("__CARGO_TESTS_ONLY_SRC_ROOT", source);
            cargo.arg("-Zbuild-std=std,panic_unwind");
        }
        run(&mut cargo)?;
    }
    let built = folder.join(triple).join("release");
    let library = if triple.contains("apple") { "libfieldfit_capi.dylib" } else { "libfieldfit_capi.so" };
    Ok(Release { command: built.join("fieldfit"), library: built.join(library) })
}

/// Refuses a build that is impossible on this machine, before it starts.
fn check(board: &TargetProfile, gpu: bool) -> Result<(), XtaskError> {
    let is_here = board.is_built_for(ARCH, OS);
    if board.triple.contains("apple") && OS != "macos" {
        return Err(XtaskError::RequiresMac { board: board.name.clone() });
    }
    if gpu && board.features.is_empty() {
        return Err(XtaskError::NoGpu { board: board.name.clone() });
    }
    if gpu && board.features.contains(&Feature::Cuda) && !is_here {
        return Err(XtaskError::CrossCuda { triple: board.triple.clone() });
    }
    Ok(())
}

/// Returns whether the toolchain has a standard library for a target.
fn has_std(triple: &str) -> Result<bool, XtaskError> {
    let folder = output(Command::new("rustc").args(["--print", "target-libdir", "--target", triple]))?;
    Ok(Path::new(folder.trim()).is_dir())
}

/// Returns the folder of the standard library's source, and downloads it if it is not installed.
fn std_source(repository: &Path) -> Result<String, XtaskError> {
    Ok(output(Command::new(repository.join(".ci/rust-src.sh")).arg(repository.join("target/rust-src")))?.trim().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a build that fails in the linker, after minutes, for a reason known beforehand.
    #[test]
    fn what_cannot_be_built_here_is_refused_with_the_reason() {
        let refused = |name: &str, gpu| check(&TargetProfile::named(name).unwrap(), gpu).unwrap_err().to_string();
        if OS != "macos" {
            assert!(refused("apple-silicon", false).contains("on a Mac"));
        }
        if ARCH != "aarch64" {
            assert!(refused("jetson-orin-nano", true).contains("on the board"));
        }
        assert!(refused("raspberry-pi-5", true).contains("--gpu"));
        check(&TargetProfile::named("jetson-orin-nano").unwrap(), false).unwrap();
    }
}
