//! A base whose network no architecture has: a model folder with `network.json`, made by hand.

use crate::tiny;
use fieldfit_model::{BaseId, NetworkDescription, SourceLayout};
use fieldfit_nets::{
    Activation, Arithmetic, BatchNorm, Conv, Function, Graph, Head, Network, Node, Op, Padding, Role, Section,
    TensorSpec, ValueId, Window,
};
use fieldfit_tensor::TensorId;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// Side of the images of [`network`].
pub const SIDE: usize = 32;
/// The tensor of [`network`] whose first two axes are exchanged in the file that it is said to come from.
pub const TURNED: &str = "body.gate.weight";
/// Classes of [`network`].
pub const CLASSES: usize = 10;

/// Makes the model folder `folder/described-SEED`: [`network`] with random weights.
pub fn base(folder: &Path, seed: u64) -> PathBuf {
    let network = network();
    let out = folder.join(format!("described-{seed}"));
    fs::create_dir(&out).unwrap();
    tiny::write(&out.join("weights.safetensors"), &network, seed);
    let layout = |spec: &TensorSpec| {
        let turned = spec.name == TURNED;
        let mut shape = spec.shape.clone();
        if turned {
            shape.swap(0, 1);
        }
        Some(SourceLayout { shape, turned })
    };
    let sources = network.tensors.iter().map(layout).collect();
    let description = NetworkDescription::new(&network, [SIDE; 2], sources).unwrap();
    fs::write(out.join("network.json"), description.to_json().unwrap()).unwrap();
    fs::write(out.join("labels.txt"), (0..CLASSES).map(|class| format!("thing {class}\n")).collect::<String>())
        .unwrap();
    seal(&out);
    out
}

/// Writes a manifest that vouches for the weights and the description as they are.
pub fn seal(folder: &Path) {
    let hash = |file: &str| {
        let bytes = fs::read(folder.join(file)).unwrap();
        (bytes.len(), BaseId(Sha256::digest(bytes).into()))
    };
    let ((bytes, weights), (_, network)) = (hash("weights.safetensors"), hash("network.json"));
    let manifest = format!(
        "name = \"described\"\narchitecture = \"imported\"\n\n[input]\nsize = {SIDE}\ncrop = 0.875\n\n[preprocessing]\n\
         mean = [127.0, 127.0, 127.0]\nstd = [128.0, 128.0, 128.0]\nfilter = \"bilinear\"\n\n[weights]\n\
         file = \"weights.safetensors\"\nbytes = {bytes}\nsha256 = \"{weights}\"\n\n[network]\nfile = \"network.json\"\n\
         sha256 = \"{network}\"\n\n[origin]\nsource = \"made by hand\"\nlicence = \"CC0-1.0\"\nfile = \"none\"\n\
         sha256 = \"{weights}\"\n"
    );
    fs::write(folder.join("manifest.toml"), manifest).unwrap();
}

/// A gated network of three sections: convolution, norm and SiLU; two convolutions of which one gates the other; a pool.
pub fn network() -> Network {
    let mut network = Network {
        architecture: "imported",
        channels: 3,
        tensors: Vec::new(),
        graph: Graph::default(),
        head: Head { weight: TensorId::new(0), bias: TensorId::new(0), features: 16, classes: CLASSES, node: None },
    };
    let mut tensor = |name: &str, shape: &[usize], role| {
        network.tensors.push(TensorSpec { name: name.to_owned(), shape: shape.to_vec(), role });
        TensorId::new(network.tensors.len() - 1)
    };
    let stem = tensor("stem.conv.weight", &[8, 3, 3, 3], Role::Kernel);
    let norm = BatchNorm {
        scale: tensor("stem.norm.weight", &[8], Role::NormScale),
        shift: tensor("stem.norm.bias", &[8], Role::NormShift),
        mean: tensor("stem.norm.running_mean", &[8], Role::RunningMean),
        variance: tensor("stem.norm.running_var", &[8], Role::RunningVariance),
        epsilon: 1e-5,
    };
    let mut point = |name: &str| {
        let weight = tensor(&format!("{name}.weight"), &[16, 8, 1, 1], Role::Kernel);
        (weight, tensor(&format!("{name}.bias"), &[16], Role::Bias))
    };
    let (value, gate) = (point("body.value"), point("body.gate"));
    let weight = tensor("head.weight", &[CLASSES, 16], Role::HeadWeight);
    let bias = tensor("head.bias", &[CLASSES], Role::HeadBias);
    (network.head.weight, network.head.bias) = (weight, bias);
    let conv = |(weight, bias), window| Conv {
        weight,
        bias,
        norm: None,
        activation: Activation::Identity,
        input: 8,
        output: 16,
        window,
        groups: 1,
    };
    let pixel = Window::square(1, 1, Padding::NONE);
    let stem = Conv {
        norm: Some(norm),
        activation: Activation::Relu,
        input: 3,
        output: 8,
        ..conv((stem, None), Window::square(3, 2, Padding::symmetric(1)))
    };
    let node = |op, inputs: &[usize]| Node {
        op,
        inputs: inputs.iter().map(|node| node.checked_sub(1).map_or(ValueId::IMAGE, ValueId::of_node)).collect(),
    };
    // Inputs count the image as 0 and the nodes from 1.
    network.graph.nodes = vec![
        node(Op::Conv(stem), &[0]),
        node(Op::Activate(Function::Silu), &[1]),
        node(Op::Conv(conv((value.0, Some(value.1)), pixel)), &[2]),
        node(Op::Conv(conv((gate.0, Some(gate.1)), pixel)), &[2]),
        node(Op::Activate(Function::Sigmoid), &[4]),
        node(Op::Arithmetic(Arithmetic::Multiply), &[3, 5]),
        node(Op::GlobalAveragePool, &[6]),
    ];
    let section = |name: &str, nodes| Section { name: name.to_owned(), nodes };
    network.graph.sections = vec![section("stem", 0..2), section("body", 2..6), section("pool", 6..7)];
    network
}
