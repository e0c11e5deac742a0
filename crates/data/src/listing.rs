//! Listing of one folder: its entries by kind, sorted by path, without hidden and system entries.

use crate::decode::{foreign_by_name, is_decodable};
use crate::error::{DataError, foreign};
use crate::layout::is_image;
use crate::skipped::{SkipKind, Skipped};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::DirEntry;
use std::io;
use std::path::{Path, PathBuf};

/// Folders that systems, network drives and tools make; hidden ones begin with a dot. In lower case; names have any.
const SYSTEM_FOLDERS: [&str; 20] = [
    "$extend",
    "$recycle.bin",
    "#recycle",
    "#snapshot",
    "@eadir",
    "@recently-snapshot",
    "@recycle",
    "@tmp",
    "__macosx",
    "__pycache__",
    "config.msi",
    "lost+found",
    "lost.dir",
    "network trash folder",
    "recycled",
    "recycler",
    "system volume information",
    "temporary items",
    "thevolumesettingsfolder",
    "wpsystem",
];

/// Entries of one folder by kind, each sorted by path.
pub(crate) struct Listing {
    /// Folders, and links to folders.
    pub folders: Vec<PathBuf>,
    /// Files called like images that are decoded.
    pub images: Vec<PathBuf>,
    /// Files called like images that are not decoded.
    foreign: Vec<PathBuf>,
    /// Links to what does not exist that are not called like images.
    dangling: Vec<PathBuf>,
}

impl Listing {
    /// Lists a folder.
    ///
    /// # Errors
    /// [`DataError::Read`] if the folder can't be read.
    pub fn read(folder: &Path) -> Result<Self, DataError> {
        let failed = |source| DataError::Read { path: folder.into(), source };
        let mut listing = Self { folders: Vec::new(), images: Vec::new(), foreign: Vec::new(), dangling: Vec::new() };
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            entry.and_then(|entry| listing.add(&entry)).map_err(failed)?;
        }
        for paths in [&mut listing.folders, &mut listing.images, &mut listing.foreign, &mut listing.dangling] {
            paths.sort();
        }
        Ok(listing)
    }

    fn add(&mut self, entry: &DirEntry) -> io::Result<()> {
        let (path, kind) = (entry.path(), entry.file_type()?);
        if is_hidden(&path) {
            return Ok(());
        }
        if kind.is_dir() || kind.is_symlink() && path.is_dir() {
            if !is_system_folder(&path) {
                self.folders.push(path);
            }
        } else if is_decodable(&path) {
            self.images.push(path);
        } else if foreign_by_name(&path).is_some() {
            self.foreign.push(path);
        } else if kind.is_symlink() && !path.exists() {
            self.dangling.push(path);
        }
        Ok(())
    }

    /// Images that are not decoded. One beside an image of the same name that is decoded is a second format of it.
    pub fn foreign(&self) -> impl Iterator<Item = Skipped> {
        let decoded: BTreeSet<OsString> = self.images.iter().filter_map(|path| stem(path)).collect();
        self.foreign.iter().filter_map(move |path| {
            let format = foreign_by_name(path)?;
            let has_decoded = stem(path).is_some_and(|stem| decoded.contains(&stem));
            let kind = if has_decoded { SkipKind::SecondFormat } else { SkipKind::UnsupportedFormat };
            Some(Skipped::new(path, kind, foreign(format).to_string()))
        })
    }

    /// Links to what does not exist.
    pub fn dangling(&self) -> impl Iterator<Item = Skipped> {
        let missing = |path: &PathBuf| {
            let target = std::fs::read_link(path).unwrap_or_default();
            Skipped::new(path, SkipKind::DanglingLink, format!("a link to {}, which does not exist", target.display()))
        };
        self.dangling.iter().map(missing)
    }

    /// Returns the files that are left out of a class folder.
    pub fn unused(&self) -> impl Iterator<Item = Skipped> {
        let nested = self.nested(is_image).into_iter();
        let nested = nested.map(|path| Skipped::new(path, SkipKind::InSubfolder, "in a subfolder of a class"));
        self.foreign().chain(self.dangling()).chain(nested)
    }

    /// Returns the files that are left out of a folder of classes or subsets.
    pub fn outside_classes(&self) -> impl Iterator<Item = Skipped> {
        let images = self.images.iter().chain(&self.foreign);
        let images = images.map(|path| Skipped::new(path, SkipKind::OutsideClasses, "outside the class folders"));
        images.chain(self.dangling())
    }

    /// The first file of that kind in the folders below, at any depth.
    pub fn first_nested(&self, is_wanted: impl Fn(&Path) -> bool) -> Option<PathBuf> {
        self.nested(is_wanted).into_iter().next()
    }

    /// Files of that kind in the folders below, at any depth; links to folders are not followed, and folders that can't be
    /// read are passed over.
    fn nested(&self, is_wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
        let is_own = |path: &PathBuf| !path.is_symlink();
        let mut folders: Vec<PathBuf> = self.folders.iter().filter(|path| is_own(path)).cloned().collect();
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            let Ok(listing) = Self::read(&folder) else { continue };
            folders.extend(listing.folders.into_iter().filter(is_own));
            files.extend(listing.images.into_iter().chain(listing.foreign).filter(|path| is_wanted(path)));
        }
        files.sort();
        files
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn is_system_folder(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_ascii_lowercase();
    let is_of_chkdsk = |name: &str| {
        let number = name.strip_prefix("found.").unwrap_or_default();
        number.len() == 3 && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    SYSTEM_FOLDERS.iter().any(|system| name == *system) || name.to_str().is_some_and(is_of_chkdsk)
}

fn stem(path: &Path) -> Option<OsString> {
    Some(path.file_stem()?.to_ascii_lowercase())
}
