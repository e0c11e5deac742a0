//! Sensitivity: how much the network's predictions depend on each row of its tensors, by Fisher's information.

use crate::error::AdaptError;
use crate::heads::add_base_head;
use crate::options::HeadMode;
use crate::plan::run::Run;
use crate::train::batch_source::Cycle;
use fieldfit_exec::{ExecError, Objective, binary_cross_entropy, cross_entropy, executor, logistic, softmax};
use fieldfit_model::RowWeights;
use fieldfit_tensor::{Params, Real, Task, TensorId};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Views of a slice: as it is, and augmented twice: what a saturated slice hides shows where images are hard.
pub(crate) const VIEWS: [Option<u64>; 3] = [None, Some(0), Some(1)];

/// The loss of answers that are drawn from what the network itself says, under each of two heads over one
/// backbone, whose rows are those of one: the new classes first, then the base's own. An image has one answer, or one for each
/// pixel, whose losses add up.
///
/// The mean square of its slopes is the diagonal of Fisher's information: a small error e of a weight moves the answers by
/// KL ≈ ½·F·e² (Amari 1998). The base's own classes are asked about, too: they say more of what the features are worth
/// elsewhere than a few new ones.
struct OwnAnswers {
    /// New classes.
    classes: usize,
    /// Classes of both heads.
    both: usize,
    /// Two an answer, 0..1: what each head's answer is drawn by. A base without a head answers nothing.
    draws: Vec<[f64; 2]>,
    /// Task of the new head. The base's own always classifies.
    task: Task,
}

impl<T: Real> Objective<T> for OwnAnswers {
    fn check(&self, images: usize, columns: usize) -> Result<(), ExecError> {
        debug_assert_eq!(images * columns, self.draws.len() * self.both, "two draws for each answer");
        Ok(())
    }

    fn loss_and_gradient(&self, image: usize, logits: &mut [T]) -> f64 {
        let answers = logits.len() / self.both.max(1);
        let draws = &self.draws[image * answers..][..answers];
        let of_answer = |(logits, [first, second]): (&mut [T], &[f64; 2])| -> f64 {
            let (new, own) = logits.split_at_mut(self.classes);
            let of_new = match self.task {
                Task::Classification | Task::Segmentation => cross_entropy(new, drawn(new, *first)),
                Task::Regression => of_drawn_values(new, *first),
                Task::MultiLabel => of_drawn_labels(new, *first),
            };
            of_new + if own.is_empty() { 0.0 } else { cross_entropy(own, drawn(own, *second)) }
        };
        logits.chunks_exact_mut(self.both.max(1)).zip(draws).map(of_answer).sum()
    }
}

/// The class up to which the probabilities add up to `draw`.
fn drawn<T: Real>(logits: &[T], draw: f64) -> u32 {
    let mut probabilities = logits.to_vec();
    softmax(&mut probabilities);
    let mut sum = 0.0;
    let reaches = |probability: &T| {
        sum += probability.wide();
        sum > draw
    };
    probabilities.iter().position(reaches).unwrap_or(logits.len() - 1) as u32
}

/// The loss of values that are drawn from normal distributions around the outputs, in standard deviations.
fn of_drawn_values<T: Real>(outputs: &mut [T], draw: f64) -> f64 {
    let mut random = ChaCha8Rng::seed_from_u64(draw.to_bits());
    let mut loss = 0.0;
    for output in outputs {
        // Box and Muller's transform.
        let (one, other): (f64, f64) = (random.random(), random.random());
        let error = (-2.0 * (1.0 - one).ln()).sqrt() * (std::f64::consts::TAU * other).cos();
        loss += 0.5 * error * error;
        *output = T::of(error);
    }
    loss
}

/// The cross-entropy of labels that are drawn by their probabilities.
fn of_drawn_labels<T: Real>(logits: &mut [T], draw: f64) -> f64 {
    let mut random = ChaCha8Rng::seed_from_u64(draw.to_bits());
    let labels: Vec<u8> =
        logits.iter().map(|logit| u8::from(random.random::<f64>() < logistic(logit.wide()))).collect();
    let count = logits.len() as f64;
    let mean = binary_cross_entropy(logits, &labels, |_| 1.0);
    logits.iter_mut().for_each(|slope| *slope *= T::of(count));
    count * mean
}

