//! Invalid network files: each is refused with what is wrong and where; none panics, whatever was cut or
//! altered in it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't prepare its files has failed")]

mod support;

use fieldfit_model::import::CheckpointError;
use fieldfit_model::import::graph::{
    self, ExternalProblem, GraphError, NetworkFile, NodeProblem, TensorProblem, WireProblem,
};
use fieldfit_tests::message as shown;
use serde_json::{Value, json};
use std::fs;
use support::networks::{Files, fixture, initialiser, message, node, number, onnx, pack, text, unpack};
use zip::CompressionMethod;

fn refused(bytes: &[u8]) -> GraphError {
    match graph::read(bytes, None) {
        Ok(graph) => panic!("{:?}", graph.op_counts()),
        Err(error) => {
            assert!(!shown(&error).is_empty());
            error
        }
    }
}

fn tensor_problem(bytes: &[u8]) -> TensorProblem {
    match refused(bytes) {
        GraphError::Tensor { problem, .. } => problem,
        other => panic!("{other:?}"),
    }
}

fn node_problem(bytes: &[u8]) -> NodeProblem {
    match refused(bytes) {
        GraphError::Node { problem, .. } => problem,
        other => panic!("{other:?}"),
    }
}

const PROGRAM: &str = "models/model.json";
const WEIGHTS: &str = "data/weights/model_weights_config.json";

/// The archive `micro.pt2` after an edit of its files.
fn edited(edit: impl FnOnce(&mut Files)) -> Vec<u8> {
    let mut files = unpack(&fixture("micro.pt2"));
    edit(&mut files);
    pack(&files, CompressionMethod::Stored)
}

fn file<'f>(files: &'f mut [(String, Vec<u8>)], name: &str) -> &'f mut Vec<u8> {
    &mut files.iter_mut().find(|(path, _)| path.split_once('/').is_some_and(|(_, path)| path == name)).unwrap().1
}

/// The same after an edit of a JSON file.
fn edited_json(name: &str, edit: impl FnOnce(&mut Value)) -> Vec<u8> {
    edited(|files| {
        let contents = file(files, name);
        let mut json = serde_json::from_slice(contents).unwrap();
        edit(&mut json);
        *contents = serde_json::to_vec(&json).unwrap();
    })
}

fn edited_program(edit: impl FnOnce(&mut Value)) -> Vec<u8> {
    edited_json(PROGRAM, edit)
}

/// The same after an edit of what the list of weights says of the head's weight.
fn edited_weight(edit: impl FnOnce(&mut Value)) -> Vec<u8> {
    edited_json(WEIGHTS, |json| edit(&mut json["config"]["head.weight"]))
}

/// Catches: a file of another kind that is taken for a network, or refused without a word of what it is.
#[test]
fn other_files_are_told_apart() {
    assert!(matches!(refused(b""), GraphError::Empty));
    assert!(matches!(refused(b"hello, world"), GraphError::Format));
    assert!(matches!(refused(b"{\"a\": [1, 2]}"), GraphError::Format));
    assert!(matches!(refused(b"\x10\0\0\0\0\0\0\0{\"a\": [1, 2]}   "), GraphError::WeightsAlone));
    let lfs = b"version https://git-lfs.github.com/spec/v1";
    assert!(matches!(refused(lfs), GraphError::Archive(CheckpointError::LfsPointer)));
    let zip = |name: &str| pack(&[(name.to_owned(), b"x".to_vec())], CompressionMethod::Stored);
    assert!(matches!(refused(&zip("net/data.pkl")), GraphError::WeightsAlone));
    assert!(matches!(refused(&zip("serialized_exported_program.json")), GraphError::Earlier));
    assert!(matches!(refused(&zip("net/code/net.py")), GraphError::Archive(CheckpointError::Program(_))));
    assert!(matches!(refused(&zip("photo.jpg")), GraphError::Format));
}

