//! Evaluation: accuracy, calibration and forgetting of the running version on labelled images.

use crate::image_set::ImageSet;
use crate::{Error, Runtime, Version};
use fieldfit_adapt::metrics::{LabelAnswers, LabelMetrics, Metrics, TargetErrors, ValueMetrics, prediction};
use fieldfit_adapt::{Classifier, ExtraOutputs, under_base_head};
use fieldfit_tensor::Task;
use serde::Serialize;
use std::collections::BTreeMap;

/// Metrics on a set of labelled images.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Evaluation {
    /// Images that were evaluated.
    pub images: usize,
    /// Images whose top class is their label; of images with masks, pixels; of images with any number of labels, labels.
    pub correct: usize,
    /// Share of correct images, pixels or labels, 0..1; of images with values, 1 / (1 + mean error).
    pub accuracy: f64,
    /// Mean over classes of the share of their correct images or pixels, 0..1; of other tasks the accuracy.
    pub macro_accuracy: f64,
    /// Counts of pixels, if the images have masks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segmentation: Option<SegmentationEvaluation>,
    /// Errors of values, if the images have them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regression: Option<RegressionEvaluation>,
    /// Answers of labels, if the images have any number of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multi_label: Option<MultiLabelEvaluation>,
    /// Expected calibration error, 0..1, over 15 equal bins of confidence (Guo et al., ICML 2017); 0 of values.
    pub calibration_error: f64,
    /// Images that could not be read and are not counted.
    pub skipped: usize,
    /// Counts of each class that has images, by its name; none of images without one class.
    pub per_class: BTreeMap<String, Count>,
    /// Counts of each named group, if the images were opened with a group pattern; none of images without one class.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub per_group: BTreeMap<String, Count>,
    /// Accuracy under the base's own head on the images whose class is a label of the base, if there are such images and it was
    /// evaluated [with the base's answers](Runtime::evaluate_with_base_answers) or by a runtime that gives them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_head: Option<BaseHeadEvaluation>,
}

/// Counts of the pixels of images with masks, at the size of the network's output.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SegmentationEvaluation {
    /// Pixels that count: those that are not ignored.
    pub pixels: usize,
    /// Mean of the classes' intersections over unions, 0..1.
    pub mean_iou: f64,
    /// Counts of each class that the truth or an answer has, by its name.
    pub per_class: BTreeMap<String, PixelCount>,
}

/// Counts of one class's pixels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PixelCount {
    /// Pixels of the class.
    pub pixels: usize,
    /// Pixels of the class that are named so.
    pub correct: usize,
    /// Intersection over union, 0..1: correct pixels over those of the class and those named so.
    pub iou: f64,
}

impl SegmentationEvaluation {
    fn new(labels: &[String], metrics: &Metrics) -> Self {
        let ious = metrics.intersections_over_unions();
        let count = |(class, iou): (usize, Option<f64>)| {
            let row = &metrics.confusion[class];
            let count = PixelCount { pixels: row.iter().sum(), correct: row[class], iou: iou? };
            Some((labels[class].clone(), count))
        };
        Self {
            pixels: metrics.answers(),
            mean_iou: metrics.mean_intersection_over_union(),
            per_class: ious.into_iter().enumerate().filter_map(count).collect(),
        }
    }
}

/// Errors of values.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RegressionEvaluation {
    /// Mean over images and targets of the absolute errors, in the targets' standard deviations over the images that the version
    /// was trained on.
    pub mean_error: f64,
    /// Errors of each target, by its name with its unit, in that unit.
    pub per_target: BTreeMap<String, ValueErrors>,
}

/// Errors of one target's values, in its unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ValueErrors {
    /// Mean absolute error.
    pub mean_absolute: f64,
    /// Root mean square error.
    pub root_mean_square: f64,
    /// Coefficient of determination R², at most 1; `None` where all values are the same.
    pub determination: Option<f64>,
}

