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
use fieldfit_exec::{kl_divergence, logistic, prepare, softmax};
use fieldfit_model::{CodecRates, HeadOutputs, LabelThresholds, TargetScales, Weights};
use fieldfit_nets::Network;
use fieldfit_tensor::{Matrix, Params};
use std::collections::BTreeMap;
use std::ops::Range;

/// Prices of a byte in nats, by the times that 1 is halved: from one at which every kernel is signs down to one at which none
/// is.
const PRICES: Range<usize> = 10 * PER_HALVING..60 * PER_HALVING;
/// Number of prices from one to its half.
const PER_HALVING: usize = 4;

/// Chooses codecs as the options say, for a file that records so much beside the network.
pub(crate) fn choose(
    run: Run<'_>,
    trained: &Trained<'_>,
    recorded: &Recorded,
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
    let exact = slice.exact(trained, &recorded.outputs)?;
    let weights = sensitivity::of_rows(run, trained.weights(), &slice.batches()?)?;
    let rates =
        CodecRates::of(&plan.network, &trained.state.delta, &weights, run.request.options.head == HeadMode::Keep)?;
    let attempt = |codecs: ChosenCodecs| {
        let fidelity = slice.fidelity(&exact, &delta_file::encode(run, trained, &codecs, recorded, None)?)?;
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

/// Difference of one exact answer and the decoded one: of an image, a pixel, or an image's labels.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Difference {
    /// Answers that are compared.
    answers: u32,
    /// Those that are others.
    changed: u32,
    /// Sum of their divergences KL(exact ‖ decoded), in nats.
    divergence: f64,
}

impl Difference {
    /// Compares the outputs of one image or pixel.
    ///
    /// Of values, the divergence is that of normal distributions of the targets' standard deviations, and an answer is another one
    /// if it moves by more than [`Coding::MOVED`] of them.
    fn of(outputs: &HeadOutputs, exact: &[f32], stored: &mut [f32]) -> Self {
        match outputs {
            HeadOutputs::Classes => {
                let mut probabilities = exact.to_vec();
                softmax(&mut probabilities);
                let changed = 1 - agreeing([prediction(exact)], [prediction(stored)]) as u32;
                Self { answers: 1, changed, divergence: kl_divergence(stored, &probabilities) }
            }
            HeadOutputs::Values(TargetScales { deviations, .. }) => {
                let errors = exact.iter().zip(&*stored).zip(deviations);
                let errors: Vec<f64> =
                    errors.map(|((one, other), deviation)| f64::from(one - other) / f64::from(*deviation)).collect();
                let has_moved = errors.iter().any(|error| error.abs() > Coding::MOVED);
                let divergence = 0.5 * errors.iter().map(|error| error * error).sum::<f64>();
                Self { answers: 1, changed: has_moved.into(), divergence }
            }
            HeadOutputs::Labels(LabelThresholds(thresholds)) => {
                let mut difference = Self { answers: thresholds.len() as u32, changed: 0, divergence: 0.0 };
                for ((exact, stored), threshold) in exact.iter().zip(stored).zip(thresholds) {
                    let [exact, stored] = [*exact, *stored].map(|logit| logistic(f64::from(logit)));
                    let threshold = f64::from(*threshold);
                    difference.changed += u32::from((exact >= threshold) != (stored >= threshold));
                    difference.divergence += binary_divergence(exact, stored);
                }
                difference
            }
        }
    }
}

/// KL of two probabilities of one label, in nats.
fn binary_divergence(exact: f64, stored: f64) -> f64 {
    let least = f64::from(f32::MIN_POSITIVE);
    let part = |exact: f64, stored: f64| match exact > 0.0 {
        true => exact * (exact / stored.max(least)).ln(),
        false => 0.0,
    };
    part(exact, stored) + part(1.0 - exact, 1.0 - stored)
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
    /// The answers of the exact network, in units as those of a decoded one.
    fn exact(&self, trained: &Trained<'_>, outputs: &HeadOutputs) -> Result<Vec<Answers>, AdaptError> {
        let (network, mut weights) = (trained.state.network(), trained.weights());
        outputs.fold_into(network, &mut weights);
        self.answers(network, &weights)
    }

    /// Compares what the decoded file says with what the exact network said, on the images that both saw.
    fn fidelity(&self, exact: &[Answers], file: &[u8]) -> Result<Fidelity, AdaptError> {
        let weights = Weights::adapted(self.run.request.base, &Delta::parse(file)?)?;
        let stored = self.answers(&weights.network, &weights.params)?;
        let mut sum = Difference { answers: 0, changed: 0, divergence: 0.0 };
        for (exact, stored) in exact.iter().zip(stored) {
            for (sample, mut stored) in stored {
                let Some(exact) = exact.get(&sample) else { continue };
                let columns = stored.columns.max(1);
                for (row, stored) in stored.values.chunks_exact_mut(columns).enumerate() {
                    let Difference { answers, changed, divergence } =
                        Difference::of(&weights.outputs, exact.row(row), stored);
                    sum.answers += answers;
                    sum.changed += changed;
                    sum.divergence += divergence;
                }
            }
        }
        let Difference { answers: images, changed, divergence } = sum;
        Ok(Fidelity { images, changed, divergence: (divergence / f64::from(images)).max(0.0) as f32 })
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

    /// Catches: a move of values that is measured in units, a label that counts as moved on its own side of its threshold.
    #[test]
    fn values_and_labels_are_compared_on_their_own_scales() {
        let scales = TargetScales { means: vec![0.0; 2], deviations: vec![100.0, 0.1] };
        let values =
            |stored: [f32; 2]| Difference::of(&HeadOutputs::Values(scales.clone()), &[50.0, 1.0], &mut stored.clone());
        let near = values([51.0, 1.001]);
        assert_eq!((near.answers, near.changed), (1, 0));
        assert!((near.divergence - 1e-4).abs() < 1e-8, "{near:?}");
        assert_eq!(values([50.0, 1.05]).changed, 1);
        let outputs = HeadOutputs::Labels(LabelThresholds(vec![0.5, 0.9]));
        let labels = Difference::of(&outputs, &[1.0, 1.0], &mut [-1.0, 2.0]);
        assert_eq!((labels.answers, labels.changed), (2, 1));
        let same = Difference::of(&outputs, &[1.0, 1.0], &mut [1.0, 1.0]);
        assert_eq!(same, Difference { answers: 2, changed: 0, divergence: 0.0 });
    }

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
