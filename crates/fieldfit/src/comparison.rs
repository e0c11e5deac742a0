//! Comparison: runs of several methods on the same images, slices and budget, each measured and recorded, none stored.

use crate::image_set::ImageSet;
use crate::{Error, Runtime, segmented_frames};
use fieldfit_adapt::metrics::{LabelMetrics, Metrics, Misclassified, agreeing, predictions};
use fieldfit_adapt::{
    AdaptRequest, Branches, Classifier, Control, Event, ExtraOutputs, MethodEntry, Options, Outcome, Placement, adapt,
    forget_peak_memory, peak_memory,
};
use fieldfit_data::{Dataset, Fractions, Perturbation};
use fieldfit_delta::Delta;
use fieldfit_exec::Device;
use fieldfit_model::Weights;
use fieldfit_report::{HardestImage, LossRecord, RadiusRecord, RunRecord, Scores};
use fieldfit_tensor::Task;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Comparison of methods: every run adapts to the same slices of the same images and is measured on the same image sets.
///
/// A run ends in a delta that is measured decoded, as it would run, and then dropped: nothing is stored.
pub struct Comparison<'a> {
    runtime: &'a Runtime,
    images: &'a Dataset,
    fractions: Fractions,
    /// Custom methods that options may name.
    methods: Vec<MethodEntry>,
    /// The held-out images of the source at [`HELD_OUT`], its validation slice at [`VALIDATION`], then the shifts.
    sets: Vec<ImageSet>,
    /// Labelled images of the base's own classes, by its labels.
    base_task: Option<ImageSet>,
    /// The base's predictions, by input size and position of a set: the same for every run.
    base_predictions: BTreeMap<(u32, usize), Vec<u16>>,
    /// Hash over everything that all runs depend on.
    content: Sha256,
}

const HELD_OUT: usize = 0;
const VALIDATION: usize = 1;
const SHIFTS: usize = 2;
/// Number of misclassified images in a record.
const SHOWN: usize = 6;
/// Longer side of a thumbnail, in pixels.
const THUMBNAIL: u32 = 96;

impl<'a> Comparison<'a> {
    /// Creates a comparison on `images`, named `source` in reports and split by `fractions`.
    ///
    /// # Errors
    /// If the images cannot be split so, or the base has no head: agreement with it cannot be measured then.
    pub fn new(
        runtime: &'a Runtime,
        source: impl Into<String>,
        images: &'a Dataset,
        fractions: Fractions,
    ) -> Result<Self, Error> {
        runtime.needs_base_head("tell what was forgotten")?;
        let split = images.split(&fractions)?;
        let slice = |name: String, order| ImageSet { order, ..ImageSet::of(name, images.clone()) };
        let all: Vec<usize> = (0..images.samples.len()).collect();
        let content = Sha256::new().chain_update(runtime.base().id().0).chain_update(images.digest(&all));
        let sets = vec![slice(source.into(), split.gate), slice("validation".into(), split.validation)];
        let (methods, base_predictions) = (Vec::new(), BTreeMap::new());
        Ok(Self { runtime, images, fractions, methods, sets, base_task: None, base_predictions, content })
    }

    /// Adds custom methods, which the options of a run may name beside [`METHODS`](crate::train::METHODS).
    #[must_use]
    pub fn with_methods(mut self, methods: &[MethodEntry]) -> Self {
        self.methods.extend_from_slice(methods);
        self
    }

    /// Measures on these sets as well.
    ///
    /// # Errors
    /// [`Error::SetOfTask`] if a set is labelled for another task than the images.
    pub fn with_shifts(mut self, shifts: Vec<ImageSet>) -> Result<Self, Error> {
        let expected = self.images.task();
        for set in &shifts {
            require_task(set, expected)?;
            self.content.update((set.name.len() as u64).to_le_bytes());
            self.content.update(&set.name);
            self.content.update(set.images.digest(&set.order));
        }
        self.sets.extend(shifts);
        Ok(self)
    }

