//! Boxes of `infer --boxes`: parts of images that somebody else's detector found, read from a file of JSON lines.

use crate::error::CliError;
use fieldfit::Rect;
use fieldfit::data::{RgbImage, read_text};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Largest file of boxes.
const MAX_BYTES: u64 = 256 << 20;

/// Box of an image: a line of the file, `{"image":"frames/17.jpg","box":[left,top,width,height]}`. Other fields, such as the
/// detector's score, are not read.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ImageBox {
    /// The image, relative to the file's folder.
    pub image: PathBuf,
    /// Left, top, width and height in pixels of the upright image, as COCO has them.
    #[serde(rename = "box")]
    pub extent: [f64; 4],
}

impl ImageBox {
    /// Returns the pixels that the box touches.
    ///
    /// # Errors
    /// [`CliError::BoxOutside`] if it is not a box of that image.
    pub fn pixels(&self, image: &RgbImage) -> Result<Rect, CliError> {
        let [left, top, width, height] = self.extent;
        let side = |start: f64, length: f64, side: u32| {
            let (first, end) = (start.floor(), (start + length).ceil());
            let is_inside = first >= 0.0 && length > 0.0 && end <= f64::from(side);
            is_inside.then_some((first as u32, (end - first) as u32))
        };
        match (side(left, width, image.width()), side(top, height, image.height())) {
            (Some((left, width)), Some((top, height))) => Ok(Rect { left, top, width, height }),
            _ => Err(CliError::BoxOutside { extent: self.extent, width: image.width(), height: image.height() }),
        }
    }
}

/// Reads the boxes of a file, with the images' paths as seen from here.
///
/// # Errors
/// If the file cannot be read, or [`CliError::Boxes`] if a line is no box.
pub fn read(file: &Path) -> Result<Vec<ImageBox>, CliError> {
    let content = read_text(file, MAX_BYTES)?;
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut boxes = Vec::new();
    for (line, text) in
        content.split(|&byte| byte == b'\n').enumerate().filter(|(_, text)| !text.trim_ascii().is_empty())
    {
        let invalid = |source| CliError::Boxes { path: file.to_owned(), line: line + 1, source };
        let found: ImageBox = serde_json::from_slice(text).map_err(invalid)?;
        boxes.push(ImageBox { image: folder.join(&found.image), ..found });
    }
    Ok(boxes)
}

/// Box in results: left, top, width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Extent([u32; 4]);

impl From<Rect> for Extent {
    fn from(Rect { left, top, width, height }: Rect) -> Self {
        Self([left, top, width, height])
    }
}

impl std::fmt::Display for Extent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [left, top, width, height] = self.0;
        write!(f, "{width}×{height} at {left}, {top}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixels(extent: [f64; 4]) -> Result<Rect, CliError> {
        ImageBox { image: PathBuf::new(), extent }.pixels(&RgbImage::new(20, 10))
    }

    /// Catches: a box that loses the pixels that it touches at its edges, or is moved.
    #[test]
    fn a_box_is_every_pixel_that_it_touches() {
        let rect = |left, top, width, height| Rect { left, top, width, height };
        assert_eq!(pixels([0.0, 0.0, 20.0, 10.0]).unwrap(), rect(0, 0, 20, 10));
        assert_eq!(pixels([2.5, 3.0, 4.0, 2.25]).unwrap(), rect(2, 3, 5, 3));
    }

    /// Catches: a box that is cut to the image, or wraps around, without a word.
    #[test]
    fn a_box_that_is_not_of_the_image_is_refused() {
        let beyond = [[-0.5, 0.0, 4.0, 4.0], [18.0, 0.0, 3.0, 4.0], [0.0, 9.0, 4.0, 1.5]];
        let none =
            [[1.0, 1.0, 0.0, 4.0], [1.0, 1.0, 4.0, -1.0], [f64::NAN, 0.0, 1.0, 1.0], [0.0, 0.0, f64::INFINITY, 1.0]];
        for extent in beyond.into_iter().chain(none) {
            let error = pixels(extent).unwrap_err().to_string();
            assert!(error.contains("20 × 10"), "{error}");
        }
    }
}
