//! Provenance: how a delta was made, as its file records it.

use crate::encode::chosen_codecs::ChosenCodecs;
use crate::error::AdaptError;
use crate::event::Gate;
use crate::methods::entry::MethodEntry;
use crate::methods::{effective_settings, find};
use crate::options::{Branches, ClassWeights, Freeze, HeadMode, Options, StartPoint};
use crate::plan::run::Run;
use fieldfit_data::Fractions;
use fieldfit_delta::Provenance;
use fieldfit_exec::Precision;
use std::fmt;

/// Provenance of a run's delta.
pub(crate) fn provenance(run: Run<'_>, chosen: &ChosenCodecs, gate: Option<&Gate>) -> Provenance {
    let (options, plan) = (run.request.options, run.plan);
    let figures = gate.map(Gate::figures);
    Provenance {
        fieldfit: truncated(env!("CARGO_PKG_VERSION")),
        method: truncated(plan.entry.name),
        options: truncated(&format!("{} {}", Choices { options, method: &plan.entry }, plan.memory.passes())),
        seed: options.seed,
        train: plan.split.train.len() as u32,
        validation: plan.split.validation.len() as u32,
        gate: plan.split.gate.len() as u32,
        before: figures.map_or(0.0, |figures| figures.before as f32),
        after: figures.map_or(0.0, |figures| figures.after as f32),
        fidelity: chosen.fidelity,
    }
}

impl Options {
    /// Returns the choices that make a delta as text, as its provenance records them. `custom` are the custom
    /// methods that the options may name.
    ///
    /// # Errors
    /// If there is no such method.
    pub fn text(&self, custom: &[MethodEntry]) -> Result<String, AdaptError> {
        Ok(Choices { options: self, method: find(&self.method, custom)? }.to_string())
    }
}

/// Choices that make a delta, but not where it is computed: options, and the method that they name.
struct Choices<'a> {
    options: &'a Options,
    method: &'a MethodEntry,
}

/// Provenance text. What was added after the first release is only written where it is not at its default.
impl fmt::Display for Choices<'_> {
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
            retain,
            freeze,
            coding,
            device: _,
            precision,
            micro_batch: _,
            nice: _,
            memory_budget: _,
            class_weights,
            early_stop,
            head,
            novelty,
            branches,
            flip_negates,
            start,
        } = self.options;
        write!(f, "method={method}")?;
        for (name, value) in effective_settings(self.options, self.method) {
            write!(f, " {name}={value}")?;
        }
        write!(f, " epochs={epochs} batch={batch} {optimiser} warm_up={}", schedule.warm_up)?;
        if let Some(size) = size {
            write!(f, " size={size}")?;
        }
        if let Some(clip) = clip {
            write!(f, " clip={clip}")?;
        }
        if let Some(Freeze { stage, views }) = freeze {
            write!(f, " freeze={stage} views={views}")?;
        }
        if *class_weights != ClassWeights::default() {
            write!(f, " class_weights={}", class_weights.name())?;
        }
        if let Some(patience) = early_stop {
            write!(f, " early_stop={patience}")?;
        }
        if *head != HeadMode::default() {
            write!(f, " head={}", head.name())?;
        }
        if let Some(rate) = novelty {
            write!(f, " novelty={rate}")?;
        }
        if *branches != Branches::default() {
            write!(f, " {branches}")?;
        }
        if let Some(targets) = flip_negates {
            write!(f, " flip_negates={targets:?}")?;
        }
        if *start != StartPoint::default() {
            write!(f, " start={}", start.name())?;
        }
        if *fractions != Fractions::default() {
            write!(f, " {fractions}")?;
        }
        if *precision != Precision::default() {
            write!(f, " precision={precision}")?;
        }
        if let Some(folder) = retain {
            write!(f, " retain={folder:?}")?;
        }
        write!(f, " augmentation={augmentation} seed={seed} codec={coding} {tpgm}")
    }
}

/// Truncates a text to what fits, in whole characters.
fn truncated<const N: usize>(text: &str) -> heapless::String<N> {
    let mut fitting = heapless::String::new();
    for character in text.chars() {
        if fitting.push(character).is_err() {
            break;
        }
    }
    fitting
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::BranchAverage;

    /// Catches: an option that the result depends on and the provenance omits, and one at its default that changes the
    /// text of earlier deltas.
    #[test]
    fn every_choice_is_recorded_and_defaults_keep_the_text() {
        // What were the defaults of that release.
        let released = Options::default().with_setting("retention", 0.015).with_setting("training-retention", 0.0);
        let text = released.text(&[]).expect("the default method");
        assert_eq!(
            text,
            "method=tpgm-relative augmented=1 retention=0.015 training-retention=0 epochs=4 batch=16 optimiser=adamw \
             learning_rate=0.0001 beta1=0.9 beta2=0.999 epsilon=0.00000001 weight_decay=0 warm_up=20 clip=1 \
             augmentation=robust seed=0 codec=auto radius_learning_rate=0.01 radii_per=stage exclude=[]"
        );
        let changed = Options {
            retain: Some("world\n".into()),
            fractions: Fractions::new(0.25, 0.125),
            class_weights: ClassWeights::Balanced,
            early_stop: Some(2),
            head: HeadMode::Keep,
            novelty: Some(0.05),
            branches: Branches::new(2).with_common(1).with_average(BranchAverage::Stock),
            flip_negates: Some(vec!["tilt".into()]),
            start: StartPoint::Active,
            ..Options::default()
        };
        let changed = changed.text(&[]).expect("the default method");
        for part in [
            " retain=\"world\\n\"",
            " validation=0.25 gate=0.125",
            " class_weights=balanced",
            " early_stop=2",
            " head=keep",
            " novelty=0.05",
            " branches=2 common_epochs=1 branch_average=stock",
            " flip_negates=[\"tilt\"]",
            " start=active",
        ] {
            assert!(changed.contains(part), "{part} in {changed}");
        }
    }
}
