//! Network files as torch and onnx write them: `tests/data/networks`, made by `tests/peers/networks.py`, and whole networks
//! in the folder that the environment variable `FIELDFIT_NETWORKS` names.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't read its data has failed")]

mod support;

use fieldfit_model::import::graph::{
    self, Name, NetworkFile, RawArgument, RawDim, RawDtype, RawEnd, RawGraph, RawInt, RawNode, RawRange, RawSource,
    RawTensor, RawTensorKind, RawType,
};
use fieldfit_tests::{message, not_run};
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::PathBuf;
use support::networks::{fixture, initialiser, onnx, text};

fn read(bytes: &[u8]) -> RawGraph<'_> {
    graph::read(bytes, None).unwrap_or_else(|error| panic!("{}", message(&error)))
}

fn node<'g, 'a>(graph: &'g RawGraph<'a>, op: &str) -> &'g RawNode<'a> {
    graph.nodes.iter().find(|node| node.op.as_str() == op).unwrap_or_else(|| panic!("{op}"))
}

fn tensor<'g, 'a>(graph: &'g RawGraph<'a>, name: &str) -> &'g RawTensor<'a> {
    graph.tensors.iter().find(|tensor| tensor.name.as_str() == name).unwrap_or_else(|| panic!("{name}"))
}

fn f32s(graph: &RawGraph<'_>, name: &str) -> Vec<f32> {
    let tensor = tensor(graph, name);
    assert_eq!(tensor.dtype, RawDtype::F32, "{name}");
    graph.values(tensor).as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn i64s(graph: &RawGraph<'_>, name: &str) -> Vec<i64> {
    let tensor = tensor(graph, name);
    assert_eq!(tensor.dtype, RawDtype::I64, "{name}");
    graph.values(tensor).as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()
}

fn value(name: &str) -> RawArgument<'_> {
    RawArgument::Value(name.into())
}

fn end(name: &str) -> RawEnd<'_> {
    RawEnd { name: name.into(), value: value(name) }
}

fn path<'g>(node: &'g RawNode<'_>) -> Option<&'g str> {
    node.path.as_ref().map(Name::as_str)
}

fn shape<'g, 'a>(graph: &'g RawGraph<'a>, value: &str) -> &'g [RawDim<'a>] {
    match &graph.types[value] {
        RawType::Tensor { shape: Some(shape), .. } => shape,
        other => panic!("{value}: {other:?}"),
    }
}

fn counts(expected: &[(&str, usize)]) -> BTreeMap<String, usize> {
    expected.iter().map(|(op, count)| (format!("torch.ops.aten.{op}"), *count)).collect()
}

/// Catches: a node of an inner graph that is lost, one too many, or a version of the file that is misread.
#[test]
fn exported_program_has_the_nodes_of_its_inner_graphs() {
    let bytes = fixture("micro.pt2");
    let graph = read(&bytes);
    let expected = [
        ("batch_norm.default", 1),
        ("cat.default", 1),
        ("chunk.default", 1),
        ("conv2d.default", 1),
        ("detach_.default", 1),
        ("index.Tensor", 1),
        ("lift_fresh_copy.default", 1),
        ("linear.default", 1),
        ("mean.dim", 1),
        ("mul.Tensor", 1),
        ("relu_.default", 2),
        ("slice.Tensor", 1),
    ];
    assert_eq!(graph.op_counts(), counts(&expected));
    let RawSource::Pt2 { torch, schema, opsets } = &graph.source else { panic!("{:?}", graph.source) };
    assert_eq!((torch.as_str(), *schema, opsets["aten"]), ("2.15.0+cu132", [8, 20], 10));
}

