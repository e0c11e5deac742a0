//! Imported networks against PyTorch: one network an op, as `torch.export` wrote it, with the outputs and gradients that
//! PyTorch computed in f64.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "helpers of tests may end them")]

use fieldfit_exec::{ExecError, Executor, Objective, Passes, candle::Candle, cpu::Cpu};
use fieldfit_model::import::graph::{
    self, FinalOp, GraphError, LowerOptions, Lowered, RawDtype, RawGraph, TensorSource,
};
use fieldfit_nets::{Function, Network, Node, Op, Shape, TensorSpec};
use fieldfit_tensor::{Images, Params, Real, TensorId};
use flate2::read::GzDecoder;
use safetensors::SafeTensors;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Networks that are refused, and what the error names: the op, or what else has no form in a network.
const REFUSED: &[(&str, &str)] = &[
    ("dynamic_size", "--size"),
    ("inplace_view", "relu_"),
    ("outputs", "--output"),
    ("outputs_named", "`fine`, `coarse`"),
];

/// Networks in ONNX that are refused, and what the error names.
const REFUSED_ONNX: &[(&str, &str)] = &[];

/// Returns how far gradients in f64 may be from the reference. PyTorch computes the slope of the hard sigmoid, 1/6, in f32, also for
/// f64.
fn gradient_tolerance(network: &Network, exact: f64) -> f64 {
    let is_rounded = |node: &Node| node.op == Op::Activate(Function::HardSigmoid);
    if network.graph.nodes.iter().any(is_rounded) { exact.max(f64::from(f32::EPSILON)) } else { exact }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/networks/micro")
}

fn unpacked(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    bytes
}

/// Returns the values of a reference tensor.
fn values(reference: &SafeTensors<'_>, name: &str) -> Option<(Vec<usize>, Vec<f64>)> {
    let tensor = reference.tensor(name).ok()?;
    let values = match tensor.dtype() {
        safetensors::Dtype::F64 => tensor.data().as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect(),
        safetensors::Dtype::F32 => {
            tensor.data().as_chunks().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect()
        }
        safetensors::Dtype::I64 => {
            tensor.data().as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes) as f64).collect()
        }
        other => panic!("{name}: {other}"),
    };
    Some((tensor.shape().to_vec(), values))
}

/// Returns a network's parameters, as the file has them; those of a head that the file does not have are 0.
fn params<T: Real>(raw: &RawGraph<'_>, lowered: &Lowered, network: &Network) -> Params<T> {
    let mut params = Params::zeros(network);
    for ((id, spec), source) in network.tensors().zip(&lowered.sources) {
        if spec.role.is_head() && lowered.network.is_headless() {
            continue;
        }
        if let Some(constant) = source.constant {
            params[id].iter_mut().zip(&lowered.constants[constant]).for_each(|(to, from)| *to = T::of(*from));
            continue;
        }
        let Some(index) = source.tensor else {
            params[id].fill(T::of(f64::from(source.fill)));
            continue;
        };
        let tensor = &raw.tensors[index];
        let bytes = raw.values(tensor);
        let values: Vec<f64> = match tensor.dtype {
            RawDtype::F32 => bytes.as_chunks().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect(),
            RawDtype::F64 => bytes.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect(),
            other => panic!("{}: {other}", spec.name),
        };
        let values =
            if source.is_turned { turned(&values, &tensor.shape, groups_of(spec, &tensor.shape)) } else { values };
        params[id].iter_mut().zip(values).for_each(|(target, value)| *target = T::of(value));
    }
    params
}

/// Returns the groups of a turned kernel, `[outputs, inputs / groups, …]`, that is `[inputs, outputs / groups, …]` in the file.
fn groups_of(spec: &TensorSpec, file: &[usize]) -> usize {
    file[0] / spec.shape[1]
}

/// Exchanges the first two axes of each group.
fn turned(values: &[f64], shape: &[usize], groups: usize) -> Vec<f64> {
    let (outer, inner) = (shape[0] / groups, shape[1]);
    let rest = values.len() / (groups * outer * inner);
    (0..groups)
        .flat_map(|group| {
            let place = move |inside, outside| ((group * outer + outside) * inner + inside) * rest;
            (0..inner).flat_map(move |inside| (0..outer).map(move |outside| place(inside, outside)))
        })
        .flat_map(|start| values[start..start + rest].iter().copied())
        .collect()
}

