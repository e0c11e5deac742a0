//! Target: what an image is labelled with, by the data set's task, and the targets of a batch.

use std::path::PathBuf;

/// Target of one image.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// Its class: an index into [`Dataset::classes`](crate::Dataset::classes).
    Class(u32),
    /// The file of its mask, which has a class for each pixel.
    Mask(MaskFile),
    /// A number for each of [`Dataset::classes`](crate::Dataset::classes), the targets, in its unit; finite.
    Values(Vec<f32>),
    /// The labels that it has: indices into [`Dataset::classes`](crate::Dataset::classes), ascending.
    Labels(Vec<u32>),
}

/// File of a mask: a PNG of the image's size whose values or colours are classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskFile {
    /// The file.
    pub path: PathBuf,
    /// SHA-256 of the file when the data set was opened.
    pub sha256: [u8; 32],
}

impl Target {
    /// Returns the class of an image that has one.
    pub const fn class(&self) -> Option<u32> {
        match self {
            Self::Class(class) => Some(*class),
            Self::Mask(_) | Self::Values(_) | Self::Labels(_) => None,
        }
    }
}

/// Targets of a batch of images, in their order.
#[derive(Debug, Clone, PartialEq)]
pub enum Targets {
    /// The class of each image.
    Classes(Vec<u32>),
    /// The classes of each image's pixels.
    Masks(Masks),
    /// The values of each image's targets.
    Values(TargetValues),
    /// The labels of each image.
    Labels(LabelSets),
}

impl Targets {
    /// Returns an empty list of the same kind.
    pub fn empty(&self) -> Self {
        match self {
            Self::Classes(_) => Self::Classes(Vec::new()),
            Self::Masks(Masks { height, width, .. }) => {
                Self::Masks(Masks { height: *height, width: *width, values: Vec::new() })
            }
            Self::Values(values) => Self::Values(TargetValues { targets: values.targets, values: Vec::new() }),
            Self::Labels(sets) => Self::Labels(LabelSets { labels: sets.labels, values: Vec::new() }),
        }
    }

    /// Appends the target at a position of another list of the same kind; of another kind, nothing.
    ///
    /// # Panics
    /// If there is no such target.
    pub fn push_from(&mut self, other: &Self, position: usize) {
        match (self, other) {
            (Self::Classes(own), Self::Classes(other)) => own.push(other[position]),
            (Self::Masks(own), Self::Masks(other)) => own.values.extend_from_slice(other.image(position)),
            (Self::Values(own), Self::Values(other)) => own.values.extend_from_slice(other.image(position)),
            (Self::Labels(own), Self::Labels(other)) => own.values.extend_from_slice(other.image(position)),
            (Self::Classes(_) | Self::Masks(_) | Self::Values(_) | Self::Labels(_), _) => {}
        }
    }

    /// Appends another list of the same kind; of another kind, nothing.
    pub fn extend(&mut self, other: &Self) {
        match (self, other) {
            (Self::Classes(own), Self::Classes(other)) => own.extend_from_slice(other),
            (Self::Masks(own), Self::Masks(other)) => own.values.extend_from_slice(&other.values),
            (Self::Values(own), Self::Values(other)) => own.values.extend_from_slice(&other.values),
            (Self::Labels(own), Self::Labels(other)) => own.values.extend_from_slice(&other.values),
            (Self::Classes(_) | Self::Masks(_) | Self::Values(_) | Self::Labels(_), _) => {}
        }
    }

