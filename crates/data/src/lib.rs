//! Data pipeline: camera frames, image folders, the three-way split, augmentation, corruptions and batches.
//!
//! - [`Preprocessor`] turns a [`Frame`] into the network's input, the same way for a robot's camera, an evaluation and
//!   a training step.
//! - [`Dataset`] opens a folder of images, names what it could not read, and splits the rest into train, validation and
//!   gate slices ([`Dataset::split`]) so that an image stays in its slice from one adaptation to the next.
//!   [`DatasetBuilder`] takes images from memory instead.
//! - [`Target`] is what an image is labelled with: a class, a mask that has one for each pixel, numbers, or any number of labels.
//! - [`Loader`] decodes and augments on background threads and delivers [`Batch`]es in a fixed order with fixed content;
//!   [`ReadFailures`] records images that become unreadable meanwhile.
//! - [`Corruption`] simulates camera faults, to measure a model's robustness.
//!
//! Files are opened bounded and without waiting: a pipe or device among images is an unreadable image. This crate runs no
//! network, trains nothing and writes no file.
//!
//! ```
//! use fieldfit_data::{Frame, PixelFormat, Pixels, Preprocessor};
//! use fieldfit_tensor::{Filter, Fit, Preprocessing};
//!
//! let recipe =
//!     Preprocessing { size: 224, fit: Fit::Crop, crop: 0.875, mean: [127.0; 3], std: [128.0; 3], filter: Filter::Bicubic };
//! let mut preprocessor = Preprocessor::new(&recipe, 96, recipe.crop)?;
//! let camera = vec![90; 640 * 480 * 3];
//! let frame = Frame::Pixels(Pixels::packed(&camera, PixelFormat::Bgr8, 640, 480));
//! let mut input = vec![0.0; 96 * 96 * 3];
//! preprocessor.prepare(&frame, &mut input)?;
//! assert!(input.iter().all(|value| *value == (90.0 - 127.0) / 128.0));
//! # Ok::<(), fieldfit_data::DataError>(())
//! ```

mod augmentation;
mod corruption;
mod dataset;
mod dataset_builder;
mod decode;
mod duplicates;
mod encode;
mod error;
mod frame;
mod image_buffer;
mod image_source;
mod json_object;
mod labelling;
mod layout;
mod listing;
mod loader;
mod mask;
mod mask_image;
mod mask_layout;
mod perturbation;
mod preprocessor;
mod read_failures;
mod replay;
mod resampler;
mod rng;
mod skipped;
mod split;
mod table_layout;
mod target;
mod yuv;

pub use augmentation::Augmentation;
pub use corruption::{Corruption, Severity};
pub use dataset::{Dataset, FolderOptions, Group, LabelledFile, Sample, ScanProgress, UNREADABLE_LIMIT};
pub use dataset_builder::DatasetBuilder;
pub use decode::{EXTENSIONS, MAX_FILE_BYTES, MAX_PIXELS, encoded_extension};
pub use encode::{encode_jpeg, encode_thumbnail};
pub use error::{DataError, FolderError, ReplayError, SplitError};
pub use frame::{Frame, PixelFormat, Pixels, Plane, Rect};
pub use image::RgbImage;
pub use image_source::{ImageSource, MemoryImage};
pub use json_object::json_object;
pub use layout::{Purpose, Subset, images_below};
pub use loader::{Batch, Loader, LoaderOptions};
pub use mask_image::{class_colour, encode_mask, encode_overlay, is_written_mask};
pub use perturbation::Perturbation;
pub use preprocessor::Preprocessor;
pub use read_failures::{ReadFailure, ReadFailures};
pub use rng::shuffled;
pub use skipped::{SkipKind, SkipSummary, Skipped};
pub use split::{Fractions, MIN_IMAGES_PER_SLICE, Split};
pub use target::{LabelSets, MaskFile, Masks, Target, TargetValues, Targets, nearest_pixel};
