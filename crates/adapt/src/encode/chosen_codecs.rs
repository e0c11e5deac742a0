//! Chosen codecs: one for each tensor, and what storing by them costs.

use fieldfit_delta::{Codec, Fidelity};
use fieldfit_nets::Network;

/// Codecs of a delta file.
pub(crate) struct ChosenCodecs {
    /// One for each tensor, in the network's order.
    pub codecs: Vec<Codec>,
    /// The measured cost; `None` where nothing was to be chosen.
    pub fidelity: Option<Fidelity>,
}

impl ChosenCodecs {
    /// Codecs whose cost is not measured.
    pub const fn unmeasured(codecs: Vec<Codec>) -> Self {
        Self { codecs, fidelity: None }
    }

    /// Kernels by one codec, vectors as f16.
    pub fn kernels_by(codec: Codec, network: &Network) -> Self {
        let of = |shape: &[usize]| if shape.len() < 2 { Codec::F16 } else { codec };
        Self::unmeasured(network.tensors().map(|(_, spec)| of(&spec.shape)).collect())
    }
}
