//! Parameters of a training run on a candle device: θ0 in its storage dtype, δ, gradients and optimiser moments.

use super::{batch, loss_and_gradients, values};
use crate::executor::{check_images, check_tensor};
use crate::param_store::{DeviceParams, ParamStore, StateTensor, UpdateRule};
use crate::{ExecError, Objective};
use candle_core::{DType, Device, Tensor, Var, WithDType};
use fieldfit_nets::{Network, TensorSpec};
use fieldfit_tensor::{Dtype, Images, Norm, Params, Real, TensorId, TensorView};
use fieldfit_tpgm::radius_gradient_from_products;
use std::marker::PhantomData;

/// Parameters on a candle device: θ0, δ, gradients and optimiser state of a network.
///
/// θ0 is uploaded once, in its storage dtype; quantised rows as f32. Row sums are computed on the device in `T`, sums over rows on the host in
/// f64. Each call downloads one list, so that it synchronises with the device once.
#[derive(Debug)]
pub struct CandleParams<T> {
    network: Network,
    device: Device,
    /// θ0 of every tensor, in its storage dtype.
    base: Vec<Tensor>,
    /// By tensor; `None` for a frozen tensor.
    trained: Vec<Option<Trained>>,
    scalar: PhantomData<T>,
}

/// State of one trained tensor, each value in the tensor's shape.
#[derive(Debug)]
struct Trained {
    rows: usize,
    delta: Tensor,
    gradient: Tensor,
    first: Tensor,
    second: Tensor,
}

impl<T: Real + WithDType> CandleParams<T> {
    /// Uploads θ0 and sets every δ to 0. `base` returns θ0 of a tensor, `trains` whether the tensor is trained.
    ///
    /// # Errors
    /// If the device fails.
    pub fn new<'a>(
        network: &Network,
        device: Device,
        base: impl Fn(TensorId) -> TensorView<'a>,
        trains: impl Fn(TensorId) -> bool,
    ) -> Result<Self, ExecError> {
        let upload = |(id, spec): (TensorId, &TensorSpec)| {
            let view = base(id);
            check_tensor(spec, view.len())?;
            match view.floats() {
                Some((dtype, bytes)) => Ok(Tensor::from_raw_buffer(bytes, storage_dtype(dtype), &spec.shape, &device)?),
                None => {
                    let mut values = vec![0.0_f32; view.len()];
                    view.copy_into(&mut values);
                    Ok(Tensor::from_vec(values, &*spec.shape, &device)?)
                }
            }
        };
        let trained = |(id, spec): (TensorId, &TensorSpec)| {
            trains(id).then(|| Trained::new::<T>(spec, &device)).transpose().map_err(ExecError::from)
        };
        Ok(Self {
            base: network.tensors().map(upload).collect::<Result<_, ExecError>>()?,
            trained: network.tensors().map(trained).collect::<Result<_, ExecError>>()?,
            network: network.clone(),
            device,
            scalar: PhantomData,
        })
    }

    /// Computes θ0 + r·δ of every tensor, the trained ones as variables.
    fn leaves(&self, ratios: &[Vec<T>]) -> candle_core::Result<Vec<Tensor>> {
        let ratios = self.upload(ratios)?;
        let leaf = |(index, base): (usize, &Tensor)| {
            let base = base.to_dtype(T::DTYPE)?;
            let Some(trained) = &self.trained[index] else { return Ok(base) };
            let kept = match ratios.get(index) {
                Some(Some(ratios)) => trained.scaled(ratios)?,
                _ => trained.delta.clone(),
            };
            Ok(Var::from_tensor(&(base + kept)?)?.into_inner())
        };
        self.base.iter().enumerate().map(leaf).collect()
    }

    /// Uploads lists of ratios as columns, in one copy.
    fn upload(&self, ratios: &[Vec<T>]) -> candle_core::Result<Vec<Option<Tensor>>> {
        let all = ratios.concat();
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let all = Tensor::from_slice(&all, (all.len(), 1), &self.device)?;
        let mut taken = 0;
        let column = |list: &Vec<T>| {
            let column = (!list.is_empty()).then(|| all.narrow(0, taken, list.len())).transpose();
            taken += list.len();
            column
        };
        ratios.iter().map(column).collect()
    }

    /// Computes `Σ term` over each row of each trained tensor that `wanted` selects, with one download.
    fn row_sums(
        &self,
        wanted: impl Fn(usize) -> bool,
        term: impl Fn(&Trained) -> candle_core::Result<Tensor>,
    ) -> Result<Vec<Vec<T>>, ExecError> {
        let requested: Vec<_> =
            (0..self.trained.len()).map(|index| self.trained[index].as_ref().filter(|_| wanted(index))).collect();
        let sums = requested.iter().flatten().map(|trained| term(trained)?.reshape((trained.rows, ()))?.sum(1));
        let sums = sums.collect::<candle_core::Result<Vec<_>>>()?;
        let all = if sums.is_empty() { Vec::new() } else { values(&Tensor::cat(&sums, 0)?)? };
        let mut rest = all.into_iter();
        Ok(requested
            .iter()
            .map(|trained| rest.by_ref().take(trained.map_or(0, |trained| trained.rows)).collect())
            .collect())
    }
}

