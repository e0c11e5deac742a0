//! The backward pass over a plan.

use super::buffers::Buffers;
use super::finish::{AsItIs, Upstream};
use super::fold::{Direction, Folded, inverse_deviation, permute};
use super::forward::activation;
use super::head;
use super::product::{Onto, Packed, multiply, outer};
use super::plan::{Kernel, Plan, Step};
use super::pointwise;
use super::share::Backward;
use super::threads::Threads;
use fieldfit_model::{Images, Params};
use fieldfit_nets::{Activation, Conv, Head, Op};

/// What a backward pass reads and writes.
pub(super) struct Pass<'a> {
    pub threads: &'a Threads,
    pub plan: &'a Plan,
    pub folded: &'a [Folded],
    pub params: &'a Params<f32>,
    pub images: &'a Images,
    /// Every activation of the forward pass.
    pub activations: &'a [Vec<f32>],
    pub buffers: &'a mut Buffers,
    pub scratch: &'a mut Vec<f32>,
    /// Tensors without room here are frozen.
    pub gradients: &'a mut Params<f32>,
}

/// The gradient ahead of a step's activation, and its sum over pixels for each channel.
struct Downward {
    values: Vec<f32>,
    sums: Vec<f64>,
}

impl Pass<'_> {
    /// From the gradient of the logits, `[N, classes]`, down to the lowest step with a trainable tensor.
    pub fn run(&mut self, head: &Head, logits: &[f32]) {
        self.head_gradients(head, logits);
        let Some(lowest) = self.plan.steps.iter().position(|step| self.trains(step)) else { return };
        let mut downward = Downward { values: self.features_gradient(head, logits), sums: Vec::new() };
        let mut held: Option<(usize, Vec<f32>)> = None;
        for index in (lowest..self.plan.steps.len()).rev() {
            let step = &self.plan.steps[index];
            let ends_here = held.take_if(|(target, _)| *target == index).map(|(_, gradient)| gradient);
            let around = (step.shortcut == Some(index)).then_some(&*downward.values);
            let below = (index > lowest).then_some(ends_here.as_deref().or(around));
            let next = self.step(index, &downward, below);
            let done = std::mem::replace(&mut downward, next).values;
            ends_here.into_iter().for_each(|gradient| self.buffers.give(gradient));
            match step.shortcut {
                Some(target) if target < index => held = Some((target, done)),
                _ => self.buffers.give(done),
            }
        }
        self.buffers.give(downward.values);
    }

    fn trains(&self, step: &Step) -> bool {
        let Op::Conv(conv) = &step.op else { return false };
        [conv.weight, conv.norm.scale, conv.norm.shift].into_iter().any(|id| self.gradients.contains(id))
    }

    /// Gradients of the classifier's tensors, where they are trained.
    fn head_gradients(&mut self, head: &Head, logits: &[f32]) {
        if self.gradients.contains(head.weight) {
            let features = &self.activations[self.plan.steps.len()];
            let target = &mut self.gradients[head.weight];
            outer((logits, head.classes), 0..head.classes, (features, head.features), target, Onto::Fresh);
        }
        if self.gradients.contains(head.bias) {
            let bias = &mut self.gradients[head.bias];
            bias.fill(0.0);
            for row in logits.chunks_exact(head.classes) {
                bias.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            }
        }
    }

    fn features_gradient(&mut self, head: &Head, logits: &[f32]) -> Vec<f32> {
        let rows = self.images.count;
        let mut gradient = self.buffers.take(rows * head.features);
        let weight = &self.params[head.weight];
        let mut packed = Packed::default();
        packed.refill(head.classes, head.features, |class, features, row| {
            row.copy_from_slice(&weight[class * head.features..][features]);
        });
        multiply(logits, &packed, 0, &mut gradient, &mut AsItIs);
        gradient
    }

    /// One step: its tensors' gradients, and what goes further down if `below` is there; `below` holds the gradient
    /// that a shortcut brings to the step's input, if one does.
    fn step(&mut self, index: usize, downward: &Downward, below: Option<Option<&[f32]>>) -> Downward {
        let step = &self.plan.steps[index];
        let input = activation(self.images, self.activations, index);
        let mut target = below.map(|_| self.buffers.take(self.images.count * step.input.len())).unwrap_or_default();
        let upstream = below.map(|shortcut| {
            let activation = index.checked_sub(1).map_or(Activation::Identity, |i| self.plan.steps[i].activation());
            (&mut target[..], Upstream { input, activation, shortcut })
        });
        let sums = match (&step.op, upstream) {
            (Op::Conv(conv), upstream) => self.convolution(index, conv, downward, input, upstream),
            (Op::GlobalAveragePool, Some((target, upstream))) => {
                let (pixels, channels) = (step.input.pixels(), step.input.channels);
                head::pool_backward(self.threads, &downward.values, pixels, channels, target, &upstream)
            }
            (Op::GlobalAveragePool, None) => Vec::new(),
        };
        Downward { values: target, sums }
    }

    fn convolution(
        &mut self,
        index: usize,
        conv: &Conv,
        downward: &Downward,
        input: &[f32],
        upstream: Option<(&mut [f32], Upstream<'_>)>,
    ) -> Vec<f64> {
        let (step, folded) = (&self.plan.steps[index], &self.folded[index]);
        let wanted = self.gradients.contains(conv.weight) || self.gradients.contains(conv.norm.scale);
        let mut kernel = if wanted { self.buffers.take(self.params[conv.weight].len()) } else { Vec::new() };
        let pass = Backward { gradient: &downward.values, input, kernel: wanted.then_some(&mut kernel), upstream };
        let sums = match step.kernel(*conv) {
            Kernel::Pointwise => pointwise::backward(self.threads, folded, pass, self.scratch),
            Kernel::Depthwise(depthwise) => depthwise.backward(self.threads, folded, pass, self.scratch),
            Kernel::Dense(dense) => dense.backward(self.threads, folded, pass, self.scratch),
        };
        self.tensor_gradients(conv, folded, &kernel, &downward.sums);
        self.buffers.give(kernel);
        sums
    }

    /// From the gradient G of the unscaled kernel and Σdz to those of kernel, scale and shift.
    fn tensor_gradients(&mut self, conv: &Conv, folded: &Folded, kernel: &[f32], sums: &[f64]) {
        if !kernel.is_empty() {
            let mut unscaled = self.buffers.take(kernel.len());
            permute(conv, kernel, &mut unscaled, Direction::ToCheckpoint);
            let row = unscaled.len() / conv.output;
            if self.gradients.contains(conv.norm.scale) {
                let weight = &self.params[conv.weight];
                for (channel, sum) in sums.iter().enumerate() {
                    let values = channel * row..(channel + 1) * row;
                    let product = dot(&weight[values.clone()], &unscaled[values]);
                    let mean = f64::from(self.params[conv.norm.mean][channel]);
                    let inverse = f64::from(inverse_deviation(conv, self.params[conv.norm.variance][channel]));
                    self.gradients[conv.norm.scale][channel] = ((product - mean * sum) * inverse) as f32;
                }
            }
            if self.gradients.contains(conv.weight) {
                let targets = self.gradients[conv.weight].chunks_exact_mut(row);
                for ((target, unscaled), scale) in targets.zip(unscaled.chunks_exact(row)).zip(&folded.scale) {
                    target.iter_mut().zip(unscaled).for_each(|(target, value)| *target = scale * value);
                }
            }
            self.buffers.give(unscaled);
        }
        if self.gradients.contains(conv.norm.shift) {
            self.gradients[conv.norm.shift].iter_mut().zip(sums).for_each(|(shift, sum)| *shift = *sum as f32);
        }
    }
}

fn dot(left: &[f32], right: &[f32]) -> f64 {
    left.iter().zip(right).map(|(left, right)| f64::from(*left) * f64::from(*right)).sum()
}