/// Catches: an inner graph whose inputs or outputs are joined to the wrong values of the graph around it.
#[test]
fn inner_graphs_are_joined_to_the_graph_around_them() {
    let bytes = fixture("micro.pt2");
    let graph = read(&bytes);
    assert_eq!(
        (graph.inputs.as_slice(), graph.outputs.as_slice()),
        ([end("x")].as_slice(), [end("linear")].as_slice())
    );
    assert_eq!(node(&graph, "torch.ops.aten.mean.dim").at(0), Some(&value("relu_")));
    let product = node(&graph, "torch.ops.aten.mul.Tensor").outputs[0].clone().unwrap();
    assert_eq!(product.as_str(), "graph1/mul");
    assert_eq!(node(&graph, "torch.ops.aten.slice.Tensor").at(0), Some(&RawArgument::Value(product)));
    let activated = graph.nodes.iter().rfind(|node| node.op.as_str() == "torch.ops.aten.relu_.default").unwrap();
    let activated = activated.outputs[0].clone().unwrap();
    assert_eq!(node(&graph, "torch.ops.aten.chunk.default").at(0), Some(&RawArgument::Value(activated)));
    let mut defined: Vec<&str> =
        graph.nodes.iter().flat_map(|node| &node.outputs).flatten().map(Name::as_str).collect();
    defined.sort_unstable();
    defined.dedup();
    assert_eq!(defined.len(), graph.nodes.iter().map(|node| node.outputs.len()).sum::<usize>());
}

/// Catches: an argument of another kind than the file has, an output or a module path that is lost.
#[test]
fn exported_arguments_keep_their_kinds() {
    let bytes = fixture("micro.pt2");
    let graph = read(&bytes);
    let conv = node(&graph, "torch.ops.aten.conv2d.default");
    assert_eq!(conv.named("weight"), Some(&value("p_stages_0_conv_weight")));
    assert_eq!(conv.named("bias"), Some(&RawArgument::None));
    assert_eq!(conv.named("padding"), Some(&RawArgument::Ints(vec![1, 1])));
    assert_eq!(path(conv), Some("stages.0.conv"));
    let norm = node(&graph, "torch.ops.aten.batch_norm.default");
    assert_eq!(norm.named("training"), Some(&RawArgument::Bool(false)));
    assert_eq!(norm.named("eps"), Some(&RawArgument::Float(1e-5)));
    let index = node(&graph, "torch.ops.aten.index.Tensor");
    assert_eq!(index.named("indices"), Some(&RawArgument::Values(vec![None, Some("b_order".into())])));
    let chunk = node(&graph, "torch.ops.aten.chunk.default");
    let parts = ["getitem_2", "getitem_3"].map(|name| Some(Name::from(name)));
    assert_eq!((chunk.named("dim"), chunk.outputs.as_slice()), (Some(&RawArgument::Int(1)), parts.as_slice()));
    let joined = RawArgument::Values(vec![parts[1].clone(), parts[0].clone()]);
    assert_eq!(node(&graph, "torch.ops.aten.cat.default").named("tensors"), Some(&joined));
    assert_eq!(path(chunk), None);
    let second = graph.nodes.iter().rfind(|node| node.op.as_str() == "torch.ops.aten.relu_.default").unwrap();
    assert_eq!(path(second), Some("stages.0.act"));
}

/// Catches: a tensor under another name, of another kind, or with values in the order of its memory rather than of its axes.
#[test]
fn exported_tensors_have_their_values_and_names() {
    let bytes = fixture("micro.pt2");
    let graph = read(&bytes);
    let kinds: Vec<_> = graph.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.kind)).collect();
    let expected = [
        ("stages.0.conv.weight", RawTensorKind::Parameter),
        ("stages.0.norm.weight", RawTensorKind::Parameter),
        ("stages.0.norm.bias", RawTensorKind::Parameter),
        ("head.weight", RawTensorKind::Parameter),
        ("head.bias", RawTensorKind::Parameter),
        ("order", RawTensorKind::Buffer),
        ("stages.0.norm.running_mean", RawTensorKind::Buffer),
        ("stages.0.norm.running_var", RawTensorKind::Buffer),
        ("stages.0.norm.num_batches_tracked", RawTensorKind::Buffer),
        ("lifted_tensor_0", RawTensorKind::Constant),
    ];
    assert_eq!(kinds, expected);
    let conv = tensor(&graph, "stages.0.conv.weight");
    assert_eq!((conv.shape.as_slice(), conv.is_contiguous()), ([4, 3, 3, 3].as_slice(), false));
    assert_eq!(f32s(&graph, "stages.0.conv.weight"), (0..108).map(|value| value as f32).collect::<Vec<_>>());
    assert_eq!(f32s(&graph, "head.weight"), (0..8).map(|value| value as f32).collect::<Vec<_>>());
    assert_eq!(i64s(&graph, "order"), [3, 2, 1, 0]);
    assert_eq!(f32s(&graph, "lifted_tensor_0"), [1.0, 2.0, 3.0, 4.0]);
}

