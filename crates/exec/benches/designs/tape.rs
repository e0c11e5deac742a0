//! (b): a tape of closures over our kernels.

use crate::fold::{Direction, Folded, inverse_deviation, permute};
use crate::kernel::{self, Gradients};
use crate::matmul::{Onto, View, matmul};
use crate::plan::{Plan, Step};
use crate::threads::Threads;
use crate::{Gradient, THREADS, Work, head};
use fieldfit_model::Params;
use fieldfit_nets::{Conv, Op};
use std::rc::Rc;

/// The gradient of each value on the tape, and those of the tensors.
struct Flow<'a> {
    values: Vec<Vec<f32>>,
    tensors: &'a mut Params<f32>,
}

impl Flow<'_> {
    fn add(&mut self, position: usize, gradient: Vec<f32>) {
        let sum = &mut self.values[position];
        if sum.is_empty() {
            *sum = gradient;
        } else {
            sum.iter_mut().zip(gradient).for_each(|(sum, value)| *sum += value);
        }
    }
}

type Record<'a> = Box<dyn FnOnce(&mut Flow<'_>) + 'a>;

struct Tape<'a> {
    work: &'a Work,
    threads: &'a Threads,
    values: Vec<Rc<Vec<f32>>>,
    records: Vec<Record<'a>>,
}

impl<'a> Tape<'a> {
    fn push(&mut self, value: Vec<f32>, record: impl FnOnce(&mut Flow<'_>, Vec<f32>) + 'a) {
        let position = self.values.len();
        self.values.push(Rc::new(value));
        self.records.push(Box::new(move |flow| {
            let gradient = std::mem::take(&mut flow.values[position]);
            record(flow, gradient);
        }));
    }

    fn convolution(&mut self, conv: Conv, step: Step) {
        let (threads, params, position) = (self.threads, &self.work.params, self.values.len() - 1);
        let mut folded = Folded::default();
        folded.refill(&conv, params);
        let input = self.values[position].clone();
        let output = Rc::new(kernel::forward(threads, conv, &step, &folded, &input));
        let value = output.clone();
        self.values.push(value);
        let at = self.values.len() - 1;
        self.records.push(Box::new(move |flow| {
            let gradient = std::mem::take(&mut flow.values[at]);
            let found = kernel::backward(threads, conv, &step, &folded, (&input, &output), gradient);
            tensors(&conv, &folded, params, &found, flow.tensors);
            flow.add(position, found.input);
        }));
    }

    fn sum(&mut self, shortcut: usize) {
        let position = self.values.len() - 1;
        let (left, right) = (&self.values[position], &self.values[shortcut]);
        let sum = left.iter().zip(right.iter()).map(|(left, right)| left + right).collect();
        self.push(sum, move |flow, gradient| {
            flow.add(shortcut, gradient.clone());
            flow.add(position, gradient);
        });
    }

    fn pool(&mut self, step: &Step) {
        let (position, pixels, channels) = (self.values.len() - 1, step.input.pixels(), step.input.channels);
        let mut mean = vec![0.0; self.work.images.count * channels];
        head::pool(&self.values[position], pixels, channels, &mut mean);
        self.push(mean, move |flow, gradient| {
            let spread =
                |image: &[f32]| image.iter().map(|value| value / pixels as f32).collect::<Vec<_>>().repeat(pixels);
            flow.add(position, gradient.chunks_exact(channels).flat_map(spread).collect());
        });
    }

    /// The classifier and the loss.
    fn classify(&mut self) -> f32 {
        let (work, head) = (self.work, self.work.network.head);
        let (position, count) = (self.values.len() - 1, work.images.count);
        let features = self.values[position].clone();
        let mut logits = vec![0.0; count * head.classes];
        head::classify(&features, &work.params[head.weight], &work.params[head.bias], &mut logits);
        let mut tally = head::Tally::default();
        tally.add(&mut logits, &work.labels, head.classes, work.labels.len());
        let loss = tally.loss(work.labels.len()).mean;
        self.records.push(Box::new(move |flow| {
            let gradient = View::new(&logits, count, head.classes);
            let features = View::new(&features, count, head.features);
            matmul(gradient.transposed(), features, &mut flow.tensors[head.weight], Onto::Fresh);
            let bias = &mut flow.tensors[head.bias];
            bias.fill(0.0);
            logits.chunks_exact(head.classes).for_each(|row| bias.iter_mut().zip(row).for_each(|(sum, g)| *sum += g));
            let mut down = vec![0.0; count * head.features];
            let weight = View::new(&work.params[head.weight], head.classes, head.features);
            matmul(View::new(&logits, count, head.classes), weight, &mut down, Onto::Fresh);
            flow.add(position, down);
        }));
        loss
    }
}

/// From the folded kernel's gradient to those of kernel, scale and shift.
fn tensors(conv: &Conv, folded: &Folded, params: &Params<f32>, found: &Gradients, out: &mut Params<f32>) {
    let mut unscaled = vec![0.0; found.kernel.len()];
    permute(conv, &found.kernel, &mut unscaled, Direction::ToCheckpoint);
    let row = unscaled.len() / conv.output;
    for channel in 0..conv.output {
        let values = channel * row..(channel + 1) * row;
        let pairs = params[conv.weight][values.clone()].iter().zip(&unscaled[values.clone()]);
        let product: f64 = pairs.map(|(weight, value)| f64::from(*weight) * f64::from(*value)).sum();
        let mean = f64::from(params[conv.norm.mean][channel]);
        let inverse = f64::from(inverse_deviation(conv, params[conv.norm.variance][channel]));
        out[conv.norm.scale][channel] = ((product - mean * found.shift[channel]) * inverse) as f32;
        out[conv.norm.shift][channel] = found.shift[channel] as f32;
        let targets = out[conv.weight][values.clone()].iter_mut();
        targets.zip(&unscaled[values]).for_each(|(target, value)| *target = folded.scale[channel] * value);
    }
}

pub fn open(_: &Work) -> Gradient {
    let threads = Threads::new(THREADS).unwrap();
    Box::new(move |work, gradients| {
        let images = &work.images;
        let mut tape =
            Tape { work, threads: &threads, values: vec![Rc::new(images.values.clone())], records: Vec::new() };
        let mut entries = vec![0];
        for step in Plan::new(&work.network, images.height, images.width).unwrap().steps {
            let shortcut = step.shortcut.map(|position| entries[position]);
            match step.op {
                Op::Conv(conv) => tape.convolution(conv, step),
                Op::GlobalAveragePool => tape.pool(&step),
            }
            shortcut.into_iter().for_each(|position| tape.sum(position));
            entries.push(tape.values.len() - 1);
        }
        let loss = tape.classify();
        let mut flow = Flow { values: vec![Vec::new(); tape.values.len()], tensors: gradients };
        drop(tape.values);
        tape.records.into_iter().rev().for_each(|record| record(&mut flow));
        loss
    })
}