impl<T: Real + WithDType> ParamStore<T> for CandleParams<T> {
    fn gradient(&mut self, ratios: &[Vec<T>], images: &Images, objective: &dyn Objective<T>) -> Result<T, ExecError> {
        check_images(&self.network, images)?;
        let leaves = self.leaves(ratios)?;
        let (loss, gradients) =
            loss_and_gradients(&self.network, &leaves, &batch::<T>(images, &self.device)?, objective)?;
        for (index, trained) in self.trained.iter_mut().enumerate() {
            if let Some(trained) = trained {
                let gradient = gradients.get(&leaves[index]);
                let no_gradient = || ExecError::NoGradient { name: self.network.tensors[index].name.clone() };
                trained.gradient = gradient.ok_or_else(no_gradient)?.clone();
            }
        }
        Ok(loss)
    }

    fn gradient_norms(&self) -> Result<Vec<Option<f64>>, ExecError> {
        let squares = self.row_sums(|_| true, |trained| trained.gradient.sqr())?;
        let norms = squares.iter().zip(&self.trained);
        Ok(norms.map(|(squares, trained)| trained.as_ref().map(|_| total(squares).sqrt())).collect())
    }

    fn distances(&self, norm: Norm, wanted: &[bool], out: &mut Vec<Vec<T>>) -> Result<(), ExecError> {
        *out = self.row_sums(
            |index| wanted[index],
            |trained| match norm {
                Norm::L2 => trained.delta.sqr(),
                Norm::Mars => trained.delta.abs(),
            },
        )?;
        if norm == Norm::L2 {
            for squares in out.iter_mut().filter(|squares| !squares.is_empty()) {
                *squares = vec![T::of(total(squares).sqrt())];
            }
        }
        Ok(())
    }

    fn radius_gradients(&self, distances: &[Vec<T>], radii: &[Option<T>]) -> Result<Vec<Option<T>>, ExecError> {
        let products = self.row_sums(|index| radii[index].is_some(), |trained| &trained.gradient * &trained.delta)?;
        let tensors = products.iter().zip(distances).zip(radii);
        Ok(tensors
            .map(|((products, distances), radius)| {
                let span = products.len() / distances.len().max(1);
                radius.map(|radius| {
                    radius_gradient_from_products(|index| total(&products[index * span..][..span]), distances, radius)
                })
            })
            .collect())
    }

    fn rescale(&mut self, ratios: &[Vec<T>]) -> Result<(), ExecError> {
        let columns = self.upload(ratios)?;
        for (trained, column) in self.trained.iter_mut().zip(columns) {
            if let (Some(trained), Some(column)) = (trained, column) {
                trained.delta = trained.scaled(&column)?;
            }
        }
        Ok(())
    }
}

