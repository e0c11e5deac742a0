//! A network cut in two computes what it computes whole.

#![allow(clippy::unwrap_used, reason = "helpers of tests may end them")]

use fieldfit_exec::{Executor, Passes, candle, cpu::Cpu};
use fieldfit_model::{Images, Params};
use fieldfit_nets::{Network, Role, TensorId, by_name};
use fieldfit_tpgm::Real;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const SIDES: (usize, usize) = (33, 26);
const COUNT: usize = 5;

/// Inverted residuals, and bottlenecks with projected shortcuts.
fn networks() -> [Network; 2] {
    ["efficientnet-tiny", "resnet-tiny"].map(|name| by_name(name).unwrap().with_classes(4))
}

fn params<T: Real>(network: &Network) -> Params<T> {
    let mut generator = ChaCha8Rng::seed_from_u64(7);
    let mut params = Params::zeros(network);
    for (id, spec) in network.tensors() {
        let spread = (spec.rows() as f64 / spec.len() as f64).sqrt();
        params[id].fill_with(|| {
            let unit: f64 = generator.random_range(-1.0..1.0);
            T::of(match spec.role {
                Role::NormScale | Role::RunningVariance => 1.5 + unit,
                _ => 2.0 * unit * spread,
            })
        });
    }
    params
}

fn images() -> Images {
    let mut generator = ChaCha8Rng::seed_from_u64(8);
    let mut images = Images::zeros(COUNT, SIDES.0, SIDES.1);
    images.values.fill_with(|| generator.random_range(-2.0..2.0));
    images
}

/// The tensors of the stages from that one on, and the head's.
fn trains(network: &Network, stages: usize) -> impl Fn(TensorId) -> bool {
    let first = network.stages[stages].tensors().next().unwrap_or(network.head.weight).index();
    let network = network.clone();
    move |id| id.index() >= first && network.tensor(id).role.is_trainable()
}

/// Asserts for every cut that what the later part makes of the earlier one's output is what the whole network makes of
/// the images, and its gradients likewise, to the bit.
fn check<T: Real>(network: &Network, make: impl Fn(&Network) -> Box<dyn Executor<T>>, same: impl Fn(T, T) -> bool) {
    let images = images();
    let params = params::<T>(network);
    let labels: Vec<u32> = (0..COUNT as u32).map(|image| image % 4).collect();
    for stages in 1..network.stages.len() {
        let mut expected = Params::zeros_where(network, trains(network, stages));
        let mut found = expected.clone();
        let mut whole = make(network);
        let loss = whole.gradient(&params, &images, &labels, &mut expected).unwrap();
        let features = make(&network.before(stages)).features(&params, &images).unwrap();
        let shape = *network.shapes(SIDES.0, SIDES.1).unwrap()[stages - 1].last().unwrap();
        assert_eq!((features.rows, features.columns), (COUNT, shape.len()));
        let inputs = Images {
            count: COUNT,
            height: shape.height,
            width: shape.width,
            channels: shape.channels,
            values: features.values.iter().map(|value| value.wide() as f32).collect(),
        };
        let mut rest = make(&network.after(stages));
        let cut = rest.gradient(&params, &inputs, &labels, &mut found).unwrap();
        assert!(same(cut, loss), "cut after {stages}: {cut:?} for {loss:?}");
        for (id, spec) in network.tensors() {
            let agree = expected[id].iter().zip(&found[id]).all(|(&whole, &cut)| same(whole, cut));
            assert!(agree, "cut after {stages}: {}", spec.name);
        }
        let (whole, cut) = (whole.logits(&params, &images).unwrap(), rest.logits(&params, &inputs).unwrap());
        assert!(whole.values.iter().zip(cut.values).all(|(&whole, cut)| same(whole, cut)), "cut after {stages}");
        let refused = make(&network.after(stages)).logits(&params, &images);
        assert!(shape.channels == 3 || refused.is_err(), "images taken for what comes after {stages} stages");
    }
}

/// A kernel that takes three channels for granted, a shortcut that isn't found when it starts at the input, a gradient
/// sent below the cut, a stage left out or done twice.
#[test]
fn the_kernels_give_the_same_bits() {
    for network in networks() {
        check::<f32>(
            &network,
            |network| Box::new(Cpu::new(network, 2, Passes::of(2)).unwrap()),
            |whole, cut| whole.to_bits() == cut.to_bits(),
        );
    }
}

/// The same faults in the oracle. What goes between the parts is rounded to f32.
#[test]
fn the_oracle_agrees_to_f32() {
    let device = || candle::device(fieldfit_exec::Device::Cpu { threads: 1 }).unwrap();
    for network in networks() {
        check::<f64>(
            &network,
            |network| Box::new(candle::Candle::new(network, device())),
            |whole, cut| (whole - cut).abs() <= 1e-4 * (1.0 + whole.abs()),
        );
    }
}