/// Returns `[N, C, H, W]` as `[N, H, W, C]`, or the other way round.
fn channels_last(values: &[f64], Shape { height, width, channels }: Shape) -> Vec<f64> {
    let image = height * width * channels;
    let place = |index: usize| {
        let (start, pixel, channel) = (index / image * image, index % image / channels, index % channels);
        start + channel * height * width + pixel
    };
    (0..values.len()).map(|index| values[place(index)]).collect()
}

/// Applies what ends a network to the logits that an executor computes.
fn ended(logits: Vec<f64>, ops: &[FinalOp], classes: usize) -> Vec<f64> {
    let log_softmax = |row: &[f64]| {
        let sum = row.iter().map(|logit| logit.exp()).sum::<f64>().ln();
        row.iter().map(|logit| logit - sum).collect::<Vec<f64>>()
    };
    ops.iter().fold(logits, |values, op| match op {
        FinalOp::Softmax => values.chunks_exact(classes).flat_map(log_softmax).map(f64::exp).collect(),
        FinalOp::LogSoftmax => values.chunks_exact(classes).flat_map(log_softmax).collect(),
        FinalOp::Sigmoid => values.into_iter().map(|logit| 1.0 / (1.0 + (-logit).exp())).collect(),
        FinalOp::ArgMax => {
            let greatest = |row: &[f64]| (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
            values.chunks_exact(classes).map(|row| greatest(row) as f64).collect()
        }
    })
}

/// Returns a reference's images.
fn images(reference: &SafeTensors<'_>) -> Images {
    let (shape, pixels) = values(reference, "images").unwrap();
    let (count, image, pixels) = match shape[..] {
        [count, height, width, channels @ 3] => (count, Shape { height, width, channels }, pixels),
        [count, channels, height, width] => {
            let image = Shape { height, width, channels };
            (count, image, channels_last(&pixels, image))
        }
        _ => panic!("{shape:?}"),
    };
    let Shape { height, width, channels } = image;
    Images { count, height, width, channels, values: pixels.into_iter().map(|value| value as f32).collect() }
}

/// Loss of a reference: Σ weight · output, or the mean cross entropy of labels.
struct Loss {
    batch: usize,
    weights: Vec<f64>,
    labels: Option<Vec<u32>>,
}

impl<T: Real> Objective<T> for Loss {
    fn check(&self, _: usize, _: usize) -> Result<(), ExecError> {
        Ok(())
    }

    fn loss_and_gradient(&self, image: usize, row: &mut [T]) -> f64 {
        if let Some(labels) = &self.labels {
            return labels.loss_and_gradient(image, row);
        }
        // An executor takes the mean over the images.
        let weights = &self.weights[image * row.len()..][..row.len()];
        let mut loss = 0.0;
        for (value, weight) in row.iter_mut().zip(weights) {
            loss += value.wide() * weight * self.batch as f64;
            *value = T::of(weight * self.batch as f64);
        }
        loss
    }
}

/// Returns the L2 distance of two lists relative to the second's norm, which counts as at least `floor`.
fn distance(found: &[f64], expected: &[f64], floor: f64) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    assert_eq!(found.len(), expected.len());
    norm(&mut found.iter().zip(expected).map(|(a, b)| a - b)) / norm(&mut expected.iter().copied()).max(floor)
}