/// Catches: an archive of another version or byte order that is read as if it were of this one, or one of several programs.
#[test]
fn other_archives_are_refused() {
    let version = |name: &str, value: &str| refused(&edited(|files| *file(files, name) = value.into()));
    assert!(matches!(version("archive_format", "other"), GraphError::Format));
    assert!(matches!(version("archive_version", "1"), GraphError::ArchiveVersion { found, .. } if found == "1"));
    assert!(matches!(version("byteorder", "big"), GraphError::Archive(CheckpointError::BigEndian)));
    let none = edited(|files| files.retain(|(name, _)| !name.ends_with(PROGRAM)));
    assert!(matches!(refused(&none), GraphError::Programs { found: 0 }));
    let two = edited(|files| files.push(("archive/models/other.json".to_owned(), b"{}".to_vec())));
    assert!(matches!(refused(&two), GraphError::Programs { found: 2 }));
    let pickled = edited(|files| {
        files.retain(|(name, _)| !name.contains("data/weights"));
        files.push(("archive/data/weights/model.pt".to_owned(), b"PK".to_vec()));
    });
    assert!(matches!(refused(&pickled), GraphError::Earlier));
    let deflated = pack(&unpack(&fixture("micro.pt2")), CompressionMethod::Deflated);
    assert!(matches!(refused(&deflated), GraphError::Archive(CheckpointError::EntryDeflated { .. })));
}

/// Catches: a program of another schema that is read as if it were of this one, or invalid JSON without its place.
#[test]
fn other_programs_are_refused() {
    let schema = refused(&edited_program(|json| json["schema_version"]["major"] = 9.into()));
    assert!(matches!(&schema, GraphError::Schema { expected: 8, found: [9, 20], torch } if torch == "2.15.0+cu132"));
    let cut = edited(|files| file(files, PROGRAM).truncate(1000));
    assert!(matches!(refused(&cut), GraphError::Json { entry, .. } if entry == PROGRAM));
    let unknown = refused(&edited_program(|json| {
        json["graph_module"]["graph"]["nodes"][0]["inputs"][0]["arg"] = json!({"as_hologram": "\u{1b}[2J"});
    }));
    assert!(shown(&unknown).contains("as_hologram") && !shown(&unknown).contains('\u{1b}'), "{unknown}");
    let inputs = refused(&edited_program(|json| {
        json["graph_module"]["signature"]["input_specs"].as_array_mut().unwrap().pop();
    }));
    assert!(matches!(inputs, GraphError::Contradiction { .. }));
}

/// Catches: a stored tensor that is read beyond its file, as another type or shape than the graph has, or although it is no
/// plain tensor.
#[test]
fn stored_tensors_are_checked() {
    let meta = |key: &str, value: Value| tensor_problem(&edited_weight(|weight| weight["tensor_meta"][key] = value));
    assert_eq!(tensor_problem(&edited_weight(|weight| weight["use_pickle"] = true.into())), TensorProblem::Pickled);
    assert_eq!(meta("layout", 1.into()), TensorProblem::Layout { found: 1 });
    assert_eq!(meta("dtype", 8.into()), TensorProblem::Contradiction);
    assert_eq!(meta("sizes", json!([{"as_int": 4}, {"as_int": 2}])), TensorProblem::Contradiction);
    assert_eq!(meta("sizes", json!([{"as_int": -2}, {"as_int": 4}])), TensorProblem::Symbolic);
    assert_eq!(meta("sizes", json!([{"as_expr": {"expr_str": "s0"}}])), TensorProblem::Symbolic);
    assert!(matches!(meta("storage_offset", json!({"as_int": 1})), TensorProblem::Outside { storage: 8, .. }));
    assert!(matches!(meta("strides", json!([{"as_int": 0}, {"as_int": 1}])), TensorProblem::Overlapping { .. }));
    assert!(matches!(meta("strides", json!([{"as_int": 1}])), TensorProblem::Outside { .. }));
    assert!(matches!(
        meta("strides", json!([{"as_int": i64::MAX}, {"as_int": i64::MAX}])),
        TensorProblem::Outside { .. }
    ));
    for path in ["../constants/tensor_0", "missing"] {
        let problem = tensor_problem(&edited_weight(|weight| weight["path_name"] = path.into()));
        assert!(matches!(problem, TensorProblem::Path(_) | TensorProblem::Missing), "{path}");
    }
    let lost = edited_json(WEIGHTS, |json| drop(json["config"].as_object_mut().unwrap().remove("head.weight")));
    assert_eq!(tensor_problem(&lost), TensorProblem::Missing);
    let both = |value: i64| {
        edited(|files| {
            for name in [PROGRAM, WEIGHTS] {
                let mut json: Value = serde_json::from_slice(file(files, name)).unwrap();
                let meta = if name == PROGRAM {
                    &mut json["graph_module"]["graph"]["tensor_values"]["p_head_weight"]
                } else {
                    &mut json["config"]["head.weight"]["tensor_meta"]
                };
                meta["dtype"] = value.into();
                *file(files, name) = serde_json::to_vec(&json).unwrap();
            }
        })
    };
    assert_eq!(tensor_problem(&both(10)), TensorProblem::Dtype { found: "complex64" });
    assert!(matches!(tensor_problem(&both(8)), TensorProblem::Outside { storage: 4, .. }));
}

