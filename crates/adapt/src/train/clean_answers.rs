//! Clean answers: what the base says of the training images as they are, by features that are computed once.

use crate::error::AdaptError;
use crate::kept_head;
use crate::plan::run::Run;
use crate::start::StartWeights;
use crate::train::base_answers::BaseAnswers;
use crate::train::batch_source::BatchSource;
use crate::train::probe::dot;
use crate::train::reporter::Reporter;
use crate::train::slice_features::{FeatureReader, SliceFeatures};
use fieldfit_exec::softmax;
use fieldfit_model::Base;

/// Returns the answers to the images of a slice whose features the base computed.
pub(crate) fn of_features(features: &SliceFeatures, base: &Base) -> BaseAnswers {
    let head = kept_head::of_base(base);
    let width = features.labelled.matrix.columns.max(1);
    let mut answers = BaseAnswers::default();
    for (row, &sample) in features.samples.iter().enumerate() {
        let features = features.labelled.matrix.row(row);
        let rows = head.weight.chunks_exact(width).zip(&head.bias);
        let mut answer: Vec<f32> = rows.map(|(weights, bias)| dot(weights, features) + bias).collect();
        softmax(&mut answer);
        answers.extend(vec![sample], &answer);
    }
    answers
}

/// Asks the base about the training images as they are.
///
/// # Errors
/// As [`FeatureReader::read`].
pub(crate) fn of_training_slice(
    run: Run<'_>,
    source: &BatchSource<'_>,
    reporter: &mut Reporter<'_>,
) -> Result<BaseAnswers, AdaptError> {
    let Run { request, plan } = run;
    let slice = &plan.split.train;
    let params = StartWeights::at_base(request.base, &plan.network).params;
    let features = FeatureReader::new(run, source, params, slice.len())?.read(slice, reporter)?;
    Ok(of_features(&features, request.base))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Options, StartPoint};
    use crate::plan::run_plan::RunPlan;
    use crate::request::AdaptRequest;
    use crate::train::control::Control;
    use fieldfit_data::{Dataset, FolderOptions};
    use fieldfit_exec::{Passes, executor};
    use fieldfit_model::Weights;
    use fieldfit_tests::tiny;

    /// Catches: an answer of another image or of another head, and one that leaves out the bias.
    #[test]
    fn answers_are_those_of_the_base_as_it_is() {
        let folder = tempfile::TempDir::new().unwrap();
        let base = Base::open(&tiny::base(folder.path(), 3)).unwrap();
        tiny::images(&folder.path().join("images"), 12, 3);
        let dataset = Dataset::open(&folder.path().join("images"), &FolderOptions::default()).unwrap();
        let options = Options::default();
        assert_eq!(options.start, StartPoint::Base);
        let (active, start, checkpoint) = (None, None, None);
        let request =
            AdaptRequest { base: &base, dataset: &dataset, options: &options, methods: &[], active, start, checkpoint };
        let control = Control::new();
        let (plan, _) = RunPlan::new(&request, &control).unwrap();
        let run = Run { request: &request, plan: &plan };
        let source = run.batch_source().unwrap();
        let mut ignore = |_| ();
        let mut reporter = Reporter::new(&control, &mut ignore);
        let answers = of_training_slice(run, &source, &mut reporter).unwrap();

        let weights = Weights::of_base(&base);
        let mut network = executor(options.device, base.network(), Passes::of(16)).unwrap();
        let mut images = 0;
        for batch in source.in_order(&plan.split.train).unwrap() {
            let batch = batch.unwrap();
            let logits = network.logits(&weights.params, &batch.images).unwrap();
            for (row, sample) in batch.samples.iter().enumerate() {
                let mut expected = logits.row(row).to_vec();
                softmax(&mut expected);
                let found = answers.of(&[*sample]).unwrap();
                assert!(found.iter().zip(&expected).all(|(found, expected)| (found - expected).abs() < 1e-5));
                images += 1;
            }
        }
        assert_eq!(images, plan.split.train.len());
        assert!(answers.of(&plan.split.gate[..1]).is_none());
    }
}
