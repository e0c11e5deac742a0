//! Delta file: encodes a trained state with its provenance.

use crate::encode::chosen_codecs::ChosenCodecs;
use crate::encode::provenance::provenance;
use crate::error::AdaptError;
use crate::event::Gate;
use crate::methods::method::ConstraintSet;
use crate::options::HeadMode;
use crate::plan::run::Run;
use crate::train::trainer::Trained;
use fieldfit_delta::{Delta, HeadDescription, HeadOrigin, NoveltyThreshold};
use fieldfit_model::{
    DeltaHead, FeatureStatistics, HeadOutputs, TrainingResult, encode_delta_with, with_range_tensors,
};
use fieldfit_tensor::{ActivationRanges, Norm};

/// The norm of the method's constraints and the radius of each tensor.
fn constraint(run: Run<'_>, trained: &Trained<'_>) -> Result<(Norm, Vec<Option<f32>>), AdaptError> {
    let (entry, tensors) = (&run.plan.entry, run.plan.network.tensors.len());
    match trained.method.constraint() {
        None => Ok((Norm::L2, vec![None; tensors])),
        Some(ConstraintSet { norm, radii }) if radii.len() == tensors => Ok((norm, radii)),
        Some(ConstraintSet { radii, .. }) => {
            let source = format!("expected a radius or `None` for each of {tensors} tensors, found {}", radii.len());
            Err(AdaptError::CustomMethod { method: entry.name.to_owned(), source: source.into() })
        }
    }
}

/// What the delta file records beside the network: what the head's outputs mean, feature statistics, the threshold of novelty, and
/// the ranges of the activations.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recorded {
    pub outputs: HeadOutputs,
    pub statistics: FeatureStatistics,
    pub novelty: Option<NoveltyThreshold>,
    /// Ranges of the activations, of a version that is to run in int8.
    pub ranges: Option<ActivationRanges>,
}

/// Encodes the delta file. The verdict only goes into its provenance; the tensors are the same bytes with and without it.
pub(crate) fn encode(
    run: Run<'_>,
    trained: &Trained<'_>,
    chosen: &ChosenCodecs,
    recorded: &Recorded,
    gate: Option<&Gate>,
) -> Result<Vec<u8>, AdaptError> {
    let Run { request, plan } = run;
    let (norm, radii) = constraint(run, trained)?;
    let head = trained.state.moved_head();
    let result = TrainingResult {
        delta: &trained.state.delta,
        radii: &radii,
        norm,
        head_weight: &head.weight,
        head_bias: &head.bias,
        labels: &request.dataset.classes,
        input_size: plan.size,
        crop: request.base.preprocessing().crop,
        codecs: &chosen.codecs,
    };
    let provenance = provenance(run, chosen, gate);
    let origin = match request.options.head {
        HeadMode::Replace => HeadOrigin::Replaced,
        HeadMode::Keep => HeadOrigin::Kept,
    };
    let description = HeadDescription { origin, taught: 0, novelty: recorded.novelty };
    let parent = request.active.map(Delta::hash);
    Ok(recorded.statistics.with_tensors(|statistics| {
        with_range_tensors(recorded.ranges.as_ref(), |ranges| {
            let statistics = &[statistics, ranges].concat();
            let head = DeltaHead { description, outputs: &recorded.outputs, statistics };
            encode_delta_with(request.base, &result, &head, provenance, parent)
        })
    })?)
}
