//! Codec search: finds the smallest delta file whose decoded network says what the exact one says.

use crate::encode::chosen_codecs::ChosenCodecs;
use crate::encode::delta_file::{self, Recorded};
use crate::encode::sensitivity::{self, VIEWS};
use crate::error::AdaptError;
use crate::event::{Event, Phase};
use crate::metrics::{agreeing, prediction};
use crate::options::{Coding, HeadMode};
use crate::plan::run::Run;
use crate::train::batch_source::Cycle;
use crate::train::reporter::Reporter;
use crate::train::trainer::Trained;
use fieldfit_delta::{Codec, Delta, Fidelity};
use fieldfit_exec::{kl_divergence, prepare, softmax};
use fieldfit_model::{CodecRates, Weights};
use fieldfit_nets::Network;
use fieldfit_tensor::{Matrix, Params};
use std::collections::BTreeMap;
use std::ops::Range;

/// Prices of a byte in nats, by the times that 1 is halved: from one at which every kernel is signs down to one at which none
/// is.
const PRICES: Range<usize> = 10 * PER_HALVING..60 * PER_HALVING;
/// Number of prices from one to its half.
const PER_HALVING: usize = 4;

/// Chooses codecs as the options say.
pub(crate) fn choose(
    run: Run<'_>,
    trained: &Trained<'_>,
    reporter: &mut Reporter<'_>,
) -> Result<ChosenCodecs, AdaptError> {
    let plan = run.plan;
    if let Coding::Kernels(codec) = run.request.options.coding {
        return Ok(ChosenCodecs::kernels_by(codec, &plan.network));
    }
    if !trained.state.has_moved() || plan.split.validation.is_empty() {
        return Ok(ChosenCodecs::kernels_by(Codec::F16, &plan.network));
    }
    let slice = Slice { run };
    let exact_weights = exact_weights(trained);
    let exact = slice.answers(trained.state.network(), &exact_weights)?;
    let weights = sensitivity::of_rows(run, exact_weights, &slice.batches()?)?;
    let rates =
        CodecRates::of(&plan.network, &trained.state.delta, &weights, run.request.options.head == HeadMode::Keep)?;
    let attempt = |codecs: ChosenCodecs| {
        let fidelity =
            slice.fidelity(&exact, &delta_file::encode(run, trained, &codecs, &Recorded::default(), None)?)?;
        Ok(ChosenCodecs { fidelity: Some(fidelity), ..codecs })
    };
    let chosen = match smallest(&rates, &attempt, trained, reporter)? {
        Some(chosen) => chosen,
        None => attempt(ChosenCodecs::kernels_by(Codec::F16, &plan.network))?,
    };
    chosen.fidelity.into_iter().for_each(|fidelity| reporter.report(Event::Coded(fidelity)));
    Ok(chosen)
}

/// Measures what storing by these codecs costs.
type Attempt<'a> = dyn Fn(ChosenCodecs) -> Result<ChosenCodecs, AdaptError> + 'a;

/// Halves the range of prices until the highest is left at which the file is enough; `None` if none is.
fn smallest(
    rates: &CodecRates,
    attempt: &Attempt<'_>,
    trained: &Trained<'_>,
    reporter: &mut Reporter<'_>,
) -> Result<Option<ChosenCodecs>, AdaptError> {
    let (mut best, mut prices, total) = (None, PRICES, PRICES.len().ilog2() as usize + 1);
    for done in 1.. {
        if prices.is_empty() {
            break;
        }
        if reporter.is_stopped() {
            return Err(AdaptError::Interrupted { checkpoint: trained.checkpoint.clone() });
        }
        let middle = prices.start.midpoint(prices.end);
        let codecs = rates.at_price(0.5_f64.powf(middle as f64 / PER_HALVING as f64));
        let chosen = attempt(ChosenCodecs::unmeasured(codecs))?;
        reporter.report(Event::Progress { phase: Phase::Coding, done: done.min(total), total });
        if chosen.fidelity.as_ref().is_some_and(is_enough) {
            best = Some(chosen);
            prices.end = middle;
        } else {
            prices.start = middle + 1;
        }
    }
    Ok(best)
}

