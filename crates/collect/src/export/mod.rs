//! Export: copies a collection's images and labels into the formats of other tools.

mod image_folder;
mod json_lines;
mod web_dataset;

use crate::contents::{Contents, ImageId, StoredImage};
use crate::error::CollectError;
use crate::label::Label;
use fieldfit_data::{Group, MAX_FILE_BYTES};
use fieldfit_durable::read_bounded;
use serde::Serialize;
use std::fs;
use std::io;
use std::path::Path;
use std::str::FromStr;

/// Format of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Export {
    /// One folder a class, as torchvision's `ImageFolder` reads it. File names begin with the group.
    ImageFolder,
    /// Images and `metadata.jsonl`, as Hugging Face's `imagefolder` reads it; with origins, groups and confidences.
    JsonLines,
    /// A tar archive of `KEY.jpg`, `KEY.cls` and `KEY.json`, as `webdataset` reads it.
    WebDataset,
}

impl Export {
    /// All formats.
    pub const ALL: [Self; 3] = [Self::ImageFolder, Self::JsonLines, Self::WebDataset];

    /// Name of the format in flags.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ImageFolder => "image-folder",
            Self::JsonLines => "jsonl",
            Self::WebDataset => "webdataset",
        }
    }
}

impl FromStr for Export {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|export| export.name() == text);
        found.ok_or_else(|| format!("expected one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// Result of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExportedImages {
    /// Number of images.
    pub images: usize,
    /// Number of classes.
    pub classes: usize,
}

impl Contents {
    /// Exports the images and their labels to a new path, which is there when all of it is.
    ///
    /// # Errors
    /// [`CollectError::ExportExists`]; [`CollectError::Empty`]; [`CollectError::DamagedImage`] if a file is not what was stored;
    /// [`CollectError::Export`] if the export can't be written. Nothing is left at the path then.
    pub fn export(&self, to: &Path, format: Export) -> Result<ExportedImages, CollectError> {
        if fs::symlink_metadata(to).is_ok() {
            return Err(CollectError::ExportExists { path: to.to_owned() });
        }
        let classes = self.classes();
        if classes.is_empty() {
            return Err(CollectError::Empty { path: self.path().to_owned() });
        }
        match format {
            Export::ImageFolder => image_folder::write(self, to),
            Export::JsonLines => json_lines::write(self, to),
            Export::WebDataset => web_dataset::write(self, to, &classes),
        }?;
        Ok(ExportedImages { images: self.len(), classes: classes.len() })
    }

    /// Names of the classes, sorted.
    fn classes(&self) -> Vec<&str> {
        self.per_class().keys().map(String::as_str).collect()
    }
}

/// What an image's label is in JSON.
#[derive(Serialize)]
struct Description<'a> {
    /// Class, under the name that tools expect.
    label: &'a str,
    origin: String,
    confidence: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a str>,
    session: &'a str,
    group: Option<&'a str>,
    /// Number of frames that the image stands for.
    seen: u32,
}

impl<'a> Description<'a> {
    fn of(image: &'a StoredImage, label: &'a Label) -> Self {
        Self {
            label: &label.class,
            origin: label.origin.to_string(),
            confidence: label.confidence,
            by: label.by.as_deref(),
            session: &image.session,
            group: image.group.as_deref(),
            seen: image.seen,
        }
    }
}

/// Reads an image's file, and checks that it is what was stored.
fn read(contents: &Contents, image: &StoredImage) -> Result<Vec<u8>, CollectError> {
    let path = contents.file(image);
    let bytes = match read_bounded(&path, MAX_FILE_BYTES) {
        Ok(bytes) => bytes,
        Err(error) => return Err(CollectError::Export { path, source: io::Error::other(error) }),
    };
    if ImageId::of(&bytes) == image.id { Ok(bytes) } else { Err(CollectError::DamagedImage { path }) }
}

/// Name of an image's file in an export: its group, and its content. `^([0-9a-f]+)_` is the group's pattern.
fn name(image: &StoredImage) -> String {
    let StoredImage { id, group, extension, .. } = image;
    let group = group.as_deref().map_or(Group::of_content(&id.0), Group::named);
    format!("{}_{}.{extension}", hex::encode(&group.0[..6]), &id.to_string()[..20])
}

/// Writes a folder beside `to`, and gives it that name once it is whole.
fn write_folder(to: &Path, write: impl FnOnce(&Path) -> Result<(), CollectError>) -> Result<(), CollectError> {
    let failed = |source| CollectError::Export { path: to.to_owned(), source };
    let folder = tempfile::Builder::new().prefix(".export-").tempdir_in(parent(to)).map_err(failed)?;
    write(folder.path())?;
    fs::rename(folder.path(), to).map_err(failed)?;
    // It has another name now: there is nothing left to remove.
    let _ = folder.keep();
    Ok(())
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."))
}
