//! The same networks out of candle ops: CUDA and Metal, and in f64 the oracle of the tests.
//!
//! Slower on a CPU than [`crate::cpu`], and it keeps every intermediate result until the backward pass. candle computes
//! both operands' gradients of a product even where one of them is frozen.

mod device;
mod graph;
mod resident;
#[cfg(test)]
mod tests;
mod tokens;

pub use device::device;
pub use resident::OnDevice;

use crate::executor::{Executor, Matrix, Prepared, check, check_gradients, check_images, check_params};
use crate::{ExecError, Objective};
use candle_core::{Device, Tensor, Var, WithDType, backprop::GradStore};
use fieldfit_nets::{Network, Shape, TensorSpec};
use fieldfit_tensor::{Images, Params, Real};
use graph::Graph;
use std::marker::PhantomData;

/// Computes a network on a candle device, in `f32` or `f64`.
#[derive(Debug)]
pub struct Candle<T> {
    network: Network,
    device: Device,
    scalar: PhantomData<T>,
}

impl<T: Real + WithDType> Candle<T> {
    /// An executor of that network on that device: see [`device`].
    pub fn new(network: &Network, device: Device) -> Self {
        Self { network: network.clone(), device, scalar: PhantomData }
    }

    fn graph(&self, params: &Params<T>, images: &Images) -> Result<Graph, ExecError> {
        check(&self.network, params, images)?;
        Graph::new(&self.network, &upload(&self.network, params, &self.device)?)
    }

    /// Every tensor of the network, those with room for a gradient as variables.
    fn leaves(&self, params: &Params<T>, gradients: &Params<T>) -> Result<Vec<Tensor>, ExecError> {
        let mut tensors = upload(&self.network, params, &self.device)?;
        for (id, _) in self.network.tensors().filter(|(id, _)| gradients.contains(*id)) {
            tensors[id.index()] = Var::from_tensor(&tensors[id.index()])?.as_tensor().clone();
        }
        Ok(tensors)
    }

    /// Writes each variable's gradient to its buffer.
    fn collect(&self, leaves: &[Tensor], store: &GradStore, gradients: &mut Params<T>) -> Result<(), ExecError> {
        for (id, spec) in self.network.tensors().filter(|(id, _)| leaves[id.index()].is_variable()) {
            let gradient = store.get(&leaves[id.index()]);
            let gradient = gradient.ok_or_else(|| ExecError::NoGradient { name: spec.name.clone() })?;
            gradients[id].copy_from_slice(&values(gradient)?);
        }
        Ok(())
    }
}

impl<T: Real + WithDType> Executor<T> for Candle<T> {
    fn network(&self) -> &Network {
        &self.network
    }

    fn features(&mut self, params: &Params<T>, images: &Images) -> Result<Matrix<T>, ExecError> {
        let graph = self.graph(params, images)?;
        download(&graph.features(&batch::<T>(images, &self.device)?)?)
    }

    fn logits(&mut self, params: &Params<T>, images: &Images) -> Result<Matrix<T>, ExecError> {
        let graph = self.graph(params, images)?;
        download(&graph.logits(&batch::<T>(images, &self.device)?)?)
    }

    fn gradient(
        &mut self,
        params: &Params<T>,
        images: &Images,
        objective: &dyn Objective<T>,
        gradients: &mut Params<T>,
    ) -> Result<T, ExecError> {
        check(&self.network, params, images)?;
        check_gradients(&self.network, gradients)?;
        let leaves = self.leaves(params, gradients)?;
        let (loss, store) = descend(&self.network, &leaves, &batch::<T>(images, &self.device)?, objective)?;
        self.collect(&leaves, &store, gradients)?;
        Ok(loss)
    }

    fn trace(
        &mut self,
        params: &Params<T>,
        images: &Images,
        visit: &mut dyn FnMut(&str, Shape, &[T]),
    ) -> Result<(), ExecError> {
        let graph = self.graph(params, images)?;
        graph.backbone(&batch::<T>(images, &self.device)?, |name, output| {
            let (_, height, width, channels) = output.dims4()?;
            visit(name, Shape { height, width, channels }, &values(output)?);
            Ok(())
        })?;
        Ok(())
    }
}

/// The objective's mean over the images with these tensors, and its gradients with respect to those that are variables.
fn descend<T: Real + WithDType>(
    network: &Network,
    leaves: &[Tensor],
    images: &Tensor,
    objective: &dyn Objective<T>,
) -> Result<(T, GradStore), ExecError> {
    objective.check(images.dim(0)?, network.head.classes)?;
    let logits = Graph::new(network, leaves)?.logits(images)?;
    let (loss, slopes) = judge(objective, download(&logits)?);
    let slopes = Tensor::from_vec(slopes, logits.shape(), logits.device())?;
    Ok((loss, (logits * slopes)?.sum_all()?.backward()?))
}

/// The mean loss, and its gradient with respect to the logits.
fn judge<T: Real>(objective: &dyn Objective<T>, mut logits: Matrix<T>) -> (T, Vec<T>) {
    let (batch, columns) = (logits.rows.max(1), logits.columns);
    let rows = logits.values.chunks_exact_mut(columns).enumerate();
    let total: f64 = rows.map(|(image, row)| objective.descend(image, row)).sum();
    logits.values.iter_mut().for_each(|value| *value /= T::of(batch as f64));
    (T::of(total / batch as f64), logits.values)
}

/// Weights folded once and kept on a candle device.
#[derive(Debug)]
pub struct PreparedCandle {
    graph: Graph,
    device: Device,
    network: Network,
}

impl PreparedCandle {
    /// Folds the norms and copies the weights to that device: see [`device`].
    ///
    /// # Errors
    /// If the parameters don't fit the network, or the device fails.
    pub fn new(network: &Network, params: &Params<f32>, device: Device) -> Result<Self, ExecError> {
        check_params(network, params)?;
        let graph = Graph::new(network, &upload(network, params, &device)?)?;
        Ok(Self { graph, device, network: network.clone() })
    }
}

impl Prepared for PreparedCandle {
    fn classes(&self) -> usize {
        self.network.head.classes
    }

    fn logits_into(&self, images: &Images, logits: &mut Vec<f32>) -> Result<(), ExecError> {
        check_images(&self.network, images)?;
        *logits = download(&self.graph.logits(&batch::<f32>(images, &self.device)?)?)?.values;
        Ok(())
    }
}

fn upload<T: WithDType>(network: &Network, params: &Params<T>, device: &Device) -> Result<Vec<Tensor>, ExecError> {
    let tensor = |(id, spec): (_, &TensorSpec)| Ok(Tensor::from_slice(&params[id], spec.shape.as_slice(), device)?);
    network.tensors().map(tensor).collect()
}

fn batch<T: WithDType>(images: &Images, device: &Device) -> Result<Tensor, ExecError> {
    let shape = (images.count, images.height, images.width, images.channels);
    Ok(Tensor::from_slice(&images.values, shape, device)?.to_dtype(T::DTYPE)?)
}

fn values<T: WithDType>(tensor: &Tensor) -> candle_core::Result<Vec<T>> {
    tensor.flatten_all()?.to_vec1()
}

fn download<T: WithDType>(tensor: &Tensor) -> Result<Matrix<T>, ExecError> {
    let (rows, columns) = tensor.dims2()?;
    Ok(Matrix { rows, columns, values: values(tensor)? })
}
