//! Peer program: Fieldfit's side of `tests/peers`, which times it against PyTorch and ONNX Runtime; see the README there.
//!
//! ```text
//! peer check  THREADS                                   what all sides must agree on, as one JSON line
//! peer infer  THREADS SIDE [BATCH]                      serves the logits of one image of SIDE pixels, or of BATCH
//! peer infer-int8 THREADS SIDE                          the same in int8, calibrated on the first 8 images
//! peer train  THREADS SIDE [BATCH MICRO]                serves training steps on 16 images, as the trainer makes them,
//!                                                       or on BATCH, MICRO at a time
//! peer tpgm   THREADS SIDE                              the same, each followed by a radius step on 16 other images
//!                                                       and a projection
//! peer profile THREADS SIDE [BATCH MICRO]               prints the time of each op in such a training step, least of 20
//! peer kernel THREADS depthwise|dense forward|backward  serves one convolution of 8 images of 56 pixels
//! ```
//!
//! `--model DIR` after any of the first six is another base than the shipped one.
//!
//! To serve is to answer each line on the standard input, a number of steps, with a JSON line: how many milliseconds
//! each step took and what it came to, the loss or the first logit. `echo 1 | peer infer 2 224` is a whole process from
//! its start to its first prediction. Images, labels and the new head follow the formulas of
//! `tests/data/golden_lite0.json`.

mod kernel;

use fieldfit_adapt::{
    HeadParams, HostParams, Optimiser, OptimiserOptions, TensorRadii, TrainingState, clip_global_norm,
};
use fieldfit_exec::cpu::{Calibrator, Cpu, StepTime};
use fieldfit_exec::{Device, Executor, Passes, executor, prepare, prepare_int8};
use fieldfit_model::Base;
use fieldfit_nets::Shape;
use fieldfit_tensor::{Images, Norm, Params, TensorId};
use fieldfit_tpgm::RadiusAdam;
use kernel::{Kernel, Kind};
use serde_json::json;
use std::error::Error;
use std::io::{Write, stdin, stdout};
use std::path::Path;
use std::time::{Duration, Instant};

const CLASSES: usize = 7;
const BATCH: usize = 16;
/// Images that int8 is calibrated on.
const CALIBRATION: usize = 8;
/// Steps whose least times are printed.
const PROFILES: usize = 20;
const LEARNING_RATE: f64 = 1e-3;

fn main() -> Result<(), Box<dyn Error>> {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/efficientnet-lite0");
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    let (words, model) = match &words[..] {
        [words @ .., "--model", model] => (words, Path::new(model)),
        words => (words, shipped.as_path()),
    };
    let base = Base::open(model)?;
    match *words {
        ["check", threads] => check(&base, threads.parse()?),
        ["infer", threads, side] => infer(&base, threads.parse()?, side.parse()?, 1),
        ["infer", threads, side, batch] => infer(&base, threads.parse()?, side.parse()?, batch.parse()?),
        ["infer-int8", threads, side] => infer_int8(&base, threads.parse()?, side.parse()?),
        ["train", threads, side] => train(&base, threads.parse()?, side.parse()?, BATCH, Passes::default()),
        ["train", threads, side, batch, micro] => {
            train(&base, threads.parse()?, side.parse()?, batch.parse()?, Passes::of(micro.parse()?))
        }
        ["tpgm", threads, side] => tpgm(&base, threads.parse()?, side.parse()?),
        ["profile", threads, side] => profile(&base, threads.parse()?, side.parse()?, BATCH, Passes::default()),
        ["profile", threads, side, batch, micro] => {
            profile(&base, threads.parse()?, side.parse()?, batch.parse()?, Passes::of(micro.parse()?))
        }
        ["kernel", threads, kind, direction] => convolution(threads.parse()?, kind, direction),
        _ => Err("usage: peer check|infer|train|tpgm|profile|kernel THREADS …".into()),
    }
}

