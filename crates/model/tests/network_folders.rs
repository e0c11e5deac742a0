//! A model folder with a network description: what it opens to, and which descriptions are refused.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't prepare its files has failed")]

use fieldfit_model::{Base, ModelError, NetworkDescription};
use fieldfit_tests::{described, message};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A model folder with a description to break.
struct Model {
    _temporary: TempDir,
    folder: PathBuf,
}

impl Model {
    fn new() -> Self {
        let temporary = TempDir::new().unwrap();
        let folder = described::base(temporary.path(), 1);
        Self { _temporary: temporary, folder }
    }

    fn description(&self) -> PathBuf {
        self.folder.join("network.json")
    }

    /// Changes the description under a manifest that vouches for it.
    fn edit(&self, edit: impl FnOnce(&mut Value)) {
        let mut json = serde_json::from_slice(&fs::read(self.description()).unwrap()).unwrap();
        edit(&mut json);
        self.replace(&serde_json::to_vec(&json).unwrap());
    }

    fn replace(&self, bytes: &[u8]) {
        fs::write(self.description(), bytes).unwrap();
        described::seal(&self.folder);
    }

    fn edit_manifest(&self, edit: impl FnOnce(String) -> String) {
        let path = self.folder.join("manifest.toml");
        fs::write(&path, edit(fs::read_to_string(&path).unwrap())).unwrap();
    }

    fn refusal(&self) -> String {
        message(&Base::open(&self.folder).unwrap_err())
    }
}

/// Catches: a network that comes back from its folder with another op, tensor or section, or a float that was rounded.
#[test]
fn a_described_network_opens_as_it_was_written() {
    let base = Base::open(&Model::new().folder).unwrap();
    assert_eq!(*base.network(), described::network());
    assert_eq!(base.labels().len(), described::CLASSES);
    let (id, spec) = base.network().tensors().next().unwrap();
    assert_eq!(base.source_layout(id).unwrap().shape, spec.shape);
}

/// Catches: a base whose identity does not change with its graph, so that a delta for another network is taken for its own.
#[test]
fn the_identity_covers_the_description() {
    let model = Model::new();
    let before = Base::open(&model.folder).unwrap().id();
    model.edit(|json| json["graph"]["sections"][0]["name"] = json!("beginning"));
    assert_ne!(Base::open(&model.folder).unwrap().id(), before);
}

/// Catches: an encoding of the identity that changes for architectures that have no description: their stores would not
/// fit any more.
#[test]
fn the_identity_of_a_built_in_architecture_is_the_released_one() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/efficientnet-lite0");
    let expected = "8b4bd650c26cbb72055c2139e39bcfab17e13e3bce48456ccb0f5f3302cc2fe1";
    assert_eq!(Base::open(&folder).unwrap().id().to_string(), expected);
}

/// Catches: a graph that was changed after the import and is run all the same.
#[test]
fn an_altered_or_missing_description_is_refused() {
    let model = Model::new();
    let mut bytes = fs::read(model.description()).unwrap();
    bytes.push(b' ');
    fs::write(model.description(), &bytes).unwrap();
    let error = Base::open(&model.folder).unwrap_err();
    assert!(matches!(&error, ModelError::Altered { path, .. } if path.ends_with("network.json")), "{error:?}");
    fs::remove_file(model.description()).unwrap();
    let error = Base::open(&model.folder).unwrap_err();
    assert!(matches!(&error, ModelError::Missing { path } if path.ends_with("network.json")), "{error:?}");
}

/// Catches: a manifest whose network is left out or ignored without a word, or leads out of its folder.
#[test]
fn the_manifest_states_a_description_if_the_architecture_is_imported() {
    let model = Model::new();
    model.edit_manifest(|text| text.replace("file = \"network.json\"", "file = \"../network.json\""));
    assert!(model.refusal().contains("`network.file` must be a plain file name"), "{}", model.refusal());
    described::seal(&model.folder);
    model.edit_manifest(|text| text.replace("\"imported\"", "\"resnet18\""));
    assert!(
        model.refusal().contains("`network` must be there if the architecture is `imported`"),
        "{}",
        model.refusal()
    );
    described::seal(&model.folder);
    model.edit_manifest(|text| {
        let (before, after) = (text.find("[network]").unwrap(), text.find("[origin]").unwrap());
        format!("{}{}", &text[..before], &text[after..])
    });
    assert!(
        model.refusal().contains("`network` must be there if the architecture is `imported`"),
        "{}",
        model.refusal()
    );
    described::seal(&model.folder);
    model.edit_manifest(|text| text.replace("[network]", "[network]\nformat = 1"));
    assert!(model.refusal().contains("invalid manifest"), "{}", model.refusal());
}