/// Computes what an error of each row costs at these weights, in nats: ½·F, from a slice as it is and in two augmented views.
pub(crate) fn of_rows(run: Run<'_>, mut weights: Params<f32>, slice: &Cycle<'_>) -> Result<RowWeights, AdaptError> {
    let Run { request, plan } = run;
    let network = &plan.network;
    let both = add_base_head(network, &mut weights, request.base);
    let mut executor = executor(request.options.device, &both, plan.memory.passes())?;
    let keeps_head = request.options.head == HeadMode::Keep;
    let trained = |id: TensorId| plan.trained[id.index()] && (keeps_head || !network.tensor(id).role.is_head());
    let mut gradients = Params::zeros_where(network, trained);
    let head = [network.head.weight, network.head.bias].into_iter().filter(|&id| trained(id));
    let answers = plan.mask_size.map_or(1, |[height, width]| height * width);
    let (mut rows, total) = (RowWeights::zeros(network), (VIEWS.len() * slice.images() * answers) as f64);
    let mut random = ChaCha8Rng::seed_from_u64(request.options.seed);
    for view in VIEWS {
        for batch in slice.whole_slice(view)? {
            let images = batch?.images;
            let draws = (0..images.count * answers).map(|_| [random.random(), random.random()]).collect();
            let objective =
                OwnAnswers { classes: network.head.classes, both: both.head.classes, draws, task: plan.task };
            // The rows of both heads while they are computed, and then those of the kept one, which comes first.
            head.clone().for_each(|id| gradients.buffers_mut()[id.index()].resize(both.tensor(id).len(), 0.0));
            executor.gradient(&weights, &images, &objective, &mut gradients)?;
            head.clone().for_each(|id| gradients.buffers_mut()[id.index()].truncate(network.tensor(id).len()));
            // Slopes of drawn answers have no direction in common: the sum of n images' squares is n² times their mean's.
            rows.add(&gradients, 0.5 * (images.count as f64).powi(2) / total);
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f64; 5] = [0.4, -1.0, 2.0, -0.7, 0.1];

    /// Catches: answers that are drawn with other probabilities than the network's, or always the likeliest: their slopes would not
    /// vanish on average.
    #[test]
    fn answers_are_drawn_as_the_network_says() {
        let (mut mean, draws) = ([0.0; 5], 1000);
        for draw in 0..draws {
            let draw = (f64::from(draw) + 0.5) / f64::from(draws);
            let mut slopes = LOGITS;
            let answers = OwnAnswers { classes: 2, both: 5, draws: vec![[draw, draw]], task: Task::Classification };
            assert!(answers.loss_and_gradient(0, &mut slopes) > 0.0);
            mean.iter_mut().zip(slopes).for_each(|(mean, slope)| *mean += slope / f64::from(draws));
        }
        assert!(mean.iter().all(|slope| slope.abs() < 2e-3), "{mean:?}");
        assert_eq!((drawn(&LOGITS, 0.0), drawn(&LOGITS, 1.0)), (0, 4), "rounding leaves no draw without an answer");
    }

    /// Catches: drawn values or labels whose squared slopes are not Fisher's information: 1 of a value in its standard
    /// deviation, p·(1 − p) of a label.
    #[test]
    fn squared_slopes_of_values_and_labels_are_their_information() {
        let draws = 20_000;
        let square = |of: fn(&mut [f64], f64) -> f64| {
            let of_draw = |draw: u32| {
                let mut slopes = [0.7_f64, 0.7];
                of(&mut slopes, (f64::from(draw) + 0.5) / f64::from(draws));
                slopes.map(|slope| slope * slope)
            };
            (0..draws).map(of_draw).fold([0.0; 2], |sum, found| [sum[0] + found[0], sum[1] + found[1]])
        };
        let share = logistic(0.7);
        for (of, expected) in
            [(of_drawn_values as fn(&mut [f64], f64) -> f64, 1.0), (of_drawn_labels, share * (1.0 - share))]
        {
            for sum in square(of) {
                assert!((sum / f64::from(draws) - expected).abs() < 0.05, "{}, not {expected}", sum / f64::from(draws));
            }
        }
    }
}
