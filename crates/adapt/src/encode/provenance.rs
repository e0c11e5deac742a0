//! Provenance: how a delta was made, as its file records it.

use crate::encode::chosen_codecs::ChosenCodecs;
use crate::event::Gate;
use crate::methods::effective_settings;
use crate::options::{ClassWeights, Freeze, Options};
use crate::plan::run::Run;
use fieldfit_data::Fractions;
use fieldfit_delta::Provenance;
use std::fmt;

/// Provenance of a run's delta.
pub(crate) fn provenance(run: Run<'_>, chosen: &ChosenCodecs, gate: Option<&Gate>) -> Provenance {
    let (options, plan) = (run.request.options, run.plan);
    let figures = gate.map(Gate::figures);
    Provenance {
        fieldfit: truncated(env!("CARGO_PKG_VERSION")),
        method: truncated(&options.method),
        options: truncated(&format!("{options} {}", plan.memory.passes())),
        seed: options.seed,
        train: plan.split.train.len() as u32,
        validation: plan.split.validation.len() as u32,
        gate: plan.split.gate.len() as u32,
        before: figures.map_or(0.0, |figures| figures.before as f32),
        after: figures.map_or(0.0, |figures| figures.after as f32),
        fidelity: chosen.fidelity,
    }
}

/// Provenance text: the choices that made a delta, but not where it was computed. What was added after the first release
/// is only written where it is not at its default.
impl fmt::Display for Options {
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
            settings: _,
            tpgm,
            retain,
            freeze,
            coding,
            device: _,
            micro_batch: _,
            nice: _,
            memory_budget: _,
            class_weights,
            early_stop,
        } = self;
        write!(f, "method={method}")?;
        for (name, value) in effective_settings(self) {
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
        if *fractions != Fractions::default() {
            let Fractions { validation, gate } = fractions;
            write!(f, " validation={validation} gate={gate}")?;
        }
        if let Some(folder) = retain {
            write!(f, " retain={folder:?}")?;
        }
        write!(f, " augmentation={augmentation} seed={seed} codec={coding} {tpgm}")
    }
}

/// As much of the text as fits, in whole characters.
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

    /// Catches: an option that the result depends on and the provenance omits, and one at its default that changes the
    /// text of earlier deltas.
    #[test]
    fn every_choice_is_recorded_and_defaults_keep_the_text() {
        let text = Options::default().to_string();
        assert_eq!(
            text,
            "method=tpgm-relative augmented=1 retention=0.015 training-retention=0 epochs=4 batch=16 optimiser=adamw \
             learning_rate=0.0001 beta1=0.9 beta2=0.999 epsilon=0.00000001 weight_decay=0 warm_up=20 clip=1 \
             augmentation=robust seed=0 codec=auto radius_learning_rate=0.01 radii_per=stage exclude=[]"
        );
        let changed = Options {
            retain: Some("world\n".into()),
            fractions: Fractions { validation: 0.25, gate: 0.125 },
            class_weights: ClassWeights::Balanced,
            early_stop: Some(2),
            ..Options::default()
        };
        let changed = changed.to_string();
        for part in [" retain=\"world\\n\"", " validation=0.25 gate=0.125", " class_weights=balanced", " early_stop=2"]
        {
            assert!(changed.contains(part), "{part} in {changed}");
        }
    }
}
