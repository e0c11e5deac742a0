//! Base models: a verified model folder, its description, and the architectures that can run.

pub use crate::info::{ModelInfo, StageInfo};
pub use fieldfit_model::{Base, BaseId, BaseOptions, Manifest, ModelError, WeightsType, described_architectures};
pub use fieldfit_nets::{self as network, ARCHITECTURES, Network};
pub use fieldfit_tensor::{Dtype, Filter, Fit, Preprocessing, TensorView};
