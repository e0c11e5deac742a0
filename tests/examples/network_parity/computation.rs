//! Computation of an imported network's outputs, loss and gradients, in the order of axes that its file has.

use fieldfit_exec::candle::{Candle, device};
use fieldfit_exec::cpu::Cpu;
use fieldfit_exec::{Device, ExecError, Executor, Objective, Passes};
use fieldfit_model::Base;
use fieldfit_nets::Network;
use fieldfit_tensor::{Images, Params, Real};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

/// Whatever ends the computation.
pub type Error = Box<dyn std::error::Error>;

/// Images, and what makes a scalar loss of the network's output.
pub struct Inputs {
    images: Images,
    loss: Loss,
}

enum Loss {
    /// The mean cross entropy of these classes.
    CrossEntropy(Vec<u32>),
    /// The sum over the output's values, each times its weight. The output has this shape.
    WeightedSum { shape: Vec<usize>, weights: Vec<f32> },
}

impl Inputs {
    /// Reads `images`, `[N, C, H, W]` or `[N, H, W, 3]`, and `labels` or `weight.0`, of a safetensors file.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let tensors = SafeTensors::deserialize(bytes)?;
        let images = tensors.tensor("images")?;
        let &[count, second, third, last] = images.shape() else { return Err("images: expected 4 axes".into()) };
        let values = f32s(&images)?;
        let images = if second != 3 && last == 3 {
            Images { count, height: second, width: third, channels: last, values }
        } else {
            let values = channels_last(&values, [count, second, third, last]);
            Images { count, height: third, width: last, channels: second, values }
        };
        let loss = match tensors.tensor("labels") {
            Ok(labels) => Loss::CrossEntropy(i64s(&labels)?),
            Err(_) if tensors.tensor("weight.1").is_ok() => {
                return Err("a network has one output, found several".into());
            }
            Err(_) => {
                let weights = tensors.tensor("weight.0")?;
                Loss::WeightedSum { shape: weights.shape().to_vec(), weights: f32s(&weights)? }
            }
        };
        Ok(Self { images, loss })
    }

    fn image(&self, index: usize) -> Images {
        Images { count: 1, values: self.images.image(index).to_vec(), ..self.images }
    }
}

fn f32s(tensor: &TensorView<'_>) -> Result<Vec<f32>, Error> {
    match tensor.dtype() {
        Dtype::F32 => Ok(tensor.data().as_chunks().0.iter().map(|bits| f32::from_le_bytes(*bits)).collect()),
        other => Err(format!("expected F32, found {other}").into()),
    }
}

fn i64s(tensor: &TensorView<'_>) -> Result<Vec<u32>, Error> {
    match tensor.dtype() {
        Dtype::I64 => {
            let labels = tensor.data().as_chunks().0.iter().map(|bits| u32::try_from(i64::from_le_bytes(*bits)));
            Ok(labels.collect::<Result<_, _>>()?)
        }
        other => Err(format!("expected I64, found {other}").into()),
    }
}

/// `[N, C, H, W]` to `[N, H, W, C]`.
fn channels_last<T: Copy>(values: &[T], [count, channels, height, width]: [usize; 4]) -> Vec<T> {
    permuted(values, count, channels, height * width)
}

/// `[N, H, W, C]` to `[N, C, H, W]`.
fn channels_first<T: Copy>(values: &[T], [count, channels, height, width]: [usize; 4]) -> Vec<T> {
    permuted(values, count, height * width, channels)
}

/// `[N, rows, columns]` to `[N, columns, rows]`.
fn permuted<T: Copy>(values: &[T], count: usize, rows: usize, columns: usize) -> Vec<T> {
    let position = |index: usize| {
        let (matrix, rest) = (index / (rows * columns), index % (rows * columns));
        matrix * rows * columns + rest % rows * columns + rest / rows
    };
    (0..count * rows * columns).map(|index| values[position(index)]).collect()
}

/// What a network computes of [`Inputs`].
pub struct Computed {
    /// Shape and values of the output, in the file's order.
    pub output: (Vec<usize>, Vec<f64>),
    pub loss: f64,
    /// Name, shape and values of each parameter's gradient, in the file's order.
    pub gradients: Vec<(String, Vec<usize>, Vec<f64>)>,
}

impl Computed {
    /// Name, shape and values of every tensor under its name in the output file.
    pub fn tensors(&self) -> impl Iterator<Item = (String, Vec<usize>, &[f64])> {
        let (shape, values) = &self.output;
        let output = ("output.0".to_owned(), shape.clone(), values.as_slice());
        let loss = ("loss".to_owned(), Vec::new(), std::slice::from_ref(&self.loss));
        let gradients = self.gradients.iter();
        let gradients = gradients.map(|(name, shape, values)| (format!("gradient.{name}"), shape.clone(), &values[..]));
        [output, loss].into_iter().chain(gradients)
    }
}