impl<T: Real + WithDType> DeviceParams<T> for CandleParams<T> {
    fn step(&mut self, rules: &[UpdateRule], scale: f64) -> Result<(), ExecError> {
        for ((trained, base), rule) in self.trained.iter_mut().zip(&self.base).zip(rules) {
            if let Some(trained) = trained {
                trained.step(rule, base, scale)?;
            }
        }
        Ok(())
    }

    fn fetch(&self, part: StateTensor, into: &mut Params<T>) -> Result<(), ExecError> {
        for (trained, into) in self.trained.iter().zip(into.buffers_mut()) {
            if let Some(trained) = trained
                && !into.is_empty()
            {
                into.copy_from_slice(&values(trained.part(part))?);
            }
        }
        Ok(())
    }

    fn put(&mut self, part: StateTensor, from: &Params<T>) -> Result<(), ExecError> {
        for (id, spec) in self.network.tensors().filter(|&(id, _)| from.contains(id)) {
            if let Some(trained) = &mut self.trained[id.index()] {
                check_tensor(spec, from[id].len())?;
                *trained.part_mut(part) = Tensor::from_slice(&from[id], spec.shape.as_slice(), &self.device)?;
            }
        }
        Ok(())
    }
}

impl Trained {
    fn new<T: WithDType>(spec: &TensorSpec, device: &Device) -> candle_core::Result<Self> {
        let zeros = Tensor::zeros(spec.shape.as_slice(), T::DTYPE, device)?;
        let (gradient, first, second) = (zeros.clone(), zeros.clone(), zeros.clone());
        Ok(Self { rows: spec.rows(), delta: zeros, gradient, first, second })
    }

    /// Returns r·δ. `ratios` is a column of one ratio, or of one per row.
    fn scaled(&self, ratios: &Tensor) -> candle_core::Result<Tensor> {
        self.delta.reshape((self.rows, ()))?.broadcast_mul(ratios)?.reshape(self.delta.shape())
    }

    /// Updates δ by one optimiser step, with the same arithmetic as on the host.
    fn step(&mut self, rule: &UpdateRule, base: &Tensor, scale: f64) -> candle_core::Result<()> {
        let gradient = (&self.gradient * scale)?;
        let decayed = |decay: f64| (base.to_dtype(self.delta.dtype())? + &self.delta)? * decay;
        match *rule {
            UpdateRule::Sgd { rate, momentum, decay } => {
                let gradient = if decay == 0.0 { gradient } else { (gradient + decayed(decay)?)? };
                self.first = ((&self.first * momentum)? + &gradient)?;
                self.delta = (&self.delta - ((gradient + (&self.first * momentum)?)? * rate)?)?;
            }
            UpdateRule::AdamW { rate, decay, beta1, beta2, epsilon, root } => {
                self.first = ((&self.first * beta1)? + (&gradient * (1.0 - beta1))?)?;
                self.second = ((&self.second * beta2)? + (gradient.sqr()? * (1.0 - beta2))?)?;
                let change = ((&self.first * rate)? / ((self.second.sqrt()? / root)? + epsilon)?)?;
                let change = if decay == 0.0 { change } else { (change + decayed(decay)?)? };
                self.delta = (&self.delta - change)?;
            }
        }
        Ok(())
    }

    const fn part(&self, part: StateTensor) -> &Tensor {
        match part {
            StateTensor::Delta => &self.delta,
            StateTensor::First => &self.first,
            StateTensor::Second => &self.second,
        }
    }

    const fn part_mut(&mut self, part: StateTensor) -> &mut Tensor {
        match part {
            StateTensor::Delta => &mut self.delta,
            StateTensor::First => &mut self.first,
            StateTensor::Second => &mut self.second,
        }
    }
}

fn total<T: Real>(sums: &[T]) -> f64 {
    sums.iter().map(|sum| sum.wide()).sum()
}

const fn storage_dtype(dtype: Dtype) -> DType {
    match dtype {
        Dtype::F16 => DType::F16,
        Dtype::Bf16 => DType::BF16,
        Dtype::F32 => DType::F32,
    }
}
