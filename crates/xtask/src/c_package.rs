//! C package: the library under its installed names, headers, pkg-config file and CMake package.

use crate::CapiArgs;
use crate::error::XtaskError;
use crate::package_file::PackageFile;
use crate::process::{cargo, output};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};

/// Number of the binary interface: the last part of the soname, as `FIELDFIT_ABI` in `crates/capi`.
const ABI: u32 = 0;
/// Name of the library's target in cargo's output.
const TARGET: &str = "fieldfit_capi";

/// Builds the library and installs the package below a prefix; returns a summary.
pub fn run(repository: &Path, args: &CapiArgs) -> Result<String, XtaskError> {
    let libraries = build(repository, args)?;
    let shared = find(&libraries, &["so", "dylib"])?;
    let apple = shared.extension().is_some_and(|extension| extension == "dylib");
    let mut files = contents(repository, read(shared)?, apple)?;
    files.push(PackageFile::new("lib/libfieldfit.a", 0o644, read(find(&libraries, &["a"])?)?));
    for file in &files {
        file.install(&args.prefix)?;
    }
    Ok(format!("installed {} files below {}", files.len(), args.prefix.display()))
}

/// Collects the package with a shared library and without the static one.
pub fn contents(repository: &Path, shared: Vec<u8>, apple: bool) -> Result<Vec<PackageFile>, XtaskError> {
    let (soname, name) = match apple {
        true => (format!("libfieldfit.{ABI}.dylib"), "libfieldfit.dylib"),
        false => (format!("libfieldfit.so.{ABI}"), "libfieldfit.so"),
    };
    let install_name = if apple { format!("@rpath/{soname}") } else { soname.clone() };
    let source = repository.join("crates/capi");
    let text = |path: &str| fs::read_to_string(source.join(path)).map_err(|error| failed(&source.join(path), error));
    let filled = |path: &str| {
        let values = [("@VERSION@", env!("CARGO_PKG_VERSION")), ("@SHARED@", &soname), ("@SONAME@", &install_name)];
        Ok::<_, XtaskError>(values.iter().fold(text(path)?, |text, (name, value)| text.replace(name, value)))
    };
    Ok(vec![
        PackageFile::new(format!("lib/{soname}"), 0o755, shared),
        PackageFile::link(format!("lib/{name}"), soname.clone()),
        PackageFile::new("include/fieldfit.h", 0o644, text("include/fieldfit.h")?),
        PackageFile::new("include/fieldfit.hpp", 0o644, text("include/fieldfit.hpp")?),
        PackageFile::new("lib/pkgconfig/fieldfit.pc", 0o644, filled("package/fieldfit.pc.in")?),
        PackageFile::new("lib/cmake/fieldfit/fieldfitConfig.cmake", 0o644, filled("package/fieldfitConfig.cmake.in")?),
        PackageFile::new(
            "lib/cmake/fieldfit/fieldfitConfigVersion.cmake",
            0o644,
            filled("package/fieldfitConfigVersion.cmake.in")?,
        ),
    ])
}

/// Message of cargo about something that it has built, as far as it is read.
#[derive(Deserialize)]
struct Artifact {
    reason: String,
    target: Option<ArtifactTarget>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct ArtifactTarget {
    name: String,
}

/// Builds the library and returns the files that cargo says it wrote.
fn build(repository: &Path, args: &CapiArgs) -> Result<Vec<PathBuf>, XtaskError> {
    let mut cargo = cargo();
    cargo.current_dir(repository).args(["build", "--locked", "-p", "fieldfit-capi", "--profile", &args.profile]);
    cargo.args(["--message-format", "json-render-diagnostics"]);
    if let Some(features) = &args.features {
        cargo.args(["--features", features]);
    }
    libraries(&output(&mut cargo)?)
}

/// Returns the library's files of cargo's messages.
fn libraries(messages: &str) -> Result<Vec<PathBuf>, XtaskError> {
    let mut files = Vec::new();
    for line in messages.lines() {
        let Artifact { reason, target, filenames } = serde_json::from_str(line)?;
        if reason == "compiler-artifact" && target.is_some_and(|target| target.name == TARGET) {
            files.extend(filenames);
        }
    }
    Ok(files)
}

fn find<'a>(files: &'a [PathBuf], extensions: &[&str]) -> Result<&'a Path, XtaskError> {
    let has = |path: &&PathBuf| path.extension().is_some_and(|found| extensions.iter().any(|one| found == *one));
    let missing = || XtaskError::NoLibrary { extensions: extensions.join(" or .") };
    files.iter().find(has).map(PathBuf::as_path).ok_or_else(missing)
}

fn read(path: &Path) -> Result<Vec<u8>, XtaskError> {
    fs::read(path).map_err(|source| failed(path, source))
}

fn failed(path: &Path, source: std::io::Error) -> XtaskError {
    XtaskError::File { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package_file::Content;
    use crate::repository;

    /// Catches: a template whose variable is left in what a build system reads, or a library under a name that no program loads.
    #[test]
    fn the_package_is_filled_in() {
        for (apple, library) in [(false, "lib/libfieldfit.so.0"), (true, "lib/libfieldfit.0.dylib")] {
            let files = contents(&repository(), b"library".to_vec(), apple).unwrap();
            assert_eq!(files[0], PackageFile::new(library, 0o755, *b"library"));
            for PackageFile { path, content } in files {
                let Content::Bytes(_, bytes) = content else { continue };
                assert!(!String::from_utf8(bytes).unwrap().contains("@VERSION@"), "{path}");
            }
        }
    }

    /// Catches: two numbers of one binary interface.
    #[test]
    fn the_number_of_the_interface_is_one() {
        let capi = repository().join("crates/capi");
        let read = |path: &str| fs::read_to_string(capi.join(path)).unwrap();
        assert!(read("src/abi.rs").contains(&format!("pub const FIELDFIT_ABI: u32 = {ABI};")));
        assert!(read("build.rs").contains(&format!("const ABI: u32 = {ABI};")));
        assert!(capi.join(format!("abi/{ABI}/fieldfit.h")).is_file(), "its first header is kept");
    }

    /// Catches: a change of cargo's messages, with which nothing is installed.
    #[test]
    fn the_librarys_files_are_found() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"serde"},"filenames":["/t/libserde.rlib"]}
{"reason":"compiler-artifact","target":{"name":"fieldfit_capi"},"filenames":["/t/libfieldfit_capi.so","/t/libfieldfit_capi.a"]}
{"reason":"build-finished","success":true}"#;
        let files = libraries(messages).unwrap();
        assert_eq!(find(&files, &["so", "dylib"]).unwrap(), Path::new("/t/libfieldfit_capi.so"));
        assert_eq!(find(&files, &["a"]).unwrap(), Path::new("/t/libfieldfit_capi.a"));
        assert!(find(&[], &["a"]).is_err());
    }
}
