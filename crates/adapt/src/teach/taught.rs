//! Taught version: the classes, means and trained rows of a version, and the delta that they make.

use crate::covariance::class_means;
use crate::error::AdaptError;
use crate::error::TeachError;
use crate::event::Gate;
use crate::features::FeatureExtractor;
use crate::teach::prototype;
use crate::train::labelled_features::LabelledFeatures;
use crate::train::training_state::HeadParams;
use fieldfit_data::{Dataset, Split};
use fieldfit_delta::{Delta, HeadDescription, HeadOrigin, Header, Provenance, Record, Task, TensorKind, encode_with};
use fieldfit_model::{Base, FeatureStatistics, Weights, new_head, with_range_tensors};
use fieldfit_tensor::Matrix;

/// Classes of a version that classes are added to or removed from.
pub(crate) struct Taught {
    /// Class names, the taught ones last.
    pub labels: Vec<String>,
    /// Mean features of the classes; fewer than labels if the version records none.
    pub means: Matrix<f32>,
    /// Rows of the classes that were not taught.
    trained: HeadParams,
    /// What else the version says of its head and features.
    description: HeadDescription,
    statistics: FeatureStatistics,
}

impl Taught {
    /// The classes of the active version, which has these weights; none where the base runs.
    pub fn of(weights: &Weights, active: Option<&Delta<'_>>) -> Result<Self, AdaptError> {
        let features = weights.network.head.features;
        let empty = Matrix { rows: 0, columns: features, values: Vec::new() };
        let Some(active) = active else {
            let trained = HeadParams { weight: Vec::new(), bias: Vec::new() };
            let (description, statistics) = (HeadDescription::default(), FeatureStatistics::default());
            return Ok(Self { labels: Vec::new(), means: empty, trained, description, statistics });
        };
        let description = active.header().head;
        let trained = weights.labels.len() - description.taught as usize;
        let head = weights.network.head;
        let trained = HeadParams {
            weight: weights.params[head.weight][..trained * features].to_vec(),
            bias: weights.params[head.bias][..trained].to_vec(),
        };
        let statistics = FeatureStatistics::of_delta(active, features)?.unwrap_or_default();
        let means = if statistics.means.rows > 0 { statistics.means.clone() } else { empty };
        Ok(Self { labels: weights.labels.clone(), means, trained, description, statistics })
    }

    /// Adds a class of that mean behind all others.
    pub fn add(&mut self, class: &str, mean: &[f32]) {
        self.labels.push(class.into());
        self.means.rows += 1;
        self.means.values.extend_from_slice(mean);
        self.description.taught += 1;
    }

    /// Removes a taught class.
    ///
    /// # Errors
    /// If it was not taught, or is the only class.
    pub fn remove(&mut self, class: &str) -> Result<(), TeachError> {
        let first = self.labels.len() - self.description.taught as usize;
        let taught = &self.labels[first..];
        let Some(position) = taught.iter().position(|label| label == class) else {
            return Err(TeachError::NotTaught { class: class.into(), taught: taught.to_vec() });
        };
        if self.labels.len() == 1 {
            return Err(TeachError::LastClass { class: class.into() });
        }
        let (missing, labels) = (self.labels.len().saturating_sub(self.means.rows), &self.labels);
        if missing > 0 {
            return Err(TeachError::NoMeans { missing, class: labels[self.means.rows].clone() });
        }
        let (position, columns) = (first + position, self.means.columns);
        self.labels.remove(position);
        self.means.rows -= 1;
        self.means.values.drain(position * columns..(position + 1) * columns);
        self.description.taught -= 1;
        Ok(())
    }

    /// The head of all classes.
    pub fn head(&self) -> HeadParams {
        prototype::head(&self.means, &self.trained)
    }

    /// Encodes the version: the active one's differences as they are, the head and the class means. `images` are those of the
    /// mean and of the gate.
    pub fn encode(
        &self,
        base: &Base,
        active: Option<&Delta<'_>>,
        head: &HeadParams,
        gate: Option<&Gate>,
        images: (usize, usize),
    ) -> Result<Vec<u8>, AdaptError> {
        let network = base.network().with_classes(self.labels.len());
        let labels: Vec<&str> = self.labels.iter().map(String::as_str).collect();
        let preprocessing = base.preprocessing();
        let (input_size, crop) = active.map_or((preprocessing.size, preprocessing.crop), |active| {
            (active.header().input_size, active.header().crop)
        });
        let header = Header {
            base: base.id().0,
            parent: active.map(Delta::hash),
            task: Task::Classification,
            input_size,
            crop,
            classes: labels.len() as u32,
            tensors: 0,
            provenance: provenance(gate, images),
            head: HeadDescription { origin: HeadOrigin::Replaced, ..self.description },
        };
        let is_head = |name: &str| network.find(name).is_some_and(|id| network.tensor(id).role.is_head());
        let kept = |record: &Record<'_>| record.kind == TensorKind::Difference && !is_head(record.name);
        let records: Vec<Record<'_>> = active.iter().flat_map(|active| active.records()).filter(kept).collect();
        let new_head = new_head(&network, &head.weight, &head.bias);
        let statistics = FeatureStatistics { means: self.means.clone(), ..self.statistics.clone() };
        // The backbone is the active version's, and so are its activations.
        let ranges =
            active.map(|active| Weights::adapted(base, active)).transpose()?.and_then(|weights| weights.ranges);
        let encoded = statistics.with_tensors(|statistics| {
            with_range_tensors(ranges.as_ref(), |ranges| {
                encode_with(&header, &labels, &records, &[&new_head[..], statistics, ranges].concat())
            })
        });
        Ok(encoded.map_err(fieldfit_model::ModelError::from)?)
    }
}

fn provenance(gate: Option<&Gate>, (train, judged): (usize, usize)) -> Provenance {
    let figures = gate.map(Gate::figures);
    let mut provenance = Provenance {
        train: train as u32,
        gate: judged as u32,
        before: figures.map_or(0.0, |figures| figures.before as f32),
        after: figures.map_or(0.0, |figures| figures.after as f32),
        ..Provenance::default()
    };
    // Both are short enough for their fields.
    let _ = provenance.fieldfit.push_str(env!("CARGO_PKG_VERSION"));
    let _ = provenance.method.push_str("teach");
    provenance
}

/// Mean features of the labels' classes over the images that are not the gate's.
///
/// # Errors
/// If a class has no image.
pub(crate) fn known_means(
    extractor: &mut FeatureExtractor,
    labels: &[String],
    known: Option<&(Dataset, Split)>,
) -> Result<Matrix<f32>, AdaptError> {
    let columns = extractor.weights().network.head.features;
    let features = match known {
        Some((dataset, split)) => {
            let order: Vec<usize> = split.train.iter().chain(&split.validation).copied().collect();
            extractor.of_samples(dataset, &order)?
        }
        None => LabelledFeatures::default(),
    };
    let (means, counts) = class_means(&features, labels.len());
    let missing = counts.iter().filter(|&&count| count == 0).count();
    if let Some(first) = counts.iter().position(|&count| count == 0) {
        return Err(TeachError::NoMeans { missing, class: labels[first].clone() }.into());
    }
    let values = means.into_iter().flatten().map(|value| value as f32).collect();
    Ok(Matrix { rows: labels.len(), columns, values })
}