/// Compares one executor's outputs and gradients with the reference; returns the largest distances of both. A gradient's norm
/// counts as at least `floor` of that of all gradients: some are 0 but for rounding.
fn compare<T: Real>(
    raw: &RawGraph<'_>,
    lowered: &Lowered,
    reference: &SafeTensors<'_>,
    floor: f64,
    make: impl Fn(&Network) -> Result<Box<dyn Executor<T>>, ExecError>,
) -> Result<[f64; 2], String> {
    let has_head = !lowered.network.is_headless();
    // A head of one class weights the output of a network without one.
    let network = &if has_head { lowered.network.clone() } else { lowered.network.with_classes(1) };
    let mut params = params::<T>(raw, lowered, network);
    let images = images(reference);
    let count = images.count;
    let in_order = |name: &str| {
        let (shape, output) = values(reference, name).unwrap();
        if shape.len() == 4 && (!has_head || network.head.is_dense()) {
            channels_last(&output, Shape { height: shape[2], width: shape[3], channels: shape[1] })
        } else {
            output
        }
    };
    let expected = in_order("output.0");
    let mut executor = make(network).map_err(|error| error.to_string())?;
    let output = if has_head { executor.logits(&params, &images) } else { executor.features(&params, &images) };
    let output = output.map_err(|error| error.to_string())?;
    let output: Vec<f64> = output.values.iter().map(|value| value.wide()).collect();
    let output = ended(output, &lowered.final_ops, network.head.classes);
    if output.len() != expected.len() {
        return Err(format!("{} outputs, expected {}", output.len(), expected.len()));
    }
    let off = distance(&output, &expected, 1e-9);
    if off.is_nan() || off > 1e-2 {
        return Err(format!("outputs: off by {off:e}"));
    }
    let has_gradients = reference.names().iter().any(|name| name.starts_with("gradient."));
    // The reference's loss is of what the final ops make of the logits.
    if !has_gradients || lowered.folded_norms > 0 || !lowered.final_ops.is_empty() {
        return Ok([off, 0.0]);
    }
    let labels = values(reference, "labels").map(|(_, labels)| labels.iter().map(|label| *label as u32).collect());
    let weights = if labels.is_none() { in_order("weight.0") } else { Vec::new() };
    // A head's bias that the file does not have has no reference, nor has a kernel that it computes.
    let is_in_file = |id: TensorId| has_head && lowered.sources[id.index()].tensor.is_some();
    let is_computed = |id: TensorId| lowered.sources[id.index()].constant.is_some();
    let trains = |id| {
        let role = network.tensor(id).role;
        role.is_trainable() && !is_computed(id) && (!role.is_head() || is_in_file(id))
    };
    let mut gradients = Params::zeros_where(network, trains);
    if has_head {
        let loss = Loss { batch: count, weights, labels };
        executor.gradient(&params, &images, &loss, &mut gradients).map_err(|error| error.to_string())?;
    } else {
        let mut part = gradients.clone();
        for (index, weights) in weights.chunks_exact(weights.len() / count).enumerate() {
            params.replace(network.head.weight, weights.iter().map(|weight| T::of(*weight)).collect());
            let image = Images { count: 1, values: images.image(index).to_vec(), ..images };
            let loss = Loss { batch: 1, weights: vec![1.0], labels: None };
            executor.gradient(&params, &image, &loss, &mut part).map_err(|error| error.to_string())?;
            for (sums, values) in gradients.buffers_mut().iter_mut().zip(part.buffers_mut()) {
                sums.iter_mut().zip(values).for_each(|(sum, value)| *sum = T::of(sum.wide() + value.wide()));
            }
        }
    }
    let worst = compare_gradients((network, &lowered.sources), &gradients, reference, floor)?;
    Ok([off, worst])
}

/// Compares the gradients of the trained tensors with the reference; returns the largest distance.
fn compare_gradients<T: Real>(
    (network, sources): (&Network, &[TensorSource]),
    gradients: &Params<T>,
    reference: &SafeTensors<'_>,
    floor: f64,
) -> Result<f64, String> {
    let expected: Vec<_> = network
        .tensors()
        .filter(|(id, _)| gradients.contains(*id))
        .map(|(id, spec)| (id, spec, values(reference, &format!("gradient.{}", spec.name))))
        .collect();
    let whole: f64 =
        expected.iter().flat_map(|(_, _, values)| values).flat_map(|(_, values)| values).map(|v| v * v).sum();
    let mut worst: f64 = 0.0;
    for (id, spec, expected) in expected {
        let Some((shape, expected)) = expected else { return Err(format!("no reference of `{}`", spec.name)) };
        let is_turned = sources[id.index()].is_turned;
        let expected = if is_turned { turned(&expected, &shape, groups_of(spec, &shape)) } else { expected };
        let found: Vec<f64> = gradients[id].iter().map(|value| value.wide()).collect();
        if found.len() != expected.len() {
            return Err(format!("`{}`: {} values, expected {}", spec.name, found.len(), expected.len()));
        }
        let distance = distance(&found, &expected, floor * whole.sqrt());
        if distance.is_nan() || distance > 1e-2 {
            return Err(format!("gradient of `{}`: off by {distance:e}", spec.name));
        }
        worst = worst.max(distance);
    }
    Ok(worst)
}

