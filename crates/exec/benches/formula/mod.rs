//! Weights and an image from a formula, and names of ops, for what measures networks of random weights.
#![allow(dead_code, reason = "each program uses its own part")]

use fieldfit_nets::{Network, Op, Role};
use fieldfit_tensor::{Images, Params};

/// Returns the name of an op's kind.
pub fn kind(op: &Op) -> String {
    match op {
        Op::Conv(conv) => {
            let ([rows, columns], [stride, _]) = (conv.window.kernel, conv.window.stride);
            let kind = if conv.is_depthwise() { "depthwise" } else { "dense" };
            format!("{kind} {rows}×{columns} stride {stride}")
        }
        Op::Linear(linear) => format!("{} to {}", linear.input, linear.output),
        op => op.name().into(),
    }
}

/// Returns parameters that keep activations within ReLU6's range.
pub fn params(network: &Network) -> Params<f32> {
    let mut params = Params::zeros(network);
    for (id, spec) in network.tensors() {
        let fan_in = (spec.len() / spec.rows()).max(1) as f32;
        for (index, value) in params[id].iter_mut().enumerate() {
            *value = match spec.role {
                Role::NormScale | Role::RunningVariance => 1.0,
                _ => (((index * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0) / fan_in.sqrt(),
            };
        }
    }
    params
}

/// Returns one square image.
pub fn image(side: usize) -> Images {
    let mut images = Images::zeros(1, side, side);
    images.values.iter_mut().enumerate().for_each(|(i, value)| *value = ((i % 255) as f32 - 127.0) / 128.0);
    images
}
