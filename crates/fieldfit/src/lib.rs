//! An embedded inference and adaptation runtime for vision models on robots.
//!
//! A [`Runtime`] maps a pre-trained model (the *base*, never written to), answers frames, fine-tunes it on local images
//! without leaving the base's neighbourhood, proves on held-out images that the result is no worse, stores only what
//! changed (a *delta*), and swaps it in while frames keep flowing. Any version can be rolled back, at last to the base.
//!
//! This crate is the face of the others: it re-exports what a robot's program needs. It draws nothing, prints nothing
//! and installs no signal handler; it logs through [`log`](https://docs.rs/log). How networks are computed, trained and
//! stored is in the crates below it.
//!
//! ```no_run
//! use fieldfit::{Dataset, FolderOptions, Frame, Options, PixelFormat, Pixels, Runtime};
//! use std::thread;
//!
//! # fn camera() -> Vec<u8> { vec![0; 640 * 480 * 3] }
//! # fn main() -> Result<(), fieldfit::Error> {
//! let runtime = Runtime::builder("models/efficientnet-lite0").store_or_new("adaptations").open()?;
//! let images = Dataset::open("images".as_ref(), &FolderOptions::default())?;
//! thread::scope(|scope| {
//!     // Learns and, if the result is no worse on images that it was not trained on, swaps it in.
//!     let adaptation = scope.spawn(|| runtime.adapt(&images, &Options::default()));
//!     // Meanwhile frames are answered, each by one whole version.
//!     while !adaptation.is_finished() {
//!         let data = camera();
//!         let frame = Frame::Pixels(Pixels::packed(&data, PixelFormat::Bgr8, 640, 480));
//!         let prediction = runtime.infer(&frame)?;
//!         if let Some(best) = prediction.best() {
//!             println!("{} ({:.0} %) says {}", best.label, 100.0 * best.probability, prediction.version());
//!         }
//!     }
//!     Ok(())
//! })
//! # }
//! ```

mod active;
mod adapting;
mod comparing;
pub mod deltas;
pub mod doctor;
mod drift;
mod error;
mod evaluation;
mod exporting;
mod info;
mod journal;
mod keys;
mod measuring;
mod notice;
mod output_file;
mod prediction;
mod profile;
mod retired;
mod runtime;
mod serving;
mod trial;
mod version;

pub use adapting::{Adapted, receive};
pub use comparing::{Comparison, Cost, Recorder};
pub use drift::{DRIFT_WINDOW, Drift};
pub use error::Error;
pub use evaluation::{Count, Evaluation};
pub use exporting::{Exported, RIVAL, Rival, beside, export_differences, export_merged};
pub use fieldfit_adapt::{
    AdaptError, ClassWeights, Coding, Control, Event, Freeze, Gate, GateFigures, METHODS, MemoryPlan, MethodEntry,
    OptimiserOptions, Options, Pace, Phase, RadiiSummary, Reference, ScheduleOptions, Setting as MethodSetting,
    Sharing, TensorShare, TpgmOptions, open_images, peak_memory, plan_memory,
};
pub use fieldfit_data::{
    Augmentation, Corruption, DataError, Dataset, EXTENSIONS as IMAGE_EXTENSIONS, FolderOptions, Fractions, Frame,
    MAX_FILE_BYTES as MAX_IMAGE_FILE_BYTES, PixelFormat, Pixels, Purpose, ScanProgress, Severity, SkipKind,
    SkipSummary, Skipped,
};
pub use fieldfit_delta::{Codec, Constraint, DeltaError, Fidelity, PublicKey, SecretKey, Signature, TensorKind};
pub use fieldfit_durable::{BoundedReadError, read_bounded};
pub use fieldfit_exec::{Device, ExecError, Passes};
pub use fieldfit_model::{Base, BaseId, ModelError, import};
pub use fieldfit_nets::ARCHITECTURES;
pub use fieldfit_report as report;
pub use fieldfit_store::{
    Finding, HistoryEntry, Keep, Pruned, Store, StoreError, TRUST_FILE, Transition, TrialRules, Trust, VersionState,
};
pub use fieldfit_target::{TargetError, TargetProfile, names as target_names};
pub use fieldfit_tensor::text::escape;
pub use fieldfit_tensor::{Dtype, Norm, Preprocessing};
pub use info::{DeltaInfo, Info, ModelInfo, StageInfo, StoreInfo, TensorInfo, VersionInfo, info, store_info};
pub use journal::{Journal, write_page};
pub use keys::{new_key, read_key};
pub use measuring::Set;
pub use notice::Notice;
pub use output_file::check_output;
pub use prediction::{Candidate, MAX_TOP, Prediction, Ranked};
pub use profile::options_for;
pub use runtime::{Builder, Runtime, all_cores};
pub use version::Version;

/// Documentation examples: compiles the programs of `README.md` and of the guide as doctests.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../../README.md")]
    struct Readme;

    #[doc = include_str!("../../../docs/guide/robot.md")]
    struct Guide;
}
