//! LwF (Li and Hoiem, ECCV 2016, arXiv 1606.09282): as LP-FT, while what the network says under the base's own head of the
//! training images, augmented as they are, stays near what the base itself says of them: loss + λ·KL(base ‖ adapted). No
//! label is needed for that, and no image of the base's. The losses that are told include it.

use super::MethodEntry;
use crate::retention::descend_retaining;
use crate::{AdaptError, HeadStart, Method, Session, Setting};
use fieldfit_data::Batch;

const STRENGTH: Setting = Setting {
    name: "strength",
    default: Some(1.0),
    range: 0.0..=f64::MAX,
    about: "λ, nats of loss for each nat that the base's own predictions change by",
};

pub(super) const ENTRY: MethodEntry = MethodEntry {
    name: "lwf",
    about: "as lp-ft, while the base's own predictions for the training images count, too",
    settings: &[STRENGTH],
    build: |options, _| Ok(Box::new(Lwf { strength: STRENGTH.of(options) })),
};

struct Lwf {
    strength: f64,
}

impl Method for Lwf {
    fn head(&self) -> HeadStart {
        HeadStart::Probe
    }

    fn asks_base(&self) -> bool {
        self.strength > 0.0
    }

    fn works_at_home(&self) -> bool {
        true
    }

    fn descend(&mut self, session: &mut Session<'_>, batch: &Batch) -> Result<f64, AdaptError> {
        if self.asks_base() && session.state.base().network().is_headless() {
            let expected = "another one: this base has no head, so that it predicts nothing that could be kept";
            return Err(AdaptError::Option { name: "method", found: ENTRY.name.into(), expected });
        }
        descend_retaining(session, batch, self.strength)
    }
}
