//! Package file: a file or a link of a bundle or an installed package, and writing it to a folder or an archive.

use crate::error::XtaskError;
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

/// File of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFile {
    /// Path below the package's top folder.
    pub path: String,
    pub content: Content,
}

/// Content of a package's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Bytes, with the file's mode.
    Bytes(u32, Vec<u8>),
    /// Symbolic link to a file of the same folder, by its name.
    Link(String),
}

impl PackageFile {
    /// Returns a file with that mode.
    pub fn new(path: impl Into<String>, mode: u32, bytes: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), content: Content::Bytes(mode, bytes.into()) }
    }

    /// Returns a link to a file of the same folder.
    pub fn link(path: impl Into<String>, target: impl Into<String>) -> Self {
        Self { path: path.into(), content: Content::Link(target.into()) }
    }

    /// Returns the line of `SHA256SUMS`; `None` of a link.
    pub fn checksum(&self) -> Option<String> {
        match &self.content {
            Content::Bytes(_, bytes) => Some(format!("{}  {}\n", hex::encode(Sha256::digest(bytes)), self.path)),
            Content::Link(_) => None,
        }
    }

    /// Writes the file below a folder, in place of one that is there.
    pub fn install(&self, prefix: &Path) -> Result<(), XtaskError> {
        let path = prefix.join(&self.path);
        let failed = |source| XtaskError::File { path: path.clone(), source };
        path.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
        match &self.content {
            Content::Bytes(mode, bytes) => write(&path, *mode, bytes),
            Content::Link(target) => link(&path, target).map_err(failed),
        }
    }
}

/// Packs an archive with that top folder; reproducible, for it has neither times nor owners.
pub fn pack(root: &str, entries: &[PackageFile]) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for PackageFile { path, content } in entries {
        let (path, mut header) = (format!("{root}/{path}"), tar::Header::new_gnu());
        match content {
            Content::Bytes(mode, bytes) => {
                header.set_size(bytes.len() as u64);
                header.set_mode(*mode);
                archive.append_data(&mut header, path, bytes.as_slice())?;
            }
            Content::Link(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                header.set_mode(0o777);
                archive.append_link(&mut header, path, target)?;
            }
        }
    }
    archive.into_inner()?.finish()
}

/// Writes a file atomically: to a temporary name first, then renamed.
pub fn write(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), XtaskError> {
    let failed = |source| XtaskError::File { path: path.to_owned(), source };
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    path.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
    fs::write(&part, bytes).map_err(failed)?;
    set_mode(Path::new(&part), mode).map_err(failed)?;
    fs::rename(&part, path).map_err(failed)
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_: &Path, _: u32) -> std::io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn link(path: &Path, target: &str) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => std::os::unix::fs::symlink(target, path),
    }
}

#[cfg(not(unix))]
fn link(_: &Path, _: &str) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// Catches: an installation that fails the second time, or leaves its parts.
    #[test]
    fn a_package_is_installed_twice() {
        let prefix = tempfile::tempdir().unwrap();
        let files = [PackageFile::new("lib/a.so.0", 0o644, *b"one"), PackageFile::link("lib/a.so", "a.so.0")];
        for _ in 0..2 {
            files.iter().for_each(|file| file.install(prefix.path()).unwrap());
        }
        assert_eq!(fs::read(prefix.path().join("lib/a.so")).unwrap(), b"one");
        assert_eq!(fs::read_dir(prefix.path().join("lib")).unwrap().count(), 2);
    }
}