/// Catches: a tensor of the mapped file that is copied, or one that does not lie where torch aligned it.
#[test]
fn exported_tensors_are_lent_from_the_file() {
    let bytes = fixture("micro.pt2");
    let graph = read(&bytes);
    for tensor in graph.tensors.iter().filter(|tensor| tensor.is_contiguous()) {
        let values = graph.values(tensor);
        let offset = values.as_ptr().addr().checked_sub(bytes.as_ptr().addr());
        let is_inside = offset.is_some_and(|offset| offset + values.len() <= bytes.len());
        assert!(is_inside && offset.unwrap().is_multiple_of(64), "{}", tensor.name);
    }
}

/// Catches: inputs beside the image that are lost, a dynamic size that is taken for a fixed one, or a range of another symbol.
#[test]
fn dynamic_sizes_are_symbols_with_ranges() {
    let bytes = fixture("sizes.pt2");
    let graph = read(&bytes);
    let flat = RawEnd { name: "is_flat".into(), value: RawArgument::Bool(true) };
    assert_eq!(graph.inputs, [end("image"), end("mask"), end("count"), flat]);
    let [RawDim::Symbol(batch), RawDim::Fixed(3), RawDim::Symbol(height), RawDim::Symbol(width)] =
        shape(&graph, "image")
    else {
        panic!("{:?}", graph.types["image"])
    };
    assert!(batch != height && height != width && batch != width);
    assert_eq!(graph.ranges[batch], RawRange { min: Some(2), max: None });
    assert_eq!(graph.types["sym_size_int_4"], RawType::Int(RawDim::Symbol(height.clone())));
    assert!(matches!(shape(&graph, "flatten"), [_, RawDim::Fixed(3), RawDim::Expression(_)]));
    let pad = node(&graph, "torch.ops.aten.pad.default");
    let sizes = vec![RawInt::Constant(0), RawInt::Value("sym_size_int_4".into())];
    assert_eq!(pad.named("pad"), Some(&RawArgument::SymbolicInts(sizes)));
    assert_eq!(pad.named("value"), Some(&RawArgument::Float(f64::NEG_INFINITY)));
    let names: Vec<_> = graph.outputs.iter().map(|output| output.name.as_str()).collect();
    assert_eq!(names, ["tokens", "sum"]);
}

/// Catches: a parameter of an unfolded ONNX file that is renamed or lost, or the module path of either of torch's exporters.
#[test]
fn onnx_of_both_exporters_keeps_names_and_paths() {
    for (name, input, output, op_path) in
        [("dynamo.onnx", "x", "linear", "stages.0.act"), ("torchscript.onnx", "image", "logits", "stages.0.act")]
    {
        let bytes = fixture(name);
        let graph = read(&bytes);
        assert_eq!(
            (graph.inputs.as_slice(), graph.outputs.as_slice()),
            ([end(input)].as_slice(), [end(output)].as_slice())
        );
        assert_eq!(shape(&graph, input)[0], RawDim::Symbol("batch".into()), "{name}");
        assert_eq!(f32s(&graph, "stages.0.conv.weight"), (0..108).map(|value| value as f32).collect::<Vec<_>>());
        assert_eq!(tensor(&graph, "head.weight").shape, [2, 4]);
        assert_eq!(path(node(&graph, "Relu")), Some(op_path), "{name}");
        assert_eq!(path(node(&graph, "Conv")), Some("stages.0.conv"), "{name}");
        assert_eq!(node(&graph, "Conv").named("pads"), Some(&RawArgument::Ints(vec![1, 1, 1, 1])));
        assert_eq!(path(node(&graph, "Mul")), None, "{name}");
        let ops = graph.op_counts();
        assert_eq!((ops["Conv"], ops["Relu"], ops["Gemm"], ops.get("Constant")), (1, 2, 1, None), "{name}");
    }
}

