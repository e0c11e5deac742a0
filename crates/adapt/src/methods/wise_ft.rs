//! WiSE-FT (Wortsman et al., CVPR 2022, arXiv 2109.01903): as LP-FT, then part of the way back, θ0 + α·(θ − θ0). The new
//! head goes back too, to the linear probe that it started from.

use crate::methods::entry::MethodEntry;
use crate::methods::interpolation::Interpolation;
use crate::methods::setting::Setting;

const ALPHA: Setting = Setting {
    name: "alpha",
    default: None,
    range: 0.0..=1.0,
    about: "α, the share of the way from the base that is kept; chosen on the validation slice if none is given",
};

pub(super) const ENTRY: MethodEntry = MethodEntry {
    name: "wise-ft",
    about: "as lp-ft, then back towards the base, by the validation slice",
    settings: &[ALPHA],
    build: |options, network| Ok(Box::new(Interpolation::new(ALPHA.given(options), vec![0.0; network.tensors.len()]))),
};
