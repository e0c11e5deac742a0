//! The forward pass over a plan.

use super::buffers::Buffers;
use super::finish::Finish;
use super::fold::Folded;
use super::head;
use super::plan::{Kernel, Plan, Step};
use super::pointwise;
use super::threads::Threads;
use fieldfit_model::Images;
use fieldfit_nets::Op;

/// Which activations are still there after the pass.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// Every one: a backward pass follows.
    All,
    /// The features alone; each other buffer is free again after its last use.
    Last,
}

/// Runs every step; returns the activations by position, empty where they weren't kept. Position 0, the images, is
/// always empty: they are lent.
pub(super) fn run(
    threads: &Threads,
    plan: &Plan,
    folded: &[Folded],
    images: &Images,
    keep: Keep,
    buffers: &mut Buffers,
) -> Vec<Vec<f32>> {
    let mut activations = vec![Vec::new()];
    for (index, (step, folded)) in plan.steps.iter().zip(folded).enumerate() {
        let mut output = buffers.take(images.count * step.output.len());
        let read = |position: usize| activation(images, &activations, position);
        forward(threads, step, folded, read(index), step.shortcut.map(read), &mut output);
        activations.push(output);
        if keep == Keep::Last {
            let done = (0..=index).filter(|position| plan.last_use(*position) == index);
            done.for_each(|position| buffers.give(std::mem::take(&mut activations[position])));
        }
    }
    activations
}

/// The activation at that position; the images are the first.
pub(super) fn activation<'a>(images: &'a Images, activations: &'a [Vec<f32>], position: usize) -> &'a [f32] {
    if position == 0 { &images.values } else { &activations[position] }
}

fn forward(
    threads: &Threads,
    step: &Step,
    folded: &Folded,
    input: &[f32],
    shortcut: Option<&[f32]>,
    output: &mut [f32],
) {
    let Op::Conv(conv) = step.op else {
        return head::pool(input, step.input.pixels(), step.input.channels, output);
    };
    let finish = Finish { bias: &folded.bias, activation: conv.activation, shortcut };
    match step.kernel(conv) {
        Kernel::Pointwise => pointwise::forward(threads, folded, input, finish, output),
        Kernel::Depthwise(depthwise) => depthwise.forward(threads, folded, input, finish, output),
        Kernel::Dense(dense) => dense.forward(threads, folded, input, finish, output),
    }
}
