//! Base answers: the base's own probabilities of its own classes for images, asked once.

use std::collections::BTreeMap;

/// The base's own probabilities for the images that it was asked about, by their index.
#[derive(Default)]
pub(crate) struct BaseAnswers(BTreeMap<usize, Vec<f32>>);

impl BaseAnswers {
    /// Adds the answers to a batch's images, one after the other.
    pub fn extend(&mut self, samples: Vec<usize>, answers: &[f32]) {
        let width = answers.len() / samples.len().max(1);
        self.0.extend(samples.into_iter().zip(answers.chunks(width.max(1)).map(<[f32]>::to_vec)));
    }

    /// Returns the answers to these images, one after the other; `None` where one could not be read when the base was asked.
    pub fn of(&self, samples: &[usize]) -> Option<Vec<f32>> {
        let rows: Option<Vec<_>> = samples.iter().map(|sample| self.0.get(sample)).collect();
        Some(rows?.into_iter().flatten().copied().collect())
    }
}
