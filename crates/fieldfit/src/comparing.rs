//! Methods side by side: same images, same slices, same budget.

use crate::measuring::{Set, Subject, answers};
use crate::{Error, Runtime};
use fieldfit_adapt::{Control, Event, Options, Outcome, Request, adapt, forget_peak_memory, peak_memory};
use fieldfit_data::Dataset;
use fieldfit_delta::Delta;
use fieldfit_model::Weights;
use fieldfit_report::{Loss, Radius, Run};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

/// The same images to adapt to, and the same to measure on, for whatever runs are compared.
///
/// A run ends in a delta that is measured as it would run, decoded, and then dropped: nothing is stored.
pub struct Comparison<'a> {
    runtime: &'a Runtime,
    source: String,
    images: &'a Dataset,
    shifts: Vec<Set>,
    /// By size and name of a set: what the base makes of it, which is the same for every run.
    answers: BTreeMap<(u32, String), Vec<usize>>,
}

impl<'a> Comparison<'a> {
    /// A comparison on `images`, which reports call `source`.
    pub fn new(runtime: &'a Runtime, source: impl Into<String>, images: &'a Dataset, shifts: Vec<Set>) -> Self {
        Self { runtime, source: source.into(), images, shifts, answers: BTreeMap::new() }
    }

    /// What reports call the images to adapt to.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What a run with these options depends on, as a hash in hexadecimal: base, images and shifts by name and length of
    /// every file, options, seed.
    pub fn identity(&self, options: &Options) -> String {
        let mut hash = Sha256::new();
        hash.update(self.runtime.base().id().0);
        hash_images(&mut hash, &self.source, self.images, 0..self.images.samples.len());
        for set in &self.shifts {
            hash_images(&mut hash, &set.name, &set.images, set.order.iter().copied());
        }
        hash.update(format!("{options:?}"));
        hex::encode(hash.finalize())
    }

    /// Adapts and measures.
    ///
    /// `events` hears the adaptation. The peak of memory is the process's during the adaptation, where the system lets an
    /// older peak be forgotten (Linux); elsewhere there is none. A later run's has in it what the allocator kept of earlier
    /// ones: compare peaks of first runs.
    ///
    /// # Errors
    /// If options or images can't be used, the run diverges or was stopped, or the device fails.
    pub fn run(&mut self, options: &Options, control: &Control, events: &mut dyn FnMut(Event)) -> Result<Run, Error> {
        let mut recorder = Recorder::default();
        let is_fresh = forget_peak_memory();
        let base = self.runtime.base();
        let request = Request { base, dataset: self.images, options, active: None, checkpoint: None };
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
    pub fn measure(&mut self, options: &Options, delta: &[u8], cost: Cost, heard: Recorder) -> Result<Run, Error> {
        let base = self.runtime.base();
        let parsed = Delta::parse(delta).map_err(|source| Error::Made { source: Box::new(source) })?;
        let subject = Subject::new(base, Weights::adapted(base, &parsed)?, options.device)?;
        let size = parsed.header().input_size;
        let split = self.images.split(&options.fractions)?;
        let slice = |name: &str, order: Vec<usize>| Set { order, ..Set::of(name, self.images.clone()) };
        let (held_out, validation) = (slice(&self.source, split.gate), slice("validation", split.validation));
        let validation_loss = self.score(&subject, &validation, size, options)?.loss;
        let in_distribution = self.score(&subject, &held_out, size, options)?;
        let shifts = self.shifts.clone();
        let shifts = shifts.iter().map(|set| self.score(&subject, set, size, options));
        Ok(Run {
            shifts: shifts.collect::<Result<_, _>>()?,
            identity: self.identity(options),
            method: method_name(options),
            seed: options.seed,
            source: self.source.clone(),
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

    fn score(
        &mut self,
        subject: &Subject,
        set: &Set,
        size: u32,
        options: &Options,
    ) -> Result<fieldfit_report::Scores, Error> {
        let key = (size, set.name.clone());
        if !self.answers.contains_key(&key) {
            let base = Weights { input_size: size, ..Weights::of_base(self.runtime.base()) };
            let answers = answers(self.runtime.base(), base, set, options.device, &mut |_| ())?;
            self.answers.insert(key.clone(), answers);
        }
        subject.measure(set, &self.answers[&key])
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
    losses: Vec<Loss>,
    radii: Vec<Radius>,
    accepted: bool,
}

impl Recorder {
    /// Takes what it needs of an event.
    pub fn hear(&mut self, event: &Event) {
        match event {
            Event::Step { step, loss, .. } => self.losses.push(Loss { step: *step, loss: *loss }),
            Event::Gate(gate) => self.accepted = gate.accepted,
            Event::Shares { tensors } => {
                let radius = |share: &fieldfit_adapt::TensorShare| Radius {
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

fn hash_images(hash: &mut Sha256, name: &str, images: &Dataset, order: impl IntoIterator<Item = usize>) {
    let mut text = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    text(name);
    images.classes.iter().for_each(|class| text(class));
    for sample in order.into_iter().map(|index| &images.samples[index]) {
        let bytes = std::fs::metadata(&sample.path).map_or(0, |metadata| metadata.len());
        text(&format!("{} {} {bytes}", file_name(&sample.path), sample.class));
    }
}

fn file_name(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}
