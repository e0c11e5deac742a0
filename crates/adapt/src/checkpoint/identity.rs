//! Checkpoint identity: hashes of the base, the images and the options that a run computes from.

use crate::methods::effective_settings;
use crate::methods::entry::MethodEntry;
use crate::options::{Branches, ClassWeights, HeadMode, Options};
use crate::plan::run_plan::RunPlan;
use crate::request::AdaptRequest;
use fieldfit_data::Split;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// Identity of a run: what it computes from. A checkpoint serves no other run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    base: [u8; 32],
    images: [u8; 32],
    options: [u8; 32],
}

impl Identity {
    pub fn new(request: &AdaptRequest<'_>, plan: &RunPlan) -> Self {
        Self {
            base: request.base.id().0,
            images: images(request, plan),
            options: Sha256::digest(format!("{:?} {}", Released(request.options, &plan.entry), plan.memory.passes()))
                .into(),
        }
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

/// Options in the text that released checkpoints hash; what came later is only part of it where it is not at its default.
///
/// How the passes were chosen makes no difference; what they are does, and is hashed beside it. So it is with the
/// value of a setting, and with retained images, which the images' hash covers.
struct Released<'a>(&'a Options, &'a MethodEntry);

impl fmt::Debug for Released<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options {
            method,
            epochs,
            size,
            batch,
            optimiser,
            schedule,
            clip,
            augmentation,
            seed,
            fractions,
            settings: _,
            tpgm,
            retain: _,
            freeze,
            coding,
            device,
            micro_batch: _,
            nice,
            memory_budget: _,
            class_weights,
            early_stop,
            head,
            novelty,
            branches,
            flip_negates,
        } = self.0;
        let unset = None::<()>;
        let mut text = f.debug_struct("Options");
        text.field("method", method).field("epochs", epochs).field("size", size).field("batch", batch);
        text.field("optimiser", optimiser).field("schedule", schedule).field("clip", clip);
        text.field("augmentation", augmentation).field("seed", seed).field("fractions", fractions);
        text.field("settings", &effective_settings(self.0, self.1)).field("tpgm", tpgm).field("retain", &unset);
        text.field("freeze", freeze).field("coding", coding).field("device", device).field("micro_batch", &unset);
        text.field("nice", nice).field("memory_budget", &unset);
        if *class_weights != ClassWeights::default() {
            text.field("class_weights", class_weights);
        }
        if early_stop.is_some() {
            text.field("early_stop", early_stop);
        }
        if *head != HeadMode::default() {
            text.field("head", head);
        }
        if novelty.is_some() {
            text.field("novelty", novelty);
        }
        if *branches != Branches::default() {
            text.field("branches", branches);
        }
        if flip_negates.is_some() {
            text.field("flip_negates", flip_negates);
        }
        text.finish()
    }
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
    use fieldfit_exec::Device;

    /// Catches: a text that no released checkpoint has hashed, so that none can be resumed any more.
    #[test]
    fn the_text_is_the_released_one() {
        let options = Options { device: Device::Cpu { threads: 1 }, micro_batch: Some(2), ..Options::default() };
        let released = RELEASED;
        let method = find(&options.method, &[]).expect("the default method");
        assert_eq!(format!("{:?}", Released(&options, method)), released);
        let later =
            Options { early_stop: Some(3), class_weights: ClassWeights::Balanced, head: HeadMode::Keep, ..options };
        let later = format!("{:?}", Released(&later, method));
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
