//! Retention objective: the loss of the targets and the divergence from the base's own predictions, under two heads.

use crate::error::AdaptError;
use crate::methods::method::Requirements;
use crate::train::base_answers::BaseAnswers;
use crate::train::session::HostSession;
use crate::train::target_loss::TargetLoss;
use fieldfit_data::Batch;
use fieldfit_exec::{ExecError, Objective, kl_divergence};
use fieldfit_tensor::Real;

/// Retention loss under two heads over one backbone, as the rows of one: the new classes first, then the base's own. One
/// pass answers for both.
///
/// The loss of an image is that of its target among the new classes, if it has one, and `strength` times the divergence KL(base
/// ‖ adapted) of the answers under the base's head, if the base was asked: of its one answer, or the mean over its pixels. The
/// base's answers need no label.
pub(crate) struct RetentionLoss<'a, T> {
    pub targets: Option<TargetLoss<'a>>,
    pub heads: Heads,
    /// λ, nats of the loss a nat of divergence.
    pub strength: f64,
    /// The base's probabilities of its own classes, image after image.
    pub answers: Option<&'a [T]>,
}

/// Classes of two heads over one backbone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heads {
    /// New classes.
    pub new: usize,
    /// Those of both heads.
    pub both: usize,
}

impl Heads {
    /// The heads of a session.
    fn of(session: &HostSession<'_>) -> Self {
        Self { new: session.state.network().head.classes, both: session.executor.network().head.classes }
    }
}

impl<T: Real> Objective<T> for RetentionLoss<'_, T> {
    fn check(&self, images: usize, columns: usize) -> Result<(), ExecError> {
        let new = columns / self.heads.both.max(1) * self.heads.new;
        self.targets.map_or(Ok(()), |targets| Objective::<T>::check(&targets, images, new))
    }

    fn loss_and_gradient(&self, image: usize, logits: &mut [T]) -> f64 {
        let Heads { new, both } = self.heads;
        let pixels = logits.len() / both.max(1);
        // The new classes of one pixel after those of another, as the loss of targets reads them.
        let mut learning: Vec<T> = logits.chunks_exact(both).flat_map(|pixel| &pixel[..new]).copied().collect();
        let learned = match self.targets {
            Some(targets) => targets.loss_and_gradient(image, &mut learning),
            None => without_slope(&mut learning),
        };
        let (own, mut forgotten) = (both - new, 0.0);
        let strength = self.strength / pixels as f64;
        for (pixel, logits) in logits.chunks_exact_mut(both).enumerate() {
            let (learning_logits, own_logits) = logits.split_at_mut(new);
            learning_logits.copy_from_slice(&learning[pixel * new..][..new]);
            forgotten += match self.answers {
                Some(answers) => kl_divergence(own_logits, &answers[(image * pixels + pixel) * own..][..own]),
                None => without_slope(own_logits),
            };
            own_logits.iter_mut().for_each(|slope| *slope *= T::of(strength));
        }
        learned + strength * forgotten
    }
}

/// Returns the loss 0 and sets the gradient to 0: these logits do not count.
fn without_slope<T: Real>(logits: &mut [T]) -> f64 {
    logits.fill(T::zero());
    0.0
}

/// Objective that relative radii are learned by: the validation slice, and the base's answers to it or to other images.
pub(crate) struct RetentionObjective {
    strength: f64,
    /// Augmentation view of the validation images; `None` for as they are.
    view: Option<u64>,
    /// The base's answers; `None` where nothing is to be retained.
    answers: Option<BaseAnswers>,
}

impl RetentionObjective {
    /// Creates the objective; with a strength above 0, computes the base's predictions, whose head the session's
    /// network then has beside the new one.
    pub fn new(session: &mut HostSession<'_>, strength: f64, view: Option<u64>) -> Result<Self, AdaptError> {
        let mut objective = Self { strength, view, answers: None };
        if strength > 0.0 {
            session.add_base_head()?;
            let batches = match &session.retained {
                Some(retained) => retained.whole_slice(None)?,
                None => session.validation.whole_slice(view)?,
            };
            objective.answers = Some(session.ask_base(batches)?);
        }
        Ok(objective)
    }

    /// The base's answers to a batch's images, where something is to be retained of all of them.
    fn answers(&self, samples: &[usize]) -> Option<Vec<f32>> {
        self.answers.as_ref()?.of(samples)
    }

