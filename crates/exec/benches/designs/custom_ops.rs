//! (a): candle's tensors and autograd, with each convolution a custom op over our kernels.

use crate::fold::Folded;
use crate::kernel::{self, Gradients};
use crate::plan::{Plan, Step};
use crate::threads::Threads;
use crate::{Gradient, THREADS, Work};
use candle_core::{CpuStorage, CustomOp3, Device, Layout, Result, Shape, Tensor, Var};
use fieldfit_nets::{Conv, Op};
use std::sync::Arc;

struct Convolution {
    threads: Arc<Threads>,
    conv: Conv,
    step: Step,
}

impl Convolution {
    fn folded(weight: &[f32], bias: &[f32]) -> Folded {
        Folded { weight: weight.to_vec(), bias: bias.to_vec(), scale: Vec::new() }
    }
}

fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let (start, end) = layout.contiguous_offsets().ok_or_else(|| candle_core::Error::Msg("not contiguous".into()))?;
    Ok(&storage.as_slice::<f32>()?[start..end])
}

fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1()
}

impl CustomOp3 for Convolution {
    fn name(&self) -> &'static str {
        "convolution"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let folded = Self::folded(slice(weight, weight_layout)?, slice(bias, bias_layout)?);
        let output = kernel::forward(&self.threads, self.conv, &self.step, &folded, slice(x, x_layout)?);
        let shape = self.step.output;
        let shape = (x_layout.dims()[0], shape.height, shape.width, shape.channels);
        Ok((CpuStorage::F32(output), shape.into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let folded = Self::folded(&values(weight)?, &values(bias)?);
        let (input, output) = (values(x)?, values(output)?);
        let Gradients { input, kernel, shift } =
            kernel::backward(&self.threads, self.conv, &self.step, &folded, (&input, &output), values(gradient)?);
        let shift: Vec<f32> = shift.into_iter().map(|sum| sum as f32).collect();
        let tensor = |values: Vec<f32>, like: &Tensor| Tensor::from_vec(values, like.shape(), &Device::Cpu).map(Some);
        Ok((tensor(input, x)?, tensor(kernel, weight)?, tensor(shift, bias)?))
    }
}

/// The norm folded into kernel and shift, differentiably.
fn fold(conv: &Conv, tensors: &[Tensor]) -> Result<(Tensor, Tensor)> {
    let norm = &conv.norm;
    let deviation = (&tensors[norm.variance.index()] + norm.epsilon)?.sqrt()?;
    let scale = (&tensors[norm.scale.index()] / deviation)?;
    let shift = (&tensors[norm.shift.index()] - (&tensors[norm.mean.index()] * &scale)?)?;
    let weight = &tensors[conv.weight.index()];
    let weight = if conv.is_depthwise() {
        weight.permute((2, 3, 1, 0))?.broadcast_mul(&scale)?
    } else {
        weight.permute((0, 2, 3, 1))?.broadcast_mul(&scale.reshape((conv.output, 1, 1, 1))?)?
    };
    Ok((weight.contiguous()?, shift))
}

fn loss(work: &Work, threads: &Arc<Threads>, tensors: &[Tensor]) -> Result<Tensor> {
    let images = &work.images;
    let shape = (images.count, images.height, images.width, 3);
    let mut x = Tensor::from_slice(&images.values, shape, &Device::Cpu)?;
    let mut outputs = vec![x.clone()];
    for step in Plan::new(&work.network, images.height, images.width).unwrap().steps {
        let shortcut = step.shortcut.map(|position| outputs[position].clone());
        x = match step.op {
            Op::Conv(conv) => {
                let (weight, shift) = fold(&conv, tensors)?;
                x.apply_op3(&weight, &shift, Convolution { threads: threads.clone(), conv, step })?
            }
            Op::GlobalAveragePool => x.mean_keepdim((1, 2))?,
        };
        x = shortcut.map_or_else(|| Ok(x.clone()), |shortcut| &x + shortcut)?;
        outputs.push(x.clone());
    }
    let head = work.network.head;
    let features = x.reshape(((), head.features))?;
    let logits = features.matmul(&tensors[head.weight.index()].t()?)?.broadcast_add(&tensors[head.bias.index()])?;
    candle_nn::loss::cross_entropy(&logits, &Tensor::new(work.labels.as_slice(), &Device::Cpu)?)
}

pub fn open(_: &Work) -> Gradient {
    let threads = Arc::new(Threads::new(THREADS).unwrap());
    Box::new(move |work, gradients| {
        let variable = |(id, spec): (_, &fieldfit_nets::TensorSpec)| {
            let tensor = Tensor::from_slice(&work.params[id], spec.shape.as_slice(), &Device::Cpu).unwrap();
            if spec.role.is_trainable() { Var::from_tensor(&tensor).unwrap().as_tensor().clone() } else { tensor }
        };
        let tensors: Vec<_> = work.network.tensors().map(variable).collect();
        let loss = loss(work, &threads, &tensors).unwrap();
        let store = loss.backward().unwrap();
        for (id, _) in work.network.tensors().filter(|(_, spec)| spec.role.is_trainable()) {
            gradients[id].copy_from_slice(&values(store.get(&tensors[id.index()]).unwrap()).unwrap());
        }
        loss.to_scalar().unwrap()
    })
}