    /// Measures the base's own task as well, on images that are labelled by the base's classes.
    ///
    /// # Errors
    /// If a class is none of the base's, or the set is labelled for another task than the base's.
    pub fn with_base_task(mut self, set: &ImageSet) -> Result<Self, Error> {
        require_task(set, self.runtime.base().network().task())?;
        let set = set.with_labels(self.runtime.base().labels())?;
        self.content.update(set.images.digest(&set.order));
        self.base_task = Some(set);
        Ok(self)
    }

    /// Returns the images of the source that no run learns from (the gate slice), under the source's name.
    pub fn held_out(&self) -> &ImageSet {
        &self.sets[HELD_OUT]
    }

    /// Returns the identity of a run with these options, a hash in hexadecimal over everything that it depends on: base,
    /// images and shifts by name and length of every file, the source's name, options, seed.
    pub fn identity(&self, options: &Options) -> String {
        let options = options.clone().with_fractions(self.fractions);
        let hash = self.content.clone().chain_update(&self.held_out().name);
        hex::encode(hash.chain_update(format!("{options:?}")).finalize())
    }

    /// Measures on each shift how often the base gives a perturbed image the class that it gives the image as it is, at the input
    /// size of runs with these options: what keeping all of the base's answers would look like.
    ///
    /// # Errors
    /// If the base's answers are no classes of images, images can't be read, or the device fails.
    pub fn base_steadiness(&mut self, options: &Options) -> Result<Vec<BaseSteadiness>, Error> {
        let base = self.runtime.base();
        let (found, device) = (base.network().task(), options.device);
        if found.is_dense() {
            return Err(Error::OtherTask {
                found,
                action: "compare the base's answers to an image and to its mirror image",
            });
        }
        let size = options.size.unwrap_or(base.manifest().input.size);
        let mut steadiness = Vec::new();
        for position in SHIFTS..self.sets.len() {
            let plain = self.base_predictions_of(position, size, device)?.clone();
            let set = &self.sets[position];
            let agreements = Perturbation::ALL.map(|perturbation| {
                let set = ImageSet { perturbation: Some(perturbation), ..set.clone() };
                let perturbed = base_predictions(self.runtime, &set, size, device)?;
                let equal = plain.iter().zip(&perturbed).filter(|(plain, perturbed)| plain == perturbed).count();
                Ok::<_, Error>(equal as f64 / plain.len().max(1) as f64)
            });
            let [flip, shift, jpeg] = agreements;
            steadiness.push(BaseSteadiness { set: set.name.clone(), flip: flip?, shift: shift?, jpeg: jpeg? });
        }
        Ok(steadiness)
    }

    /// Adapts with these options and measures the result. The comparison's fractions replace those of the options.
    ///
    /// `on_event` is called with every event of the adaptation. The memory peak is the process's during the adaptation,
    /// where the system can reset it (Linux); elsewhere `None`. The peak of a later run includes what the allocator kept
    /// of earlier ones: compare peaks of first runs.
    ///
    /// # Errors
    /// If options or images cannot be used, the run diverges or was stopped, or the device fails.
    pub fn run(
        &mut self,
        options: &Options,
        control: &Control,
        on_event: &mut dyn FnMut(Event),
    ) -> Result<RunRecord, Error> {
        let options = &options.clone().with_fractions(self.fractions);
        let mut recorder = Recorder::default();
        let is_fresh = forget_peak_memory();
        let base = self.runtime.base();
        let (dataset, methods) = (self.images, self.methods.as_slice());
        let request = AdaptRequest { base, dataset, options, methods, active: None, start: None, checkpoint: None };
        let Outcome { delta, seconds, .. } = adapt(&request, control, &mut |event| {
            recorder.record(&event);
            on_event(event);
        })?;
        let cost = Cost { seconds, peak_bytes: peak_memory().filter(|_| is_fresh) };
        self.measure(options, &delta, cost, recorder)
    }