/// The logits of two images under the base's own head; the loss of four under the new one, before and after a step.
fn check(base: &Base, threads: usize) -> Result<(), Box<dyn Error>> {
    let prepared = prepare(Device::Cpu { threads }, base.network(), &base.params())?;
    let logits = prepared.logits(&images(0, 2, 224))?;
    let mut training = Training::new(base, threads, Passes::default())?;
    let batch = (images(0, 4, 128), vec![0, 3, 5, 6]);
    let losses = [training.step(&batch)?, training.step(&batch)?];
    println!("{}", json!({ "logits": [logits.row(0), logits.row(1)], "losses": losses }));
    Ok(())
}

fn train(base: &Base, threads: usize, side: usize, count: usize, passes: Passes) -> Result<(), Box<dyn Error>> {
    let batch = batch(0, count, side);
    let mut training = Training::new(base, threads, passes)?;
    serve(|| training.step(&batch))
}

fn tpgm(base: &Base, threads: usize, side: usize) -> Result<(), Box<dyn Error>> {
    let (batch, validation) = (batch(0, BATCH, side), batch(BATCH, BATCH, side));
    let mut training = Training::new(base, threads, Passes::default())?;
    let network = training.state.network();
    let constrained = |id| trains(base, id) && !network.tensor(id).role.is_head();
    let mut radii = TensorRadii::new(network, Norm::Mars, RadiusAdam::default(), constrained);
    serve(|| {
        let loss = training.step(&batch)?;
        training.constrain(&mut radii, &validation)?;
        Ok(loss)
    })
}

fn infer(base: &Base, threads: usize, side: usize, count: usize) -> Result<(), Box<dyn Error>> {
    let images = images(0, count, side);
    let prepared = prepare(Device::Cpu { threads }, base.network(), &base.params())?;
    serve(|| Ok(prepared.logits(&images)?.values[0]))
}

fn infer_int8(base: &Base, threads: usize, side: usize) -> Result<(), Box<dyn Error>> {
    let (params, mut calibrator) = (base.params(), Calibrator::new(base.network(), threads)?);
    calibrator.add(&params, &images(0, CALIBRATION, side))?;
    let prepared = prepare_int8(Device::Cpu { threads }, base.network(), &params, &calibrator.finish()?)?;
    let image = images(0, 1, side);
    serve(|| Ok(prepared.logits(&image)?.values[0]))
}

/// Prints the least forward and backward time of each op, in ms, and their sums.
fn profile(base: &Base, threads: usize, side: usize, count: usize, passes: Passes) -> Result<(), Box<dyn Error>> {
    let (images, labels) = batch(0, count, side);
    let network = base.network().with_classes(CLASSES);
    let state = TrainingState::<f32>::new(base, network.clone(), head(network.head.features), |id| trains(base, id));
    let (weights, mut gradients) = (state.weights(), state.delta.clone());
    let mut cpu = Cpu::new(&network, threads, passes)?;
    let mut least: Vec<StepTime> = cpu.profile(&weights, &images, &labels, &mut gradients)?;
    for _ in 1..PROFILES {
        for (least, time) in least.iter_mut().zip(cpu.profile(&weights, &images, &labels, &mut gradients)?) {
            least.forward = least.forward.min(time.forward);
            least.backward = least.backward.min(time.backward);
        }
    }
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let sides = |shape: Shape| format!("{}×{}×{}", shape.height, shape.width, shape.channels);
    for StepTime { op, input, output, forward, backward } in &least {
        let (input, output) = (sides(*input), sides(*output));
        println!("{:8.3} {:8.3}  {:14} {input:>14} → {output}", ms(*forward), ms(*backward), op.name());
    }
    let [forward, backward] = [|time: &StepTime| time.forward, |time: &StepTime| time.backward]
        .map(|of: fn(&StepTime) -> Duration| least.iter().map(of).sum());
    println!("{:8.3} {:8.3}  together", ms(forward), ms(backward));
    Ok(())
}

