//! Evaluation: counts the images that a network classifies correctly, and compares networks.

use crate::error::AdaptError;
use fieldfit_data::{Batch, DataError};
use fieldfit_exec::{ExecError, Prepared};
use fieldfit_model::{Base, Weights};
use fieldfit_nets::Network;
use fieldfit_tensor::{Images, Matrix, Params, TensorId, TensorView};
use serde::{Deserialize, Serialize};

/// Scores of a network on labelled images, by class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassScores {
    /// By class.
    pub per_class: Vec<ClassScore>,
}

/// Score of a network on the images of one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClassScore {
    /// Images of this class.
    pub images: usize,
    /// How many of them got it.
    pub correct: usize,
    /// How many images, of whatever class, got it.
    pub predicted: usize,
}

impl ClassScores {
    /// Scores before the first image.
    pub fn new(classes: usize) -> Self {
        Self { per_class: vec![ClassScore::default(); classes] }
    }

    /// Images seen.
    pub fn images(&self) -> usize {
        self.per_class.iter().map(|class| class.images).sum()
    }

    /// Images whose label has the largest logit.
    pub fn correct(&self) -> usize {
        self.per_class.iter().map(|class| class.correct).sum()
    }

    /// The share of images that are right, 0..1; 0 without images.
    pub fn accuracy(&self) -> f64 {
        self.correct() as f64 / self.images().max(1) as f64
    }

    /// Whether images of several classes all got the same one.
    pub fn is_constant(&self) -> bool {
        let present = self.per_class.iter().filter(|class| class.images > 0).count();
        let predicted = self.per_class.iter().filter(|class| class.predicted > 0).count();
        present > 1 && predicted == 1
    }

    fn add(&mut self, label: u32, predicted: usize) {
        let label = label as usize;
        self.per_class[label].images += 1;
        self.per_class[label].correct += usize::from(label == predicted);
        self.per_class[predicted].predicted += 1;
    }
}

/// Runs labelled batches through a network. `progress` is told the number of images done after each batch.
///
/// `logits` is [`Prepared::logits`] or an executor's; its columns are the classes that labels count in.
///
/// # Errors
/// If images can't be had or the network can't be computed.
///
/// # Panics
/// If a label or a column is not below `classes`.
pub fn evaluate<E>(
    classes: usize,
    batches: impl IntoIterator<Item = Result<Batch, E>>,
    mut logits: impl FnMut(&Images) -> Result<Matrix<f32>, ExecError>,
    mut progress: impl FnMut(usize),
) -> Result<ClassScores, AdaptError>
where
    AdaptError: From<E>,
{
    let mut scores = ClassScores::new(classes);
    for batch in batches {
        let batch = batch?;
        let matrix = logits(&batch.images)?;
        for (row, &label) in batch.labels.iter().enumerate() {
            scores.add(label, largest(matrix.row(row)));
        }
        progress(scores.images());
    }
    Ok(scores)
}

/// The share of images, 0..1, to which two networks with the same classes give the same one. Labels are not looked at.
///
/// With [`under_base_head`], this is what an adaptation did not forget.
///
/// # Errors
/// If images can't be had or a network can't be computed.
pub fn agreement(
    one: &dyn Prepared,
    other: &dyn Prepared,
    batches: impl IntoIterator<Item = Result<Batch, DataError>>,
) -> Result<f64, AdaptError> {
    let (mut images, mut same) = (0_usize, 0_usize);
    for batch in batches {
        let batch = batch?;
        let (one, other) = (one.logits(&batch.images)?, other.logits(&batch.images)?);
        images += batch.images.count;
        same += (0..batch.images.count).filter(|&row| largest(one.row(row)) == largest(other.row(row))).count();
    }
    Ok(same as f64 / images.max(1) as f64)
}

/// The adapted backbone under the base's original head.
pub fn under_base_head(adapted: &Weights, base: &Base) -> Weights {
    let mut weights = Weights::of_base(base);
    for (id, _) in base.network().tensors().filter(|(_, spec)| !spec.role.is_head()) {
        weights.params[id].copy_from_slice(&adapted.params[id]);
    }
    Weights { input_size: adapted.input_size, crop: adapted.crop, ..weights }
}

/// The adapted backbone under both heads at once: its own classes first, and the base's behind them. The labels stay its
/// own.
pub fn under_both_heads(adapted: Weights, base: &Base) -> Weights {
    let mut params = adapted.params;
    let network = add_base_head(&adapted.network, &mut params, base);
    Weights { network, params, ..adapted }
}

/// Puts the base's own head behind the new one's rows; returns the network of both.
pub(crate) fn add_base_head(network: &Network, params: &mut Params<f32>, base: &Base) -> Network {
    let (own, more) = (network.head, base.network().head);
    append(params, own.weight, base.tensor(more.weight));
    append(params, own.bias, base.tensor(more.bias));
    network.with_classes(own.classes + more.classes)
}

/// Puts more rows behind a tensor's.
fn append(params: &mut Params<f32>, id: TensorId, more: TensorView<'_>) {
    let own = params[id].len();
    let mut values = params[id].to_vec();
    values.resize(own + more.len(), 0.0);
    more.copy_into(&mut values[own..]);
    params.replace(id, values);
}

/// The position of the largest value, the first among equals.
pub fn largest(values: &[f32]) -> usize {
    let first_larger = |best: usize, position: usize| if values[position] > values[best] { position } else { best };
    (0..values.len()).fold(0, first_larger)
}
