//! Novelty threshold: feature statistics of the decoded result on the training slice, and a distance on the validation slice.

use crate::covariance;
use crate::encode::chosen_codecs::ChosenCodecs;
use crate::encode::delta_file::{self, Recorded};
use crate::error::AdaptError;
use crate::features::FeatureExtractor;
use crate::novelty::{NoveltyModel, threshold};
use crate::plan::run::Run;
use crate::train::reporter::Reporter;
use crate::train::trainer::Trained;
use fieldfit_data::Batch;
use fieldfit_delta::{Codec, Delta};
use fieldfit_model::{FeatureStatistics, ModelError, Weights};

/// Adds a threshold to what the delta is to record, if the options ask for one.
///
/// # Errors
/// If no class has two training images that differ, or no validation image can be read; if the run is stopped.
pub(crate) fn choose(
    run: Run<'_>,
    trained: &Trained<'_>,
    (chosen, recorded): (&ChosenCodecs, Recorded),
    reporter: &mut Reporter<'_>,
) -> Result<Recorded, AdaptError> {
    let (request, plan) = (run.request, run.plan);
    let Some(rate) = request.options.novelty else { return Ok(recorded) };
    let file = delta_file::encode(run, trained, chosen, &recorded, None)?;
    let weights = Weights::adapted(request.base, &Delta::parse(&file)?)?;
    let mut extractor = FeatureExtractor::new(request.base, weights, request.options.device)?;
    let source = run.batch_source()?;
    let mut features = |slice: &[usize]| {
        let batches = source.in_order(slice)?.map(|batch| -> Result<Batch, AdaptError> {
            source.report_failures(reporter);
            match reporter.is_stopped() {
                true => Err(AdaptError::Interrupted { checkpoint: None }),
                false => Ok(batch?),
            }
        });
        extractor.of_batches(batches)
    };
    let (train, validation) = (features(&plan.split.train)?, features(&plan.split.validation)?);
    let statistics = rounded(covariance::statistics(&train, request.dataset.classes.len()))?;
    let expected = "none, or two different images of a class to train on, and images to validate by";
    let refused = || AdaptError::Option { name: "novelty", found: rate.to_string(), expected };
    let model = NoveltyModel::new(statistics.clone()).ok_or_else(refused)?;
    let distances = (0..validation.matrix.rows).map(|row| model.distance(validation.matrix.row(row))).collect();
    let novelty = Some(threshold(distances, rate).ok_or_else(refused)?);
    Ok(Recorded { statistics, novelty, ..recorded })
}

/// The statistics as the file has them.
fn rounded(mut statistics: FeatureStatistics) -> Result<FeatureStatistics, AdaptError> {
    let matrices = [&mut statistics.means, &mut statistics.factors].into_iter();
    for matrix in matrices.filter(|matrix| !matrix.values.is_empty()) {
        let decoded = Codec::F16.decoded(&matrix.values, matrix.rows.max(1));
        matrix.values = decoded.map_err(|source| {
            ModelError::from(fieldfit_delta::DeltaError::Payload { name: "feature statistics".into(), source })
        })?;
    }
    Ok(statistics)
}
