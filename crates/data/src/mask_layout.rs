//! Layout of a data set of masks: `images` and `masks` side by side, in the folder itself or in each of its subsets.

use crate::error::{DataError, FolderError};
use crate::labelling::Labelling;
use crate::layout::{FileLabel, ImageFile, Layout, Purpose, Subset};
use crate::listing::Listing;
use crate::mask::{MaskClasses, file_of};
use crate::skipped::{SkipKind, Skipped};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Names of the folders, in any case.
const IMAGES: &str = "images";
const MASKS: &str = "masks";

/// Folders of images and of their masks.
struct MaskFolders {
    images: PathBuf,
    masks: PathBuf,
}

impl MaskFolders {
    /// The folders inside a folder, if it has both.
    fn of(listing: &Listing) -> Option<Self> {
        let named = |name: &str| {
            let is_named = |path: &&PathBuf| path.file_name().is_some_and(|found| found.eq_ignore_ascii_case(name));
            listing.folders.iter().find(is_named).cloned()
        };
        Some(Self { images: named(IMAGES)?, masks: named(MASKS)? })
    }

    /// Lists the images that have masks; the others are left out.
    fn files(self, subset: Option<Subset>, skipped: &mut Vec<Skipped>) -> Result<Vec<ImageFile>, DataError> {
        let Self { images, masks } = self;
        let listing = Listing::read(&images)?;
        skipped.extend(listing.unused());
        let mut files = Vec::new();
        for path in listing.images {
            match file_of(&path, &masks) {
                Some(mask) => files.push(ImageFile::new(path, FileLabel::Mask(mask), subset)),
                None => skipped.push(Skipped::new(path, SkipKind::NoMask, "no mask of its name")),
            }
        }
        let used: BTreeSet<&Path> = files.iter().filter_map(|file| file.label.mask()).collect();
        let unused = Listing::read(&masks)?.images.into_iter().filter(|mask| !used.contains(mask.as_path()));
        skipped.extend(unused.map(|mask| Skipped::new(mask, SkipKind::NoImage, "no image of its name")));
        if files.is_empty() {
            return Err(FolderError::NoMasks { images, masks }.into());
        }
        Ok(files)
    }
}

/// Returns the folder whose images are those of a data set, where masks lie beside them.
pub(crate) fn images_folder(root: &Path) -> Result<Option<PathBuf>, DataError> {
    Ok(MaskFolders::of(&Listing::read(root)?).map(|folders| folders.images))
}

/// Lists a data set of masks; `None` if the folder is none.
pub(crate) fn find(root: &Path, purpose: Purpose) -> Result<Option<Layout>, DataError> {
    let listing = Listing::read(root)?;
    let mut folders = Vec::new();
    match MaskFolders::of(&listing) {
        Some(found) => folders.push((None, found)),
        None => {
            for path in &listing.folders {
                let (Some(subset), Some(found)) = (Subset::of_folder(path), MaskFolders::of(&Listing::read(path)?))
                else {
                    continue;
                };
                folders.push((Some(subset), found));
            }
        }
    }
    if folders.is_empty() {
        return Ok(None);
    }
    let MaskClasses { classes, encoding } = MaskClasses::read(root)?;
    let mut skipped: Vec<Skipped> = listing.outside_classes().collect();
    let mut files = Vec::new();
    for (subset, found) in wanted(root, purpose, folders)? {
        files.extend(found.files(subset, &mut skipped)?);
    }
    Ok(Some(Layout { classes, files, skipped, labelling: Labelling::Masks(encoding) }))
}

/// The folders that the purpose reads.
fn wanted(
    root: &Path,
    purpose: Purpose,
    folders: Vec<(Option<Subset>, MaskFolders)>,
) -> Result<Vec<(Option<Subset>, MaskFolders)>, DataError> {
    let needed = match purpose {
        Purpose::Adapt | Purpose::Continue => Subset::Train,
        Purpose::Evaluate | Purpose::Unlabelled => Subset::Test,
    };
    if folders.iter().all(|(subset, _)| subset.is_some_and(|subset| subset != needed)) {
        return Err(FolderError::MissingSubset { path: root.into(), subset: needed }.into());
    }
    let is_read = |subset: Option<Subset>| match (purpose, subset) {
        (_, None) => true,
        (Purpose::Adapt | Purpose::Continue, Some(subset)) => subset != Subset::Test,
        (Purpose::Evaluate | Purpose::Unlabelled, Some(subset)) => subset == Subset::Test,
    };
    let mut seen = BTreeSet::new();
    for (subset, found) in folders.iter().filter_map(|(subset, found)| Some(((*subset)?, found))) {
        if !seen.insert(subset) {
            let second = found.images.parent().unwrap_or(root).file_name().unwrap_or_default();
            let (first, second) = (subset.name().to_owned(), second.to_string_lossy().into_owned());
            return Err(FolderError::DuplicateSubset { path: root.into(), subset, first, second }.into());
        }
    }
    Ok(folders.into_iter().filter(|(subset, _)| is_read(*subset)).collect())
}
