//! L2-SP (Li et al., ICML 2018, arXiv 1802.01483): as LP-FT, with `λ/2·‖θ − θ0‖²` added to the loss, but not for the new
//! head, which has no origin. The losses that are told are those of the images alone.

use super::MethodEntry;
use crate::patterns::held;
use crate::{HeadStart, Method, Session, Setting};
use fieldfit_tpgm::pull_to_base;

const STRENGTH: Setting = Setting {
    name: "strength",
    default: Some(0.1),
    range: 0.0..=f64::MAX,
    about: "λ, the penalty on half the squared distance",
};

pub(super) const ENTRY: MethodEntry = MethodEntry {
    name: "l2-sp",
    about: "as lp-ft, with a penalty on the squared distance from the base",
    settings: &[STRENGTH],
    build: |options, network| Ok(Box::new(L2Sp { strength: STRENGTH.of(options), held: held(options, network)? })),
};

struct L2Sp {
    strength: f64,
    held: Vec<bool>,
}

impl Method for L2Sp {
    fn head(&self) -> HeadStart {
        HeadStart::Probe
    }

    fn works_at_home(&self) -> bool {
        true
    }

    fn before_step(&mut self, session: &mut Session<'_>) {
        let tensors = session.gradients.buffers_mut().iter_mut().zip(session.state.delta.buffers()).zip(&self.held);
        for ((gradient, delta), _) in tensors.filter(|(_, held)| **held) {
            pull_to_base(gradient, delta, self.strength);
        }
    }
}
