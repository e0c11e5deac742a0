//! Checkpoint identity: hashes of the base, the images and the options that a run computes from.

use crate::methods::effective_settings;
use crate::methods::entry::MethodEntry;
use crate::options::{Options, StartPoint};
use crate::plan::run_plan::RunPlan;
use crate::request::AdaptRequest;
use fieldfit_data::Split;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Identity of a run: what it computes from. A checkpoint serves no other run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    base: [u8; 32],
    images: [u8; 32],
    options: [u8; 32],
}

impl Identity {
    pub fn new(request: &AdaptRequest<'_>, plan: &RunPlan) -> Self {
        Self { base: request.base.id().0, images: images(request, plan), options: options(request, plan) }
    }

    /// Returns the part that differs from another identity, if any.
    pub fn difference(&self, other: &Self) -> Option<&'static str> {
        let same = [
            ("base", self.base == other.base),
            ("images", self.images == other.images),
            ("options", self.options == other.options),
        ];
        same.into_iter().find(|(_, same)| !same).map(|(what, _)| what)
    }
}

/// Hash over the options, the passes, and the version that training starts at, where it is not the base.
fn options(request: &AdaptRequest<'_>, plan: &RunPlan) -> [u8; 32] {
    let text = format!("{:?} {}", distinct(request.options, &plan.entry), plan.memory.passes());
    let mut hash = Sha256::new_with_prefix(text);
    match (request.options.start, request.start) {
        (StartPoint::Active, Some(version)) => hash.update(version.hash()),
        (StartPoint::Active, None) | (StartPoint::Base, _) => {}
    }
    hash.finalize().into()
}

/// Options of a run as checkpoints tell them apart.
///
/// How the passes were chosen makes no difference; what they are does, and is hashed beside it. So it is with the
/// value of a setting, and with retained images, which the images' hash covers.
fn distinct(options: &Options, method: &MethodEntry) -> Options {
    let settings = effective_settings(options, method);
    Options { settings, retain: None, micro_batch: None, memory_budget: None, ..options.clone() }
}

/// Hash over the images of every slice, and over those that are retained.
fn images(request: &AdaptRequest<'_>, plan: &RunPlan) -> [u8; 32] {
    let Split { train, validation, gate, .. } = &plan.split;
    let mut hash = Sha256::new();
    [train, validation, gate].iter().for_each(|slice| hash.update(request.dataset.digest(slice)));
    if let Some(retained) = &plan.retained {
        hash.update(retained.images.digest(&retained.order));
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::find;
    use crate::options::{ClassWeights, HeadMode};
    use fieldfit_exec::Device;

    /// Catches: a text that no released checkpoint has hashed, so that none can be resumed any more.
    #[test]
    fn the_text_is_the_released_one() {
        let options = Options { device: Device::Cpu { threads: 1 }, micro_batch: Some(2), ..Options::default() };
        // What were the defaults of that release.
        let options = options.with_setting("retention", 0.015).with_setting("training-retention", 0.0);
        let released = RELEASED;
        let method = find(&options.method, &[]).expect("the default method");
        assert_eq!(format!("{:?}", distinct(&options, method)), released);
        let later =
            Options { early_stop: Some(3), class_weights: ClassWeights::Balanced, head: HeadMode::Keep, ..options };
        let later = format!("{:?}", distinct(&later, method));
        assert_eq!(
            later.strip_suffix(", class_weights: Balanced, early_stop: Some(3), head: Keep }"),
            released.strip_suffix(" }")
        );
    }

    const RELEASED: &str = "Options { method: \"tpgm-relative\", epochs: 4, size: None, batch: 16, optimiser: AdamW { \
        learning_rate: 0.0001, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }, schedule: ScheduleOptions { \
        warm_up: 20 }, clip: Some(1.0), augmentation: Robust, seed: 0, fractions: Fractions { validation: 0.1, gate: 0.1 \
        }, settings: {\"augmented\": 1.0, \"retention\": 0.015, \"training-retention\": 0.0}, tpgm: TpgmOptions { norm: None, \
        learning_rate: 0.01, exclude: [], sharing: Stage }, retain: None, freeze: None, coding: Auto, device: Cpu { threads: \
        1 }, micro_batch: None, nice: 0, memory_budget: None }";
}
