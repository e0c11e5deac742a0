//! LwF (Li and Hoiem, ECCV 2016, arXiv 1606.09282): as LP-FT, with a penalty on the change of the predictions under
//! the base's own head for the augmented training images: loss + λ·KL(base ‖ adapted). The penalty needs no label and
//! no image of the base's training data. Reported losses include it.

use crate::error::AdaptError;
use crate::methods::entry::MethodEntry;
use crate::methods::method::{HeadStart, HostSteps, Method, Requirements, Steps};
use crate::methods::retention_objective::TrainingRetention;
use crate::methods::setting::Setting;
use crate::train::session::HostSession;
use fieldfit_data::Batch;

const STRENGTH: Setting = Setting {
    name: "strength",
    default: Some(1.0),
    range: 0.0..=f64::MAX,
    about: "λ, nats of loss for each nat that the base's own predictions change by",
};

const CLEAN: Setting = Setting {
    name: "clean",
    default: None,
    range: 0.0..=1.0,
    about: "1 to keep what the base says of the training images as they are, asked once, rather than augmented, at every step",
};

pub(super) const ENTRY: MethodEntry = MethodEntry {
    name: "lwf",
    about: "as lp-ft, while the base's own predictions for the training images count, too",
    settings: &[CLEAN, STRENGTH],
    build: |options, _| Ok(Box::new(Lwf(TrainingRetention::new(STRENGTH.of(options), CLEAN.of(options) > 0.0)))),
};

struct Lwf(TrainingRetention);

impl Method for Lwf {
    fn head(&self) -> HeadStart {
        HeadStart::Probe
    }

    fn requirements(&self) -> Requirements {
        self.0.requirements()
    }

    fn steps(&mut self) -> Steps<'_> {
        Steps::Host(self)
    }
}

impl HostSteps for Lwf {
    fn keeps_state(&self) -> bool {
        false
    }

    fn descend(&mut self, session: &mut HostSession<'_>, batch: &Batch) -> Result<f64, AdaptError> {
        if self.0.strength() > 0.0 && session.state.base().network().is_headless() {
            let expected = "another one: this base has no head, so that it predicts nothing that could be kept";
            return Err(AdaptError::Option { name: "method", found: ENTRY.name.into(), expected });
        }
        self.0.descend(session, batch, 1.0)
    }
}
