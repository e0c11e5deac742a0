//! Images of a collection: the newest of each class, and their files.

use fieldfit_collect::{CollectError, Contents, ImageId};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Images that are listed of a class.
const NEWEST: usize = 12;
/// Longest image that is answered with, in bytes.
pub(crate) const MOST_BYTES: u64 = 16 << 20;

/// An image of a collection, as it is listed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ListedImage {
    /// Its identity, in hexadecimal.
    pub id: String,
    /// Who says what its class is.
    pub origin: &'static str,
    /// Number of frames that it stands for.
    pub seen: u32,
}

/// Lists the newest images of each class, the newest first.
///
/// # Errors
/// If the collection cannot be read.
pub(crate) fn newest(collection: &Path) -> Result<BTreeMap<String, Vec<ListedImage>>, CollectError> {
    let contents = Contents::read(collection)?;
    let mut classes: BTreeMap<String, Vec<ListedImage>> = BTreeMap::new();
    for (image, label) in contents.images().rev() {
        let images = classes.entry(label.class.clone()).or_default();
        if images.len() < NEWEST {
            images.push(ListedImage { id: hex::encode(image.id.0), origin: label.origin.name(), seen: image.seen });
        }
    }
    Ok(classes)
}

/// Returns the file of an image, and its content type; `None` if the collection does not have it.
///
/// # Errors
/// If the collection cannot be read.
pub(crate) fn file(collection: &Path, id: &str) -> Result<Option<(PathBuf, &'static str)>, CollectError> {
    let mut bytes = [0; 32];
    if hex::decode_to_slice(id, &mut bytes).is_err() {
        return Ok(None);
    }
    let contents = Contents::read(collection)?;
    let Some((image, _)) = contents.image(&ImageId(bytes)) else { return Ok(None) };
    Ok(content_type(&image.extension).map(|kind| (contents.file(image), kind)))
}

/// Returns the content type of images with that extension, which a browser shows and does not run.
fn content_type(extension: &str) -> Option<&'static str> {
    match extension {
        "jpg" | "jpeg" => Some("image/jpeg"),
        "png" => Some("image/png"),
        "webp" => Some("image/webp"),
        "gif" => Some("image/gif"),
        "bmp" => Some("image/bmp"),
        _ => None,
    }
}
