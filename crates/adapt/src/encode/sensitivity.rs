//! Sensitivity: how much the network's predictions depend on each row of its tensors, by Fisher's information.

use crate::error::AdaptError;
use crate::heads::add_base_head;
use crate::options::HeadMode;
use crate::plan::run::Run;
use crate::train::batch_source::Cycle;
use fieldfit_exec::{ExecError, Objective, cross_entropy, executor, softmax};
use fieldfit_model::RowWeights;
use fieldfit_tensor::{Params, Real, TensorId};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Views of a slice: as it is, and augmented twice: what a saturated slice hides shows where images are hard.
pub(crate) const VIEWS: [Option<u64>; 3] = [None, Some(0), Some(1)];

/// The cross-entropy of answers that are drawn from what the network itself says, under each of two heads over one
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
            let heads = [(new, *first), (own, *second)].into_iter().filter(|(head, _)| !head.is_empty());
            heads.map(|(head, draw)| cross_entropy(head, drawn(head, draw))).sum()
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
            let objective = OwnAnswers { classes: network.head.classes, both: both.head.classes, draws };
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
            let answers = OwnAnswers { classes: 2, both: 5, draws: vec![[draw, draw]] };
            assert!(answers.loss_and_gradient(0, &mut slopes) > 0.0);
            mean.iter_mut().zip(slopes).for_each(|(mean, slope)| *mean += slope / f64::from(draws));
        }
        assert!(mean.iter().all(|slope| slope.abs() < 2e-3), "{mean:?}");
        assert_eq!((drawn(&LOGITS, 0.0), drawn(&LOGITS, 1.0)), (0, 4), "rounding leaves no draw without an answer");
    }
}