/// Catches: batch norms in training, control flow, lower precision or a training graph that are imported as a plain network.
#[test]
fn programs_that_are_no_plain_networks_are_refused() {
    let training = refused(&fixture("training.pt2"));
    assert!(matches!(&training, GraphError::Mutation { what: "buffer", name } if name == "norm.num_batches_tracked"));
    assert!(shown(&training).contains("model.eval()"));
    assert_eq!(node_problem(&fixture("condition.pt2")), NodeProblem::ControlFlow);
    assert_eq!(node_problem(&fixture("autocast.pt2")), NodeProblem::Autocast);
    let output =
        |spec: Value| refused(&edited_program(|json| json["graph_module"]["signature"]["output_specs"][0] = spec));
    let named = json!({"name": "linear"});
    let mutation = output(json!({"buffer_mutation": {"arg": named, "buffer_name": "norm.running_mean"}}));
    assert!(matches!(mutation, GraphError::Mutation { what: "buffer", .. }));
    assert!(matches!(output(json!({"loss_output": {"arg": named}})), GraphError::Output { .. }));
    let object = refused(&edited_program(|json| {
        json["graph_module"]["signature"]["input_specs"][0] = json!({"custom_obj": {"arg": named}});
    }));
    assert!(matches!(object, GraphError::Input { .. }));
}

/// Catches: an inner graph that is joined to other values than the node gives it, because one of both lists is longer.
#[test]
fn inner_graphs_must_fit_their_nodes() {
    let wrapper = |edit: fn(&mut Value)| {
        node_problem(&edited_program(|json| {
            let nodes = json["graph_module"]["graph"]["nodes"].as_array_mut().unwrap();
            let grad = |node: &&mut Value| node["target"].as_str().unwrap().ends_with("wrap_with_set_grad_enabled");
            edit(nodes.iter_mut().find(grad).unwrap());
        }))
    };
    assert_eq!(wrapper(|node| drop(node["inputs"].as_array_mut().unwrap().pop())), NodeProblem::Wrapper);
    assert_eq!(wrapper(|node| drop(node["outputs"].as_array_mut().unwrap().pop())), NodeProblem::Wrapper);
    assert_eq!(wrapper(|node| node["outputs"][0] = json!({"as_none": true})), NodeProblem::Wrapper);
    assert_eq!(wrapper(|node| node["target"] = "torch.ops.higher_order.scan".into()), NodeProblem::ControlFlow);
}

