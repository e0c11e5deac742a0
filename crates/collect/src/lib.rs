//! Collector: turns a camera's frames into a bounded, crash-safe collection of labelled images.
//!
//! - [`Collector`] keeps the last seconds of frames in memory ([`Collector::observe`]) and stores those that a trigger
//!   labels ([`Collector::label`]): an operator's button, the outcome of a grasp, a tag. It selects by rate, exposure,
//!   sharpness and similarity, and masks or scales frames down before they are kept anywhere.
//! - [`Collection`] is the folder: content-addressed images and an append-only log, within [`Limits`]. Killed at any
//!   moment, it opens with what was reported as stored.
//! - [`Contents`] reads a collection while another process may write to it: as a data set, or to [export](Contents::export)
//!   it as an image folder, as JSON lines for Hugging Face, or as a WebDataset archive.
//! - [`stream`] reads frames from MJPEG and Y4M streams.
//!
//! Images of one stretch of a recording are one group, so that a split never puts neighbouring frames on two sides.
//!
//! ```
//! use fieldfit_collect::{Collector, CollectorOptions, Label, ModelOutput, Origin, Span};
//! use fieldfit_data::{Frame, PixelFormat, Pixels};
//! use std::time::Duration;
//!
//! let folder = tempfile::tempdir()?;
//! let collector = Collector::open(&folder.path().join("collection"), CollectorOptions::default())?;
//! let camera: Vec<u8> = (0..64 * 48 * 3_u32).map(|value| (value * value % 251) as u8).collect();
//! let frame = Frame::Pixels(Pixels::packed(&camera, PixelFormat::Rgb8, 64, 48));
//! collector.observe(&frame, Duration::from_millis(40), ModelOutput::default())?;
//! // The wheels slipped: what the camera saw before it was mud.
//! let kept = collector.label(Span::Last(Duration::from_secs(3)), &Label::new("mud", Origin::Outcome))?;
//! assert_eq!(kept.images.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod clock;
mod collection;
mod collector;
mod contents;
mod error;
mod eviction;
mod export;
mod flat_options;
mod label;
mod limits;
mod log;
mod privacy;
mod ring;
mod selection;
pub mod stream;

pub use clock::{Clock, SystemClock};
pub use collection::{Added, Collection, NewImage, Removal};
pub use collector::{Collector, CollectorOptions, Kept, ModelOutput};
pub use contents::{Contents, ImageId, Statistics, StoredImage, is_collection};
pub use error::CollectError;
pub use export::{Export, ExportedImages};
pub use label::{Label, Origin, PredictedClass};
pub use limits::Limits;
pub use privacy::Privacy;
pub use ring::{FrameId, Span};
pub use selection::{LeftOut, Selection};
