//! Our side of `tests/peers`, which times it against PyTorch; see the README there.
//!
//! ```text
//! peer check THREADS        what both sides must agree on, as one JSON line
//! peer train THREADS SIDE   serves training steps, as the trainer makes them, on 16 images of SIDE pixels
//! peer tpgm THREADS SIDE    the same, each followed by a radius step on 16 other images and a projection
//! peer infer THREADS SIDE   serves inference, one image of SIDE pixels at a time
//! ```
//!
//! To serve is to answer each line on the standard input, a number of steps, with a JSON line: how many milliseconds
//! each step took and what it came to, the loss or the first logit. Images, labels and the new head follow the formulas
//! of `tests/data/golden_lite0.json`.

use fieldfit_adapt::{Balls, Head, Optimiser, OptimiserOptions, State, clip_global_norm};
use fieldfit_exec::{Device, Executor, executor, prepare};
use fieldfit_model::{Base, Images, Params};
use fieldfit_nets::TensorId;
use fieldfit_tpgm::{Norm, RadiusAdam};
use serde_json::json;
use std::error::Error;
use std::io::{Write, stdin, stdout};
use std::path::Path;
use std::time::Instant;

const CLASSES: usize = 7;
const BATCH: usize = 16;
const LEARNING_RATE: f64 = 1e-3;

fn main() -> Result<(), Box<dyn Error>> {
    let base = Base::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/efficientnet-lite0"))?;
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["check", threads] => check(&base, threads.parse()?),
        ["train", threads, side] => train(&base, threads.parse()?, side.parse()?),
        ["tpgm", threads, side] => tpgm(&base, threads.parse()?, side.parse()?),
        ["infer", threads, side] => infer(&base, threads.parse()?, side.parse()?),
        _ => Err("usage: peer check THREADS | peer train|tpgm|infer THREADS SIDE".into()),
    }
}

/// The logits of two images under the base's own head; the loss of four under the new one, before and after a step.
fn check(base: &Base, threads: usize) -> Result<(), Box<dyn Error>> {
    let prepared = prepare(Device::Cpu { threads }, base.network(), &base.params())?;
    let logits = prepared.logits(&images(0, 2, 224))?;
    let mut training = Training::new(base, threads)?;
    let batch = (images(0, 4, 128), vec![0, 3, 5, 6]);
    let losses = [training.step(&batch)?, training.step(&batch)?];
    println!("{}", json!({ "logits": [logits.row(0), logits.row(1)], "losses": losses }));
    Ok(())
}

fn train(base: &Base, threads: usize, side: usize) -> Result<(), Box<dyn Error>> {
    let batch = batch(0, side);
    let mut training = Training::new(base, threads)?;
    serve(|| training.step(&batch))
}

fn tpgm(base: &Base, threads: usize, side: usize) -> Result<(), Box<dyn Error>> {
    let (batch, validation) = (batch(0, side), batch(BATCH, side));
    let mut training = Training::new(base, threads)?;
    let network = training.state.network();
    let constrained = |id| trains(base, id) && !network.tensor(id).role.is_head();
    let mut balls = Balls::new(network, Norm::Mars, RadiusAdam::default(), constrained);
    serve(|| {
        let loss = training.step(&batch)?;
        training.constrain(&mut balls, &validation)?;
        Ok(loss)
    })
}

fn infer(base: &Base, threads: usize, side: usize) -> Result<(), Box<dyn Error>> {
    let image = images(0, 1, side);
    let prepared = prepare(Device::Cpu { threads }, base.network(), &base.params())?;
    serve(|| Ok(prepared.logits(&image)?.values[0]))
}

/// Answers each line of the standard input until it ends.
fn serve(mut step: impl FnMut() -> Result<f32, Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
    for line in stdin().lines() {
        let (mut milliseconds, mut results) = (Vec::new(), Vec::new());
        for _ in 0..line?.trim().parse()? {
            let start = Instant::now();
            results.push(step()?);
            milliseconds.push(start.elapsed().as_secs_f64() * 1e3);
        }
        println!("{}", json!({ "ms": milliseconds, "results": results }));
        stdout().flush()?;
    }
    Ok(())
}

/// Images, and a label each.
type Batch = (Images, Vec<u32>);

/// A run of `lp-ft` under SGD, without the loader: what the trainer does between two batches.
struct Training<'a> {
    state: State<'a, f32>,
    executor: Box<dyn Executor<f32>>,
    optimiser: Optimiser<f32>,
    weights: Params<f32>,
    gradients: Params<f32>,
}

impl<'a> Training<'a> {
    fn new(base: &'a Base, threads: usize) -> Result<Self, Box<dyn Error>> {
        let network = base.network().with_classes(CLASSES);
        let state = State::new(base, network.clone(), head(network.head.features), |id| trains(base, id));
        let sgd = OptimiserOptions::sgd().with_learning_rate(LEARNING_RATE);
        Ok(Self {
            executor: executor(Device::Cpu { threads }, &network)?,
            optimiser: Optimiser::new(sgd, &network, &state.delta),
            weights: state.weights(),
            gradients: state.delta.clone(),
            state,
        })
    }

    /// θ0 + δ, forward, backward, the gradients' norm, SGD on δ. Returns the loss before it.
    fn step(&mut self, (images, labels): &Batch) -> Result<f32, Box<dyn Error>> {
        let Self { state, executor, optimiser, weights, gradients } = self;
        state.merge_into(weights);
        let loss = executor.gradient(weights, images, labels, gradients)?;
        clip_global_norm(gradients, None);
        optimiser.step(&mut state.delta, weights, gradients, LEARNING_RATE);
        Ok(loss.mean)
    }

    /// What every-step TPGM adds to a step.
    fn constrain(&mut self, balls: &mut Balls<f32>, (images, labels): &Batch) -> Result<(), Box<dyn Error>> {
        let Self { state, executor, weights, gradients, .. } = self;
        balls.radius_step(state, executor.as_mut(), (images, labels), weights, gradients)?;
        balls.project(state);
        Ok(())
    }
}

fn trains(base: &Base, id: TensorId) -> bool {
    base.network().tensor(id).role.is_trainable()
}

fn head(features: usize) -> Head {
    let weight = |position: usize| {
        let (output, input) = ((position / features + 1) as f64, (position % features) as f64);
        (0.02 * (0.37 * output + 0.011 * output * input).sin()) as f32
    };
    Head { weight: (0..CLASSES * features).map(weight).collect(), bias: vec![0.0; CLASSES] }
}

/// The images of those numbers, and a label each.
fn batch(first: usize, side: usize) -> Batch {
    (images(first, BATCH, side), (first..first + BATCH).map(|image| (image % CLASSES) as u32).collect())
}

fn images(first: usize, count: usize, side: usize) -> Images {
    let mut images = Images::zeros(count, side, side);
    for (position, value) in images.values.iter_mut().enumerate() {
        let (channel, pixel) = (position % 3 + 1, position / 3);
        let (column, row, image) = (pixel % side + 1, pixel / side % side + 1, pixel / side / side + first);
        let (row, channel, column, image) = (row as f64, channel as f64, column as f64, image as f64);
        *value = ((0.05 * row * channel).sin() * (0.031 * column + 0.7 * image).cos()) as f32;
    }
    images
}