/// Catches: an opset that is too old or too new read as if it were another, and a model without a graph or with two.
#[test]
fn other_models_are_refused() {
    for (bytes, found) in [(onnx(10, &[]), Some(10)), (onnx(29, &[]), Some(29)), (onnx(-1, &[]), Some(-1))] {
        let error = refused(&bytes);
        assert!(matches!(error, GraphError::Opset { least: 11, found: version, .. } if version == found), "{error}");
    }
    let graph = message(7, &[]);
    assert!(matches!(refused(&[number(1, 8), graph.clone()].concat()), GraphError::Opset { found: None, .. }));
    assert!(matches!(refused(&[number(1, 8), message(8, &[&number(2, 18)])].concat()), GraphError::NoGraph));
    let second = refused(&[onnx(18, &[]), graph].concat());
    assert!(matches!(second, GraphError::Wire { problem: WireProblem::SecondGraph, .. }));
    let function = message(25, &[&text(1, "Block"), &text(10, "local")]);
    let call = onnx(18, &[&node("Block", &["x"], &["y"], &[&text(7, "local")])]);
    assert_eq!(node_problem(&[call, function].concat()), NodeProblem::Function);
}

/// Catches: values of another number than the shape has, in two fields at once, of a type that isn't theirs, or none.
#[test]
fn initialisers_are_checked() {
    let problem = |dtype, shape: &[i64], fields: &[&[u8]]| {
        tensor_problem(&onnx(18, &[&initialiser("weight", dtype, shape, fields)]))
    };
    let raw = message(9, &[&[0; 8]]);
    assert_eq!(problem(1, &[3], &[&raw]), TensorProblem::Length { expected: 12, found: 8 });
    assert_eq!(problem(1, &[i64::MAX, 2], &[&raw]), TensorProblem::Shape { shape: vec![i64::MAX as usize, 2] });
    assert_eq!(problem(1, &[2], &[]), TensorProblem::Length { expected: 8, found: 0 });
    assert_eq!(problem(1, &[-2], &[&raw]), TensorProblem::Symbolic);
    assert_eq!(problem(1, &[1; 65], &[&raw]), TensorProblem::Rank { found: 65, limit: 64 });
    assert_eq!(problem(0, &[8], &[&raw]), TensorProblem::Dtype { found: "an unknown type" });
    assert_eq!(problem(8, &[1], &[&text(6, "cat")]), TensorProblem::Dtype { found: "text" });
    let floats = message(4, &[&[0; 8]]);
    assert_eq!(problem(1, &[2], &[&raw, &floats]), TensorProblem::Twice("raw_data", "float_data"));
    assert_eq!(problem(11, &[1], &[&floats]), TensorProblem::Dtype { found: "float64" });
    assert_eq!(problem(3, &[1], &[&number(5, 128)]), TensorProblem::Value { value: 128, dtype: "int8" });
    assert_eq!(problem(9, &[1], &[&number(5, 2)]), TensorProblem::Value { value: 2, dtype: "bool" });
    assert_eq!(problem(1, &[1], &[&number(7, 2)]), TensorProblem::Dtype { found: "float32" });
    assert_eq!(problem(1, &[2], &[&message(3, &[]), &raw]), TensorProblem::Segment);
    assert_eq!(tensor_problem(&onnx(18, &[&message(15, &[])])), TensorProblem::Sparse);
}

/// Catches: a constant without a value that is left out of the graph, and an attribute that nobody sets.
#[test]
fn attributes_are_checked() {
    let attribute = |fields: &[&[u8]]| message(5, &[&[text(1, "value").as_slice()], fields].concat());
    let constant = |outputs: &[&str], fields: &[&[u8]]| onnx(18, &[&node("Constant", &[], outputs, fields)]);
    let float = attribute(&[&message(5, &[&number(2, 1), &message(4, &[&[0; 4]])])]);
    assert!(graph::read(&constant(&["c"], &[&float]), None).is_ok());
    assert_eq!(node_problem(&constant(&["c"], &[])), NodeProblem::Constant);
    assert_eq!(node_problem(&constant(&["c", "d"], &[&float])), NodeProblem::Constant);
    assert_eq!(node_problem(&constant(&["c"], &[&float, &float])), NodeProblem::Constant);
    assert_eq!(node_problem(&constant(&["c"], &[&attribute(&[&text(4, "text")])])), NodeProblem::Constant);
    let relu = |attribute: &[u8]| onnx(18, &[&node("Relu", &["x"], &["y"], &[attribute])]);
    assert_eq!(node_problem(&relu(&attribute(&[]))), NodeProblem::Attribute("value".to_owned()));
    assert_eq!(node_problem(&relu(&attribute(&[&text(21, "alpha")]))), NodeProblem::Attribute("value".to_owned()));
    assert_eq!(tensor_problem(&relu(&attribute(&[&message(22, &[])]))), TensorProblem::Sparse);
}

