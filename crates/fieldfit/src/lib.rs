//! An embedded inference and adaptation runtime for vision models on robots.
//!
//! A [`Runtime`] maps a pre-trained model (the *base*, never written to), answers frames, fine-tunes the base on local
//! images without leaving its neighbourhood, accepts the result only if it is no worse on held-out images, stores only what
//! changed (a *delta*), and swaps it in while frames keep flowing. Every version can be rolled back, at last to the base.
//!
//! | module | contents |
//! |---|---|
//! | the root | [`Runtime`], [`Builder`], [`Frame`], [`Prediction`], [`RuntimeEvent`], [`Error`] |
//! | [`data`] | labelled images, slices, corruptions, image sets to measure on |
//! | [`collect`] | labelled images from a camera: buffer, selection, collections |
//! | [`train`] | options, methods, the run of an adaptation, its control and events, comparisons of methods |
//! | [`store`] | versions on disk, trials, history, trust |
//! | [`delta`] | delta files: sign, compress, verify, compare, export, merge; keys |
//! | [`model`], [`import`](mod@import) | model folders, and importing checkpoints |
//! | [`report`] | run records, run logs, the HTML page |
//! | [`target`], [`doctor`] | target profiles, and the examination of a machine |
//!
//! The crate draws nothing, prints nothing and installs no signal handler; it logs through
//! [`log`](https://docs.rs/log).
//!
//! ```no_run
//! use fieldfit::data::{Dataset, FolderOptions};
//! use fieldfit::train::Options;
//! use fieldfit::{Frame, PixelFormat, Pixels, Runtime};
//! use std::thread;
//!
//! # fn camera() -> Vec<u8> { vec![0; 640 * 480 * 3] }
//! # fn main() -> Result<(), fieldfit::Error> {
//! let runtime = Runtime::builder("models/efficientnet-lite0").store_or_new("adaptations").open()?;
//! let images = Dataset::open("images".as_ref(), &FolderOptions::default())?;
//! thread::scope(|scope| {
//!     // Trains and, if the result is no worse on images that it was not trained on, swaps it in.
//!     let adaptation = scope.spawn(|| runtime.adaptation(&images).options(Options::default()).run());
//!     // Meanwhile frames are answered, each by one whole version.
//!     while !adaptation.is_finished() {
//!         let data = camera();
//!         let frame = Frame::Pixels(Pixels::packed(&data, PixelFormat::Bgr8, 640, 480));
//!         let prediction = runtime.infer(&frame)?;
//!         if let Some(best) = prediction.best() {
//!             println!("{}: {} ({:.0} %)", prediction.version(), best.label, 100.0 * best.probability);
//!         }
//!     }
//!     Ok(())
//! })
//! # }
//! ```

mod adaptation;
mod base_agreement;
mod builder;
mod calibration;
mod class_addition;
pub mod collect;
mod comparison;
pub mod data;
mod deferred_drop;
pub mod delta;
pub mod doctor;
mod drift;
mod error;
mod estimate;
mod evaluation;
mod event;
mod execution_plan;
mod fallback;
mod frame_recorder;
mod image_set;
mod import_data;
mod info;
pub mod model;
mod novelty_evaluation;
mod output_file;
mod prediction;
pub mod report;
mod run_log;
mod running;
mod runtime;
mod segmentation;
mod segmented_frames;
mod status;
pub mod store;
mod tags;
pub mod target;
mod tensorboard;
pub mod train;
mod trial;
mod version;
mod weights_monitor;

pub use builder::Builder;
pub use drift::{DRIFT_WINDOW, Drift};
pub use error::{Error, error_messages};
pub use estimate::{Estimate, EstimatedValue};
pub use evaluation::{
    BaseHeadEvaluation, Count, Evaluation, LabelEvaluation, MultiLabelEvaluation, PixelCount, RegressionEvaluation,
    SegmentationEvaluation, ValueErrors,
};
pub use event::RuntimeEvent;
pub use fieldfit_data::{Frame, PixelFormat, Pixels, Plane, Rect};
pub use fieldfit_durable::{BoundedReadError, Rehash, read_bounded};
pub use fieldfit_exec::cpu::{Int8Coverage, int8_instructions};
pub use fieldfit_exec::{Device, ExecError, Precision};
pub use fieldfit_model::import;
pub use fieldfit_tensor::Task;
pub use fieldfit_tensor::text::escape;
pub use frame_recorder::FrameRecorder;
pub use info::{Info, info};
pub use novelty_evaluation::NoveltyEvaluation;
pub use output_file::{OutputKind, check_output, refuse_inputs};
pub use prediction::{Candidate, MAX_TOP, Novelty, Prediction, Ranked};
pub use runtime::{FRAMES_PER_PASS, Runtime, all_cores};
pub use segmentation::Segmentation;
pub use tags::{Tag, Tags};
pub use version::Version;
