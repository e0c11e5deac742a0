//! Stages: which tensors train behind frozen stages, and what shape frozen stages make of an image.

use crate::error::AdaptError;
use crate::methods::method::Method;
use crate::options::Options;
use fieldfit_exec::ExecError;
use fieldfit_nets::{Network, Shape};

/// Selects the tensors that train, by [`TensorId::index`](fieldfit_tensor::TensorId::index): the method's, behind
/// what is frozen. Running statistics never do.
pub(crate) fn trained(method: &dyn Method, network: &Network, options: &Options) -> Result<Vec<bool>, AdaptError> {
    let (stages, frozen) = (network.section_of_each_tensor(), options.frozen_stages(network)?);
    Ok(network
        .tensors()
        .map(|(id, spec)| stages[id.index()] >= frozen && spec.role.is_trainable() && method.trains(spec))
        .collect())
}

/// Shape that the network's first `stages` stages make of an image of these rows and columns; `None` where they are none.
pub(crate) fn shape_after(
    network: &Network,
    stages: usize,
    [height, width]: [usize; 2],
) -> Result<Option<Shape>, ExecError> {
    Ok(network.before(stages)?.section_shapes(height, width)?.last().copied())
}