fn convolution(threads: usize, kind: &str, direction: &str) -> Result<(), Box<dyn Error>> {
    let mut kernel = Kernel::new(Kind::by_name(kind)?, threads)?;
    match direction {
        "forward" => answer(|| Ok((kernel.forward()?, 0.0))),
        "backward" => answer(|| Ok((kernel.backward()?, 0.0))),
        _ => Err(format!("{direction} is no direction: forward or backward").into()),
    }
}

/// Times each step that is asked for.
fn serve(mut step: impl FnMut() -> Result<f32, Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
    answer(|| {
        let start = Instant::now();
        let result = step()?;
        Ok((start.elapsed().as_secs_f64() * 1e3, result))
    })
}

/// Answers each line of the standard input until it ends; a step gives its milliseconds and what it came to.
fn answer(mut step: impl FnMut() -> Result<(f64, f32), Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
    for line in stdin().lines() {
        let steps = (0..line?.trim().parse()?).map(|_| step());
        let (milliseconds, results): (Vec<_>, Vec<_>) = steps.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        println!("{}", json!({ "ms": milliseconds, "results": results }));
        stdout().flush()?;
    }
    Ok(())
}

/// Images, and a label each.
type Batch = (Images, Vec<u32>);

/// A run of `lp-ft` under SGD, without the loader: what the trainer does between two batches.
struct Training<'a> {
    state: TrainingState<'a, f32>,
    executor: Box<dyn Executor<f32>>,
    optimiser: Optimiser<f32>,
    weights: Params<f32>,
    gradients: Params<f32>,
}

impl<'a> Training<'a> {
    fn new(base: &'a Base, threads: usize, passes: Passes) -> Result<Self, Box<dyn Error>> {
        let network = base.network().with_classes(CLASSES);
        let state = TrainingState::new(base, network.clone(), head(network.head.features), |id| trains(base, id));
        let sgd = OptimiserOptions::sgd().with_learning_rate(LEARNING_RATE);
        Ok(Self {
            executor: executor(Device::Cpu { threads }, &network, passes)?,
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
        let clip = clip_global_norm(gradients, None);
        optimiser.step_scaled(&mut state.delta, weights, (gradients, clip.scale), LEARNING_RATE);
        Ok(loss)
    }

    /// What every-step TPGM adds to a step.
    fn constrain(&mut self, radii: &mut TensorRadii<f32>, (images, labels): &Batch) -> Result<(), Box<dyn Error>> {
        let Self { state, executor, weights, gradients, .. } = self;
        let mut place = HostParams { state, executor: executor.as_mut(), weights, gradients };
        radii.radius_step(&mut place, images, labels)?;
        Ok(radii.project(&mut place)?)
    }
}

fn trains(base: &Base, id: TensorId) -> bool {
    base.network().tensor(id).role.is_trainable()
}

fn head(features: usize) -> HeadParams {
    let weight = |position: usize| {
        let (output, input) = ((position / features + 1) as f64, (position % features) as f64);
        (0.02 * (0.37 * output + 0.011 * output * input).sin()) as f32
    };
    HeadParams { weight: (0..CLASSES * features).map(weight).collect(), bias: vec![0.0; CLASSES] }
}

/// The images of those numbers, and a label each.
fn batch(first: usize, count: usize, side: usize) -> Batch {
    (images(first, count, side), (first..first + count).map(|image| (image % CLASSES) as u32).collect())
}

fn images(first: usize, count: usize, side: usize) -> Images {
    let rows: Vec<_> = (1..=side).map(|row| [1, 2, 3].map(|channel| (0.05 * (row * channel) as f64).sin())).collect();
    let mut images = Images::zeros(count, side, side);
    for (position, image) in images.values.chunks_exact_mut(side * side * 3).enumerate() {
        let phase = 0.7 * (first + position) as f64;
        let columns: Vec<_> = (1..=side).map(|column| (0.031 * column as f64 + phase).cos()).collect();
        for (row, pixels) in rows.iter().zip(image.chunks_exact_mut(side * 3)) {
            for (column, pixel) in columns.iter().zip(pixels.chunks_exact_mut(3)) {
                pixel.iter_mut().zip(row).for_each(|(value, row)| *value = (row * column) as f32);
            }
        }
    }
    images
}