impl RegressionEvaluation {
    fn new(labels: &[String], metrics: &Metrics, values: &ValueMetrics) -> Self {
        let error = |(label, errors): (&String, &TargetErrors)| {
            let error = ValueErrors {
                mean_absolute: errors.mean_absolute_error(),
                root_mean_square: errors.root_mean_square_error(),
                determination: errors.determination(),
            };
            (label.clone(), error)
        };
        Self { mean_error: metrics.mean_error(), per_target: labels.iter().zip(&values.targets).map(error).collect() }
    }
}

/// Answers of labels that do not exclude each other.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MultiLabelEvaluation {
    /// Mean over labels of the average precision, 0..1.
    pub mean_average_precision: f64,
    /// Mean over labels of F1 at their thresholds, 0..1.
    pub macro_f1: f64,
    /// F1 of all labels together, 0..1.
    pub micro_f1: f64,
    /// Answers of each label, by its name.
    pub per_label: BTreeMap<String, LabelEvaluation>,
}

/// Answers of one label.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LabelEvaluation {
    /// Images that have it.
    pub images: usize,
    /// Average precision, 0..1; `None` if no image has it.
    pub average_precision: Option<f64>,
    /// F1 at its threshold, 0..1.
    pub f1: f64,
}

impl MultiLabelEvaluation {
    fn new(labels: &[String], metrics: &LabelMetrics) -> Self {
        let of_label = |(label, answers): (&String, &LabelAnswers)| {
            let (images, f1) = (answers.positives(), answers.f1());
            (label.clone(), LabelEvaluation { images, average_precision: answers.average_precision(), f1 })
        };
        Self {
            mean_average_precision: metrics.mean_average_precision(),
            macro_f1: metrics.macro_f1(),
            micro_f1: metrics.micro_f1(),
            per_label: labels.iter().zip(&metrics.labels).map(of_label).collect(),
        }
    }
}

/// Accuracy of a version's backbone under the base's own head, among all of the base's classes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BaseHeadEvaluation {
    /// Images, or pixels, whose class is a label of the base.
    pub images: usize,
    /// Images or pixels of those whose top class under the base's head is their label.
    pub correct: usize,
    /// Share of correct ones, 0..1.
    pub accuracy: f64,
}

impl From<Count> for BaseHeadEvaluation {
    fn from(count: Count) -> Self {
        Self { images: count.images, correct: count.correct, accuracy: count.accuracy() }
    }
}

/// Counts of a class or a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Count {
    /// Number of images.
    pub images: usize,
    /// Number of correct images.
    pub correct: usize,
}

impl Count {
    fn add(&mut self, is_correct: bool) {
        self.images += 1;
        self.correct += usize::from(is_correct);
    }

    /// Returns the share of correct images, 0..1; 0 without images.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.images.max(1) as f64
    }
}

impl Evaluation {
    fn new(set: &ImageSet, metrics: &Metrics) -> Self {
        let mut per_class: BTreeMap<String, Count> = BTreeMap::new();
        let mut per_group: BTreeMap<String, Count> = BTreeMap::new();
        for score in &metrics.scores {
            let sample = &set.images.samples[score.sample];
            let Some(class) = sample.target.class() else { continue };
            per_class.entry(set.images.classes[class as usize].clone()).or_default().add(score.right > 0);
            if let Some(group) = &sample.group_name {
                per_group.entry(group.clone()).or_default().add(score.right > 0);
            }
        }
        let mean_of_classes = || per_class.values().map(Count::accuracy).sum::<f64>() / per_class.len().max(1) as f64;
        let labels = &set.images.classes;
        let (macro_accuracy, segmentation) = match set.images.task() {
            Task::Classification => (mean_of_classes(), None),
            Task::Segmentation => (metrics.macro_accuracy(), Some(SegmentationEvaluation::new(labels, metrics))),
            Task::Regression | Task::MultiLabel => (metrics.accuracy(), None),
        };
        Self {
            images: metrics.images(),
            correct: metrics.correct(),
            accuracy: metrics.accuracy(),
            macro_accuracy,
            segmentation,
            regression: metrics.values.as_ref().map(|values| RegressionEvaluation::new(labels, metrics, values)),
            multi_label: metrics.labels.as_ref().map(|answers| MultiLabelEvaluation::new(labels, answers)),
            calibration_error: metrics.calibration_error(),
            skipped: set.images.unreadable(),
            per_class,
            per_group,
            base_head: None,
        }
    }