/// Catches: a file that takes the process's memory or stack, or one of a later version that is misread.
#[test]
fn what_is_no_description_is_refused() {
    let model = Model::new();
    let long = [b"{\"version\": 1, \"pad\": \"".as_slice(), &vec![b'x'; 16 << 20], b"\"}"].concat();
    let deep = "[".repeat(1 << 20);
    for (bytes, expected) in [
        (b"".as_slice(), "not the JSON of a network"),
        (b"null", "not the JSON of a network"),
        (b"{\"version\": 1}", "missing field"),
        (b"{\"version\": 2, \"anything\": []}", "expected version 1, found 2"),
        (deep.as_bytes(), "not the JSON of a network"),
        (&long, "cannot read"),
    ] {
        model.replace(bytes);
        let text = model.refusal();
        assert!(text.contains("network.json") && text.contains(expected), "{expected}: {text}");
    }
}

/// A change of a description, and what the error says of it.
type Fault = (&'static str, fn(&mut Value), &'static str);

const CONV: &str = "/graph/nodes/0/op/Conv";

fn at<'a>(json: &'a mut Value, path: &str) -> &'a mut Value {
    json.pointer_mut(path).unwrap_or_else(|| panic!("{path}"))
}

fn set_conv(json: &mut Value, path: &str, value: Value) {
    *at(json, &format!("{CONV}/{path}")) = value;
}

fn push_node(json: &mut Value, op: Value, inputs: Value) {
    let nodes = at(json, "/graph/nodes").as_array_mut().unwrap();
    nodes.push(json!({ "op": op, "inputs": inputs }));
    let end = nodes.len();
    *at(json, "/graph/sections/2/nodes/end") = json!(end);
}

