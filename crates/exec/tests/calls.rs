//! Number of candle calls per pass. Guards against a depthwise convolution that costs a GPU one call per channel, as
//! candle's own grouped convolution does.
//!
//! A file with one test: candle numbers its tensors per process.
#![allow(clippy::unwrap_used, reason = "helpers of tests may end them")]

use candle_core::{Device, Tensor};
use fieldfit_exec::{Executor, candle::Candle};
use fieldfit_nets::{Network, Op, by_name};
use fieldfit_tensor::{Images, Params};

/// Returns the tiny network with its channels multiplied by `factor`.
fn widened(factor: usize) -> Network {
    let mut network = by_name("efficientnet-tiny").unwrap();
    let Network { graph, tensors, head, .. } = &mut network;
    for node in &mut graph.nodes {
        let Op::Conv(conv) = &mut node.op else { continue };
        let depthwise = conv.is_depthwise();
        conv.input *= if conv.input == 3 { 1 } else { factor };
        conv.output *= factor;
        conv.groups *= if depthwise { factor } else { 1 };
        tensors[conv.weight.index()].shape =
            vec![conv.output, conv.input / conv.groups, conv.window.kernel[0], conv.window.kernel[1]];
        for id in conv.norm.iter().flat_map(|norm| norm.tensors()) {
            tensors[id.index()].shape = vec![conv.output];
        }
    }
    head.features *= factor;
    tensors[head.weight.index()].shape[1] = head.features;
    network
}

/// Returns the id of the next tensor.
fn next() -> usize {
    let id = format!("{:?}", Tensor::zeros(1, candle_core::DType::F32, &Device::Cpu).unwrap().id());
    id.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

/// Returns the number of tensors that a forward and backward pass creates: one per call.
fn calls(network: &Network) -> usize {
    let mut params = Params::<f32>::zeros(network);
    params.buffers_mut().iter_mut().flatten().for_each(|value| *value = 0.1);
    let mut gradients = Params::zeros_where(network, |id| network.tensor(id).role.is_trainable());
    let before = next();
    Candle::new(network, Device::Cpu).gradient(&params, &Images::zeros(1, 16, 16), &[0], &mut gradients).unwrap();
    next() - before
}

/// Catches: a number of calls that grows with the channels.
#[test]
fn calls_dont_grow_with_channels() {
    let (narrow, wide) = (widened(1), widened(4));
    let depthwise = |op: &&Op| matches!(op, Op::Conv(conv) if conv.is_depthwise() && conv.input > 1);
    assert!(wide.graph.nodes.iter().any(|node| depthwise(&&node.op)), "nothing is tested");
    assert_eq!(calls(&narrow), calls(&wide));
}
