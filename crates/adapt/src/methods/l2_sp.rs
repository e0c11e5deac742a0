//! L2-SP (Li et al., ICML 2018, arXiv 1802.01483): as LP-FT, with `λ/2·‖θ − θ0‖²` added to the loss, but not for the new
//! head, which has no origin. The losses that are reported are those of the images alone.

use crate::methods::entry::MethodEntry;
use crate::methods::method::{HeadStart, HostSteps, Method, Steps};
use crate::methods::setting::Setting;
use crate::methods::tensor_pattern::held;
use crate::train::session::HostSession;
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

    fn steps(&mut self) -> Steps<'_> {
        Steps::Host(self)
    }
}

impl HostSteps for L2Sp {
    fn keeps_state(&self) -> bool {
        false
    }

    fn before_step(&mut self, session: &mut HostSession<'_>) {
        let tensors = session.gradients.buffers_mut().iter_mut().zip(session.state.delta.buffers()).zip(&self.held);
        for ((gradient, delta), _) in tensors.filter(|(_, held)| **held) {
            pull_to_base(gradient, delta, self.strength);
        }
    }
}