/// Catches: a small file that takes the memory of a large one, by nodes, arguments or values of a few bytes each.
#[test]
fn counts_are_limited() {
    let empty = |name: u8| onnx(18, &[&[name << 3 | 2, 0].repeat(1_000_002)]);
    assert_eq!(node_problem(&empty(1)), NodeProblem::NoOp);
    assert!(matches!(refused(&empty(11)), GraphError::Limit { limit: 1_000_000, .. }));
    let nodes = onnx(18, &[&node("a", &[], &[], &[]).repeat(1_000_001)]);
    assert!(matches!(refused(&nodes), GraphError::Limit { limit: 1_000_000, .. }));
    let wide = node("a", &[""; 65_537], &[], &[]);
    assert!(matches!(refused(&onnx(18, &[&wide])), GraphError::Limit { limit: 65_536, .. }));
    let half = node("a", &[""; 60_000], &[], &[]);
    assert!(matches!(refused(&onnx(18, &[&half.repeat(167)])), GraphError::Limit { limit: 10_000_000, .. }));
}

/// Catches: names that are no text, or so long that a message or a map of names is.
#[test]
fn names_are_checked() {
    let problem = |name: &[u8]| match refused(&onnx(18, &[&message(1, &[&message(3, &[name])])])) {
        GraphError::Wire { problem, .. } => problem,
        other => panic!("{other:?}"),
    };
    assert_eq!(problem(&[0xff]), WireProblem::Text);
    assert_eq!(problem(&[b'a'; 65537]), WireProblem::LongName { found: 65537, limit: 65536 });
    let escaped = onnx(18, &[&node("Re\u{1b}lu", &["x"], &["y"], &[&text(3, "a\nb"), &message(5, &[&text(1, "x")])])]);
    let text = shown(&refused(&escaped));
    assert!(text.contains("a\\nb") && text.contains("Re\\u{1b}lu") && !text.contains('\u{1b}'), "{text}");
}

/// Catches: a network that maps files outside its folder, a file that ends before the values do, or an offset that overflows.
#[test]
fn external_values_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("weights"), [0; 16]).unwrap();
    let problem = |entries: &[(&str, &str)]| {
        let entries: Vec<u8> =
            entries.iter().flat_map(|(key, value)| message(13, &[&text(1, key), &text(2, value)])).collect();
        let path = folder.path().join("model.onnx");
        fs::write(&path, onnx(18, &[&initialiser("weight", 1, &[2], &[&entries, &number(14, 1)])])).unwrap();
        match graph::read(&fs::read(&path).unwrap(), Some(folder.path())) {
            Err(GraphError::External { problem, .. }) => Some(problem),
            Err(GraphError::Tensor { problem: TensorProblem::Length { .. }, .. }) => None,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(problem(&[("location", "../weights")]), Some(ExternalProblem::Leaves)));
    assert!(matches!(problem(&[("location", "/etc/passwd")]), Some(ExternalProblem::Leaves)));
    assert!(matches!(problem(&[("location", "missing")]), Some(ExternalProblem::Io(_))));
    assert!(matches!(problem(&[("location", ".")]), Some(ExternalProblem::Io(_))));
    assert!(matches!(problem(&[]), Some(ExternalProblem::NoLocation)));
    assert!(problem(&[("location", "weights")]).is_none());
    let place = |offset, length| problem(&[("location", "weights"), ("offset", offset), ("length", length)]);
    assert!(matches!(place("12", "8"), Some(ExternalProblem::CutShort { expected: 20, found: 16 })));
    assert!(matches!(place("17", "0"), Some(ExternalProblem::CutShort { .. })));
    assert!(matches!(place("18446744073709551615", "8"), Some(ExternalProblem::CutShort { .. })));
    assert!(matches!(place("-1", "8"), Some(ExternalProblem::Number { key: "offset", .. })));
    assert!(place("0", "4").is_none());
    let bytes = onnx(18, &[&initialiser("weight", 1, &[2], &[&message(13, &[]), &number(14, 1)])]);
    assert!(matches!(refused(&bytes), GraphError::External { problem: ExternalProblem::NoFolder, .. }));
}

