//! How the delta is stored: the smallest file that still says what the exact one says.

use crate::feed::Feed;
use crate::plan::Plan;
use crate::trainer::Trained;
use crate::{AdaptError, Event, Fidelity, Phase, Request, Tracker, largest};
use fieldfit_delta::{Codec, Delta};
use fieldfit_exec::{Matrix, divergence, prepare, softmax};
use fieldfit_model::{CodecRates, Params, Weights};
use fieldfit_nets::Network;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a delta's values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Coding {
    /// Each tensor by the codec that makes the file smallest, while the decoded network says on the validation slice
    /// what the exact one says, within [`Fidelity::is_enough`].
    #[default]
    Auto,
    /// Kernels by this one; vectors and the head, few values that matter much, as f16.
    Kernels(Codec),
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

/// Prices of a byte, from the highest: each half of that before, from one at which every kernel is signs down to one at
/// which none is.
const PRICES: std::ops::Range<usize> = 0..48;

/// Chooses as the options say. `encode` makes the file of given codecs.
pub(crate) fn choose(
    request: &Request<'_>,
    plan: &Plan,
    trained: &Trained<'_>,
    encode: &dyn Fn(&[Codec]) -> Result<Vec<u8>, AdaptError>,
    tracker: &mut Tracker<'_>,
) -> Result<Chosen, AdaptError> {
    let codecs = |kernels: Codec| {
        let codec = |shape: &[usize]| if shape.len() < 2 { Codec::F16 } else { kernels };
        plan.network.tensors().map(|(_, spec)| codec(&spec.shape)).collect()
    };
    if let Coding::Kernels(codec) = request.options.coding {
        return Ok(Chosen { codecs: codecs(codec), fidelity: None });
    }
    let rates = CodecRates::of(request.base, &trained.state.delta)?;
    if rates.is_empty() || plan.split.validation.is_empty() {
        return Ok(Chosen { codecs: codecs(Codec::F16), fidelity: None });
    }
    let slice = Slice { request, plan };
    let exact = slice.answers(trained.state.network(), &exact_weights(trained))?;
    let mut best = None;
    let (mut low, mut high, total) = (PRICES.start, PRICES.end, PRICES.len().ilog2() as usize + 1);
    for done in 1.. {
        if low == high {
            break;
        }
        let middle = low.midpoint(high);
        let codecs = rates.at_price(0.5_f64.powi(middle as i32));
        let file = encode(&codecs)?;
        let fidelity = slice.fidelity(&exact, &file)?;
        tracker.tell(Event::Progress { phase: Phase::Coding, done: done.min(total), total });
        if fidelity.is_enough() {
            best = Some(Chosen { codecs, fidelity: Some(fidelity) });
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    let chosen = match best {
        Some(chosen) => chosen,
        None => {
            let codecs: Vec<_> = codecs(Codec::F16);
            let fidelity = slice.fidelity(&exact, &encode(&codecs)?)?;
            Chosen { codecs, fidelity: Some(fidelity) }
        }
    };
    chosen.fidelity.into_iter().for_each(|fidelity| tracker.tell(Event::Coded(fidelity)));
    Ok(chosen)
}

/// θ as training left it.
fn exact_weights(trained: &Trained<'_>) -> Params<f32> {
    let (mut weights, head, network) = (trained.state.weights(), trained.state.moved_head(), trained.state.network());
    trained.state.merge_into(&mut weights);
    weights.replace(network.head.weight, head.weight);
    weights.replace(network.head.bias, head.bias);
    weights
}

/// The validation slice, as it would be looked at in the field.
struct Slice<'a> {
    request: &'a Request<'a>,
    plan: &'a Plan,
}

impl Slice<'_> {
    fn fidelity(&self, exact: &[Matrix<f32>], file: &[u8]) -> Result<Fidelity, AdaptError> {
        let weights = Weights::adapted(self.request.base, &Delta::parse(file)?)?;
        let stored = self.answers(&weights.network, &weights.params)?;
        let (mut images, mut changed, mut total) = (0, 0, 0.0);
        for (exact, stored) in exact.iter().zip(&stored) {
            for row in 0..exact.rows {
                let mut probabilities = exact.row(row).to_vec();
                softmax(&mut probabilities);
                images += 1;
                changed += usize::from(largest(exact.row(row)) != largest(stored.row(row)));
                total += divergence(&mut stored.row(row).to_vec(), &probabilities);
            }
        }
        Ok(Fidelity { bytes: file.len() as u64, images, changed, divergence: total / images as f64 })
    }

    /// The logits of every batch.
    fn answers(&self, network: &Network, params: &Params<f32>) -> Result<Vec<Matrix<f32>>, AdaptError> {
        let Self { request, plan } = self;
        let prepared = prepare(request.options.device, network, params)?;
        let feed = Feed::new(request, plan.size, request.base.preprocessing().crop).of(plan.memory.micro_batch);
        feed.in_order(&plan.split.validation)?.map(|batch| Ok(prepared.logits(&batch?.images)?)).collect()
    }
}
