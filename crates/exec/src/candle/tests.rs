//! Tests of the candle executor: gradients against finite differences in f64, and rejected inputs.

use super::{Candle, PreparedCandle, device};
use crate::{Device, ExecError, Executor, Prepared};
use fieldfit_nets::{Network, Role, ValueId, by_name};
use fieldfit_tensor::{Images, Params, Real, TensorId};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const LABELS: [u32; 2] = [3, 7];

fn tiny() -> Network {
    by_name("efficientnet-tiny").unwrap()
}

/// Returns parameters that keep activations around both bounds of ReLU6.
fn random_params<T: Real>(network: &Network, seed: u64) -> Params<T> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let mut params = Params::zeros(network);
    for (id, spec) in network.tensors() {
        let fan_in = spec.shape[1..].iter().product::<usize>() as f64;
        let (low, high) = match spec.role {
            Role::Token | Role::Positions => (-1.0, 1.0),
            Role::Kernel | Role::LinearWeight | Role::HeadWeight => (-2.5 / fan_in.sqrt(), 2.5 / fan_in.sqrt()),
            Role::NormScale | Role::RunningVariance | Role::LayerScale => (0.5, 2.0),
            Role::NormShift | Role::RunningMean | Role::Bias | Role::HeadBias | Role::Constant => (-0.5, 1.0),
        };
        params[id].fill_with(|| T::of(generator.random_range(low..high)));
    }
    params
}

/// Returns two images of six patches, a grid that requires resampled positions.
fn random_patches(seed: u64) -> Images {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let mut images = Images::zeros(2, 12, 8);
    images.values.fill_with(|| generator.random_range(-1.0..1.0));
    images
}

/// Returns two images of odd height and even width, so that padding is one-sided in some layers and two-sided in
/// others.
fn random_images(seed: u64) -> Images {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let mut images = Images::zeros(2, 19, 14);
    images.values.fill_with(|| generator.random_range(-1.0..1.0));
    images
}

fn oracle(network: &Network) -> Candle<f64> {
    Candle::new(network, candle_core::Device::Cpu)
}

/// Returns the central difference of the loss along one value of one tensor.
fn slope(executor: &mut Candle<f64>, params: &Params<f64>, images: &Images, id: TensorId, position: usize) -> f64 {
    const STEP: f64 = 1e-6;
    let mut frozen = Params::zeros_where(executor.network(), |_| false);
    let mut loss = |step: f64| {
        let mut moved = params.clone();
        moved[id][position] += step;
        executor.gradient(&moved, images, &LABELS, &mut frozen).unwrap()
    };
    (loss(STEP) - loss(-STEP)) / (2.0 * STEP)
}

/// Catches: a wrong backward pass of an op, or a tensor cut off from the loss. The tiny network has dense strided,
/// depthwise (both strides, both kernel sizes) and pointwise convolutions, a shortcut, a pool and a head.
#[test]
fn gradients_are_finite_differences() {
    check_gradients(&tiny(), &random_images(1));
}

/// Catches: the same faults in a max pool, ReLU after a shortcut's sum, a projection and symmetric padding.
#[test]
fn gradients_of_a_resnet_are_finite_differences() {
    check_gradients(&by_name("resnet-tiny").unwrap(), &random_images(1));
}

/// Catches: the same faults in tokens, positions, layer norms, attention, GELU, LayerScale and shortcuts.
#[test]
fn gradients_of_transformers_are_finite_differences() {
    check_gradients(&by_name("vit-micro").unwrap(), &random_patches(1));
}

fn check_gradients(network: &Network, images: &Images) {
    let mut executor = oracle(network);
    let params = random_params(network, 2);
    let mut gradients = Params::zeros_where(network, |id| network.tensor(id).role.is_trainable());
    executor.gradient(&params, images, &LABELS, &mut gradients).unwrap();
    for (id, spec) in network.tensors().filter(|(_, spec)| spec.role.is_trainable()) {
        let scale = gradients[id].iter().fold(0.0, |largest: f64, g| largest.max(g.abs()));
        assert!(scale > 1e-4, "{}: the gradient is nearly zero, which proves nothing", spec.name);
        for position in (0..spec.len()).step_by(spec.len().div_ceil(6)) {
            let (found, expected) = (gradients[id][position], slope(&mut executor, &params, images, id, position));
            let gap = (found - expected).abs() / scale;
            assert!(gap < 1e-6, "{}[{position}]: {found} against {expected}, {gap:e} of the largest", spec.name);
        }
    }
}

/// Catches: a frozen tensor that changes the gradients of others, or that receives one itself.
#[test]
fn freezing_leaves_the_other_gradients_alone() {
    let (network, images) = (tiny(), random_images(3));
    let params = random_params(&network, 4);
    let gradients = |keep: &dyn Fn(TensorId) -> bool| {
        let mut gradients = Params::zeros_where(&network, keep);
        oracle(&network).gradient(&params, &images, &LABELS, &mut gradients).unwrap();
        gradients
    };
    let trainable = |id: TensorId| network.tensor(id).role.is_trainable();
    let all = gradients(&trainable);
    let some = gradients(&|id| trainable(id) && id.index() % 3 == 0);
    for (id, spec) in network.tensors().filter(|(id, _)| trainable(*id)) {
        let expected: &[f64] = if id.index() % 3 == 0 { &all[id] } else { &[] };
        assert_eq!(&some[id], expected, "{}", spec.name);
    }
}

/// Catches: a trainable tensor that the loss does not depend on, and that is silently left without a gradient.
#[test]
fn a_tensor_without_gradient_is_named() {
    let mut network = tiny();
    // What reads the block's output reads its input instead.
    let block = network.graph.sections.iter().find(|section| section.name == "block2").unwrap().nodes.clone();
    let bypass = |value: &mut ValueId| {
        if *value == ValueId::of_node(block.end - 1) {
            *value = ValueId::of_node(block.start - 1);
        }
    };
    network.graph.nodes[block.end..].iter_mut().flat_map(|node| &mut node.inputs).for_each(bypass);
    let orphan = network.find("_blocks.2._expand_conv.weight").unwrap();
    let mut gradients = Params::zeros_where(&network, |id| id == orphan);
    let params = random_params(&network, 5);
    let error = oracle(&network).gradient(&params, &random_images(6), &LABELS, &mut gradients).unwrap_err();
    assert!(matches!(&error, ExecError::NoGradient { name } if name == "_blocks.2._expand_conv.weight"), "{error}");
}

/// Catches: logits that change when weights are folded once.
#[test]
fn prepared_weights_give_the_executors_logits() {
    let (network, images) = (tiny(), random_images(7));
    let params: Params<f32> = random_params(&network, 8);
    let mut executor = Candle::new(&network, candle_core::Device::Cpu);
    let prepared = PreparedCandle::new(&network, &params, candle_core::Device::Cpu).unwrap();
    assert_eq!(prepared.logits(&images).unwrap(), executor.logits(&params, &images).unwrap());
}

/// Catches: a missing device, parameters of another network.
#[test]
fn what_cant_be_computed_is_refused() {
    let empty = Params::zeros_where(&tiny(), |_| false);
    let error = oracle(&tiny()).logits(&empty, &random_images(11)).unwrap_err();
    assert!(matches!(error, ExecError::Tensor { .. }), "{error}");

    #[cfg(not(feature = "cuda"))]
    assert!(matches!(device(Device::Cuda { ordinal: 0 }), Err(ExecError::Device { device: "cuda", .. })));
    #[cfg(not(feature = "metal"))]
    assert!(matches!(device(Device::Metal), Err(ExecError::Device { device: "metal", .. })));
}
