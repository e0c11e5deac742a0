//! How the delta is stored: the smallest file that still says what the exact one says.

use crate::feed::{Cycle, Feed};
use crate::plan::Plan;
use crate::sensitivity::{self, VIEWS};
use crate::trainer::Trained;
use crate::{AdaptError, Event, Phase, Request, Tracker, largest};
use fieldfit_delta::{Codec, Delta, Fidelity};
use fieldfit_exec::{kl_divergence, prepare, softmax};
use fieldfit_model::{CodecRates, Weights};
use fieldfit_nets::Network;
use fieldfit_tensor::{Matrix, Params};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a delta's values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Coding {
    /// Each tensor by the codec that makes the file smallest, while the decoded network says on the validation slice
    /// what the exact one says, within [`Coding::CHANGED`] and [`Coding::DIVERGENCE`].
    #[default]
    Auto,
    /// Kernels by this one; vectors and the head, few values that matter much, as f16.
    Kernels(Codec),
}

impl Coding {
    /// The share of validation images, augmented ones included, whose class storing may change.
    pub const CHANGED: f64 = 0.01;
    /// The mean divergence KL(exact ‖ decoded) of their predictions that storing may cause, in nats.
    pub const DIVERGENCE: f64 = 5e-4;
}

impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Kernels(codec) => f.write_str(codec.name()),
        }
    }
}

/// The codecs that were chosen, and what they cost.
pub(crate) struct Chosen {
    /// One a tensor, in the network's order.
    pub codecs: Vec<Codec>,
    /// What was measured; nothing where nothing was to be chosen.
    pub fidelity: Option<Fidelity>,
}

/// Whether a decoded network may stand for the exact one.
fn is_enough(fidelity: &Fidelity) -> bool {
    f64::from(fidelity.changed) <= Coding::CHANGED * f64::from(fidelity.images)
        && f64::from(fidelity.divergence) <= Coding::DIVERGENCE
}

/// Prices of a byte in nats, by the times that 1 is halved: from one at which every kernel is signs down to one at which none
/// is.
const PRICES: std::ops::Range<usize> = 10 * PER_HALVING..60 * PER_HALVING;
/// Prices from one to its half.
const PER_HALVING: usize = 4;

/// Makes the file of given codecs, one a tensor.
pub(crate) type Encode<'a> = dyn Fn(&[Codec]) -> Result<Vec<u8>, AdaptError> + 'a;

/// Chooses as the options say.
pub(crate) fn choose(
    request: &Request<'_>,
    plan: &Plan,
    trained: &Trained<'_>,
    encode: &Encode<'_>,
    tracker: &mut Tracker<'_>,
) -> Result<Chosen, AdaptError> {
    let untried = |codec| Chosen { codecs: kernels_by(codec, &plan.network), fidelity: None };
    if let Coding::Kernels(codec) = request.options.coding {
        return Ok(untried(codec));
    }
    if !trained.state.has_moved() || plan.split.validation.is_empty() {
        return Ok(untried(Codec::F16));
    }
    let slice = Slice { request, plan };
    let exact_weights = exact_weights(trained);
    let exact = slice.answers(trained.state.network(), &exact_weights)?;
    let weights = sensitivity::of_rows(request, plan, exact_weights, &slice.batches())?;
    let rates = CodecRates::of(&plan.network, &trained.state.delta, &weights)?;
    let attempt = |codecs: Vec<Codec>| {
        let fidelity = slice.fidelity(&exact, &encode(&codecs)?)?;
        Ok(Chosen { codecs, fidelity: Some(fidelity) })
    };
    let chosen = match smallest(&rates, &attempt, tracker)? {
        Some(chosen) => chosen,
        None => attempt(kernels_by(Codec::F16, &plan.network))?,
    };
    chosen.fidelity.into_iter().for_each(|fidelity| tracker.tell(Event::Coded(fidelity)));
    Ok(chosen)
}

