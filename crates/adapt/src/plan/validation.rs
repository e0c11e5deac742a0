//! Options validation: refuses numbers that no run can use.

use crate::error::AdaptError;
use crate::methods;
use crate::methods::entry::MethodEntry;
use crate::options::{Branches, HeadMode, OptimiserOptions, Options};

impl Options {
    /// Refuses numbers that no run can use. The method must be one of [`METHODS`](crate::METHODS): a run by another one
    /// validates its options when it starts.
    ///
    /// # Errors
    /// [`AdaptError::Option`] with the option's name, its value and its range; as much about a method's setting, or an
    /// unknown method.
    pub fn validate(&self) -> Result<(), AdaptError> {
        self.validate_for(methods::find(&self.method, &[])?)
    }

    /// Refuses as [`Options::validate`] does, for that method.
    pub(crate) fn validate_for(&self, method: &MethodEntry) -> Result<(), AdaptError> {
        method.check(self)?;
        require(self.batch > 0, "batch", self.batch, "at least 1")?;
        require(self.micro_batch != Some(0), "micro-batch", 0, "at least 1")?;
        require(self.nice <= 19, "nice", self.nice, "0 to 19")?;
        require(self.epochs > 0, "epochs", self.epochs, "at least 1")?;
        require(self.early_stop != Some(0), "early-stop", 0, "at least 1 epoch")?;
        self.validate_branches()?;
        require(self.size != Some(0), "size", 0, "at least 1 pixel")?;
        require(self.freeze.as_ref().is_none_or(|freeze| freeze.views > 0), "views", 0, "at least 1")?;
        require(self.novelty.is_none_or(is_share), "novelty", self.novelty.unwrap_or_default(), "above 0 and below 1")?;
        require(
            self.novelty.is_none() || self.head == HeadMode::Replace,
            "novelty",
            "asked of a kept head",
            "none: classes of the base without images have no mean to measure from",
        )?;
        require_positive("tpgm learning rate", self.tpgm.learning_rate)?;
        require_positive("learning rate", self.optimiser.learning_rate())?;
        self.clip.map_or(Ok(()), |clip| require_positive("clip", clip))?;
        match self.optimiser {
            OptimiserOptions::Sgd { momentum, weight_decay, .. } => {
                require_below_one("momentum", momentum)?;
                require(weight_decay >= 0.0, "weight decay", weight_decay, "0 or more")
            }
            OptimiserOptions::AdamW { beta1, beta2, epsilon, weight_decay, .. } => {
                require_below_one("beta1", beta1)?;
                require_below_one("beta2", beta2)?;
                require_positive("epsilon", epsilon)?;
                require(weight_decay >= 0.0, "weight decay", weight_decay, "0 or more")
            }
        }
    }
}

impl Options {
    fn validate_branches(&self) -> Result<(), AdaptError> {
        let Branches { count, common, average: _ } = self.branches;
        require((1..=Branches::MOST).contains(&count), "branches", count, "1 to 16")?;
        require(
            common < self.epochs,
            "common-epochs",
            common,
            "fewer than all epochs: branches need some of their own",
        )?;
        require(
            count > 1 || self.branches == Branches::new(1),
            "common-epochs",
            common,
            "0 where there is one branch",
        )?;
        require(
            count == 1 || self.early_stop.is_none(),
            "early-stop",
            "asked of branches",
            "none: the branches of a mean train for one number of epochs",
        )
    }
}

/// Whether a value is above 0 and below 1, also as the f32 that a delta records.
fn is_share(value: f64) -> bool {
    (value as f32) > 0.0 && (value as f32) < 1.0
}

fn require_positive(name: &'static str, value: f64) -> Result<(), AdaptError> {
    require(value > 0.0 && value.is_finite(), name, value, "a number above 0")
}

fn require_below_one(name: &'static str, value: f64) -> Result<(), AdaptError> {
    require((0.0..1.0).contains(&value), name, value, "at least 0 and below 1")
}

fn require(
    holds: bool,
    name: &'static str,
    found: impl std::fmt::Display,
    expected: &'static str,
) -> Result<(), AdaptError> {
    if holds { Ok(()) } else { Err(AdaptError::Option { name, found: found.to_string(), expected }) }
}