/// Returns the largest distances of outputs and gradients, in f64 and in f32, and how far gradients may be in f64.
fn distances(bytes: &[u8], reference: &SafeTensors<'_>, exact: f64) -> Result<([[f64; 2]; 2], f64), String> {
    let raw = graph::read(bytes, None).map_err(|error| error.to_string())?;
    let lowered = graph::lower(&raw).map_err(|error: GraphError| error.to_string())?;
    let wide = compare::<f64>(&raw, &lowered, reference, 1e-5, |network| {
        Ok(Box::new(Candle::<f64>::new(network, candle_core::Device::Cpu)))
    });
    let narrow = compare::<f32>(&raw, &lowered, reference, 1e-3, |network| {
        Ok(Box::new(Cpu::new(network, 2, Passes::default())?))
    });
    let distances =
        [wide.map_err(|problem| format!("f64: {problem}"))?, narrow.map_err(|problem| format!("f32: {problem}"))?];
    Ok((distances, gradient_tolerance(&lowered.network, exact)))
}

fn check(path: &Path) -> Result<(), String> {
    let name = path.file_name().unwrap().to_str().unwrap().split('.').next().unwrap().to_owned();
    let reference = unpacked(&path.with_file_name(format!("{name}.safetensors.gz")));
    let ([wide, narrow], gradients) = distances(&unpacked(path), &SafeTensors::deserialize(&reference).unwrap(), 1e-8)?;
    // The reference is rounded to 32 bits of fraction, and folded weights to f32.
    let is_folded = path.to_str().unwrap().contains(".folded.");
    let outputs = if is_folded { f64::from(f32::EPSILON) } else { 1e-8 };
    if wide[0] > outputs || wide[1] > gradients {
        return Err(format!("f64: outputs and gradients off by {wide:?}"));
    }
    if narrow[0] > 1e-5 || narrow[1] > 1e-4 {
        return Err(format!("f32: outputs and gradients off by {narrow:?}"));
    }
    Ok(())
}

/// Checks the files of an ending, each against the reference of its name, and that those of a list are refused.
fn check_all(ending: &str, refused: &[(&str, &str)]) {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.to_str().unwrap().ends_with(ending));
    paths.sort();
    let mut problems = Vec::new();
    let mut passed = 0;
    for path in &paths {
        let name = path.file_name().unwrap().to_str().unwrap().trim_end_matches(ending);
        let refused = refused.iter().find(|(network, _)| *network == name);
        match (check(path), refused) {
            (Ok(()), None) => passed += 1,
            (Err(problem), Some((_, op))) if problem.contains(op) => {}
            (Ok(()), Some(_)) => problems.push(format!("{name}: passes, but is in the list of those that are refused")),
            (Err(problem), _) => problems.push(format!("{name}: {problem}")),
        }
    }
    assert!(passed > 0 && problems.is_empty(), "{passed} of {} pass\n{}", paths.len(), problems.join("\n"));
}

