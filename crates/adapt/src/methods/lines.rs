//! LiNeS (Wang et al., ICLR 2025, arXiv 2410.17146): as LP-FT, then the early stages back towards the base, α of the way kept in the
//! first, all of it in the last, and the stages between them by their depth. The head stays.
//!
//! The authors choose α by the accuracy on other tasks, too, which a robot has no labels of; here the validation slice
//! chooses it.

use crate::methods::entry::MethodEntry;
use crate::methods::interpolation::Interpolation;
use crate::methods::setting::Setting;
use fieldfit_nets::Network;

const ALPHA: Setting = Setting {
    name: "alpha",
    default: None,
    range: 0.0..=1.0,
    about: "α, the share of its difference that the first stage keeps; chosen on the validation slice if none is given",
};

const MIRRORED: Setting = Setting {
    name: "mirrored",
    default: Some(0.0),
    range: 0.0..=1.0,
    about: "1 to keep all of the first stage and α of the last, the other way round",
};

pub(super) const ENTRY: MethodEntry = MethodEntry {
    name: "lines",
    about: "as lp-ft, then early stages back towards the base, by the validation slice",
    settings: &[ALPHA, MIRRORED],
    build: |options, network| {
        Ok(Box::new(Interpolation::new(ALPHA.given(options), kept(network, MIRRORED.of(options) > 0.0))))
    },
};

/// What each tensor keeps at α = 0: its depth, or what is left of it; a head all.
fn kept(network: &Network, is_mirrored: bool) -> Vec<f64> {
    let tensors = network.tensors.iter().zip(network.depth_of_each_tensor());
    let kept = |(spec, depth): (&fieldfit_nets::TensorSpec, f64)| match is_mirrored {
        true if !spec.role.is_head() => 1.0 - depth,
        true | false => depth,
    };
    tensors.map(kept).collect()
}