const FAULTS: &[Fault] = &[
    ("an unknown key", |json| json["more"] = json!(1), "unknown field"),
    ("an unknown op", |json| *at(json, "/graph/nodes/1/op") = json!("Teleport"), "unknown variant"),
    ("four channels", |json| json["channels"] = json!(4), "expected an input of 3 channels, found 4"),
    (
        "a later value",
        |json| *at(json, "/graph/nodes/1/inputs") = json!([3]),
        "reads a value that is not computed before",
    ),
    ("itself", |json| *at(json, "/graph/nodes/1/inputs") = json!([2]), "reads a value that is not computed before"),
    (
        "no inputs",
        |json| {
            *at(json, "/graph/nodes/1/inputs") = json!([]);
            *at(json, "/graph/nodes/2/inputs") = json!([1]);
        },
        "expected 1 inputs, found 0",
    ),
    ("two inputs", |json| *at(json, "/graph/nodes/1/inputs") = json!([1, 1]), "expected 1 inputs, found 2"),
    ("many inputs", |json| *at(json, "/graph/nodes/1/inputs") = json!(vec![1; 65]), "more inputs than any op has"),
    ("a tensor out of range", |json| set_conv(json, "weight", json!(99)), "reads a tensor that there is not"),
    ("a head's tensor", |json| set_conv(json, "weight", json!(9)), "reads a tensor of the head"),
    ("a frozen scale", |json| set_conv(json, "norm/variance", json!(1)), "statistics are not running statistics"),
    ("an unread value", |json| push_node(json, json!("GlobalAveragePool"), json!([6])), "nothing reads its value"),
    (
        "an unread image",
        |json| *at(json, "/graph/nodes/0") = json!({ "op": { "Parameter": { "tensor": 0, "shape": { "height": 3, "width": 9, "channels": 8 } } }, "inputs": [] }),
        "no node reads the image",
    ),
    ("no nodes", |json| json["graph"] = json!({ "nodes": [], "sections": [] }), "expected at least one node"),
    (
        "an unread tensor",
        |json| {
            json["tensors"].as_array_mut().unwrap().push(json!({ "name": "spare", "shape": [1], "role": "Bias" }));
        },
        "no node reads it",
    ),
    ("two of a name", |json| *at(json, "/tensors/1/name") = json!("stem.conv.weight"), "there are two of this name"),
    ("a name that acts", |json| *at(json, "/tensors/1/name") = json!("\u{1b}[2J"), "control character"),
    ("no name", |json| *at(json, "/tensors/1/name") = json!(""), "expected a name of 1 to 128 bytes"),
    ("no dimensions", |json| *at(json, "/tensors/1/shape") = json!([]), "expected 1 to 6 dimensions"),
    ("no values", |json| *at(json, "/tensors/1/shape") = json!([0]), "expected at least one value"),
    ("an overflow", |json| *at(json, "/tensors/1/shape") = json!([u64::MAX, 2]), "expected at most 268435456 values"),
    ("too many values", |json| *at(json, "/tensors/1/shape") = json!([1 << 29]), "expected at most 268435456 values"),
    ("a head's role", |json| *at(json, "/tensors/0/role") = json!("HeadWeight"), "have the head's roles"),
    (
        "a misfit layout",
        |json| *at(json, "/tensors/0/source/shape") = json!([3]),
        "layout in the imported file does not fit",
    ),
    (
        "another length",
        |json| {
            *at(json, "/tensors/1/shape") = json!([9]);
            *at(json, "/tensors/1/source/shape") = json!([9]);
        },
        "tensor `stem.norm.weight` has shape [9], expected 8 values",
    ),
    ("no groups", |json| set_conv(json, "groups", json!(0)), "multiples of the groups"),
    ("uneven groups", |json| set_conv(json, "groups", json!(2)), "multiples of the groups"),
    ("no stride", |json| set_conv(json, "window/stride", json!([0, 1])), "stride and dilation of at least 1"),
    ("no kernel", |json| set_conv(json, "window/kernel", json!([0, 1])), "stride and dilation of at least 1"),
    ("a large kernel", |json| set_conv(json, "window/kernel", json!([99, 1])), "for the kernel, found 32×32"),
    ("a huge dilation", |json| set_conv(json, "window/dilation", json!([u64::MAX, 1])), "greater than 1048576"),
    (
        "huge padding",
        |json| set_conv(json, "window/padding/Fixed", json!([[u64::MAX, 1], [1, 1]])),
        "greater than 1048576",
    ),
    (
        "much padding",
        |json| set_conv(json, "window/padding/Fixed", json!([[1 << 20, 1], [1 << 20, 1]])),
        "more than any",
    ),
    ("an infinite ε", |json| set_conv(json, "norm/epsilon", json!(null)), "invalid type: null"),
    (
        "a huge pad",
        |json| push_node(json, json!({ "Pad": [[u64::MAX, 0], [0, 0]] }), json!([7])),
        "greater than 1048576",
    ),
    (
        "a resize to nothing",
        |json| {
            push_node(json, json!({ "Resize": { "to": { "Fixed": [0, 1] }, "interpolation": "Nearest" } }), json!([7]))
        },
        "at least 1×1 pixels",
    ),
    (
        "a huge resize",
        |json| {
            push_node(
                json,
                json!({ "Resize": { "to": { "Times": [1 << 20, 1 << 20] }, "interpolation": "Nearest" } }),
                json!([7]),
            )
        },
        "more than any",
    ),
    (
        "an empty slice",
        |json| {
            push_node(json, json!({ "Slice": { "axis": "Channels", "start": 0, "length": 0, "step": 1 } }), json!([7]))
        },
        "length and a step",
    ),
    (
        "a slice beyond",
        |json| {
            push_node(json, json!({ "Slice": { "axis": "Channels", "start": 9, "length": 9, "step": 1 } }), json!([7]))
        },
        "expected inputs that fit",
    ),
    (
        "a rearrangement",
        |json| {
            push_node(json, json!({ "Rearrange": { "dimensions": [4, 4], "order": [0], "output": null } }), json!([7]))
        },
        "as many axes",
    ),
    (
        "no permutation",
        |json| {
            push_node(
                json,
                json!({ "Rearrange": { "dimensions": [4, 4], "order": [1, 1], "output": null } }),
                json!([7]),
            )
        },
        "expected inputs that fit",
    ),
    (
        "no heads",
        |json| push_node(json, json!({ "Attention": { "heads": 0, "width": 4 } }), json!([7])),
        "groups or heads",
    ),
    (
        "bounds",
        |json| push_node(json, json!({ "Activate": { "Clamp": { "low": 1.0, "high": 0.0 } } }), json!([7])),
        "wrong order",
    ),
    (
        "a float that overflows",
        |json| push_node(json, json!({ "Scalar": { "scale": 1e300, "shift": 0.0 } }), json!([7])),
        "not finite",
    ),
    (
        "a gap of sections",
        |json| *at(json, "/graph/sections/1/nodes/start") = json!(3),
        "begin where the one before it ends",
    ),
    ("an empty section", |json| *at(json, "/graph/sections/1/nodes/end") = json!(2), "expected at least one node"),
    ("sections too long", |json| *at(json, "/graph/sections/2/nodes/end") = json!(9), "ends behind the last node"),
    ("sections too short", |json| drop(at(json, "/graph/sections").as_array_mut().unwrap().pop()), "in no section"),
    ("a section twice", |json| *at(json, "/graph/sections/1/name") = json!("stem"), "there are two of this name"),
    ("a head elsewhere", |json| *at(json, "/head/weight") = json!(0), "the head's roles"),
    ("a head out of range", |json| json["head"]["bias"] = json!(u32::MAX), "the head's roles"),
    (
        "other features",
        |json| {
            json["head"]["features"] = json!(15);
            *at(json, "/tensors/9/shape") = json!([10, 15]);
            *at(json, "/tensors/9/source/shape") = json!([10, 15]);
        },
        "expected 16 features",
    ),
    (
        "a head of other shape",
        |json| json["head"]["classes"] = json!(11),
        "expected a weight of shape [classes, features]",
    ),
    (
        "a dense head of a linear layer's shape",
        |json| json["head"]["node"] = json!(2),
        "expected a weight of shape [classes, features, 1, 1]",
    ),
    (
        "a dense head beyond the nodes",
        |json| {
            json["head"]["node"] = json!(u32::MAX);
            let weight = json["head"]["weight"].as_u64().unwrap() as usize;
            json["tensors"][weight]["shape"].as_array_mut().unwrap().extend([json!(1), json!(1)]);
            json["tensors"][weight]["source"] = json!(null);
        },
        "expected its node to be a 1×1 convolution",
    ),
    ("no image", |json| json["size"] = json!([0, 0]), "at least 1×1 pixels"),
    ("a huge image", |json| json["size"] = json!([u64::MAX, 1]), "at most 1048576 pixels of a side"),
    ("a large image", |json| json["size"] = json!([1 << 20, 1 << 20]), "more than any that is supported"),
];

