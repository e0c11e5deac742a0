//! Candle executor: runs networks on CUDA and Metal, and in f64 as the reference of the tests.
//!
//! Slower on a CPU than [`crate::cpu`]; it keeps every intermediate result until the backward pass. candle computes
//! both operands' gradients of a product even if one of them is frozen.

mod candle_params;
mod device;
mod elementwise;
mod graph;
mod image_ops;
#[cfg(test)]
mod tests;
mod transformer;

pub use candle_params::CandleParams;
pub use device::device;

use crate::executor::{Executor, Prepared, check, check_gradients, check_images, check_params};
use crate::{ExecError, Objective};
use candle_core::{Device, Tensor, Var, WithDType, backprop::GradStore};
use fieldfit_nets::{Network, Shape, TensorSpec};
use fieldfit_tensor::{Images, Matrix, Params, Real};
use graph::Graph;
use std::marker::PhantomData;

/// Candle executor: computes a network on a candle device, in `f32` or `f64`.
#[derive(Debug)]
pub struct Candle<T> {
    network: Network,
    device: Device,
    scalar: PhantomData<T>,
}

impl<T: Real + WithDType> Candle<T> {
    /// Creates an executor of the network on a device opened by [`device`].
    pub fn new(network: &Network, device: Device) -> Self {
        Self { network: network.clone(), device, scalar: PhantomData }
    }

    fn graph(&self, params: &Params<T>, images: &Images) -> Result<Graph, ExecError> {
        check(&self.network, params, images)?;
        Graph::new(&self.network, &upload(&self.network, params, &self.device)?)
    }

    /// Uploads every tensor of the network, the trained ones as variables.
    fn leaves(&self, params: &Params<T>, gradients: &Params<T>) -> Result<Vec<Tensor>, ExecError> {
        let mut tensors = upload(&self.network, params, &self.device)?;
        for (id, _) in self.network.tensors().filter(|(id, _)| gradients.contains(*id)) {
            tensors[id.index()] = Var::from_tensor(&tensors[id.index()])?.as_tensor().clone();
        }
        Ok(tensors)
    }

    /// Downloads each variable's gradient to its buffer.
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
        let (loss, store) = loss_and_gradients(&self.network, &leaves, &batch::<T>(images, &self.device)?, objective)?;
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

/// Computes the objective's mean over the images, and its gradients with respect to the variables among `leaves`.
fn loss_and_gradients<T: Real + WithDType>(
    network: &Network,
    leaves: &[Tensor],
    images: &Tensor,
    objective: &dyn Objective<T>,
) -> Result<(T, GradStore), ExecError> {
    objective.check(images.dim(0)?, network.head.classes)?;
    let logits = Graph::new(network, leaves)?.logits(images)?;
    let (loss, gradient) = loss_and_gradient(objective, download(&logits)?);
    let gradient = Tensor::from_vec(gradient, logits.shape(), logits.device())?;
    Ok((loss, (logits * gradient)?.sum_all()?.backward()?))
}

/// Computes the mean loss and its gradient with respect to the logits.
fn loss_and_gradient<T: Real>(objective: &dyn Objective<T>, mut logits: Matrix<T>) -> (T, Vec<T>) {
    let (batch, columns) = (logits.rows.max(1), logits.columns);
    let rows = logits.values.chunks_exact_mut(columns).enumerate();
    let total: f64 = rows.map(|(image, row)| objective.loss_and_gradient(image, row)).sum();
    logits.values.iter_mut().for_each(|value| *value /= T::of(batch as f64));
    (T::of(total / batch as f64), logits.values)
}

/// Network prepared for inference on a candle device: weights folded and uploaded once.
#[derive(Debug)]
pub struct PreparedCandle {
    graph: Graph,
    device: Device,
    network: Network,
}

impl PreparedCandle {
    /// Uploads the weights to a device opened by [`device`], and folds the norms.
    ///
    /// # Errors
    /// If the parameters do not fit the network, or the device fails.
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

    fn features_into(&self, images: &Images, features: &mut Vec<f32>) -> Result<(), ExecError> {
        check_images(&self.network, images)?;
        *features = download(&self.graph.features(&batch::<f32>(images, &self.device)?)?)?.values;
        Ok(())
    }

    fn logits_into(&self, images: &Images, logits: &mut Vec<f32>) -> Result<(), ExecError> {
        check_images(&self.network, images)?;
        *logits = download(&self.graph.logits(&batch::<f32>(images, &self.device)?)?)?.values;
        Ok(())
    }
}

/// Copies parameters to the device.
fn upload<T: WithDType>(network: &Network, params: &Params<T>, device: &Device) -> Result<Vec<Tensor>, ExecError> {
    let tensor = |(id, spec): (_, &TensorSpec)| Ok(Tensor::from_slice(&params[id], spec.shape.as_slice(), device)?);
    network.tensors().map(tensor).collect()
}

/// Copies images to the device, `[N, H, W, C]`.
fn batch<T: WithDType>(images: &Images, device: &Device) -> Result<Tensor, ExecError> {
    let shape = (images.count, images.height, images.width, images.channels);
    Ok(Tensor::from_slice(&images.values, shape, device)?.to_dtype(T::DTYPE)?)
}

/// Copies a tensor's values to the host.
fn values<T: WithDType>(tensor: &Tensor) -> candle_core::Result<Vec<T>> {
    tensor.flatten_all()?.to_vec1()
}

/// Copies a matrix to the host.
fn download<T: WithDType>(tensor: &Tensor) -> Result<Matrix<T>, ExecError> {
    let (rows, columns) = tensor.dims2()?;
    Ok(Matrix { rows, columns, values: values(tensor)? })
}