/// Catches: a result that is taken for another one, a size that is not the one that was chosen.
#[test]
fn a_result_and_a_size_are_chosen() {
    let cases = [
        ("outputs", Some("0"), None),
        ("outputs", Some("1"), None),
        ("outputs_named", Some("fine"), None),
        ("outputs_named", Some("coarse"), None),
        ("dynamic_size", None, Some([5, 4])),
    ];
    for (name, output, size) in cases {
        let bytes = unpacked(&folder().join(format!("{name}.pt2.gz")));
        let reference = unpacked(&folder().join(format!("{name}.safetensors.gz")));
        let reference = SafeTensors::deserialize(&reference).unwrap();
        let raw = graph::read(&bytes, None).unwrap();
        let lowered = graph::lower_with(&raw, LowerOptions { output, size }).unwrap();
        let index = raw.outputs.iter().position(|end| Some(end.name.as_str()) == output).unwrap_or(0);
        let (shape, expected) = values(&reference, &format!("output.{index}")).unwrap();
        let expected = match shape[..] {
            [_, channels, height, width] => channels_last(&expected, Shape { height, width, channels }),
            _ => expected,
        };
        let found = outputs(&raw, &lowered, &reference);
        assert!(distance(&found, &expected, 1e-9) < 1e-8, "{name}, {output:?}");
    }
}

/// Returns the outputs of the f64 reference.
fn outputs(raw: &RawGraph<'_>, lowered: &Lowered, reference: &SafeTensors<'_>) -> Vec<f64> {
    let (network, images) = (&lowered.network, images(reference));
    let params = params::<f64>(raw, lowered, network);
    let mut executor = Candle::<f64>::new(network, candle_core::Device::Cpu);
    let outputs = if network.is_headless() {
        Executor::<f64>::features(&mut executor, &params, &images)
    } else {
        Executor::<f64>::logits(&mut executor, &params, &images)
    };
    outputs.unwrap().values
}

/// Catches: an op that is lowered to another one, an axis that is taken for another, a gradient that misses a part, an op that
/// is refused without its name.
#[test]
fn one_network_an_op_computes_what_pytorch_computes() {
    check_all(".pt2.gz", REFUSED);
}

/// Catches: the same in ONNX, as torch's exporter writes it when it folds nothing: shapes that are computed from the batch,
/// parameters behind transpositions, names that the export lost.
#[test]
fn one_network_an_op_in_onnx_computes_what_pytorch_computes() {
    check_all(".unfolded.onnx.gz", REFUSED_ONNX);
}

/// Catches: the same in ONNX of opset 11, whose ops have attributes in place of inputs, and are spelt out.
#[test]
fn one_network_an_op_in_onnx_of_opset_11_computes_what_pytorch_computes() {
    check_all(".opset11.onnx.gz", &[]);
}

/// Catches: a file whose norms are folded that computes something else, or is imported without a word of it.
#[test]
fn folded_networks_in_onnx_compute_the_same_outputs() {
    check_all(".folded.onnx.gz", &[]);
    for (name, convolutions) in [("classifier", 1), ("conv_norm", 1)] {
        let bytes = unpacked(&folder().join(format!("{name}.folded.onnx.gz")));
        let lowered = graph::lower(&graph::read(&bytes, None).unwrap()).unwrap();
        assert_eq!(lowered.folded_norms, convolutions, "{name}");
    }
}

/// Catches: a deployed classifier whose probabilities are taken for features, so that its head is lost.
#[test]
fn what_follows_the_logits_is_left_out() {
    for (name, ops) in [
        ("classifier_softmax.pt2", &[FinalOp::Softmax][..]),
        ("classifier_softmax.opset11.onnx", &[FinalOp::Softmax]),
        ("classifier_log_softmax.pt2", &[FinalOp::LogSoftmax]),
        ("classifier_log_softmax.unfolded.onnx", &[FinalOp::LogSoftmax]),
        ("classifier_sigmoid.pt2", &[FinalOp::Sigmoid]),
        ("classifier_argmax.pt2", &[FinalOp::Softmax, FinalOp::ArgMax]),
        ("classifier_argmax.unfolded.onnx", &[FinalOp::Softmax, FinalOp::ArgMax]),
    ] {
        let bytes = unpacked(&folder().join(format!("{name}.gz")));
        let lowered = graph::lower(&graph::read(&bytes, None).unwrap()).unwrap();
        assert_eq!((&lowered.final_ops[..], lowered.network.head.classes), (ops, 5), "{name}");
    }
}

/// Catches: a head that is lost because a norm or a GELU precedes it.
#[test]
fn a_head_may_follow_a_norm_or_a_function() {
    for name in ["classifier_behind_norm.pt2", "classifier_behind_norm.unfolded.onnx"] {
        let bytes = unpacked(&folder().join(format!("{name}.gz")));
        let network = graph::lower(&graph::read(&bytes, None).unwrap()).unwrap().network;
        assert_eq!((network.head.features, network.head.classes), (6, 4), "{name}");
    }
}

