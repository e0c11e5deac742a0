//! Kernel timing: the cost of one convolution of a kind, forward or backward, as the difference of two chains of them.
//!
//! Kernels are the executor's own affair, so that they are timed through it; what surrounds them is the same in both
//! chains and falls out of the difference. A convolution has its norm and its activation, and a gradient of each tensor.

use fieldfit_exec::{Device, Executor, Passes, executor};
use fieldfit_nets::{
    Activation, BatchNorm, Conv, Head, Network, Node, Op, Padding, Role, Section, TensorSpec, ValueId, Window, by_name,
};
use fieldfit_tensor::{Images, Params, TensorId};
use std::error::Error;
use std::time::Instant;

const SIDE: usize = 56;
const BATCH: usize = 8;
const KERNEL: usize = 3;
const CLASSES: usize = 2;
/// How many convolutions the chains have.
const SHORT: usize = 1;
const LONG: usize = 5;
/// Tensors of a convolution with its norm.
const TENSORS: usize = 5;

/// The convolution that is timed, by its channels.
#[derive(Clone, Copy)]
pub struct Kind {
    width: usize,
    groups: usize,
}

impl Kind {
    pub fn by_name(name: &str) -> Result<Self, Box<dyn Error>> {
        match name {
            "depthwise" => Ok(Self { width: 144, groups: 144 }),
            "dense" => Ok(Self { width: 64, groups: 1 }),
            _ => Err(format!("no kernel is called {name}: depthwise or dense").into()),
        }
    }
}

/// The two chains.
pub struct Kernel {
    short: Chain,
    long: Chain,
}

impl Kernel {
    pub fn new(kind: Kind, threads: usize) -> Result<Self, Box<dyn Error>> {
        Ok(Self { short: Chain::new(kind, SHORT, threads)?, long: Chain::new(kind, LONG, threads)? })
    }

    /// Milliseconds of one convolution forward.
    pub fn forward(&mut self) -> Result<f64, Box<dyn Error>> {
        self.one(Chain::forward)
    }

    /// Milliseconds of one convolution backward: gradients of its input and its tensors.
    pub fn backward(&mut self) -> Result<f64, Box<dyn Error>> {
        Ok(self.one(Chain::forward_and_backward)? - self.forward()?)
    }

    fn one(&mut self, pass: impl Fn(&mut Chain) -> Result<f64, Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
        Ok((pass(&mut self.long)? - pass(&mut self.short)?) / (LONG - SHORT) as f64)
    }
}

struct Chain {
    executor: Box<dyn Executor<f32>>,
    params: Params<f32>,
    gradients: Params<f32>,
    images: Images,
}

impl Chain {
    fn new(kind: Kind, links: usize, threads: usize) -> Result<Self, Box<dyn Error>> {
        let network = network(kind, links)?;
        let mut images = Images::zeros(BATCH, SIDE, SIDE);
        images.values.iter_mut().enumerate().for_each(|(index, value)| *value = (0.37 * index as f32).sin());
        Ok(Self {
            executor: executor(Device::Cpu { threads }, &network, Passes::of(BATCH))?,
            params: params(&network),
            gradients: Params::zeros_where(&network, |id| network.tensor(id).role.is_trainable()),
            images,
        })
    }

    /// Milliseconds.
    fn forward(&mut self) -> Result<f64, Box<dyn Error>> {
        let start = Instant::now();
        self.executor.logits(&self.params, &self.images)?;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    }

    /// Milliseconds.
    fn forward_and_backward(&mut self) -> Result<f64, Box<dyn Error>> {
        let start = Instant::now();
        self.executor.gradient(&self.params, &self.images, &[0; BATCH], &mut self.gradients)?;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    }
}

/// A convolution of stride 1 with its norm and its activation, before it has tensors.
#[derive(Clone, Copy)]
struct Link {
    input: usize,
    output: usize,
    kernel: usize,
    groups: usize,
}

impl Link {
    /// Its tensors' specifications, in the order of the fields of [`Conv`] and [`BatchNorm`].
    fn tensors(&self) -> [TensorSpec; TENSORS] {
        let Self { input, output, kernel, groups } = *self;
        let norm = |role| spec(&[output], role);
        [
            spec(&[output, input / groups, kernel, kernel], Role::Kernel),
            norm(Role::NormScale),
            norm(Role::NormShift),
            norm(Role::RunningMean),
            norm(Role::RunningVariance),
        ]
    }

    fn op(&self, tensors: [TensorId; TENSORS]) -> Op {
        let [weight, scale, shift, mean, variance] = tensors;
        let Self { input, output, kernel, groups } = *self;
        let norm = BatchNorm { scale, shift, mean, variance, epsilon: 1e-3 };
        let (activation, padding) = (Activation::Relu6, Padding::Same);
        let window = Window::square(kernel, 1, padding);
        Op::Conv(Conv { weight, bias: None, norm: Some(norm), activation, input, output, window, groups })
    }
}

/// A 1×1 convolution to the kind's width, `count` of the kind, the pool and the head.
fn network(Kind { width, groups }: Kind, count: usize) -> Result<Network, Box<dyn Error>> {
    let mut links = vec![Link { input: 3, output: width, kernel: 1, groups: 1 }];
    links.extend(vec![Link { input: width, output: width, kernel: KERNEL, groups }; count]);
    // Any network lends its head's ids until there are tensors that have their own.
    let mut network = by_name("efficientnet-lite0")?;
    network.tensors = links.iter().flat_map(Link::tensors).collect();
    network.tensors.push(spec(&[CLASSES, width], Role::HeadWeight));
    network.tensors.push(spec(&[CLASSES], Role::HeadBias));
    let ids: Vec<_> = network.tensors().map(|(id, _)| id).collect();
    let (ids, head) = ids.split_at(links.len() * TENSORS);
    let mut ops: Vec<_> = links.iter().zip(ids.as_chunks().0).map(|(link, ids)| link.op(*ids)).collect();
    ops.push(Op::GlobalAveragePool);
    let section = |index: usize| Section { name: format!("op{index}"), nodes: index..index + 1 };
    let input = |index: usize| index.checked_sub(1).map_or(ValueId::IMAGE, ValueId::of_node);
    let node = |(index, op)| Node { op, inputs: vec![input(index)] };
    network.graph.sections = (0..ops.len()).map(section).collect();
    network.graph.nodes = ops.into_iter().enumerate().map(node).collect();
    network.head = Head { weight: head[0], bias: head[1], features: width, classes: CLASSES, node: None };
    Ok(network)
}

fn spec(shape: &[usize], role: Role) -> TensorSpec {
    TensorSpec { name: format!("{role:?}"), shape: shape.to_vec(), role }
}

/// Values under which outputs stay within the activation's range; the time doesn't depend on them.
fn params(network: &Network) -> Params<f32> {
    let mut params = Params::zeros(network);
    for (id, spec) in network.tensors() {
        let reach = (spec.len() / spec.rows()) as f32;
        let value = |index: usize| match spec.role {
            Role::NormScale | Role::RunningVariance => 1.0,
            _ => (1.0 + (0.7 * index as f32).sin()) / reach,
        };
        params[id].iter_mut().enumerate().for_each(|(index, target)| *target = value(index));
    }
    params
}
