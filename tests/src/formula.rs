//! Formula fixtures: weights and images that `tests/peers/parity.py` computes, too, to the bit.

use fieldfit_nets::{Network, TensorSpec};
use fieldfit_tensor::{Images, Params, Real};

/// Weights of any network that keep activations at their scale through fifty layers. Every value is a float of 32 bits.
pub fn params<T: Real>(network: &Network) -> Params<T> {
    let mut params = Params::zeros(network);
    for (id, spec) in network.tensors() {
        params[id].iter_mut().zip(values(spec)).for_each(|(to, value)| *to = T::of(f64::from(value)));
    }
    params
}

/// The values of one tensor: uniform around a centre, as wide as its name and shape ask for.
pub fn values(spec: &TensorSpec) -> impl Iterator<Item = f32> {
    let inputs: usize = spec.shape.iter().skip(1).product();
    let (spread, centre) = match spec.name.as_str() {
        "cls_token" | "dist_token" | "reg_token" | "pos_embed" => (0.5, 0.0),
        name if name.ends_with("running_var") => (0.5, 1.0),
        name if name.ends_with(".bias") || name.ends_with("running_mean") => (0.1, 0.0),
        _ if spec.shape.len() == 1 => (0.25, 0.75),
        _ => ((6.0 / inputs as f64).sqrt(), 0.0),
    };
    uniform(&spec.name, spec.len()).map(move |value| (value * spread + centre) as f32)
}

/// Square images of noise in [−2, 2).
pub fn images(count: usize, side: usize) -> Images {
    let mut images = Images::zeros(count, side, side);
    for (position, value) in uniform("images", count * 3 * side * side).enumerate() {
        let (image, channel, pixel) =
            (position / (3 * side * side), position / (side * side) % 3, position % (side * side));
        images.values[(image * side * side + pixel) * 3 + channel] = (2.0 * value) as f32;
    }
    images
}

/// `count` values in [−1, 1): FNV-1a of the name, then SplitMix64, of which the upper 24 bits are taken.
fn uniform(name: &str, count: usize) -> impl Iterator<Item = f64> {
    let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325, hash);
    (1..=count as u64).map(move |position| {
        let mut z = position.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(seed);
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) >> 40) as f64 / f64::from(1 << 23) - 1.0
    })
}
