//! Verdict on a taught class: the heads before and after, on features that both share.

use crate::event::{Gate, Reference};
use crate::metrics::prediction;
use crate::train::labelled_features::LabelledFeatures;
use crate::train::training_state::HeadParams;

/// Features that a taught class is judged by.
pub(crate) struct Examples {
    /// Features of images of the new class.
    new: Vec<Vec<f32>>,
    /// Whether they were held back from its mean.
    held_back: bool,
    /// Features of gate images of the known classes.
    pub known: Option<LabelledFeatures>,
}

impl Examples {
    pub const fn new(new: Vec<Vec<f32>>, held_back: bool) -> Self {
        Self { new, held_back, known: None }
    }

    /// Number of images.
    pub fn images(&self) -> usize {
        self.new.len() + self.known.as_ref().map_or(0, |known| known.matrix.rows)
    }

    /// Number of images of known classes that a head has right.
    fn known_right(&self, head: &HeadParams) -> usize {
        let Some(known) = &self.known else { return 0 };
        let is_right = |(row, &label): (usize, &u32)| predicted(head, known.matrix.row(row)) == label as usize;
        known.classes().iter().enumerate().filter(|&labelled| is_right(labelled)).count()
    }
}

/// Judges a head whose last class is new. `before` is the active version's head; `None` where the base runs.
pub(crate) fn verdict(class: &str, before: Option<&HeadParams>, after: &HeadParams, examples: &Examples) -> Gate {
    let new = after.bias.len() - 1;
    let recognised = examples.new.iter().filter(|features| predicted(after, features) == new).count();
    let (images, all) = (examples.images(), examples.new.len());
    let before_right = before.map_or(0, |before| examples.known_right(before));
    let after_right = examples.known_right(after) + recognised;
    let is_recognised = 2 * recognised >= all;
    let accepted = is_recognised && after_right >= before_right;
    let seen = if examples.held_back { "held-out" } else { "taught" };
    let mut reason = format!("{recognised} of {all} {seen} images are recognised as `{class}`");
    if !is_recognised {
        reason += ", fewer than half";
    }
    if examples.known.is_some() {
        let only = if after_right < before_right { "only " } else { "" };
        reason += &format!("; {only}{after_right} of {images} gate images right, {before_right} by the active version");
    }
    let reference = if before.is_some() { Reference::Active } else { Reference::Base };
    Gate { accepted, reason, ..Gate::counted(images, [before_right, after_right], reference) }
}

/// The verdict on a version without a class: nothing is measured.
pub(crate) fn removed(class: &str) -> Gate {
    let reason = format!("the class `{class}` is removed");
    Gate { accepted: true, reason, ..Gate::counted(0, [0, 0], Reference::Active) }
}

fn predicted(head: &HeadParams, features: &[f32]) -> usize {
    let rows = head.weight.chunks_exact(features.len()).zip(&head.bias);
    let logit = |(row, bias): (&[f32], &f32)| row.iter().zip(features).map(|(a, b)| a * b).sum::<f32>() + bias;
    prediction(&rows.map(logit).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fieldfit_data::Targets;
    use fieldfit_tensor::Matrix;

    /// Catches: a new class that takes more images from the old ones than it brings, or is not recognised, and is accepted.
    #[test]
    fn a_class_must_be_recognised_and_cost_no_more_than_it_brings() {
        let head = |bias: [f32; 3]| HeadParams { weight: vec![1.0, 0.0, 0.0, 1.0, -1.0, -1.0], bias: bias.to_vec() };
        let before = HeadParams { weight: vec![1.0, 0.0, 0.0, 1.0], bias: vec![0.0; 2] };
        let known = LabelledFeatures {
            matrix: Matrix { rows: 4, columns: 2, values: vec![2.0, 0.0, 1.0, 0.0, 0.0, 2.0, 0.0, 1.0] },
            targets: Targets::Classes(vec![0, 0, 1, 1]),
        };
        let examples = |new: &[[f32; 2]]| Examples {
            known: Some(known.clone()),
            ..Examples::new(new.iter().map(|features| features.to_vec()).collect(), true)
        };
        let new = [[-1.0, -1.0], [-2.0, -1.0], [3.0, 0.0]];
        let good = verdict("mug", Some(&before), &head([0.0; 3]), &examples(&new));
        assert!(good.accepted && (good.before, good.after, good.images) == (4, 6, 7), "{good:?}");
        let greedy = verdict("mug", Some(&before), &head([0.0, 0.0, 9.0]), &examples(&new));
        assert!(!greedy.accepted && greedy.after == 3, "{greedy:?}");
        let shy = verdict("mug", Some(&before), &head([9.0, 0.0, 0.0]), &examples(&new));
        assert!(!shy.accepted && shy.reason.contains("fewer than half"), "{shy:?}");
    }
}