/// Catches: a missing file, or a folder, whose error doesn't name it.
#[test]
fn files_that_cannot_be_opened_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().join("missing.pt2"), folder.path().to_owned()] {
        let error = NetworkFile::open(&path).unwrap_err();
        assert!(shown(&error).contains(&*path.to_string_lossy()), "{error}");
    }
    let empty = folder.path().join("empty.onnx");
    fs::write(&empty, "").unwrap();
    let error = NetworkFile::open(&empty).unwrap().read().unwrap_err();
    assert!(shown(&error).contains("empty.onnx") && shown(&error).contains("get it again"), "{error}");
}

/// Catches: a file that panics or is read in part, wherever it was cut.
#[test]
fn cut_files_are_refused() {
    let archive = fixture("sizes.pt2");
    for length in 0..archive.len() {
        refused(&archive[..length]);
    }
    for name in ["kinds.onnx", "torchscript.onnx"] {
        let model = fixture(name);
        // Behind the graph is the list of opsets, which may be cut between its members.
        for length in 0..model.len() - 40 {
            refused(&model[..length]);
        }
    }
}

/// Catches: a file that panics wherever a bit of it was altered. JSON is altered under a checksum that fits.
#[test]
fn altered_files_do_not_panic() {
    let archive = fixture("micro.pt2");
    for position in 0..archive.len() {
        let mut altered = archive.clone();
        altered[position] ^= 1 << (position % 8);
        let _ = graph::read(&altered, None).map(drop);
    }
    for name in ["kinds.onnx", "torchscript.onnx"] {
        let model = fixture(name);
        for position in 0..model.len() {
            let mut altered = model.clone();
            altered[position] ^= 1 << (position % 8);
            let _ = graph::read(&altered, None)
                .map(|graph| graph.tensors.iter().map(|tensor| graph.values(tensor).len()).sum::<usize>());
        }
    }
    let program = file(&mut unpack(&archive), PROGRAM).clone();
    for position in (0..program.len()).step_by(3) {
        let altered = edited(|files| file(files, PROGRAM)[position] ^= 1 << (position % 7));
        let _ = graph::read(&altered, None).map(drop);
    }
}

/// What the error of each invalid file of ONNX must name.
const INVALID_ONNX: [(&str, &str); 20] = [
    ("opset10", "found 10"),
    ("opset99", "found 99"),
    ("training_norm", "training mode"),
    ("training_dropout", "training mode"),
    ("control_flow", "control flow"),
    ("custom_op", "Invert"),
    ("unsupported_op", "Det"),
    ("data_dependent", "NonZero"),
    ("two_inputs", "2 inputs"),
    ("integer_input", "int64"),
    ("cycle", "no supported node before computes"),
    ("duplicate_value", "one name"),
    ("unknown_value", "nowhere"),
    ("quantised", "DequantizeLinear"),
    ("short_weight", "`w`"),
    ("large_weight", "`w`"),
    ("negative_size", "`w`"),
    ("external_missing", "`external_data` and `raw_data`"),
    ("external_escaping", "`external_data` and `raw_data`"),
    ("truncated", "cut short"),
];

