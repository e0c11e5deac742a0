//! Host parameters: δ, weights and gradients in the program's memory, as a parameter store.

use crate::train::training_state::TrainingState;
use fieldfit_exec::{ExecError, Executor, Objective, ParamStore};
use fieldfit_tensor::{Images, Norm, Params, Real, TensorId};
use fieldfit_tpgm::{distances, radius_gradient, rescale};

/// Parameter store in the program's memory: δ, weights and gradients beside an executor.
pub struct HostParams<'r, 'base, T> {
    /// δ and its start.
    pub state: &'r mut TrainingState<'base, T>,
    /// Executor of the network.
    pub executor: &'r mut dyn Executor<T>,
    /// Buffer of θ0 + r·δ: the trainable tensors are written anew for each gradient.
    pub weights: &'r mut Params<T>,
    /// Buffer of the gradients of the trainable tensors.
    pub gradients: &'r mut Params<T>,
}

impl<T: Real> ParamStore<T> for HostParams<'_, '_, T> {
    fn gradient(&mut self, ratios: &[Vec<T>], images: &Images, objective: &dyn Objective<T>) -> Result<T, ExecError> {
        self.state.merge_projected_into(self.weights, |id, list| {
            list.extend(ratios.get(id.index()).into_iter().flatten());
        });
        self.executor.gradient(self.weights, images, objective, self.gradients)
    }

    fn gradient_norms(&self) -> Result<Vec<Option<f64>>, ExecError> {
        Ok(l2_norms(self.gradients))
    }

    fn distances(&self, norm: Norm, wanted: &[bool], out: &mut Vec<Vec<T>>) -> Result<(), ExecError> {
        out.resize(wanted.len(), Vec::new());
        for ((id, spec), out) in self.state.network().tensors().zip(out) {
            out.clear();
            if wanted[id.index()] {
                distances(norm, &self.state.delta[id], spec.rows(), out);
            }
        }
        Ok(())
    }

    fn radius_gradients(&self, distances: &[Vec<T>], radii: &[Option<T>]) -> Result<Vec<Option<T>>, ExecError> {
        let slope = |id: TensorId, radius| {
            radius_gradient(&self.gradients[id], &self.state.delta[id], &distances[id.index()], radius)
        };
        let tensors = self.state.network().tensors().zip(radii);
        Ok(tensors.map(|((id, _), radius)| radius.map(|radius| slope(id, radius))).collect())
    }

    fn rescale(&mut self, ratios: &[Vec<T>]) -> Result<(), ExecError> {
        for (delta, ratios) in self.state.delta.buffers_mut().iter_mut().zip(ratios) {
            rescale(delta, ratios);
        }
        Ok(())
    }
}

/// The L2 norm of each tensor that has values.
pub(crate) fn l2_norms<T: Real>(params: &Params<T>) -> Vec<Option<f64>> {
    let mut norms = Vec::new();
    let mut norm = |values: &Vec<T>| {
        distances(Norm::L2, values, 1, &mut norms);
        norms.first().map(|norm| norm.wide())
    };
    params.buffers().iter().map(&mut norm).collect()
}