    /// The loss at the session's weights: the mean over the validation slice, and over the retained images if there are
    /// some. `visit` sees the gradients of each batch's mean, and what part of its mean the batch is.
    pub fn descend(
        &self,
        session: &mut HostSession<'_>,
        mut visit: impl FnMut(&HostSession<'_>, f64),
    ) -> Result<f64, AdaptError> {
        let (heads, strength) = (Heads::of(session), self.strength);
        let mut loss = 0.0;
        let (images, scaling) = (session.validation.images(), session.target_scaling.clone());
        for batch in session.validation.whole_slice(self.view)? {
            let Batch { images: pixels, targets, samples } = batch?;
            let answers = if session.retained.is_none() { self.answers(&samples) } else { None };
            let targets = Some(scaling.objective(&targets));
            let objective = RetentionLoss { targets, heads, strength, answers: answers.as_deref() };
            let share = samples.len() as f64 / images as f64;
            loss += share * session.descend(&pixels, &objective)?;
            visit(session, share);
        }
        let Some(retained) = &session.retained else { return Ok(loss) };
        let (images, batches) = (retained.images(), retained.whole_slice(None)?);
        for batch in batches {
            let Batch { images: pixels, samples, .. } = batch?;
            let answers = self.answers(&samples);
            let objective = RetentionLoss { targets: None, heads, strength, answers: answers.as_deref() };
            let share = pixels.count as f64 / images as f64;
            loss += share * session.descend(&pixels, &objective)?;
            visit(session, share);
        }
        Ok(loss)
    }
}

/// Retention while weights train: a batch's labels, and the divergence of the adapted answers to its augmented images from what the
/// base says of them, or of the images as they are.
pub(crate) struct TrainingRetention {
    /// λ, nats of the loss a nat of divergence.
    strength: f64,
    /// Whether the base is asked about the images as they are: once each, before the first step.
    of_clean: bool,
}

impl TrainingRetention {
    /// Creates the retention of that strength.
    pub const fn new(strength: f64, of_clean: bool) -> Self {
        Self { strength, of_clean }
    }

    /// λ.
    pub const fn strength(&self) -> f64 {
        self.strength
    }

    /// What the base must be asked about.
    pub fn requirements(&self) -> Requirements {
        let is_on = self.strength > 0.0;
        Requirements::default().with_base_predictions(is_on).with_clean_predictions(is_on && self.of_clean)
    }

    /// One batch's descent, at θ0 + `share`·δ. At a strength of 0 the base isn't asked, and one without a head can't be.
    pub fn descend(&self, session: &mut HostSession<'_>, batch: &Batch, share: f32) -> Result<f64, AdaptError> {
        if self.strength == 0.0 || session.state.base().network().is_headless() {
            return session.descend_labels_at(share, batch);
        }
        session.add_base_head()?;
        let answers = self.answers(session, batch)?;
        session.merge_at(share);
        let scaling = session.target_scaling.clone();
        let targets = Some(scaling.objective(&batch.targets));
        let (heads, strength) = (Heads::of(session), self.strength);
        let objective = RetentionLoss { targets, heads, strength, answers: answers.as_deref() };
        session.descend_at(share, &batch.images, &objective)
    }

    /// The base's answers to a batch's images; `None` where one of them could not be read when it was asked.
    fn answers(&self, session: &mut HostSession<'_>, batch: &Batch) -> Result<Option<Vec<f32>>, AdaptError> {
        if self.of_clean {
            return Ok(session.clean_answers.as_ref().and_then(|answers| answers.of(&batch.samples)));
        }
        session.base_answers(&batch.images).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::target_scaling::TargetScaling;
    use fieldfit_data::{Masks, Targets};
    use fieldfit_exec::{cross_entropy, softmax};

    const LOGITS: [f64; 6] = [0.4, -1.0, 0.3, 2.0, -0.7, 0.1];

    fn descend(retaining: &RetentionLoss<'_, f64>, logits: [f64; 6]) -> (f64, [f64; 6]) {
        let mut slopes = logits;
        let loss = retaining.loss_and_gradient(0, &mut slopes);
        (loss, slopes)
    }

    /// Catches: a slope of another loss than the one that is reported: a λ that counts in one of them, heads that are mixed up.
    #[test]
    fn slopes_are_those_of_the_loss() {
        let (even, classes) = (TargetScaling::default(), Targets::Classes(vec![1]));
        let masks = Targets::Masks(Masks { height: 1, width: 2, values: vec![Masks::IGNORED, 0] });
        let image = (&classes, Heads { new: 2, both: 6 }, [0.2, 0.1, 0.3, 0.4]);
        let pixels = (&masks, Heads { new: 1, both: 3 }, [0.2, 0.8, 0.6, 0.4]);
        for (targets, heads, answers) in [image, pixels] {
            let targets = Some(even.objective(targets));
            let retaining = RetentionLoss { targets, heads, strength: 0.7, answers: Some(&answers) };
            let (_, slopes) = descend(&retaining, LOGITS);
            for (index, slope) in slopes.into_iter().enumerate() {
                let at = |step: f64| {
                    let mut logits = LOGITS;
                    logits[index] += step;
                    descend(&retaining, logits).0
                };
                let expected = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((slope - expected).abs() < 1e-9, "{index}: {slope}, not {expected}");
            }
        }
    }

    /// Catches: a pull on weights that still answer as the base does, or an answer taken from another image.
    #[test]
    fn the_bases_own_answers_are_not_pulled_at() {
        let mut answers = [LOGITS, LOGITS].concat();
        softmax(&mut answers[2..6]);
        let answers = [[0.25; 4].as_slice(), &answers[2..6]].concat();
        let even = TargetScaling::default();
        let targets = Targets::Classes(vec![0, 1]);
        let (targets, heads) = (Some(even.objective(&targets)), Heads { new: 2, both: 6 });
        let retaining = RetentionLoss { targets, heads, strength: 1e3, answers: Some(&answers) };
        let mut slopes = LOGITS;
        let loss = retaining.loss_and_gradient(1, &mut slopes);
        assert!(slopes[2..].iter().all(|slope| slope.abs() < 1e-12), "{slopes:?}");
        let mut new = [LOGITS[0], LOGITS[1]];
        assert!((loss - cross_entropy(&mut new, 1)).abs() < 1e-12);
    }
}