    /// Iterates over what counts and has one class: images by their position, or the pixels of all masks by theirs in `[N, H, W]`.
    pub fn counted(&self) -> Box<dyn Iterator<Item = (usize, usize)> + '_> {
        match self {
            Self::Classes(classes) => Box::new(classes.iter().map(|class| *class as usize).enumerate()),
            Self::Masks(masks) => {
                let is_counted = |(_, class): &(usize, &u8)| **class != Masks::IGNORED;
                let pixels = masks.values.iter().enumerate().filter(is_counted);
                Box::new(pixels.map(|(pixel, class)| (pixel, usize::from(*class))))
            }
            Self::Values(_) | Self::Labels(_) => Box::new(std::iter::empty()),
        }
    }

    /// Returns the class of each image; empty where images have no single one.
    pub fn classes(&self) -> &[u32] {
        match self {
            Self::Classes(classes) => classes,
            Self::Masks(_) | Self::Values(_) | Self::Labels(_) => &[],
        }
    }
}

impl Default for Targets {
    /// Classes of no image.
    fn default() -> Self {
        Self::Classes(Vec::new())
    }
}

/// Values of a batch, `[N, targets]`, f32, each in its target's unit.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TargetValues {
    /// Targets of an image.
    pub targets: usize,
    /// `N · targets` values.
    pub values: Vec<f32>,
}

impl TargetValues {
    /// Returns the values of the image at that position.
    ///
    /// # Panics
    /// If there is no such image.
    pub fn image(&self, position: usize) -> &[f32] {
        &self.values[position * self.targets..][..self.targets]
    }
}

/// Labels of a batch, `[N, labels]`: 1 where an image has the label, else 0.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSets {
    /// Labels that there are.
    pub labels: usize,
    /// `N · labels` of 0 and 1.
    pub values: Vec<u8>,
}

impl LabelSets {
    /// Returns the labels of the image at that position.
    ///
    /// # Panics
    /// If there is no such image.
    pub fn image(&self, position: usize) -> &[u8] {
        &self.values[position * self.labels..][..self.labels]
    }

    /// Appends an image by the indices of its labels.
    pub fn push(&mut self, labels: &[u32]) {
        let start = self.values.len();
        self.values.resize(start + self.labels, 0);
        labels.iter().for_each(|label| self.values[start + *label as usize] = 1);
    }
}

/// Masks of a batch, `[N, H, W]`, u8: the class of each pixel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Masks {
    /// Rows of a mask.
    pub height: usize,
    /// Pixels of a row.
    pub width: usize,
    /// `N · height · width` classes, [`Masks::IGNORED`] where a pixel does not count.
    pub values: Vec<u8>,
}

impl Masks {
    /// Value of a pixel that counts in no loss and no metric.
    pub const IGNORED: u8 = 255;

    /// Returns the number of pixels of a mask.
    pub const fn area(&self) -> usize {
        self.height * self.width
    }

    /// Returns the mask of the image at that position, row by row.
    ///
    /// # Panics
    /// If there is no such image.
    pub fn image(&self, position: usize) -> &[u8] {
        &self.values[position * self.area()..][..self.area()]
    }

    /// Iterates over the mask of an image at another size, row by row: the class of the pixel that is nearest to each centre.
    ///
    /// # Panics
    /// If there is no such image.
    pub fn nearest(&self, image: usize, [height, width]: [usize; 2]) -> impl Iterator<Item = u8> {
        let mask = self.image(image);
        (0..height * width).map(move |pixel| {
            let row = nearest_pixel(pixel / width, height, self.height);
            mask[row * self.width + nearest_pixel(pixel % width, width, self.width)]
        })
    }
}

/// Returns the position among `source` pixels that is nearest to the centre of pixel `position` of `target`.
pub const fn nearest_pixel(position: usize, target: usize, source: usize) -> usize {
    (2 * position + 1) * source / (2 * target)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: pixels that are taken from half a pixel beside.
    #[test]
    fn the_nearest_pixel_is_that_of_the_centre() {
        let all = |target: usize, source: usize| {
            (0..target).map(|position| nearest_pixel(position, target, source)).collect::<Vec<_>>()
        };
        assert_eq!(all(6, 3), [0, 0, 1, 1, 2, 2]);
        assert_eq!(all(3, 6), [1, 3, 5]);
        assert_eq!(all(4, 4), [0, 1, 2, 3]);
    }
}
