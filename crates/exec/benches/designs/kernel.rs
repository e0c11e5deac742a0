//! One convolution forward and backward, for designs that see one op at a time.

use crate::finish::{ChannelSums, Finish, Upstream};
use crate::fold::Folded;
use crate::plan::{Kernel, Step};
use crate::pointwise;
use crate::share::Backward;
use crate::threads::{Threads, cut};
use fieldfit_nets::{Activation, Conv};

pub fn forward(threads: &Threads, conv: Conv, step: &Step, folded: &Folded, input: &[f32]) -> Vec<f32> {
    let mut output = vec![0.0; input.len() / step.input.len() * step.output.len()];
    let finish = Finish { bias: &folded.bias, activation: conv.activation, shortcut: None };
    match step.kernel(conv) {
        Kernel::Pointwise => pointwise::forward(threads, folded, input, finish, &mut output),
        Kernel::Depthwise(depthwise) => depthwise.forward(threads, folded, input, finish, &mut output),
        Kernel::Dense(dense) => dense.forward(threads, folded, input, finish, &mut output),
    }
    output
}

/// The gradients of an op.
pub struct Gradients {
    pub input: Vec<f32>,
    /// Of the folded kernel.
    pub kernel: Vec<f32>,
    pub shift: Vec<f64>,
}

/// `gradient` is that of the output; the activation's mask is put on it.
pub fn backward(
    threads: &Threads,
    conv: Conv,
    step: &Step,
    folded: &Folded,
    (input, output): (&[f32], &[f32]),
    mut gradient: Vec<f32>,
) -> Gradients {
    let shift = mask(threads, conv, output, &mut gradient);
    let (mut target, mut kernel) = (vec![0.0; input.len()], vec![0.0; folded.weight.len()]);
    let upstream = Upstream { input, activation: Activation::Identity, shortcut: None };
    let upstream = Some((&mut target[..], upstream));
    let pass = Backward { gradient: &gradient, input, kernel: Some(&mut kernel), upstream };
    let mut scratch = Vec::new();
    match step.kernel(conv) {
        Kernel::Pointwise => pointwise::backward(threads, folded, pass, &mut scratch),
        Kernel::Depthwise(depthwise) => depthwise.backward(threads, folded, pass, &mut scratch),
        Kernel::Dense(dense) => dense.backward(threads, folded, pass, &mut scratch),
    };
    Gradients { input: target, kernel, shift }
}

fn mask(threads: &Threads, conv: Conv, output: &[f32], gradient: &mut [f32]) -> Vec<f64> {
    let ranges = threads.ranges(gradient.len() / conv.output);
    let mut sums = vec![ChannelSums::new(conv.output); ranges.len()];
    let parts = ranges.iter().zip(cut(&ranges, conv.output, gradient)).zip(&mut sums).collect();
    let upstream = Upstream { input: output, activation: conv.activation, shortcut: None };
    threads.each(parts, |((range, part), sums)| {
        for (index, tile) in part.chunks_mut(256 * conv.output).enumerate() {
            upstream.apply((range.start + index * 256) * conv.output, tile, sums);
        }
    });
    ChannelSums::merge(sums)
}
