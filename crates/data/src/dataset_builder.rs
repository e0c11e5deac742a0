//! Data set builder: labelled images from memory, such as camera frames, or the messages of a recording.

use crate::dataset::{Dataset, Group, Sample};
use crate::duplicates;
use crate::error::DataError;
use crate::frame::Frame;
use crate::image_source::{ImageSource, MemoryImage};
use crate::labelling::Labelling;
use crate::layout::label_problem;
use crate::target::Target;
use fieldfit_tensor::Task;
use std::collections::BTreeSet;

/// Builder of a [`Dataset`] from labelled images in memory: with classes, values or labels. Its samples have no path: messages
/// name them by their number, such as `sample 17`.
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
#[derive(Debug, Clone)]
#[must_use = "a builder makes a data set when `build` is called"]
pub struct DatasetBuilder {
    labelling: Labelling,
    /// Names of the targets or labels; of classes, in the order in which they came.
    names: Vec<String>,
    labelled: Vec<Labelled>,
}

#[derive(Debug, Clone)]
struct Labelled {
    image: MemoryImage,
    target: Target,
    group: Option<String>,
}

impl Default for DatasetBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl DatasetBuilder {
    /// Returns a builder of images that have a class each, without images.
    pub const fn new() -> Self {
        Self { labelling: Labelling::Classes, names: Vec::new(), labelled: Vec::new() }
    }

    /// Returns a builder of images that have a number for each of these targets, whose names end in their units, as in
    /// `tilt [deg]`.
    pub const fn of_values(targets: Vec<String>) -> Self {
        Self { labelling: Labelling::Values, names: targets, labelled: Vec::new() }
    }

    /// Returns a builder of images that have any number of these labels.
    pub const fn of_labels(labels: Vec<String>) -> Self {
        Self { labelling: Labelling::Labels { is_open: false }, names: labels, labelled: Vec::new() }
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
    /// class's name, [`DataError::SampleTarget`] if the builder is of values or labels. The builder is as it was then.
    pub fn push(&mut self, frame: &Frame<'_>, class: &str, group: Option<&str>) -> Result<(), DataError> {
        let number = self.labelled.len();
        self.require(self.labelling == Labelling::Classes, "a class")?;
        if let Some(problem) = label_problem(class) {
            return Err(DataError::ClassName { number, class: class.into(), problem });
        }
        let image = MemoryImage::new(number, frame)?;
        let position = self.names.iter().position(|name| name == class);
        let position = position.unwrap_or_else(|| {
            self.names.push(class.into());
            self.names.len() - 1
        });
        self.add(image, Target::Class(position as u32), group);
        Ok(())
    }

    /// Copies an image with a value for each target of the builder, in their order.
    ///
    /// # Errors
    /// [`DataError::Sample`] if the frame is malformed or cannot be decoded, [`DataError::SampleTarget`] if the values are not
    /// finite, or not one for each target of a builder [of values](Self::of_values).
    pub fn push_values(&mut self, frame: &Frame<'_>, values: &[f32], group: Option<&str>) -> Result<(), DataError> {
        self.require(self.labelling == Labelling::Values, "values")?;
        self.require(values.len() == self.names.len(), "a value for each target")?;
        self.require(values.iter().all(|value| value.is_finite()), "finite values")?;
        let image = MemoryImage::new(self.labelled.len(), frame)?;
        self.add(image, Target::Values(values.to_vec()), group);
        Ok(())
    }

    /// Copies an image with those of the builder's labels that it has.
    ///
    /// # Errors
    /// [`DataError::Sample`] if the frame is malformed or cannot be decoded, [`DataError::SampleTarget`] if a label is none of a
    /// builder [of labels](Self::of_labels).
    pub fn push_labels(&mut self, frame: &Frame<'_>, labels: &[&str], group: Option<&str>) -> Result<(), DataError> {
        self.require(self.labelling.task() == Task::MultiLabel, "labels")?;
        let positions: Option<BTreeSet<u32>> = labels
            .iter()
            .map(|label| self.names.iter().position(|name| name == label).map(|position| position as u32))
            .collect();
        self.require(positions.is_some(), "labels of the builder")?;
        let image = MemoryImage::new(self.labelled.len(), frame)?;
        self.add(image, Target::Labels(positions.into_iter().flatten().collect()), group);
        Ok(())
    }

    fn require(&self, holds: bool, expected: &'static str) -> Result<(), DataError> {
        let (number, task) = (self.labelled.len(), self.labelling.task());
        if holds { Ok(()) } else { Err(DataError::SampleTarget { number, task, expected }) }
    }

    fn add(&mut self, image: MemoryImage, target: Target, group: Option<&str>) {
        self.labelled.push(Labelled { image, target, group: group.map(str::to_owned) });
    }

    /// Builds the data set, with its classes sorted and its samples in the order in which they were pushed.
    ///
    /// # Errors
    /// [`DataError::NoSamples`] if there are none; [`DataError::NoTargets`] without targets or labels; [`DataError::TargetName`] if one
    /// cannot be called so, or two are called alike.
    pub fn build(self) -> Result<Dataset, DataError> {
        if self.is_empty() {
            return Err(DataError::NoSamples);
        }
        let mut seen = BTreeSet::new();
        for name in &self.names {
            let is_second = !seen.insert(name);
            if let Some(problem) = label_problem(name).or(is_second.then_some("the name of another one")) {
                return Err(DataError::TargetName { name: name.clone(), problem });
            }
        }
        if self.names.is_empty() {
            return Err(DataError::NoTargets);
        }
        let Self { labelling, names, .. } = &self;
        let mut classes = names.clone();
        if *labelling == Labelling::Classes {
            classes.sort();
        }
        let sorted: Vec<u32> = names.iter().map(|name| classes.partition_point(|other| other < name) as u32).collect();
        let hashes: Vec<[u8; 32]> = self.labelled.iter().map(|labelled| *labelled.image.sha256()).collect();
        let samples = self.labelled.into_iter().map(|Labelled { image, target, group: group_name }| Sample {
            target: match target {
                Target::Class(class) => Target::Class(sorted[class as usize]),
                target @ (Target::Mask(_) | Target::Values(_) | Target::Labels(_)) => target,
            },
            group: group_name.as_deref().map_or_else(|| Group::of_content(image.sha256()), Group::named),
            group_name,
            subset: None,
            is_pseudo_labelled: false,
            image: ImageSource::Memory(image),
        });
        let samples = samples.collect();
        let mut dataset =
            Dataset { classes, samples, skipped: Vec::new(), notes: Vec::new(), labelling: self.labelling };
        dataset.notes = duplicates::notes(&dataset, &hashes);
        Ok(dataset)
    }
}