/// Catches: an invalid file of ONNX that is read and lowered to a network, or refused without a word of what is wrong in it.
#[test]
fn invalid_onnx_is_refused_by_name() {
    for (name, expected) in INVALID_ONNX {
        let bytes = fixture(&format!("invalid/{name}.onnx"));
        let error = match graph::read(&bytes, None) {
            Ok(raw) => graph::lower(&raw).err(),
            Err(error) => Some(error),
        };
        let error = error.map_or_else(|| panic!("{name}: a network"), |error| shown(&error));
        assert!(error.contains(expected), "{name}: {error}");
    }
}

/// The type of an input or output of ONNX: f32, of these sizes.
fn tensor_type(field: u64, name: &str, sizes: &[i64]) -> Vec<u8> {
    let dims: Vec<u8> = sizes.iter().flat_map(|size| message(1, &[&number(1, *size)])).collect();
    message(field, &[&text(1, name), &message(2, &[&message(1, &[&number(1, 1), &message(2, &[&dims])])])])
}

/// A list of integers as an initialiser.
fn integers(name: &str, values: &[i64]) -> Vec<u8> {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    initialiser(name, 7, &[values.len() as i64], &[&message(9, &[&bytes])])
}

/// Catches: sizes, positions and counts of a small file that make the lowering panic, compute for long or take memory.
#[test]
fn onnx_that_asks_for_too_much_is_refused() {
    const MOST: i64 = i64::MAX;
    let lists: [&[i64]; 7] = [&[MOST, MOST], &[i64::MIN, -1], &[0, 0], &[-1, -1], &[1 << 40, 1 << 40], &[1; 100], &[]];
    let ops: [(&str, &[&str]); 14] = [
        ("Reshape", &["x", "list"]),
        ("Expand", &["x", "list"]),
        ("Slice", &["x", "list", "list"]),
        ("Slice", &["x", "zeros", "list", "list", "list"]),
        ("Split", &["x", "list"]),
        ("SplitToSequence", &["x", "list"]),
        ("Squeeze", &["x", "list"]),
        ("Unsqueeze", &["x", "list"]),
        ("Pad", &["x", "list"]),
        ("Gather", &["x", "list"]),
        ("GatherND", &["x", "list"]),
        ("ReduceMean", &["x", "list"]),
        ("ConstantOfShape", &["list"]),
        ("Tile", &["zeros", "list"]),
    ];
    for list in lists {
        for (op, inputs) in ops {
            let graph = [
                tensor_type(11, "x", &[1, 3, 8, 8]),
                integers("list", list),
                integers("zeros", &[0, 0]),
                node(op, inputs, &["y"], &[]),
                tensor_type(12, "y", &[1, 3, 8, 8]),
            ];
            let graph: Vec<&[u8]> = graph.iter().map(Vec::as_slice).collect();
            let bytes = onnx(18, &graph);
            let raw = graph::read(&bytes, None).unwrap();
            if let Err(error) = graph::lower(&raw) {
                assert!(!shown(&error).is_empty());
            }
        }
    }
    let ranges = [(0, MOST, 1), (0, 1, 0), (i64::MIN, MOST, 1)];
    for (start, end, step) in ranges {
        let scalar = |name: &str, value: i64| initialiser(name, 7, &[], &[&message(9, &[&value.to_le_bytes()])]);
        let graph = [
            tensor_type(11, "x", &[1, 3, 8, 8]),
            scalar("start", start),
            scalar("end", end),
            scalar("step", step),
            node("Range", &["start", "end", "step"], &["r"], &[]),
            node("Add", &["x", "r"], &["y"], &[]),
            tensor_type(12, "y", &[1, 3, 8, 8]),
        ];
        let graph: Vec<&[u8]> = graph.iter().map(Vec::as_slice).collect();
        assert!(graph::lower(&graph::read(&onnx(18, &graph), None).unwrap()).is_err());
    }
}
