//! What an executor runs.

use crate::base::Base;
use crate::params::Params;
use fieldfit_nets::Network;

/// What runs: a base, or a base and a delta.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// The architecture, under the head that these weights have.
    pub network: Network,
    /// One name a class, in the order of the logits.
    pub labels: Vec<String>,
    /// Every tensor's values, merged, f32: rounding them to f16 would cost as much as a delta changes.
    pub params: Params<f32>,
    /// Side of the square image that they were made for, in pixels.
    pub input_size: u32,
    /// The part of the source image's shorter side that the square covers, 0 < crop ≤ 1.
    pub crop: f32,
}

impl Weights {
    /// The base as it is.
    pub fn of_base(base: &Base) -> Self {
        Self {
            network: base.network().clone(),
            labels: base.labels().to_vec(),
            params: base.params(),
            input_size: base.preprocessing().size,
            crop: base.preprocessing().crop,
        }
    }
}
