//! MAPS (Huang et al., CVPR 2026, arXiv 2511.19878): SPD whose strength falls from the first stage to the last, so that what
//! sees is held and what decides is free.

use crate::error::AdaptError;
use crate::methods::entry::MethodEntry;
use crate::methods::setting::Setting;
use crate::methods::spd::Spd;
use crate::methods::tensor_pattern::held;
use crate::options::Options;
use fieldfit_nets::{Network, Role, TensorSpec};
use fieldfit_tensor::TensorId;

const STRENGTH: Setting = Setting {
    name: "strength",
    default: Some(1.0),
    range: 0.0..=f64::MAX,
    about: "λ, how much of a selected tensor's growth is taken back in the first stage; in the last it is nothing",
};

pub(super) const ENTRY: MethodEntry = MethodEntry {
    name: "maps",
    about: "as spd, the less the deeper a stage is",
    settings: &[STRENGTH],
    build: |options, network| Ok(Box::new(Spd::<f32>::with_strengths(strengths(options, network)?))),
};

/// λ of each tensor; `None` for biases and all that is not held, which go free.
fn strengths(options: &Options, network: &Network) -> Result<Vec<Option<f64>>, AdaptError> {
    let (held, depths, largest) = (held(options, network)?, network.depth_of_each_tensor(), STRENGTH.of(options));
    let strength = |((id, spec), depth): ((TensorId, &TensorSpec), f64)| {
        let is_held = held[id.index()] && spec.role != Role::Bias;
        is_held.then_some(largest * (1.0 - depth))
    };
    Ok(network.tensors().zip(depths).map(strength).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fieldfit_nets::by_name;

    /// Catches: strengths that rise with depth, a head that is held, a first stage that is not held fully.
    #[test]
    fn the_strength_falls_to_nothing_at_the_last_stage() {
        let network = by_name("efficientnet-tiny").expect("a built-in network");
        let strengths = strengths(&Options::default().with_method("maps").with_setting("strength", 2.0), &network);
        let strengths = strengths.expect("strengths");
        let (stages, last) = (network.section_of_each_tensor(), network.graph.sections.len() - 1);
        let of_stage =
            |stage: usize| stages.iter().zip(&strengths).filter_map(move |(of, it)| (*of == stage).then_some(*it)?);
        assert!(of_stage(0).count() > 0 && of_stage(0).all(|strength| strength == 2.0));
        let means: Vec<f64> = (0..last).filter_map(|stage| of_stage(stage).next()).collect();
        assert!(means.windows(2).all(|pair| pair[0] > pair[1]), "{means:?}");
        assert!(means.last().is_some_and(|strength| *strength < 0.5), "{means:?}");
        assert_eq!(strengths[network.head.weight.index()], None);
    }
}