/// Compares the whole networks of the folder that `FIELDFIT_NETWORKS` names, as `tests/peers/coverage` exports them, by one of
/// their files.
fn check_whole(file: &str, gap: f64) {
    let folder = match std::env::var("FIELDFIT_NETWORKS") {
        Ok(folder) => folder,
        Err(error) => return fieldfit_tests::not_run("whole networks (FIELDFIT_NETWORKS)", &error),
    };
    let mut problems = Vec::new();
    let mut folders: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    for folder in folders.iter().filter(|folder| folder.join(file).exists() && folder.join("info.json").exists()) {
        let read = |name: &str| fs::read(folder.join(name)).unwrap();
        let (inputs, expected) = (read("inputs.safetensors"), read("expected.safetensors"));
        let parts = [&inputs, &expected].map(|bytes| SafeTensors::deserialize(bytes).unwrap());
        let all = parts.iter().flat_map(|part| part.tensors());
        let joined = safetensors::serialize(all, None::<std::collections::HashMap<String, String>>).unwrap();
        let name = folder.file_name().unwrap().display();
        match distances(&read(file), &SafeTensors::deserialize(&joined).unwrap(), gap) {
            Ok(([wide, narrow], gradients)) => {
                let [[a, b], [c, d]] = [wide, narrow];
                println!("{name}: f64 {a:.1e} {b:.1e}, f32 {c:.1e} {d:.1e} (outputs, gradients)");
                if wide[0] > gap || wide[1] > gradients || narrow[0] > 1e-4 || narrow[1] > 1e-3 {
                    problems.push(format!("{name}: f64 {a:e} {b:e}, f32 {c:e} {d:e}"));
                }
            }
            Err(problem) if problem.contains("not supported") => println!("{name}: refused: {problem}"),
            Err(problem) => problems.push(format!("{name}: {problem}")),
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Catches: what no network of one op shows: whole networks.
#[test]
fn whole_networks_compute_what_pytorch_computes() {
    check_whole("model.pt2", 1e-8);
}

/// Catches: the same in ONNX, whose constants and factors are rounded to f32.
#[test]
fn whole_networks_in_onnx_compute_what_pytorch_computes() {
    check_whole("model.onnx", 1e-7);
}

/// Whole networks that are refused, and what the error names.
const REFUSED_NETWORKS: &[(&str, &str)] = &[];

/// Catches: a network of the coverage suite that is no longer lowered, or that the CPU executor no longer plans.
#[test]
fn whole_networks_are_lowered() {
    let folder = match std::env::var("FIELDFIT_NETWORKS") {
        Ok(folder) => folder,
        Err(error) => return fieldfit_tests::not_run("whole networks (FIELDFIT_NETWORKS)", &error),
    };
    let mut folders: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let lower = |folder: &Path| {
        let bytes = fs::read(folder.join("model.pt2")).unwrap();
        let raw = graph::read(&bytes, None).map_err(|error| error.to_string())?;
        let lowered = graph::lower(&raw).map_err(|error| error.to_string())?;
        Cpu::new(&lowered.network, 1, Passes::default()).map_err(|error| error.to_string())?;
        Ok::<usize, String>(lowered.network.graph.nodes.len())
    };
    let mut problems = Vec::new();
    for folder in folders.iter().filter(|folder| folder.join("model.pt2").exists()) {
        let name = folder.file_name().unwrap().display().to_string();
        let refused = REFUSED_NETWORKS.iter().find(|(network, _)| *network == name);
        match (lower(folder), refused) {
            (Ok(nodes), None) => println!("{name}: {nodes} nodes"),
            (Err(problem), Some((_, op))) if problem.contains(op) => println!("{name}: refused: {problem}"),
            (Ok(_), Some(_)) => {
                problems.push(format!("{name}: is lowered, but is in the list of those that are refused"))
            }
            (Err(problem), _) => problems.push(format!("{name}: {problem}")),
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
