//! Activation ranges of a version, which int8 inference takes its scales from: recorded on images of the validation slice.

use crate::encode::chosen_codecs::ChosenCodecs;
use crate::encode::delta_file::{self, Recorded};
use crate::error::AdaptError;
use crate::plan::run::Run;
use crate::train::reporter::Reporter;
use crate::train::trainer::Trained;
use fieldfit_data::Batch;
use fieldfit_delta::Delta;
use fieldfit_exec::{Device, ExecError, Precision, cpu::Calibrator};
use fieldfit_model::Weights;
use fieldfit_tensor::ActivationRanges;

/// The most images: means over more of them move by less than a step.
const IMAGES: usize = 128;

/// Finds the ranges of a version's activations on preprocessed images, in f32 on the CPU.
///
/// # Errors
/// If there are no images, one is an error or does not fit, or an activation is not finite.
pub fn calibrate<E: From<ExecError>>(
    weights: &Weights,
    device: Device,
    batches: impl Iterator<Item = Result<Batch, E>>,
) -> Result<ActivationRanges, E> {
    let threads = match device {
        Device::Cpu { threads } => threads,
        Device::Cuda { .. } | Device::Metal | Device::Candle => 1,
    };
    let mut calibrator = Calibrator::new(&weights.network, threads)?;
    for batch in batches {
        calibrator.add(&weights.params, &batch?.images)?;
    }
    Ok(calibrator.finish()?)
}

/// Adds the ranges of the decoded result to what the delta is to record, if it is to run in int8.
///
/// # Errors
/// If no validation image can be read; if the run is stopped.
pub(crate) fn choose(
    run: Run<'_>,
    trained: &Trained<'_>,
    (chosen, recorded): (&ChosenCodecs, Recorded),
    reporter: &mut Reporter<'_>,
) -> Result<Recorded, AdaptError> {
    if run.request.options.precision == Precision::F32 {
        return Ok(recorded);
    }
    let file = delta_file::encode(run, trained, chosen, &recorded, None)?;
    let weights = Weights::adapted(run.request.base, &Delta::parse(&file)?)?;
    Ok(Recorded { ranges: Some(of_weights(run, &weights, reporter)?), ..recorded })
}

/// Finds the ranges of weights on images of the validation slice.
///
/// # Errors
/// As [`choose`].
pub(crate) fn of_weights(
    run: Run<'_>,
    weights: &Weights,
    reporter: &mut Reporter<'_>,
) -> Result<ActivationRanges, AdaptError> {
    let slice = &run.plan.split.validation;
    let source = run.answer_batches(run.batch_source()?);
    let batches = source.in_order(&slice[..slice.len().min(IMAGES)])?.map(|batch| -> Result<Batch, AdaptError> {
        source.report_failures(reporter);
        match reporter.is_stopped() {
            true => Err(AdaptError::Interrupted { checkpoint: None }),
            false => Ok(batch?),
        }
    });
    calibrate(weights, run.request.options.device, batches)
}
