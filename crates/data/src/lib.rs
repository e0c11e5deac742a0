//! What a network is fed: frames of a camera and folders of images.
//!
//! - [`Preprocessor`] turns a [`Frame`] into the network's input, the same way for a robot's camera, an evaluation and
//!   a training step.
//! - [`Dataset`] opens a folder of images, knows which are unreadable, and splits the others into train, validation and
//!   gate ([`Dataset::split`]) so that an image stays where it is from one adaptation to the next.
//! - [`Loader`] decodes and augments in background threads and delivers [`Batch`]es in a fixed order with fixed content.
//! - [`Corruption`] does to images what cameras do in the field, to measure what that costs a model.
//!
//! This crate runs no network, trains nothing and writes no file.
//!
//! ```
//! use fieldfit_data::{Frame, PixelFormat, Pixels, Preprocessor};
//! use fieldfit_tensor::{Filter, Preprocessing};
//!
//! let recipe =
//!     Preprocessing { size: 224, crop: 0.875, mean: [127.0; 3], std: [128.0; 3], filter: Filter::Bicubic };
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
mod decode;
mod error;
mod frame;
mod generator;
mod layout;
mod loader;
mod planes;
mod preprocessor;
mod split;

pub use augmentation::Augmentation;
pub use corruption::{Corruption, Severity};
pub use dataset::{Dataset, FolderOptions, Group, Progress, Sample, Skipped, UNREADABLE_LIMIT};
pub use decode::{EXTENSIONS, MAX_FILE_BYTES, MAX_PIXELS, thumbnail};
pub use error::{DataError, FolderError, SplitError};
pub use frame::{Frame, PixelFormat, Pixels};
pub use generator::shuffled;
pub use image::RgbImage;
pub use layout::{Part, Purpose};
pub use loader::{Batch, Loader, LoaderOptions};
pub use preprocessor::Preprocessor;
pub use split::{Fractions, MINIMUM, Split};
