//! Schedule of an int8 pass: its tasks in order, and where in the arena each value lies.
//!
//! A value that is read in both formats has two buffers; its task is followed by a conversion.

use super::forward::ProductKernel;
use super::lowering::{Lowered, Lowering};
use crate::cpu::arena::LINE;
use crate::cpu::execution_plan::ExecutionPlan;
use crate::cpu::execution_schedule::{LiveRange, allocate};
use fieldfit_nets::{Conv, Op, Window};
use std::ops::Range;

/// Buffer of the arena: codes or floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Buffer(usize);

/// Values of an f32 op's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Floats {
    /// The images, which are outside the arena.
    Images,
    /// A buffer.
    Buffer(Buffer),
}

/// Task of a pass. A node's output is its value `node + 1`.
pub(super) enum Int8Task {
    /// Converts a value to codes.
    Quantise { value: usize, input: Floats, output: Buffer },
    /// Converts a value to floats.
    Dequantise { value: usize, input: Buffer, output: Buffer },
    /// Convolution as a product.
    Product { node: usize, kernel: ProductKernel, input: Buffer, shortcut: Option<Buffer>, output: Buffer },
    /// Depthwise convolution.
    Depthwise { node: usize, input: Buffer, output: Buffer },
    /// Max pool.
    MaxPool { node: usize, window: Window, input: Buffer, output: Buffer },
    /// Linear layer.
    Linear { node: usize, input: Floats, shortcut: Option<Floats>, output: Buffer },
    /// An op in f32, and the buffer of its kernel.
    Float { node: usize, inputs: Box<[Floats]>, output: Buffer, scratch: Option<Buffer> },
}

impl Int8Task {
    /// Returns the value whose output the task writes.
    pub const fn value(&self) -> usize {
        match self {
            Self::Quantise { value, .. } | Self::Dequantise { value, .. } => *value,
            Self::Product { node, .. }
            | Self::Depthwise { node, .. }
            | Self::MaxPool { node, .. }
            | Self::Linear { node, .. }
            | Self::Float { node, .. } => *node + 1,
        }
    }

    /// Calls `visit` with each buffer that the task reads or writes.
    fn each_buffer(&self, mut visit: impl FnMut(Buffer)) {
        let floats = |floats: &Floats, visit: &mut dyn FnMut(Buffer)| match floats {
            Floats::Images => {}
            Floats::Buffer(buffer) => visit(*buffer),
        };
        match self {
            Self::Quantise { input, output, .. } => {
                floats(input, &mut visit);
                visit(*output);
            }
            Self::Dequantise { input, output, .. }
            | Self::Depthwise { input, output, .. }
            | Self::MaxPool { input, output, .. } => [*input, *output].into_iter().for_each(visit),
            Self::Product { input, shortcut, output, .. } => {
                [*input, *output].into_iter().chain(*shortcut).for_each(visit);
            }
            Self::Linear { input, shortcut, output, .. } => {
                [Some(input), shortcut.as_ref()].into_iter().flatten().for_each(|input| floats(input, &mut visit));
                visit(*output);
            }
            Self::Float { inputs, output, scratch, .. } => {
                inputs.iter().for_each(|input| floats(input, &mut visit));
                [*output].into_iter().chain(*scratch).for_each(visit);
            }
        }
    }
}

/// Size of a buffer.
#[derive(Debug, Clone, Copy)]
enum Size {
    /// Codes of each image.
    Codes(usize),
    /// Floats of each image.
    Floats(usize),
    /// Floats of all images together.
    Whole(usize),
}

impl Size {
    /// Returns the f32 values of the arena that it takes.
    const fn of(self, images: usize) -> usize {
        match self {
            Self::Codes(len) => (len * images).div_ceil(size_of::<f32>()),
            Self::Floats(len) => len * images,
            Self::Whole(len) => len,
        }
    }
}

/// Schedule of a pass over at most a fixed number of images.
pub(in crate::cpu) struct Int8Schedule {
    pub(super) tasks: Vec<Int8Task>,
    /// The output of the last node.
    features: Floats,
    starts: Vec<usize>,
    sizes: Vec<Size>,
    len: usize,
}

impl Int8Schedule {
    pub fn new(plan: &ExecutionPlan, lowering: &Lowering, images: usize) -> Self {
        let mut builder = Builder::default();
        builder.converted(lowering, 0, Value { floats: Some(Floats::Images), codes: None }, plan.image().len());
        for node in 0..plan.steps.len() {
            builder.step(plan, lowering, node);
        }
        builder.allocate(images)
    }

    /// Values that the arena must hold.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Returns the range of the last node's output; `None` if it is the images.
    pub fn features(&self, images: usize) -> Option<Range<usize>> {
        match self.features {
            Floats::Images => None,
            Floats::Buffer(buffer) => Some(self.range(buffer, images)),
        }
    }