/// Catches: a hostile description that overflows, allocates, indexes out of range or loops, when it is opened or later.
#[test]
fn hostile_descriptions_are_refused_with_what_is_wrong() {
    let model = Model::new();
    let original = fs::read(model.description()).unwrap();
    for (fault, edit, expected) in FAULTS {
        model.replace(&original);
        model.edit(edit);
        let text = model.refusal();
        assert!(
            text.contains("network.json") && text.contains(expected),
            "{fault}: expected `{expected}`, found: {text}"
        );
        assert!(!text.contains('\u{1b}'), "{fault}");
    }
    model.replace(&original);
    Base::open(&model.folder).unwrap();
}

/// Catches: more tensors or nodes than any list that is aligned with them holds.
#[test]
fn counts_are_limited() {
    let json: Value = serde_json::from_slice(&fs::read(Model::new().description()).unwrap()).unwrap();
    let refused = |json: &Value| NetworkDescription::parse(&serde_json::to_vec(json).unwrap()).unwrap_err().to_string();
    let mut many = json.clone();
    many["tensors"] = json!(vec![json["tensors"][0].clone(); 4097]);
    assert!(refused(&many).contains("at most 4096 tensors, found 4097"));
    let mut many = json.clone();
    many["graph"]["nodes"] = json!(vec![json["graph"]["nodes"][1].clone(); 16_385]);
    assert!(refused(&many).contains("at most 16384 nodes, found 16385"));
}