/// Catches: values of a type that are read from the wrong field, in the wrong size or in two's complement where they have none.
#[test]
fn onnx_tensors_are_read_from_every_field() {
    let bytes = fixture("kinds.onnx");
    let graph = read(&bytes);
    let floats = [0.0, 0.5, -1.5];
    for name in ["float", "float-raw", "value_floats"] {
        assert_eq!(f32s(&graph, name), floats, "{name}");
    }
    assert_eq!((f32s(&graph, "value_float"), f32s(&graph, "value")), (vec![0.5], vec![0.25]));
    assert_eq!(i64s(&graph, "int64"), [0, -1, i64::MAX]);
    assert_eq!(
        (i64s(&graph, "value_int"), i64s(&graph, "value_ints"), i64s(&graph, "scalar")),
        (vec![7], vec![1, 2], vec![7])
    );
    let raw = |name: &str| (tensor(&graph, name).dtype, graph.values(tensor(&graph, name)).into_owned());
    assert_eq!(raw("double"), (RawDtype::F64, [0.0_f64, 0.5, -1.5].map(f64::to_le_bytes).concat()));
    assert_eq!(raw("half"), (RawDtype::F16, [0_u16, 0x3800, 0xbe00].map(u16::to_le_bytes).concat()));
    assert_eq!(raw("bfloat"), (RawDtype::Bf16, [0_u16, 0x3f00, 0xbfc0].map(u16::to_le_bytes).concat()));
    assert_eq!(raw("int8"), (RawDtype::I8, vec![0, 255, 127]));
    assert_eq!(raw("uint8"), (RawDtype::U8, vec![0, 1, 255]));
    assert_eq!(raw("bool"), (RawDtype::Bool, vec![1, 0, 1]));
    assert_eq!(raw("int32"), (RawDtype::I32, [0, -1, i32::MAX].map(i32::to_le_bytes).concat()));
    assert_eq!(raw("uint64"), (RawDtype::U64, [0, 1, u64::MAX].map(u64::to_le_bytes).concat()));
    assert_eq!(
        (tensor(&graph, "empty").shape.as_slice(), tensor(&graph, "empty").is_empty()),
        ([0, 3].as_slice(), true)
    );
}

/// Catches: an attribute, a left-out input or output, another domain's op or an inner graph that is lost or misread; and an
/// initialiser that is taken for an input, which versions of the format before 4 list among these.
#[test]
fn onnx_nodes_keep_their_arguments() {
    let bytes = fixture("kinds.onnx");
    let graph = read(&bytes);
    assert_eq!(graph.inputs, [end("image")]);
    let batch = RawDim::Symbol("batch".into());
    assert_eq!(shape(&graph, "image"), [batch, RawDim::Fixed(3), RawDim::Unknown, RawDim::Fixed(8)]);
    let resize = node(&graph, "Resize");
    assert_eq!((resize.at(0), resize.at(1)), (Some(&value("image")), Some(&RawArgument::None)));
    assert_eq!(resize.named("mode"), Some(&RawArgument::Text("nearest".into())));
    assert_eq!(resize.named("axes"), Some(&RawArgument::Ints(vec![2, 3])));
    assert_eq!(resize.named("antialias"), Some(&RawArgument::Int(0)));
    assert_eq!(node(&graph, "Dropout").outputs, [None, Some("mask".into())]);
    let Some(RawArgument::Tensor(filler)) = node(&graph, "ConstantOfShape").named("value") else { panic!() };
    assert_eq!(*graph.values(&graph.tensors[*filler]), 1_f32.to_le_bytes());
    assert_eq!(node(&graph, "If").named("then_branch"), Some(&RawArgument::Subgraph));
    let fused = node(&graph, "FusedConv");
    assert_eq!((fused.domain.as_str(), fused.named("alpha")), ("com.microsoft", Some(&RawArgument::Float(0.5))));
    assert_eq!(fused.named("empty"), Some(&RawArgument::Ints(Vec::new())));
    assert_eq!(graph.op_counts()["com.microsoft::FusedConv"], 1);
}