    /// Returns a buffer's range of the arena in a pass over that many images.
    pub(super) fn range(&self, buffer: Buffer, images: usize) -> Range<usize> {
        let start = self.starts[buffer.0];
        start..start + self.sizes[buffer.0].of(images)
    }
}

/// Where a value lies, in each format.
#[derive(Debug, Clone, Copy)]
struct Value {
    floats: Option<Floats>,
    codes: Option<Buffer>,
}

#[derive(Default)]
struct Builder {
    tasks: Vec<Int8Task>,
    sizes: Vec<Size>,
    values: Vec<Value>,
}

impl Builder {
    fn buffer(&mut self, size: Size) -> Buffer {
        self.sizes.push(size);
        Buffer(self.sizes.len() - 1)
    }

    /// Returns where a value's codes lie.
    fn codes(&self, value: usize) -> Buffer {
        self.values[value].codes.unwrap_or_else(|| unreachable!("a value that is read as codes has them"))
    }

    /// Returns where a value's floats lie.
    fn floats(&self, value: usize) -> Floats {
        self.values[value].floats.unwrap_or_else(|| unreachable!("a value that is read as floats has them"))
    }

    /// Appends the conversions of a new value that its readers need.
    fn converted(&mut self, lowering: &Lowering, index: usize, mut value: Value, len: usize) {
        let reads = lowering.reads[index];
        if let (None, Some(input), true) = (value.codes, value.floats, reads.codes) {
            let output = self.buffer(Size::Codes(len));
            self.tasks.push(Int8Task::Quantise { value: index, input, output });
            value.codes = Some(output);
        }
        if let (None, Some(input), true) = (value.floats, value.codes, reads.floats) {
            let output = self.buffer(Size::Floats(len));
            self.tasks.push(Int8Task::Dequantise { value: index, input, output });
            value.floats = Some(Floats::Buffer(output));
        }
        self.values.push(value);
    }

    /// Schedules a node.
    fn step(&mut self, plan: &ExecutionPlan, lowering: &Lowering, node: usize) {
        let step = &plan.steps[node];
        let len = step.output.len();
        let writes_codes = lowering.writes_codes(node);
        let output = self.buffer(if writes_codes { Size::Codes(len) } else { Size::Floats(len) });
        let (input, other) = (step.inputs.first().copied().unwrap_or(0), step.inputs.get(1).copied());
        let task = match (lowering.nodes[node], &step.op) {
            (Lowered::Product, Op::Conv(conv)) => self.product(conv, plan, node, output),
            (Lowered::Depthwise, _) => Int8Task::Depthwise { node, input: self.codes(input), output },
            (Lowered::MaxPool, Op::MaxPool(window)) => {
                Int8Task::MaxPool { node, window: *window, input: self.codes(input), output }
            }
            (Lowered::Linear, _) => {
                let shortcut = other.map(|other| self.floats(other));
                Int8Task::Linear { node, input: self.floats(input), shortcut, output }
            }
            (Lowered::Float, _) => {
                let scratch = step.kernel.forward_buffer();
                let scratch = (scratch > 0).then(|| self.buffer(Size::Whole(scratch)));
                let inputs = step.inputs.iter().map(|input| self.floats(*input)).collect();
                Int8Task::Float { node, inputs, output, scratch }
            }
            (Lowered::Product | Lowered::MaxPool, op) => unreachable!("{} is lowered otherwise", op.name()),
        };
        self.tasks.push(task);
        let value = if writes_codes {
            Value { floats: None, codes: Some(output) }
        } else {
            Value { floats: Some(Floats::Buffer(output)), codes: None }
        };
        self.converted(lowering, node + 1, value, len);
    }

    fn product(&self, conv: &Conv, plan: &ExecutionPlan, node: usize, output: Buffer) -> Int8Task {
        let step = &plan.steps[node];
        let kernel = ProductKernel::new(*conv, step.shapes[0], step.output);
        let shortcut = step.inputs.get(1).map(|value| self.codes(*value));
        Int8Task::Product { node, kernel, input: self.codes(step.inputs[0]), shortcut, output }
    }

    /// Allocates every buffer in the arena.
    fn allocate(self, images: usize) -> Int8Schedule {
        let Self { tasks, sizes, values } = self;
        let features = values.last().and_then(|value| value.floats).unwrap_or(Floats::Images);
        let mut live = vec![LiveRange::NONE; sizes.len()];
        for (time, task) in tasks.iter().enumerate() {
            task.each_buffer(|Buffer(index)| live[index].extend(time));
        }
        let lengths: Vec<usize> = sizes.iter().map(|size| size.of(images).next_multiple_of(LINE)).collect();
        let (starts, len) = allocate(&lengths, &live);
        Int8Schedule { tasks, features, starts, sizes, len }
    }
}