    /// Returns the counts over all classes.
    pub const fn all(&self) -> Count {
        Count { images: self.images, correct: self.correct }
    }
}

impl Runtime {
    /// Evaluates the running version on labelled images.
    ///
    /// `progress` is called with the number of images done and their total.
    ///
    /// # Errors
    /// [`Error::ImagesOfTask`] if the images are labelled for another task than the version's; if they have a class that the model does
    /// not know, one of them cannot be read any more, or the device fails.
    pub fn evaluate(&self, set: &ImageSet, progress: &mut dyn FnMut(usize, usize)) -> Result<Evaluation, Error> {
        let running = self.running();
        evaluate(running.classifier(), (running.version(), false), set, progress)
    }

    /// Evaluates the running version as [`evaluate`](Self::evaluate) does, and in the same pass its backbone under the base's
    /// own head, on those images whose class is a label of the base: [`Evaluation::base_head`].
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate), or if the active version's file cannot be read any more, or the base has no head.
    pub fn evaluate_with_base_answers(
        &self,
        set: &ImageSet,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Evaluation, Error> {
        self.needs_base_head("be measured beside a version")?;
        let (version, weights) = self.weights()?;
        let classifier = Classifier::with_extra_outputs(
            self.base(),
            weights,
            self.placement(),
            ExtraOutputs { base: true, features: false },
        )?;
        evaluate(&classifier, (version, false), set, progress)
    }

    /// Evaluates the running version's backbone under the base's own head and labels: what was forgotten of the base's own
    /// task.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate), or if the active version's file cannot be read any more, or the base has no head.
    pub fn evaluate_under_base_head(
        &self,
        set: &ImageSet,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Evaluation, Error> {
        self.needs_base_head("be measured on its own task")?;
        let (version, weights) = self.weights()?;
        let classifier = Classifier::new(self.base(), under_base_head(&weights, self.base()), self.placement())?;
        evaluate(&classifier, (version, true), set, progress)
    }
}

/// Evaluates a classifier of a version, or of its backbone under the base's own head.
fn evaluate(
    classifier: &Classifier,
    (version, is_base_head): (Version, bool),
    set: &ImageSet,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Evaluation, Error> {
    let (labels, images, found) = (classifier.labels(), set.images.task(), classifier.task());
    if images != found {
        return Err(Error::ImagesOfTask { images, version, found, is_base_head });
    }
    let set = set.with_labels(labels).map_err(|source| Error::Classes { version, source })?;
    let in_base = classifier.base_labels().map(|base| {
        let columns = labels.len()..labels.len() + base.len();
        (positions(labels, base), columns)
    });
    let (mut metrics, mut under_base) = (Metrics::of(classifier.head_outputs(), labels.len()), Count::default());
    for batch in set.classified_by(classifier)? {
        let (batch, logits) = batch?;
        metrics.add(&batch, &logits);
        if let Some((in_base, columns)) = &in_base {
            for (answer, class) in batch.targets.counted() {
                let predicted = prediction(&logits.row(answer)[columns.clone()]);
                in_base[class].into_iter().for_each(|truth| under_base.add(truth == predicted));
            }
        }
        progress(metrics.images(), set.order.len());
    }
    let base_head = (under_base.images > 0).then(|| under_base.into());
    Ok(Evaluation { base_head, ..Evaluation::new(&set, &metrics) })
}

/// Returns the position of each label in a second list, if it is there.
fn positions(labels: &[String], others: &[String]) -> Vec<Option<usize>> {
    labels.iter().map(|label| others.iter().position(|other| other == label)).collect()
}
