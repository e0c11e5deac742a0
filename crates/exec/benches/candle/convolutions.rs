//! Baseline: candle's own convolutions, grouped ones included, with its autograd.

use crate::{Gradient, Work};
use candle_core::{Device, Result, Tensor, Var};
use fieldfit_nets::{Activation, Conv, Op, SpatialAxis, TensorSpec};

fn convolve(x: &Tensor, conv: &Conv, tensors: &[Tensor]) -> Result<Tensor> {
    let mut x = x.clone();
    for (dimension, axis) in [(2, SpatialAxis::Rows), (3, SpatialAxis::Columns)] {
        let (before, after) = conv.window.padding(axis, x.dim(dimension)?);
        x = x.pad_with_zeros(dimension, before, after)?;
    }
    let Some(norm) = &conv.norm else { unreachable!("EfficientNet-Lite0 has a norm behind each convolution") };
    let channels = |tensor: &Tensor| tensor.reshape((1, conv.output, 1, 1));
    let scale = (&tensors[norm.scale.index()] / (&tensors[norm.variance.index()] + norm.epsilon)?.sqrt()?)?;
    let shift = (&tensors[norm.shift.index()] - (&tensors[norm.mean.index()] * &scale)?)?;
    let y = x.conv2d(&tensors[conv.weight.index()], 0, conv.window.stride[0], 1, conv.groups)?;
    let y = y.broadcast_mul(&channels(&scale)?)?.broadcast_add(&channels(&shift)?)?;
    if conv.activation == Activation::Relu6 { y.clamp(0f32, 6f32) } else { Ok(y) }
}

fn loss(work: &Work, tensors: &[Tensor]) -> Result<Tensor> {
    let images = &work.images;
    let shape = (images.count, images.height, images.width, 3);
    let mut x = Tensor::from_slice(&images.values, shape, &Device::Cpu)?.permute((0, 3, 1, 2))?.contiguous()?;
    let mut values = vec![x.clone()];
    for node in &work.network.graph.nodes {
        let input = &values[node.inputs[0].index()];
        x = match &node.op {
            Op::Conv(conv) => convolve(input, conv, tensors)?,
            Op::GlobalAveragePool => input.mean((2, 3))?,
            _ => unreachable!("EfficientNet-Lite0 has convolutions and a pool"),
        };
        if let Some(shortcut) = node.inputs.get(1) {
            x = (x + &values[shortcut.index()])?;
        }
        values.push(x.clone());
    }
    let head = work.network.head;
    let logits = x.matmul(&tensors[head.weight.index()].t()?)?.broadcast_add(&tensors[head.bias.index()])?;
    candle_nn::loss::cross_entropy(&logits, &Tensor::new(work.labels.as_slice(), &Device::Cpu)?)
}

pub fn open(_: &Work) -> Gradient {
    Box::new(|work, gradients| {
        let variable = |(id, spec): (_, &TensorSpec)| {
            let tensor = Tensor::from_slice(&work.params[id], spec.shape.as_slice(), &Device::Cpu).unwrap();
            if spec.role.is_trainable() { Var::from_tensor(&tensor).unwrap().as_tensor().clone() } else { tensor }
        };
        let tensors: Vec<_> = work.network.tensors().map(variable).collect();
        let loss = loss(work, &tensors).unwrap();
        let store = loss.backward().unwrap();
        for (id, _) in work.network.tensors().filter(|(_, spec)| spec.role.is_trainable()) {
            let gradient = store.get(&tensors[id.index()]).unwrap().flatten_all().unwrap();
            gradients[id].copy_from_slice(&gradient.to_vec1::<f32>().unwrap());
        }
        loss.to_scalar().unwrap()
    })
}