/// Halves the range of prices until the highest is left at which the file is enough; nothing if none is.
fn smallest(
    rates: &CodecRates,
    attempt: &dyn Fn(Vec<Codec>) -> Result<Chosen, AdaptError>,
    tracker: &mut Tracker<'_>,
) -> Result<Option<Chosen>, AdaptError> {
    let (mut best, mut prices, total) = (None, PRICES, PRICES.len().ilog2() as usize + 1);
    for done in 1.. {
        if prices.is_empty() {
            break;
        }
        let middle = prices.start.midpoint(prices.end);
        let chosen = attempt(rates.at_price(0.5_f64.powf(middle as f64 / PER_HALVING as f64)))?;
        tracker.tell(Event::Progress { phase: Phase::Coding, done: done.min(total), total });
        if chosen.fidelity.as_ref().is_some_and(is_enough) {
            best = Some(chosen);
            prices.end = middle;
        } else {
            prices.start = middle + 1;
        }
    }
    Ok(best)
}

/// Kernels by the codec, vectors as f16.
fn kernels_by(codec: Codec, network: &Network) -> Vec<Codec> {
    network.tensors().map(|(_, spec)| if spec.shape.len() < 2 { Codec::F16 } else { codec }).collect()
}

/// θ as training left it.
fn exact_weights(trained: &Trained<'_>) -> Params<f32> {
    let (mut weights, head, network) = (trained.state.weights(), trained.state.moved_head(), trained.state.network());
    trained.state.merge_into(&mut weights);
    weights.replace(network.head.weight, head.weight);
    weights.replace(network.head.bias, head.bias);
    weights
}

/// The validation slice in its [`VIEWS`].
struct Slice<'a> {
    request: &'a Request<'a>,
    plan: &'a Plan,
}

impl Slice<'_> {
    fn fidelity(&self, exact: &[Matrix<f32>], file: &[u8]) -> Result<Fidelity, AdaptError> {
        let weights = Weights::adapted(self.request.base, &Delta::parse(file)?)?;
        let stored = self.answers(&weights.network, &weights.params)?;
        let (mut images, mut changed, mut total) = (0_u32, 0_u32, 0.0_f64);
        for (exact, stored) in exact.iter().zip(&stored) {
            for row in 0..exact.rows {
                let mut probabilities = exact.row(row).to_vec();
                softmax(&mut probabilities);
                images += 1;
                changed += u32::from(largest(exact.row(row)) != largest(stored.row(row)));
                total += kl_divergence(&mut stored.row(row).to_vec(), &probabilities);
            }
        }
        Ok(Fidelity { images, changed, divergence: (total / f64::from(images)).max(0.0) as f32 })
    }

    /// In batches that are computed at once.
    fn batches(&self) -> Cycle<'_> {
        let Self { request, plan } = self;
        let feed = Feed::new(request, plan.size, request.base.preprocessing().crop);
        Cycle::new(feed.of(plan.memory.micro_batch), &plan.split.validation)
    }

    /// The logits of every batch of every view.
    fn answers(&self, network: &Network, params: &Params<f32>) -> Result<Vec<Matrix<f32>>, AdaptError> {
        let prepared = prepare(self.request.options.device, network, params)?;
        let (slice, mut answers) = (self.batches(), Vec::new());
        for view in VIEWS {
            for batch in slice.whole_slice(view)? {
                answers.push(prepared.logits(&batch?.images)?);
            }
        }
        Ok(answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tolerance that lets through what it should not, on either side of each limit.
    #[test]
    fn a_file_is_enough_up_to_its_tolerances() {
        let enough = Fidelity { images: 200, changed: 2, divergence: Coding::DIVERGENCE as f32 * 0.999 };
        assert!(is_enough(&enough));
        assert!(!is_enough(&Fidelity { changed: 3, ..enough }));
        assert!(!is_enough(&Fidelity { divergence: Coding::DIVERGENCE as f32 * 1.01, ..enough }));
        assert!(!is_enough(&Fidelity { divergence: f32::NAN, ..enough }));
    }
}