/// Catches: external values that are read from another place of their file, or a file that is mapped for each of its tensors.
#[test]
fn onnx_values_may_be_in_files_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let values: Vec<u8> = (0..10_u8).flat_map(|value| f32::from(value).to_le_bytes()).collect();
    fs::create_dir(folder.path().join("data")).unwrap();
    fs::write(folder.path().join("data/weights"), &values).unwrap();
    let external = |key: &str, value: &str| support::networks::message(13, &[&text(1, key), &text(2, value)]);
    let location = [external("location", "data/weights"), support::networks::number(14, 1)].concat();
    let whole = initialiser("whole", 1, &[2, 5], &[&location]);
    let part = initialiser("part", 1, &[3], &[&location, &external("offset", "8"), &external("length", "12")]);
    let path = folder.path().join("model.onnx");
    fs::write(&path, onnx(18, &[&whole, &part])).unwrap();
    let file = NetworkFile::open(&path).unwrap();
    let graph = file.read().unwrap_or_else(|error| panic!("{}", message(&error)));
    assert_eq!(f32s(&graph, "whole"), (0..10).map(|value| value as f32).collect::<Vec<_>>());
    assert_eq!(f32s(&graph, "part"), [2.0, 3.0, 4.0]);
    assert_eq!(graph.external.len(), 1);
}

/// The network of that name in the folder of networks; `None`, said loudly, without one.
fn network(test: &str, name: &str) -> Option<NetworkFile> {
    let folder = env::var_os("FIELDFIT_NETWORKS").map(PathBuf::from);
    let path = folder.map(|folder| folder.join(name)).filter(|path| path.exists());
    match path {
        Some(path) => Some(NetworkFile::open(&path).unwrap()),
        None => {
            not_run(test, &std::io::Error::other(format!("FIELDFIT_NETWORKS names no folder with {name}")));
            None
        }
    }
}

/// Catches: a segmentation network of torch 2.15 that isn't read as torch has it: ops, parameters, dynamic batch.
#[test]
fn espnet_is_read() {
    let Some(file) = network("espnet_is_read", "espnetv2-city-352x480.pt2") else { return };
    let graph = file.read().unwrap();
    let expected = [
        ("adaptive_avg_pool2d.default", 19),
        ("add.Tensor", 55),
        ("avg_pool2d.default", 12),
        ("batch_norm.default", 67),
        ("cat.default", 20),
        ("contiguous.default", 4),
        ("conv2d.default", 123),
        ("mul.Tensor", 3),
        ("prelu.default", 64),
        ("sigmoid.default", 3),
        ("sym_size.int", 1),
        ("transpose.int", 4),
        ("upsample_bilinear2d.vec", 20),
        ("view.default", 8),
    ];
    assert_eq!(graph.op_counts(), counts(&expected));
    let count = |kind| graph.tensors.iter().filter(|tensor| tensor.kind == kind).count();
    assert_eq!((count(RawTensorKind::Parameter), count(RawTensorKind::Buffer)), (325, 201));
    assert_eq!(tensor(&graph, "base_net.level1.conv.weight").shape, [32, 3, 3, 3]);
    assert_eq!(shape(&graph, "x")[1..], [3, 352, 480].map(RawDim::Fixed));
    assert!(matches!(&shape(&graph, "x")[0], RawDim::Symbol(batch) if graph.ranges[batch].min == Some(2)));
    assert_eq!(path(node(&graph, "torch.ops.aten.conv2d.default")), Some("base_net.level1.conv"));
}

/// Catches: a detector of torch 1.11's exporter, opset 11, folded, that isn't read as onnx has it.
#[test]
fn fastestdet_is_read() {
    let Some(file) = network("fastestdet_is_read", "fastestdet.onnx") else { return };
    let graph = file.read().unwrap();
    let ops = graph.op_counts();
    let of = |names: &[&str]| names.iter().map(|name| ops[*name]).collect::<Vec<_>>();
    assert_eq!(of(&["Conv", "Relu", "Reshape", "Gather", "Concat", "Transpose"]), [70, 48, 26, 26, 19, 15]);
    assert_eq!(of(&["MaxPool", "Resize", "Pad", "AveragePool", "Add", "Sigmoid", "Softmax"]), [1; 7]);
    assert_eq!((graph.nodes.len(), graph.inputs.as_slice()), (211, [end("input.1")].as_slice()));
    assert_eq!(shape(&graph, "758"), [1, 85, 22, 22].map(RawDim::Fixed));
    assert_eq!(tensor(&graph, "onnx::Conv_760").shape, [24, 3, 3, 3]);
}
