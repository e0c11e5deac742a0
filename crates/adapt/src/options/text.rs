//! Options as text, by which comparisons and checkpoints tell their runs: that of earlier releases, where nothing later is chosen.

use super::{Branches, ClassWeights, HeadMode, Options, StartPoint};
use fieldfit_exec::Precision;
use std::fmt;

/// Formats the fields as a derive would. Those that were added after the first release are left out at their defaults, so that
/// the text of an earlier release stays what it was.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
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
            settings,
            tpgm,
            retain,
            freeze,
            coding,
            device,
            precision,
            micro_batch,
            nice,
            memory_budget,
            class_weights,
            early_stop,
            head,
            novelty,
            branches,
            flip_negates,
            start,
        } = self;
        let mut text = f.debug_struct("Options");
        text.field("method", method).field("epochs", epochs).field("size", size).field("batch", batch);
        text.field("optimiser", optimiser).field("schedule", schedule).field("clip", clip);
        text.field("augmentation", augmentation).field("seed", seed).field("fractions", fractions);
        text.field("settings", settings).field("tpgm", tpgm).field("retain", retain).field("freeze", freeze);
        text.field("coding", coding).field("device", device).field("micro_batch", micro_batch).field("nice", nice);
        text.field("memory_budget", memory_budget);
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
        if *precision != Precision::default() {
            text.field("precision", precision);
        }
        if flip_negates.is_some() {
            text.field("flip_negates", flip_negates);
        }
        if *start != StartPoint::default() {
            text.field("start", start);
        }
        text.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: an option of a later release in the text of options at their defaults: every run of an earlier comparison would be
    /// another one.
    #[test]
    fn later_options_are_left_out_at_their_defaults() {
        let text = format!("{:?}", Options::default());
        assert!(text.starts_with("Options { method: \"tpgm-relative\", epochs: 4, size: None, batch: 16, "), "{text}");
        assert!(text.ends_with("micro_batch: None, nice: 0, memory_budget: None }"), "{text}");
        let changed = Options::default().with_flip_negates(Some(Vec::new())).with_branches(Branches::new(2));
        let changed = format!("{:?}", changed.with_start(StartPoint::Active));
        for part in ["branches: Branches { count: 2", "flip_negates: Some([])", "start: Active"] {
            assert!(changed.contains(part), "{part} in {changed}");
        }
    }
}