    /// Measures the delta that a run with these options ended with, and returns the run's record.
    ///
    /// # Errors
    /// If the delta or the images cannot be read, or the device fails.
    pub fn measure(
        &mut self,
        options: &Options,
        delta: &[u8],
        cost: Cost,
        recorder: Recorder,
    ) -> Result<RunRecord, Error> {
        let parsed = Delta::parse(delta).map_err(|source| Error::Made { source: Box::new(source) })?;
        let subject = Subject::new(self.runtime, &parsed, options.placement())?;
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
            options: options.text(&self.methods)?,
            classes: parsed.labels().map(str::to_owned).collect(),
            colours: match subject.classifier.task() {
                Task::Segmentation => segmented_frames::class_colours(parsed.labels().count()),
                Task::Classification | Task::Regression | Task::MultiLabel => Vec::new(),
            },
            validation_loss,
            in_distribution,
            base_task: self.base_task.as_ref().map(|set| subject.base_accuracy(set)).transpose()?,
            accepted: recorder.accepted,
            seconds: cost.seconds,
            peak_bytes: cost.peak_bytes,
            delta_bytes: delta.len() as u64,
            radii: recorder.radii,
            losses: recorder.losses,
        })
    }

    /// Measures a subject on the set at that position.
    fn score(&mut self, subject: &Subject, set: usize, size: u32, device: Device) -> Result<Scores, Error> {
        self.base_predictions_of(set, size, device)?;
        subject.measure(&self.sets[set], &self.base_predictions[&(size, set)])
    }

    /// The base's predictions on the set at that position, computed once.
    fn base_predictions_of(&mut self, set: usize, size: u32, device: Device) -> Result<&Vec<u16>, Error> {
        Ok(match self.base_predictions.entry((size, set)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(base_predictions(self.runtime, &self.sets[set], size, device)?),
        })
    }
}

/// The base's predicted class of each image of a set at that input size, or of each of its pixels, in the set's order.
fn base_predictions(runtime: &Runtime, set: &ImageSet, size: u32, device: Device) -> Result<Vec<u16>, Error> {
    let weights = Weights { input_size: size, ..Weights::of_base(runtime.base()) };
    let base = Classifier::new(runtime.base(), weights, device)?;
    let mut classes = Vec::with_capacity(set.order.len());
    for batch in set.classified_by(&base)? {
        let (_, logits) = batch?;
        classes.extend(predictions(&logits, 0..logits.columns).map(|class| class as u16));
    }
    Ok(classes)
}

/// The adapted version that is measured: one classifier whose logits are those of its own head, then those of the base's.
struct Subject {
    classifier: Classifier,
}

impl Subject {
    /// Puts both heads on the adapted backbone.
    fn new(runtime: &Runtime, delta: &Delta<'_>, placement: Placement) -> Result<Self, Error> {
        let weights = Weights::adapted(runtime.base(), delta)?;
        let extra = ExtraOutputs { base: true, features: false };
        Ok(Self { classifier: Classifier::with_extra_outputs(runtime.base(), weights, placement, extra)? })
    }

    /// Measures it on a set; `base` is the base's predicted class of each image, or of each of its pixels.
    fn measure(&self, set: &ImageSet, base: &[u16]) -> Result<Scores, Error> {
        let labels = self.classifier.labels();
        let set = set.with_labels(labels)?;
        let mut metrics = Metrics::of(self.classifier.head_outputs(), labels.len());
        let (mut answers, mut agreed) = (0, 0);
        for batch in set.classified_by(&self.classifier)? {
            let (batch, logits) = batch?;
            let expected = base[answers..].iter().map(|class| usize::from(*class));
            agreed += agreeing(predictions(&logits, labels.len()..logits.columns), expected);
            answers += logits.rows;
            metrics.add(&batch, &logits);
        }
        Ok(Scores {
            name: set.name.clone(),
            task: self.classifier.task(),
            task_score: task_score(&metrics),
            calibration_error: metrics.calibration_error(),
            loss: metrics.mean_loss(),
            agreement: agreed as f64 / answers.max(1) as f64,
            hardest: self.hardest(&set, &mut metrics.misclassified)?,
            frames: match self.classifier.task() {
                Task::Segmentation => segmented_frames::least_right(&self.classifier, &set, &metrics.scores)?,
                Task::Classification | Task::Regression | Task::MultiLabel => Vec::new(),
            },
            confusion: metrics.confusion,
        })
    }

