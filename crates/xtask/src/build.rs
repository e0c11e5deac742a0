//! A release for a board, by cargo.

use crate::error::Error;
use fieldfit_target::{Feature, TargetProfile};
use std::env::consts::{ARCH, OS};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds the command for the board; the binary's path.
pub fn release(repository: &Path, board: &TargetProfile, gpu: bool, std_from_source: bool) -> Result<PathBuf, Error> {
    check(board, gpu)?;
    let triple = board.triple.as_str();
    let folder = repository.join("target").join(if std_from_source { "boards-std" } else { "boards" });
    let mut cargo = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    cargo.current_dir(repository).args(["build", "--release", "--locked", "-p", "fieldfit-cli", "--target", triple]);
    cargo.arg("--target-dir").arg(&folder);
    if gpu {
        let features: Vec<_> = board.features.iter().map(|feature| feature.name()).collect();
        cargo.args(["--features", &features.join(",")]);
    }
    if std_from_source {
        // The flag is unstable; the second variable is cargo's own for a source outside of its sysroot.
        let source = std_source(repository)?;
        cargo.env("RUSTC_BOOTSTRAP", "1").env("__CARGO_TESTS_ONLY_SRC_ROOT", source);
        cargo.arg("-Zbuild-std=std,panic_unwind");
    } else if !has_std(triple)? {
        return Err(Error::NoStd { triple: triple.into() });
    }
    run(&mut cargo)?;
    Ok(folder.join(triple).join("release/fieldfit"))
}

/// What can't be built on this machine, before anything is.
fn check(board: &TargetProfile, gpu: bool) -> Result<(), Error> {
    let is_here = board.is_built_for(ARCH, OS);
    if board.triple.contains("apple") && OS != "macos" {
        return Err(Error::Mac { board: board.name.clone() });
    }
    if gpu && board.features.is_empty() {
        return Err(Error::NoGpu { board: board.name.clone() });
    }
    if gpu && board.features.contains(&Feature::Cuda) && !is_here {
        return Err(Error::CrossCuda { triple: board.triple.clone() });
    }
    Ok(())
}

/// Whether the toolchain has a standard library for that target.
fn has_std(triple: &str) -> Result<bool, Error> {
    let folder = output(Command::new("rustc").args(["--print", "target-libdir", "--target", triple]))?;
    Ok(Path::new(folder.trim()).is_dir())
}

/// Where the standard library's source lies; fetched if need be.
fn std_source(repository: &Path) -> Result<String, Error> {
    Ok(output(Command::new(repository.join(".ci/rust-src.sh")).arg(repository.join("target/rust-src")))?.trim().into())
}

fn run(command: &mut Command) -> Result<(), Error> {
    let status = command.status().map_err(|source| Error::Start { command: name(command), source })?;
    if status.success() { Ok(()) } else { Err(Error::Failed { command: name(command), status }) }
}

fn output(command: &mut Command) -> Result<String, Error> {
    let output = command.stderr(std::process::Stdio::inherit()).output();
    let output = output.map_err(|source| Error::Start { command: name(command), source })?;
    if !output.status.success() {
        return Err(Error::Failed { command: name(command), status: output.status });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A build that fails after minutes, in the linker, for what was known before.
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
