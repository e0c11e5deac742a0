//! Split networks: the two parts of a network compute the same as the whole.

#![allow(clippy::unwrap_used, reason = "helpers of tests may end them")]

mod common;

use common::{images, labels, networks, params, widen};
use fieldfit_exec::{Executor, Passes, candle, cpu::Cpu};
use fieldfit_nets::Network;
use fieldfit_tensor::{Images, Params, Real, TensorId};

const SIDES: (usize, usize) = (33, 26);
const COUNT: usize = 5;

/// Selects the trainable tensors of the stages from `stages` on, and the head's.
fn trains(network: &Network, stages: usize) -> impl Fn(TensorId) -> bool {
    let (network, sections) = (network.clone(), network.section_of_each_tensor());
    move |id| sections[id.index()] >= stages && network.tensor(id).role.is_trainable()
}

/// Asserts for every split that the later part, given the earlier part's output, has the logits and gradients of the
/// whole network.
fn check<T: Real>(
    network: &Network,
    params: &Params<T>,
    make: impl Fn(&Network) -> Box<dyn Executor<T>>,
    same: impl Fn(T, T) -> bool,
) {
    let (images, labels) = (images(COUNT, SIDES.0, SIDES.1), labels(COUNT));
    for stages in (1..network.graph.sections.len()).filter(|sections| network.before(*sections).is_ok()) {
        let mut expected = Params::zeros_where(network, trains(network, stages));
        let mut found = expected.clone();
        let mut whole = make(network);
        let loss = whole.gradient(params, &images, &labels, &mut expected).unwrap();
        let features = make(&network.before(stages).unwrap()).features(params, &images).unwrap();
        let shape = network.section_shapes(SIDES.0, SIDES.1).unwrap()[stages - 1];
        assert_eq!((features.rows, features.columns), (COUNT, shape.len()));
        let inputs = Images {
            count: COUNT,
            height: shape.height,
            width: shape.width,
            channels: shape.channels,
            values: features.values.iter().map(|value| value.wide() as f32).collect(),
        };
        let mut rest = make(&network.after(stages).unwrap());
        let cut = rest.gradient(params, &inputs, &labels, &mut found).unwrap();
        assert!(same(cut, loss), "cut after {stages}: {cut:?} for {loss:?}");
        for (id, spec) in network.tensors() {
            let agree = expected[id].iter().zip(&found[id]).all(|(&whole, &cut)| same(whole, cut));
            assert!(agree, "cut after {stages}: {}", spec.name);
        }
        let (whole, cut) = (whole.logits(params, &images).unwrap(), rest.logits(params, &inputs).unwrap());
        assert!(whole.values.iter().zip(cut.values).all(|(&whole, cut)| same(whole, cut)), "cut after {stages}");
        let refused = make(&network.after(stages).unwrap()).logits(params, &images);
        assert!(shape.channels == 3 || refused.is_err(), "images taken for what comes after {stages} stages");
    }
}

/// Catches: a kernel that assumes three channels, a shortcut that is lost if it starts at the input, a gradient
/// propagated below the split, a stage skipped or run twice.
#[test]
fn the_kernels_give_the_same_bits() {
    for network in networks() {
        check::<f32>(
            &network,
            &params(&network),
            |network| Box::new(Cpu::new(network, 2, Passes::of(2)).unwrap()),
            |whole, cut| whole.to_bits() == cut.to_bits(),
        );
    }
}

/// Catches: the same faults in the f64 reference. The activation between the parts is rounded to f32.
#[test]
fn the_oracle_agrees_to_f32() {
    let device = || candle::device(fieldfit_exec::Device::Cpu { threads: 1 }).unwrap();
    for network in networks() {
        check::<f64>(
            &network,
            &widen(&network, &params(&network)),
            |network| Box::new(candle::Candle::new(network, device())),
            |whole, cut| (whole - cut).abs() <= 1e-4 * (1.0 + whole.abs()),
        );
    }
}