    /// Accuracy under the base's own head, 0..1, on images that are labelled by the base's classes, or on their pixels.
    fn base_accuracy(&self, set: &ImageSet) -> Result<f64, Error> {
        let own = self.classifier.labels().len();
        let (mut answers, mut right) = (0, 0);
        for batch in set.classified_by(&self.classifier)? {
            let (batch, logits) = batch?;
            let predicted: Vec<usize> = predictions(&logits, own..logits.columns).collect();
            for (position, class) in batch.targets.counted() {
                answers += 1;
                right += usize::from(predicted[position] == class);
            }
        }
        Ok(right as f64 / answers.max(1) as f64)
    }

    /// The misclassified images with the lowest probability of their true class, with thumbnails.
    fn hardest(&self, set: &ImageSet, misclassified: &mut [Misclassified]) -> Result<Vec<HardestImage>, Error> {
        misclassified.sort_by(|one, other| one.own.total_cmp(&other.own).then(one.sample.cmp(&other.sample)));
        let labels = self.classifier.labels();
        let hardest = misclassified.iter().take(SHOWN).map(|image| {
            let source = &set.images.samples[image.sample].image;
            Ok(HardestImage {
                file: source.file_name().into_owned(),
                truth: labels[image.truth].clone(),
                predicted: labels[image.predicted].clone(),
                confidence: image.confidence,
                thumbnail: segmented_frames::data_uri("jpeg", &source.thumbnail(THUMBNAIL)?),
            })
        });
        hardest.collect()
    }
}

/// Refuses a set that is labelled for another task.
fn require_task(set: &ImageSet, expected: Task) -> Result<(), Error> {
    match set.images.task() {
        found if found == expected => Ok(()),
        found => Err(Error::SetOfTask { set: set.name.clone(), expected, found }),
    }
}

/// The figure of a task whose answers are no classes.
fn task_score(metrics: &Metrics) -> Option<f64> {
    let of_labels = metrics.labels.as_ref().map(LabelMetrics::mean_average_precision);
    of_labels.or_else(|| metrics.values.as_ref().map(|_| metrics.accuracy()))
}

/// How steady the base's own answers are on a set: shares of its images, 0..1, whose perturbed copy gets the same class.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BaseSteadiness {
    /// Name of the set.
    pub set: String,
    /// Under [`Perturbation::Flip`].
    pub flip: f64,
    /// Under [`Perturbation::Shift`].
    pub shift: f64,
    /// Under [`Perturbation::Jpeg`].
    pub jpeg: f64,
}

/// Cost of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Cost {
    /// Wall time of the adaptation, in seconds.
    pub seconds: f64,
    /// Peak resident memory, in bytes, where the system reports it.
    pub peak_bytes: Option<u64>,
}

/// Recorder: collects from a run's events what its record keeps.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    losses: Vec<LossRecord>,
    radii: Vec<RadiusRecord>,
    accepted: bool,
}

impl Recorder {
    /// Records an event.
    pub fn record(&mut self, event: &Event) {
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

/// The method's name with the hyper-parameters that were set, e.g. `wise-ft alpha=0.5`, and its branches.
fn method_name(options: &Options) -> String {
    let settings = options.settings.iter().map(|(name, value)| format!(" {name}={value}"));
    let branches = (options.branches != Branches::default()).then(|| format!(" {}", options.branches));
    std::iter::once(options.method.clone()).chain(settings).chain(branches).collect()
}
