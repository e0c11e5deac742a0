//! Segmentation: the class of each pixel of a frame, and the version that answered.

use crate::output_file::{OutputKind, write_output};
use crate::{Error, Version};
use fieldfit_adapt::metrics::prediction;
use fieldfit_data::{DataError, Frame, Masks, encode_mask, encode_overlay, nearest_pixel};
use std::path::Path;
use std::sync::Arc;

/// Segmentation of one frame: a class for each pixel of the network's output, `[H, W]`, and the version that answered.
///
/// The output shows the whole frame, at a size of its own: [`resized`](Self::resized) brings it to the frame's.
#[derive(Debug, Clone)]
pub struct Segmentation {
    version: Version,
    labels: Arc<[String]>,
    height: usize,
    width: usize,
    classes: Vec<u16>,
}

impl Segmentation {
    /// Takes the class of each pixel from its logits, `[height, width, columns]`, of which the first are the labels'.
    pub(crate) fn new(
        version: Version,
        labels: &Arc<[String]>,
        [height, width]: [usize; 2],
        logits: &[f32],
    ) -> Result<Self, Error> {
        let columns = logits.len() / (height * width).max(1);
        if let Some(index) = logits.iter().position(|logit| !logit.is_finite()) {
            return Err(Error::Logit { version, class: index % columns.max(1), value: logits[index] });
        }
        let class = |pixel: &[f32]| prediction(&pixel[..labels.len()]) as u16;
        let classes = logits.chunks_exact(columns.max(1)).map(class).collect();
        Ok(Self { version, labels: labels.clone(), height, width, classes })
    }

    /// Returns the version that answered.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Returns the class names, in the order of the classes.
    pub const fn labels(&self) -> &Arc<[String]> {
        &self.labels
    }

    /// Returns the number of rows.
    pub const fn height(&self) -> usize {
        self.height
    }

    /// Returns the number of pixels of a row.
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Returns the class of each pixel, `[height, width]`, row by row: an index of [`labels`](Self::labels).
    pub fn classes(&self) -> &[u16] {
        &self.classes
    }

    /// Returns the segmentation at another size, such as the frame's: each pixel has the class of the nearest one.
    #[must_use]
    pub fn resized(&self, height: usize, width: usize) -> Self {
        let row = |row: usize| &self.classes[nearest_pixel(row, height, self.height) * self.width..][..self.width];
        let columns = |row: usize| (0..width).map(move |column| (row, nearest_pixel(column, width, self.width)));
        let classes = (0..height).flat_map(columns).map(|(target, column)| row(target)[column]).collect();
        Self { height, width, classes, ..self.clone() }
    }

    /// Writes the segmentation at the frame's size: to `mask` as a palette PNG whose indices are the classes, and to `overlay` as
    /// a PNG of the frame under the classes' colours. Each file is written whole or not at all,
    /// in place of an earlier one that was written so.
    ///
    /// # Errors
    /// If the frame cannot be decoded, there are more classes than a palette has colours, or a file cannot be written.
    pub fn write(&self, frame: &Frame<'_>, mask: &Path, overlay: &Path) -> Result<(), Error> {
        let image = frame.to_rgb()?;
        let (width, height) = image.dimensions();
        let found = self.labels.len();
        let most = usize::from(Masks::IGNORED);
        if found > most {
            return Err(DataError::TooManyLabels { found, most }.into());
        }
        let resized = self.resized(height as usize, width as usize);
        let classes: Vec<u8> = resized.classes.iter().map(|class| *class as u8).collect();
        write_output(mask, OutputKind::Mask, &encode_mask(width, height, &classes)?)?;
        write_output(overlay, OutputKind::Mask, &encode_overlay(&image, &classes)?)
    }

    /// Returns the share of pixels of each class, 0..1, in the order of [`labels`](Self::labels).
    pub fn shares(&self) -> Vec<f64> {
        let mut counts = vec![0_usize; self.labels.len()];
        self.classes.iter().for_each(|class| counts[usize::from(*class)] += 1);
        counts.into_iter().map(|count| count as f64 / self.classes.len().max(1) as f64).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segmentation(logits: &[f32]) -> Result<Segmentation, Error> {
        Segmentation::new(Version::Base, &["a".to_owned(), "b".to_owned()].into(), [1, 3], logits)
    }

    /// Catches: a class of another head's columns, rows and columns that change places, shares that do not add up.
    #[test]
    fn pixels_have_the_class_of_their_largest_logit() {
        let found = segmentation(&[0.0, 1.0, 9.0, 1.0, 0.0, 9.0, 0.5, 0.7, 9.0]).unwrap();
        assert_eq!(found.classes(), [1, 0, 1]);
        assert!(found.shares().iter().zip([1.0 / 3.0, 2.0 / 3.0]).all(|(one, other)| (one - other).abs() < 1e-12));
        let large = found.resized(2, 6);
        assert_eq!((large.height(), large.width()), (2, 6));
        assert_eq!(large.classes(), [1, 1, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1]);
    }

    /// Catches: a logit that is no number and a class all the same.
    #[test]
    fn logits_that_are_no_numbers_are_refused() {
        let error = segmentation(&[0.0, 1.0, 1.0, f32::NAN, 0.0, 9.0]).unwrap_err();
        assert!(matches!(error, Error::Logit { class: 1, .. }), "{error}");
    }
}