/// Computes in f64 with the reference executor.
pub fn oracle(base: &Base, inputs: &Inputs) -> Result<Computed, Error> {
    let executor = |network: &Network| -> Result<Box<dyn Executor<f64>>, ExecError> {
        Ok(Box::new(Candle::<f64>::new(network, device(Device::Cpu { threads: 1 })?)))
    };
    compute(base, inputs, executor)
}

/// Computes in f32 with the CPU kernels.
pub fn kernels(base: &Base, inputs: &Inputs) -> Result<Computed, Error> {
    let executor = |network: &Network| -> Result<Box<dyn Executor<f32>>, ExecError> {
        Ok(Box::new(Cpu::new(network, 1, Passes::default())?))
    };
    compute(base, inputs, executor)
}

fn compute<T: Real>(
    base: &Base,
    inputs: &Inputs,
    executor: impl Fn(&Network) -> Result<Box<dyn Executor<T>>, ExecError>,
) -> Result<Computed, Error> {
    let (network, params): (_, Params<T>) = (base.network(), base.params());
    let mut gradients = trained(base, network);
    let mut run = executor(network)?;
    let features = if network.is_headless() {
        run.features(&params, &inputs.images)?
    } else {
        run.logits(&params, &inputs.images)?
    };
    let mut shape = vec![features.rows, features.columns];
    let mut output = features.values;
    let loss = match &inputs.loss {
        Loss::CrossEntropy(labels) => run.gradient(&params, &inputs.images, labels, &mut gradients)?.wide(),
        Loss::WeightedSum { shape: stated, weights } => {
            let count = stated.iter().product::<usize>();
            if count != output.len() || weights.len() != count {
                return Err(format!("weight.0 has shape {stated:?}, the output {shape:?}").into());
            }
            shape.clone_from(stated);
            let weights = match stated[..] {
                [count, channels, height, width] => {
                    output = channels_first(&output, [count, channels, height, width]);
                    channels_last(weights, [count, channels, height, width])
                }
                _ => weights.clone(),
            };
            weighted_sum(base, inputs, &weights, &executor, &mut gradients)?
        }
    };
    let wide = |values: &[T]| values.iter().map(|value| value.wide()).collect::<Vec<f64>>();
    let gradient = |(id, layout): (_, &fieldfit_model::SourceLayout)| {
        let spec = network.tensor(id);
        let values = layout.to_file(wide(&gradients[id]), &spec.shape).ok_or("a layout that does not fit")?;
        Ok((spec.name.clone(), layout.shape.clone(), values))
    };
    let ids = network.tensors().map(|(id, _)| id).filter(|id| gradients.contains(*id));
    let gradients =
        ids.filter_map(|id| Some((id, base.source_layout(id)?))).map(gradient).collect::<Result<_, Error>>()?;
    Ok(Computed { output: (shape, wide(&output)), loss, gradients })
}

/// Buffers for the gradients of the file's parameters.
fn trained<T: Real>(base: &Base, network: &Network) -> Params<T> {
    Params::zeros_where(network, |id| network.tensor(id).role.is_trainable() && base.source_layout(id).is_some())
}

/// The weighted sum over the outputs of all images, and its gradient: image by image, since an executor's loss is a mean.
fn weighted_sum<T: Real>(
    base: &Base,
    inputs: &Inputs,
    weights: &[f32],
    executor: &impl Fn(&Network) -> Result<Box<dyn Executor<T>>, ExecError>,
    gradients: &mut Params<T>,
) -> Result<f64, Error> {
    let (mut network, mut params): (Network, Params<T>) = (base.network().clone(), base.params());
    let head = network.head;
    let is_headless = network.is_headless();
    if is_headless {
        network = network.with_classes(1);
        params.replace(head.bias, vec![T::of(0.0)]);
    }
    let mut run = executor(&network)?;
    let (mut sum, mut part) = (0.0, gradients.clone());
    for (index, weights) in weights.chunks_exact(weights.len() / inputs.images.count).enumerate() {
        let weights: Vec<T> = weights.iter().map(|weight| T::of(f64::from(*weight))).collect();
        // A headless network's output is weighted by a head of one class.
        let objective = if is_headless {
            params.replace(head.weight, weights);
            WeightedLogits(vec![T::of(1.0)])
        } else {
            WeightedLogits(weights)
        };
        sum += run.gradient(&params, &inputs.image(index), &objective, &mut part)?.wide();
        for (sum, part) in gradients.buffers_mut().iter_mut().zip(part.buffers()) {
            sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += *part);
        }
    }
    Ok(sum)
}

/// Objective: the sum of one image's logits, each times its weight.
struct WeightedLogits<T>(Vec<T>);

impl<T: Real> Objective<T> for WeightedLogits<T> {
    fn check(&self, _: usize, _: usize) -> Result<(), ExecError> {
        Ok(())
    }

    fn loss_and_gradient(&self, _: usize, logits: &mut [T]) -> f64 {
        let loss = logits.iter().zip(&self.0).map(|(logit, weight)| logit.wide() * weight.wide()).sum();
        logits.copy_from_slice(&self.0);
        loss
    }
}
