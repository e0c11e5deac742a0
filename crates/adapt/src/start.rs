//! Start of training: the base, or the active version, whose δ and head a run continues.
//!
//! Radii, penalties and retention refer to θ0 in either case: a version that is continued day after day stays in balls around the
//! base.

use crate::error::AdaptError;
use crate::options::{HeadMode, StartPoint};
use crate::request::AdaptRequest;
use crate::train::training_state::{HeadParams, TrainingState};
use fieldfit_data::Dataset;
use fieldfit_delta::{Delta, HeadOrigin, Record, TensorKind};
use fieldfit_model::{Base, Weights};
use fieldfit_nets::Network;
use fieldfit_tensor::{Params, Task, TensorId};

/// Weights that training starts at.
pub(crate) struct StartWeights {
    /// Every tensor, under a head of the run's classes.
    pub params: Params<f32>,
    /// The version's rows of the classes that it has, and 0 of the others; `None` where training starts at the base.
    pub head: Option<HeadParams>,
}

impl StartWeights {
    /// Decodes the weights.
    ///
    /// # Errors
    /// If the version does not fit the base.
    pub fn of(request: &AdaptRequest<'_>, network: &Network) -> Result<Self, AdaptError> {
        let Some(version) = version(request)? else { return Ok(Self::at_base(request.base, network)) };
        let (head, adapted) = (network.head, Weights::adapted(request.base, version)?);
        let rows = rows_of(&adapted, &request.dataset.classes, blank_head(network));
        let mut params = adapted.params;
        params.replace(head.weight, rows.weight.clone());
        params.replace(head.bias, rows.bias.clone());
        Ok(Self { params, head: Some(rows) })
    }

    /// Returns the base's weights, under a head of zeros.
    pub fn at_base(base: &Base, network: &Network) -> Self {
        let state = TrainingState::<f32>::new(base, network.clone(), blank_head(network), |_| false);
        Self { params: state.weights(), head: None }
    }
}

/// Returns a head of zeros.
fn blank_head(network: &Network) -> HeadParams {
    let head = network.head;
    HeadParams { weight: vec![0.0; head.classes * head.features], bias: vec![0.0; head.classes] }
}

/// Returns the version that training starts at; `None` for the base.
pub(crate) fn version<'a>(request: &AdaptRequest<'a>) -> Result<Option<&'a Delta<'a>>, AdaptError> {
    match (request.options.start, request.start) {
        (StartPoint::Base, _) => Ok(None),
        (StartPoint::Active, Some(version)) => Ok(Some(version)),
        (StartPoint::Active, None) => Err(refused("base: no version is active")),
    }
}

/// Images of a request under the classes of the version that training starts at and their own, in this order; `None` where it
/// starts at the base.
///
/// # Errors
/// If the version answers for another task than the images', or images have values.
pub(crate) fn labelled(request: &AdaptRequest<'_>) -> Result<Option<Dataset>, AdaptError> {
    let Some(version) = version(request)? else { return Ok(None) };
    let (dataset, task) = (request.dataset, request.dataset.task());
    if task == Task::Regression {
        return Err(AdaptError::Task { what: "a start at the active version", task });
    }
    if version.header().task != task {
        return Err(refused("base: the active version answers for another task than the images'"));
    }
    let mut labels: Vec<String> = version.labels().map(str::to_owned).collect();
    let known = labels.len();
    labels.extend(dataset.classes.iter().filter(|class| !labels[..known].contains(class)).cloned().collect::<Vec<_>>());
    Ok(Some(dataset.clone().with_labels(&labels)?))
}

/// Refuses a version of which a tensor would not train, and so would be lost.
///
/// # Errors
/// [`AdaptError::UntrainedStart`] with the first such tensor; [`AdaptError::Option`] if the base's head is to be kept, and the
/// version has another.
pub(crate) fn require_trained(
    request: &AdaptRequest<'_>,
    network: &Network,
    trained: &[bool],
) -> Result<(), AdaptError> {
    let Some(version) = version(request)? else { return Ok(()) };
    let mode = request.options.head;
    if mode == HeadMode::Keep && version.header().head.origin == HeadOrigin::Replaced {
        return Err(refused("base, or to replace the head: the active version has a head of its own"));
    }
    match differences(version, network, mode).find(|(id, _)| !trained[id.index()]) {
        Some((_, record)) => Err(AdaptError::UntrainedStart { name: record.name.to_owned() }),
        None => Ok(()),
    }
}

/// Writes the δ of the version that training starts at over `delta`, where there is one.
///
/// # Errors
/// If the version is damaged.
pub(crate) fn write_delta(
    request: &AdaptRequest<'_>,
    network: &Network,
    delta: &mut Params<f32>,
) -> Result<(), AdaptError> {
    let Some(version) = version(request)? else { return Ok(()) };
    for (id, record) in differences(version, network, request.options.head) {
        record.decode_into(&mut delta[id])?;
    }
    Ok(())
}

/// The tensors of a version that are differences from the base and continue as such: a head that is replaced does not.
fn differences<'a>(
    version: &'a Delta<'a>,
    network: &'a Network,
    mode: HeadMode,
) -> impl Iterator<Item = (TensorId, Record<'a>)> {
    let records = version.records().filter(|record| record.kind == TensorKind::Difference);
    let named = records.filter_map(|record| Some((network.find(record.name)?, record)));
    named.filter(move |(id, _)| mode == HeadMode::Keep || !network.tensor(*id).role.is_head())
}

/// The rows of `classes` in a version's head; those of `blank` for the classes that it does not have.
fn rows_of(version: &Weights, classes: &[String], mut blank: HeadParams) -> HeadParams {
    let (head, params) = (version.network.head, &version.params);
    let rows = blank.weight.chunks_exact_mut(head.features).zip(&mut blank.bias);
    for (class, (row, bias)) in classes.iter().zip(rows) {
        if let Some(position) = version.labels.iter().position(|label| label == class) {
            row.copy_from_slice(&params[head.weight][position * head.features..][..head.features]);
            *bias = params[head.bias][position];
        }
    }
    blank
}

fn refused(expected: &'static str) -> AdaptError {
    AdaptError::Option { name: "start", found: StartPoint::Active.name().into(), expected }
}
