//! Data set builder: labelled images from memory, such as camera frames, or the messages of a recording.

use crate::dataset::{Dataset, Group, Sample};
use crate::duplicates;
use crate::error::DataError;
use crate::frame::Frame;
use crate::image_source::{ImageSource, MemoryImage};
use crate::layout::label_problem;
use crate::target::Target;
use std::collections::BTreeSet;

/// Builder of a [`Dataset`] from labelled images in memory. Its samples have no path: messages name them by their number, such
/// as `sample 17`.
///
/// The images stay in memory as long as the data set: encoded bytes as they are, pixels as RGB of 3 bytes a pixel. Pixels of a
/// YUV format are converted in full size, whereas [`Preprocessor`](crate::Preprocessor) scales them first, so both differ
/// by rounding.
///
/// ```
/// use fieldfit_data::{DatasetBuilder, Frame, PixelFormat, Pixels};
///
/// let mut images = DatasetBuilder::new();
/// for (shade, class) in [(20, "night"), (200, "day")] {
///     let data = vec![shade; 32 * 24 * 3];
///     images.push(&Frame::Pixels(Pixels::packed(&data, PixelFormat::Bgr8, 32, 24)), class, None)?;
/// }
/// assert_eq!(images.build()?.classes, ["day", "night"]);
/// # Ok::<(), fieldfit_data::DataError>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a builder makes a data set when `build` is called"]
pub struct DatasetBuilder {
    labelled: Vec<Labelled>,
}

#[derive(Debug, Clone)]
struct Labelled {
    image: MemoryImage,
    class: String,
    group: Option<String>,
}

impl DatasetBuilder {
    /// Returns a builder without images.
    pub const fn new() -> Self {
        Self { labelled: Vec::new() }
    }

    /// Returns the number of images.
    pub const fn len(&self) -> usize {
        self.labelled.len()
    }

    /// Returns whether there are no images.
    pub const fn is_empty(&self) -> bool {
        self.labelled.is_empty()
    }

    /// Copies an image with its class. Images of one group, such as the frames of a sequence, stay in one slice when the data
    /// set is split; without a group, images with the same content do.
    ///
    /// # Errors
    /// [`DataError::Sample`] if the frame is malformed or cannot be decoded, [`DataError::ClassName`] if no label can have the
    /// class's name. The builder is as it was then.
    pub fn push(&mut self, frame: &Frame<'_>, class: &str, group: Option<&str>) -> Result<(), DataError> {
        let number = self.labelled.len();
        if let Some(problem) = label_problem(class) {
            return Err(DataError::ClassName { number, class: class.into(), problem });
        }
        let image = MemoryImage::new(number, frame)?;
        self.labelled.push(Labelled { image, class: class.into(), group: group.map(str::to_owned) });
        Ok(())
    }

    /// Builds the data set, with its classes sorted and its samples in the order in which they were pushed.
    ///
    /// # Errors
    /// [`DataError::NoSamples`] if there are none.
    pub fn build(self) -> Result<Dataset, DataError> {
        if self.is_empty() {
            return Err(DataError::NoSamples);
        }
        let classes: BTreeSet<&String> = self.labelled.iter().map(|labelled| &labelled.class).collect();
        let classes: Vec<String> = classes.into_iter().cloned().collect();
        let hashes: Vec<[u8; 32]> = self.labelled.iter().map(|labelled| *labelled.image.sha256()).collect();
        let samples = self.labelled.into_iter().map(|Labelled { image, class, group: group_name }| Sample {
            target: Target::Class(classes.partition_point(|other| *other < class) as u32),
            group: group_name.as_deref().map_or_else(|| Group::of_content(image.sha256()), Group::named),
            group_name,
            subset: None,
            is_pseudo_labelled: false,
            image: ImageSource::Memory(image),
        });
        let samples = samples.collect();
        let mut dataset = Dataset { classes, samples, skipped: Vec::new(), notes: Vec::new(), encoding: None };
        dataset.notes = duplicates::notes(&dataset, &hashes);
        Ok(dataset)
    }
}
