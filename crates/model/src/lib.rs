//! Base models on disk: model folders, their mapped weights, deltas merged into them, and the import of checkpoints.
//!
//! A model folder holds `manifest.toml` ([`Manifest`]), `labels.txt` (one class a line, in the order of the logits),
//! `weights.safetensors` and `NOTICE`; that of a network that was imported with its graph also `network.json`
//! ([`NetworkDescription`]). [`Base::open`] maps the weights, verifies that they are whole and fit their
//! architecture, and lends them in their stored type ([`TensorView`](fieldfit_tensor::TensorView)); nothing here ever writes to them. [`Weights`] is
//! what an executor runs: a base, or a base and a delta. [`encode_delta`] goes the other way, and [`import`] makes a
//! model folder of a PyTorch or safetensors checkpoint.
//!
//! This crate computes no network and reads no image.
//!
//! ```no_run
//! let base = fieldfit_model::Base::open("models/efficientnet-lite0".as_ref())?;
//! println!("{} knows {} classes, id {}", base.manifest().name, base.labels().len(), base.id());
//! # Ok::<(), fieldfit_model::ModelError>(())
//! ```

#[cfg(target_endian = "big")]
compile_error!("weights are mapped as they are stored, little-endian: a big-endian target cannot read them in place");

mod activation_ranges;
mod architectures;
mod base;
mod check;
mod constraint;
mod delta_encode;
mod description;
mod error;
mod file;
mod head_outputs;
pub mod import;
mod manifest;
mod mapped_weights;
mod rate_distortion;
mod statistics;
mod text;
mod weights;
mod weights_type;

pub use activation_ranges::{ACTIVATION_RANGES_FILE, with_range_tensors};
pub use architectures::described_architectures;
pub use base::{Base, BaseId, BaseOptions, safetensors_dtype};
pub use constraint::CONSTRAINT_TOLERANCE;
pub use delta_encode::{DeltaHead, TrainingResult, encode_delta, encode_delta_with, new_head};
pub use description::{DescribedTensor, DescriptionError, NetworkDescription, SourceLayout};
pub use error::ModelError;
pub use head_outputs::{HeadOutputs, LabelThresholds, TargetScales};
pub use manifest::{
    DescriptionFile, Input, LABELS_FILE, MANIFEST_FILE, Manifest, NOTICE_FILE, Scaling, WeightsFile, WeightsOrigin,
};
pub use mapped_weights::MappedWeightsFile;
pub use rate_distortion::{CodecRates, RowWeights};
pub use statistics::FeatureStatistics;
pub use weights::{Weights, check_delta, most_delta_bytes, most_delta_values};
pub use weights_type::WeightsType;
