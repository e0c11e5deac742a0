//! Tiny fixtures: a base and images that train in milliseconds.

use fieldfit_model::import::{ImportRequest, import};
use fieldfit_nets::{Network, Role, TensorSpec, by_name};
use image::{Rgb, RgbImage};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The classes of [`images`].
pub const CLASSES: [&str; 3] = ["grass", "sand", "water"];

/// Makes the model folder `folder/tiny-SEED`: `efficientnet-tiny` with random weights under ten made-up labels.
pub fn base(folder: &Path, seed: u64) -> PathBuf {
    base_of(folder, "efficientnet-tiny", seed)
}

/// The same of another architecture.
pub fn base_of(folder: &Path, architecture: &str, seed: u64) -> PathBuf {
    let network = by_name(architecture).unwrap();
    let (weights, labels) = (folder.join(format!("tiny-{seed}.safetensors")), folder.join("labels.txt"));
    write(&weights, &network, seed);
    fs::write(&labels, (0..network.head.classes).map(|class| format!("thing {class}\n")).collect::<String>()).unwrap();
    let out = folder.join(format!("tiny-{seed}"));
    import(&ImportRequest::new(&weights, &out).of(architecture, &labels)).unwrap();
    out
}

/// Writes random weights of `efficientnet-tiny` that keep activations at their scale.
pub fn checkpoint(path: &Path, seed: u64) {
    write(path, &by_name("efficientnet-tiny").unwrap(), seed);
}

/// Writes random weights of a network that keep activations at their scale.
pub(crate) fn write(path: &Path, network: &Network, seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let bytes: Vec<Vec<u8>> = network.tensors.iter().map(|spec| values(spec, &mut random)).collect();
    let views = network
        .tensors
        .iter()
        .zip(&bytes)
        .map(|(spec, bytes)| (spec.name.as_str(), TensorView::new(Dtype::F32, spec.shape.clone(), bytes).unwrap()));
    fs::write(path, safetensors::serialize(views, None::<HashMap<String, String>>).unwrap()).unwrap();
}

fn values(spec: &TensorSpec, random: &mut impl Rng) -> Vec<u8> {
    let inputs: usize = spec.shape.iter().skip(1).product();
    let spread = (6.0 / inputs as f32).sqrt();
    let mut value = || match spec.role {
        Role::Kernel | Role::LinearWeight | Role::HeadWeight => random.random_range(-spread..spread),
        Role::Token | Role::Positions => random.random_range(-0.5..0.5),
        Role::NormScale | Role::RunningVariance | Role::LayerScale => 1.0,
        Role::NormShift | Role::RunningMean | Role::Bias | Role::HeadBias | Role::Constant => {
            random.random_range(-0.1..0.1)
        }
    };
    (0..spec.len()).flat_map(|_| value().to_le_bytes()).collect()
}

/// Fills `folder/CLASS/` with that many noisy images of 40 × 32 pixels a class; a class is a colour.
pub fn images(folder: &Path, per_class: usize, seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for (class, colour) in CLASSES.into_iter().zip([[60, 160, 60], [200, 170, 90], [50, 90, 190]]) {
        fs::create_dir_all(folder.join(class)).unwrap();
        for index in 0..per_class {
            let shade = random.random_range(-30..30);
            let image = RgbImage::from_fn(40, 32, |_, _| {
                Rgb(colour.map(|channel| (channel + shade + random.random_range(-40..40)).clamp(0, 255) as u8))
            });
            image.save(folder.join(class).join(format!("{class}_{index}.png"))).unwrap();
        }
    }
}
