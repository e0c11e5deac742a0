//! Image source: where a sample's image is read from, a file or memory.

use crate::decode;
use crate::encode::encode_thumbnail;
use crate::error::DataError;
use crate::frame::Frame;
use image::RgbImage;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Source of a sample's image. It is displayed as its path, or as `sample 17`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource {
    /// A file, which is read whenever the image is needed.
    File(PathBuf),
    /// An image in memory, shared by the copies of a data set.
    Memory(MemoryImage),
}

/// Image in memory, decoded once when its data set was built.
#[derive(Clone, PartialEq, Eq)]
pub struct MemoryImage {
    number: usize,
    sha256: [u8; 32],
    content: Content,
}

#[derive(Clone, PartialEq, Eq)]
enum Content {
    /// Bytes of an image file.
    Encoded(Arc<[u8]>),
    /// RGB, 8 bits.
    Pixels(Arc<RgbImage>),
}

impl ImageSource {
    /// Returns the file; `None` for an image in memory.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Memory(_) => None,
        }
    }

    /// Returns the file's name without its folders; of an image in memory what it is displayed as.
    pub fn file_name(&self) -> Cow<'_, str> {
        match self {
            Self::File(path) => path.file_name().unwrap_or_default().to_string_lossy(),
            Self::Memory(image) => image.to_string().into(),
        }
    }

    /// Returns a thumbnail: a JPEG whose longer side has at most `side` pixels.
    ///
    /// # Errors
    /// If the image cannot be read or decoded, or the thumbnail cannot be encoded.
    pub fn thumbnail(&self, side: u32) -> Result<Vec<u8>, DataError> {
        encode_thumbnail(self.decode()?.into_owned(), side).map_err(|error| self.error(error))
    }

    /// Reads and decodes the image.
    pub(crate) fn decode(&self) -> Result<Cow<'_, RgbImage>, DataError> {
        match self {
            Self::File(path) => decode::open(path).map(Cow::Owned),
            Self::Memory(image) => match &image.content {
                Content::Encoded(bytes) => decode::decode(bytes).map(Cow::Owned).map_err(|error| self.error(error)),
                Content::Pixels(pixels) => Ok(Cow::Borrowed(pixels)),
            },
        }
    }

    /// What identifies the image in a digest of its data set: name and length of a file, the content of one in memory.
    pub(crate) fn identity(&self) -> (String, u64) {
        match self {
            Self::File(path) => {
                let bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
                (self.file_name().into_owned(), bytes)
            }
            Self::Memory(image) => (format!("memory {:02x?}", image.sha256), image.bytes()),
        }
    }

    /// Adds the image's name to an error.
    pub(crate) fn error(&self, error: DataError) -> DataError {
        match self {
            Self::File(path) => error.of(path),
            Self::Memory(image) => DataError::Sample { number: image.number, source: Box::new(error) },
        }
    }
}

impl MemoryImage {
    /// Copies and decodes a frame: encoded bytes are kept as they are, pixels as RGB.
    ///
    /// # Errors
    /// If the frame is malformed, or cannot be decoded.
    pub(crate) fn new(number: usize, frame: &Frame<'_>) -> Result<Self, DataError> {
        let named = |source| DataError::Sample { number, source: Box::new(source) };
        match frame {
            Frame::Encoded(bytes) => {
                decode::decode(bytes).map_err(named)?;
                Ok(Self { number, sha256: Sha256::digest(bytes).into(), content: Content::Encoded((*bytes).into()) })
            }
            Frame::Pixels(pixels) => {
                let image = pixels.to_rgb().map_err(named)?;
                let size = [image.width(), image.height()].map(u32::to_le_bytes);
                let sha256 = Sha256::new().chain_update(size.as_flattened()).chain_update(image.as_raw()).finalize();
                Ok(Self { number, sha256: sha256.into(), content: Content::Pixels(image.into()) })
            }
        }
    }

    /// Returns its position, from 0, among the images that its data set was built from.
    pub const fn number(&self) -> usize {
        self.number
    }

    /// Returns the bytes that it takes in memory.
    pub fn bytes(&self) -> u64 {
        match &self.content {
            Content::Encoded(bytes) => bytes.len() as u64,
            Content::Pixels(image) => image.as_raw().len() as u64,
        }
    }

    /// SHA-256 hash of its content.
    pub(crate) const fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }
}

impl fmt::Display for ImageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Memory(image) => image.fmt(f),
        }
    }
}

impl fmt::Display for MemoryImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sample {}", self.number)
    }
}

impl fmt::Debug for MemoryImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryImage")
            .field("number", &self.number)
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}
