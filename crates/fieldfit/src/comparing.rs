//! Methods side by side: same images, same slices, same budget.

use crate::measuring::{Set, Subject, answers};
use crate::{Error, Runtime};
use fieldfit_adapt::{AdaptRequest, Control, Event, Options, Outcome, adapt, forget_peak_memory, peak_memory};
use fieldfit_data::{Dataset, Fractions};
use fieldfit_delta::Delta;
use fieldfit_exec::Device;
use fieldfit_model::Weights;
use fieldfit_report::{LossRecord, RadiusRecord, RunRecord, Scores};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// The same images to adapt to, in the same slices, and the same to measure on, for whatever runs are compared.
///
/// A run ends in a delta that is measured as it would run, decoded, and then dropped: nothing is stored.
pub struct Comparison<'a> {
    runtime: &'a Runtime,
    images: &'a Dataset,
    fractions: Fractions,
    /// The held-out images of the source at [`HELD_OUT`], its validation slice at [`VALIDATION`], then the shifts.
    sets: Vec<Set>,
    /// By size and position of a set: what the base makes of it, which is the same for every run.
    answers: BTreeMap<(u32, usize), Vec<usize>>,
    /// Over all that every run depends on.
    content: Sha256,
}

const HELD_OUT: usize = 0;
const VALIDATION: usize = 1;
const SHIFTS: usize = 2;

impl<'a> Comparison<'a> {
    /// A comparison on `images`, which reports call `source`, divided by those fractions.
    ///
    /// # Errors
    /// If the images can't be divided so, or the base has no head: what a run retains of its answers can't be measured.
    pub fn new(
        runtime: &'a Runtime,
        source: impl Into<String>,
        images: &'a Dataset,
        fractions: Fractions,
    ) -> Result<Self, Error> {
        runtime.needs_base_head("tell what was forgotten")?;
        let split = images.split(&fractions)?;
        let slice = |name: String, order| Set { order, ..Set::of(name, images.clone()) };
        let all: Vec<usize> = (0..images.samples.len()).collect();
        let content = Sha256::new().chain_update(runtime.base().id().0).chain_update(images.digest(&all));
        let sets = vec![slice(source.into(), split.gate), slice("validation".into(), split.validation)];
        Ok(Self { runtime, images, fractions, sets, answers: BTreeMap::new(), content })
    }

    /// The same, measured on those sets, too.
    #[must_use]
    pub fn with_shifts(mut self, shifts: Vec<Set>) -> Self {
        for set in &shifts {
            self.content.update((set.name.len() as u64).to_le_bytes());
            self.content.update(&set.name);
            self.content.update(set.images.digest(&set.order));
        }
        self.sets.extend(shifts);
        self
    }

    /// The images of the source that no run learns from, under the source's name.
    pub fn held_out(&self) -> &Set {
        &self.sets[HELD_OUT]
    }

    /// What a run with these options depends on, as a hash in hexadecimal: base, images and shifts by name and length of
    /// every file, the source's name, options, seed.
    pub fn identity(&self, options: &Options) -> String {
        let options = Options { fractions: self.fractions, ..options.clone() };
        let hash = self.content.clone().chain_update(&self.held_out().name);
        hex::encode(hash.chain_update(format!("{options:?}")).finalize())
    }

    /// Adapts and measures.
    ///
    /// `events` hears the adaptation. The peak of memory is the process's during the adaptation, where the system lets an
    /// older peak be forgotten (Linux); elsewhere there is none. A later run's has in it what the allocator kept of earlier
    /// ones: compare peaks of first runs.
    ///
    /// # Errors
    /// If options or images can't be used, the run diverges or was stopped, or the device fails.
    ///
    /// Whatever fractions the options name, the comparison's are used.
    pub fn run(
        &mut self,
        options: &Options,
        control: &Control,
        events: &mut dyn FnMut(Event),
    ) -> Result<RunRecord, Error> {
        let options = &Options { fractions: self.fractions, ..options.clone() };
        let mut recorder = Recorder::default();
        let is_fresh = forget_peak_memory();
        let base = self.runtime.base();
        let request = AdaptRequest { base, dataset: self.images, options, active: None, checkpoint: None };
        let Outcome { delta, seconds, .. } = adapt(&request, control, &mut |event| {
            recorder.hear(&event);
            events(event);
        })?;
        let cost = Cost { seconds, peak_bytes: peak_memory().filter(|_| is_fresh) };
        self.measure(options, &delta, cost, recorder)
    }

    /// The record of a run that ended in that delta file.
    ///
    /// # Errors
    /// If the delta or the images can't be read, or the device fails.
    pub fn measure(
        &mut self,
        options: &Options,
        delta: &[u8],
        cost: Cost,
        heard: Recorder,
    ) -> Result<RunRecord, Error> {
        let base = self.runtime.base();
        let parsed = Delta::parse(delta).map_err(|source| Error::Made { source: Box::new(source) })?;
        let subject = Subject::new(base, Weights::adapted(base, &parsed)?, options.device)?;
        let size = parsed.header().input_size;
        let mut score = |set: usize| self.score(&subject, set, size, options.device);
        let (in_distribution, validation_loss) = (score(HELD_OUT)?, score(VALIDATION)?.loss);
        let shifts = (SHIFTS..self.sets.len()).map(|set| self.score(&subject, set, size, options.device));
        Ok(RunRecord {
            shifts: shifts.collect::<Result<_, _>>()?,
            identity: self.identity(options),
            method: method_name(options),
            seed: options.seed,
            source: self.held_out().name.clone(),
            options: options.to_string(),
            classes: parsed.labels().map(str::to_owned).collect(),
            validation_loss,
            in_distribution,
            accepted: heard.accepted,
            seconds: cost.seconds,
            peak_bytes: cost.peak_bytes,
            delta_bytes: delta.len() as u64,
            radii: heard.radii,
            losses: heard.losses,
        })
    }

    /// What an adaptation makes of the set at that position.
    fn score(&mut self, subject: &Subject, set: usize, size: u32, device: Device) -> Result<Scores, Error> {
        let answers = match self.answers.entry((size, set)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(answers(self.runtime.base(), &self.sets[set], size, device)?),
        };
        subject.measure(&self.sets[set], answers)
    }
}

/// What a run cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Wall time of the adaptation.
    pub seconds: f64,
    /// The most memory that was resident meanwhile, in bytes, where the system tells.
    pub peak_bytes: Option<u64>,
}

/// What a run told that its record keeps.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    losses: Vec<LossRecord>,
    radii: Vec<RadiusRecord>,
    accepted: bool,
}

impl Recorder {
    /// Takes what it needs of an event.
    pub fn hear(&mut self, event: &Event) {
        match event {
            Event::Step { step, loss, .. } => self.losses.push(LossRecord { step: *step, loss: *loss }),
            Event::Gate(gate) => self.accepted = gate.accepted,
            Event::Shares { tensors } => {
                let radius = |share: &fieldfit_adapt::TensorShare| RadiusRecord {
                    tensor: share.tensor.clone(),
                    stage: share.stage,
                    share: share.share,
                };
                self.radii = tensors.iter().map(radius).collect();
            }
            _ => {}
        }
    }
}

/// The method with the settings that it was given: `wise-ft alpha=0.5`.
fn method_name(options: &Options) -> String {
    let settings = options.settings.iter().map(|(name, value)| format!(" {name}={value}"));
    std::iter::once(options.method.clone()).chain(settings).collect()
}