/// Whether a decoded network may stand for the exact one.
fn is_enough(fidelity: &Fidelity) -> bool {
    f64::from(fidelity.changed) <= Coding::CHANGED * f64::from(fidelity.images)
        && f64::from(fidelity.divergence) <= Coding::DIVERGENCE
}

/// θ as training left it.
fn exact_weights(trained: &Trained<'_>) -> Params<f32> {
    let (mut weights, head, network) = (trained.state.weights(), trained.state.moved_head(), trained.state.network());
    trained.state.merge_into(&mut weights);
    weights.replace(network.head.weight, head.weight);
    weights.replace(network.head.bias, head.bias);
    weights
}

/// Logits of each image of a slice, or of some of its pixels, by its index, in one view.
type Answers = BTreeMap<usize, Matrix<f32>>;

/// The most pixels of an image that are compared, spread evenly over it.
const PIXELS: usize = 4096;

/// The validation slice in its [`VIEWS`].
struct Slice<'a> {
    run: Run<'a>,
}

impl Slice<'_> {
    /// Compares what the decoded file says with what the exact network said, on the images that both saw.
    fn fidelity(&self, exact: &[Answers], file: &[u8]) -> Result<Fidelity, AdaptError> {
        let weights = Weights::adapted(self.run.request.base, &Delta::parse(file)?)?;
        let stored = self.answers(&weights.network, &weights.params)?;
        let (mut images, mut agreed, mut total) = (0_u32, 0_u32, 0.0_f64);
        for (exact, stored) in exact.iter().zip(stored) {
            for (sample, mut stored) in stored {
                let Some(exact) = exact.get(&sample) else { continue };
                let columns = stored.columns.max(1);
                for (row, stored) in stored.values.chunks_exact_mut(columns).enumerate() {
                    let mut probabilities = exact.row(row).to_vec();
                    softmax(&mut probabilities);
                    images += 1;
                    agreed += agreeing([prediction(exact.row(row))], [prediction(stored)]) as u32;
                    total += kl_divergence(stored, &probabilities);
                }
            }
        }
        Ok(Fidelity { images, changed: images - agreed, divergence: (total / f64::from(images)).max(0.0) as f32 })
    }

    /// Batches of as many images as are computed at once.
    fn batches(&self) -> Result<Cycle<'_>, AdaptError> {
        let plan = self.run.plan;
        Ok(Cycle::new(self.run.batch_source()?.of(plan.memory.micro_batch), &plan.split.validation))
    }

    /// The logits of every image, or of some of its pixels, in every view.
    fn answers(&self, network: &Network, params: &Params<f32>) -> Result<Vec<Answers>, AdaptError> {
        let prepared = prepare(self.run.request.options.device, network, params)?;
        let slice = self.batches()?;
        let of_view = |view: Option<u64>| {
            let mut answers = Answers::new();
            for batch in slice.whole_slice(view)? {
                let batch = batch?;
                let logits = prepared.logits(&batch.images)?;
                let pixels = logits.rows / batch.samples.len().max(1);
                let step = pixels.div_ceil(PIXELS).max(1);
                let of_image = |image: usize| {
                    let rows = (image * pixels..(image + 1) * pixels).step_by(step);
                    let values: Vec<f32> = rows.flat_map(|row| logits.row(row)).copied().collect();
                    Matrix { rows: values.len() / logits.columns.max(1), columns: logits.columns, values }
                };
                answers.extend(batch.samples.iter().enumerate().map(|(image, &sample)| (sample, of_image(image))));
            }
            Ok(answers)
        };
        VIEWS.into_iter().map(of_view).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a tolerance that lets through what it should not, on either side of each limit.
    #[test]
    fn a_file_is_enough_up_to_its_tolerances() {
        let enough = Fidelity { images: 200, changed: 2, divergence: Coding::DIVERGENCE as f32 * 0.999 };
        assert!(is_enough(&enough));
        assert!(!is_enough(&Fidelity { changed: 3, ..enough }));
        assert!(!is_enough(&Fidelity { divergence: Coding::DIVERGENCE as f32 * 1.01, ..enough }));
        assert!(!is_enough(&Fidelity { divergence: f32::NAN, ..enough }));
    }
}
