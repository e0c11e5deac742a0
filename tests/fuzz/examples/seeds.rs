//! Seed writer of the fuzz targets: `cargo run --example seeds` in this folder. Seeds are small and valid, or nearly so.

use fieldfit_delta::compression::compress;
use fieldfit_delta::{Codec, Constraint, HeadDescription, Header, Provenance, Task, TensorData, TensorKind, encode};
use fieldfit_fuzz::checkpoint::{STORAGE, archive, legacy};
use fieldfit_fuzz::{ARCHITECTURE, base, resume, safetensors};
use fieldfit_nets::{Network, TensorSpec, by_name};
use fieldfit_tensor::Norm;
use flate2::read::GzDecoder;
use std::fs::{self, File};
use std::io::{Cursor, Read};
use std::path::Path;
use zip::{CompressionMethod, ZipArchive};

const VERSION_2: &[u8] = include_bytes!("../../../crates/delta/tests/fixtures/version-2.delta");
const VERSION_3: &[u8] = include_bytes!("../../../crates/delta/tests/fixtures/version-3.delta");
const PACKED: &[u8] = include_bytes!("../../../crates/delta/tests/fixtures/version-2.delta.zst");
const VERSION_1: &[u8] = include_bytes!("../../../crates/delta/tests/fixtures/version-1.delta");

fn main() {
    let network = by_name(ARCHITECTURE).expect("the tests' network");
    deltas();
    bases(&network);
    checkpoints(&network);
    states();
    resumes();
    programs();
    models();
    recordings();
}

fn write(target: &str, name: &str, bytes: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder).expect("a folder for seeds");
    fs::write(folder.join(name), bytes).expect("room for a seed");
}

/// One file a codec, and the fixture that has them all.
fn deltas() {
    write("delta", "version-1.delta", VERSION_1);
    write("delta", "version-2.delta", VERSION_2);
    write("delta", "version-3.delta", VERSION_3);
    write("transport", "version-2.delta.zst", PACKED);
    write("transport", "packed.zst", &compress(VERSION_1));
    let kernel: Vec<f32> = (0..18).map(|index| if index < 9 { 0.0 } else { (index as f32 - 13.0) / 8.0 }).collect();
    for codec in Codec::ALL {
        let constraint = Some(Constraint { norm: Norm::Mars, radius: 8.0, distance: 7.5 });
        let moved = TensorData {
            name: "stem.weight",
            shape: &[2, 3, 3],
            kind: TensorKind::Difference,
            constraint,
            codec,
            values: &kernel,
        };
        let shift = TensorData { name: "stem.bias", shape: &[9], constraint: None, values: &kernel[9..], ..moved };
        let head =
            TensorData { name: "fc.weight", shape: &[2, 9], kind: TensorKind::Replacement, constraint: None, ..moved };
        let file = encode(&header(), &["cat", "dog"], &[moved, shift, head]).expect("a delta");
        write("delta", &format!("{}.delta", codec.name()), &file);
    }
}

fn header() -> Header {
    Header {
        base: [7; 32],
        parent: None,
        task: Task::Classification,
        input_size: 128,
        crop: 0.875,
        classes: 2,
        tensors: 0,
        provenance: Provenance::default(),
        head: HeadDescription::default(),
    }
}

/// The tests' network over zeros, with every stored type, and folders that fail late.
fn bases(network: &Network) {
    let labels: String = (0..10).map(|class| format!("{class}\n")).collect();
    let folder = |header: &str, body: &[u8]| {
        [manifest().as_bytes(), b"\0", labels.as_bytes(), b"\0", header.as_bytes(), b"\0", body].concat()
    };
    for dtype in ["F16", "BF16", "F32"] {
        write("base", &format!("tiny-{}", dtype.to_lowercase()), &folder(&json(&network.tensors, dtype), &[0, 60, 1]));
    }
    write("base", "few-tensors", &folder(&json(&network.tensors[..3], "F32"), &[]));
    write("base", "not-finite", &folder(&json(&network.tensors, "F16"), &[0, 0x7c]));
}

fn manifest() -> String {
    let (bytes, sha256) = (base::BYTES, base::SHA256);
    format!(
        "name = \"tiny\"\narchitecture = \"{ARCHITECTURE}\"\n[input]\nsize = 32\ncrop = 0.875\n[preprocessing]\n\
         mean = [127.0, 127.0, 127.0]\nstd = [128.0, 128.0, 128.0]\nfilter = \"bicubic\"\n[weights]\n\
         file = \"weights.safetensors\"\nbytes = {bytes}\nsha256 = \"{sha256}\"\n[origin]\nsource = \"us\"\n\
         licence = \"MIT\"\nfile = \"tiny.pth\"\nsha256 = \"{sha256}\"\n"
    )
}

/// The header of a file of these tensors, the kernels among them of that type and the vectors single precision.
fn json(tensors: &[TensorSpec], dtype: &str) -> String {
    let mut end = 0;
    let entry = |spec: &TensorSpec| {
        let dtype = if spec.shape.len() < 2 { "F32" } else { dtype };
        let start = end;
        end += spec.len() * if dtype == "F32" { 4 } else { 2 };
        format!(
            "\"{}\":{{\"dtype\":\"{dtype}\",\"shape\":{:?},\"data_offsets\":[{start},{end}]}}",
            spec.name, spec.shape
        )
    };
    let entries: Vec<String> = tensors.iter().map(entry).collect();
    format!("{{{}}}", entries.join(",")).replace(", ", ",")
}

/// The tests' network as a pickle and as a header, and whole files of two tensors in each format.
fn checkpoints(network: &Network) {
    let few = &network.tensors[..2];
    let state = pickle(&network.tensors);
    write("checkpoint", "tiny-legacy.pkl", &state);
    write("checkpoint", "tiny-zip.pkl", &[b"\x80\x03", &state[2..]].concat());
    write("checkpoint", "few.pkl", &pickle(few));
    write("checkpoint", "tiny.json", json(&network.tensors, "F32").as_bytes());
    write("checkpoint", "few.json", json(few, "BF16").as_bytes());
    write("checkpoint", "few.safetensors", &safetensors::around(json(few, "F16").as_bytes(), &[]));
    write("checkpoint", "legacy.pth", &legacy(&pickle(few)));
    write("checkpoint", "stored.pth", &archive(&pickle(few), CompressionMethod::Stored));
    write("checkpoint", "deflated.pth", &archive(&pickle(few), CompressionMethod::Deflated));
}

/// A store's state in both formats, with a version in each state.
fn states() {
    let hash = "07".repeat(32);
    let versions = |states: &[&str]| {
        let entry = |(index, state): (usize, &&str)| {
            format!("{{\"version\":{},\"bytes\":9,\"hash\":\"{hash}\",\"state\":{state}}}", index + 1)
        };
        states.iter().enumerate().map(entry).collect::<Vec<_>>().join(",")
    };
    let state = |format: u8, line: &str, states: &[&str], history: &str| {
        let text = format!(
            "{{\"generation\":4,\"base\":\"{hash}\",\"next\":9,\"line\":{line},\"versions\":[{}],\"history\":[{history}],\
             \"sequences\":{{\"{hash}\":3}}}}",
            versions(states)
        );
        [&[format], text.as_bytes()].concat()
    };
    let trial = "\"trial\",\"predictions\":1,\"starts\":1,\"boot\":\"boot\"";
    let refused = "\"refused\",\"reason\":\"worse\"";
    let quarantined = "\"quarantined\",\"reason\":\"crashed\"";
    let present = ["\"confirmed\"", "\"retired\"", refused, quarantined, "\"candidate\"", trial];
    let history = "{\"time\":5,\"change\":\"rolled_back\",\"from\":2,\"to\":null,\"passed_over\":[1]},\
                   {\"time\":4,\"change\":\"pruned\",\"versions\":[7],\"bytes\":9}";
    write("state", "present", &state(0, "[1,2,6]", &present, history));
    write("state", "earlier", &state(1, "[1,2]", &["\"retired\"", "\"active\"", refused, "\"candidate\""], ""));
    write("state", "empty", &state(0, "[]", &[], ""));
    write("state", "torn", b"\x02FFSTATE2\0\0\0");
}

/// Each method's own checkpoint, resumed and gone on with; edits of what counts and of what is counted; contents that end early.
fn resumes() {
    for (form, method) in (0..).zip(resume::METHODS) {
        write("resume", &format!("{method}-as-it-is"), &[form]);
        write("resume", &format!("{method}-goes-on"), &[form | resume::STEP]);
        write("resume", &format!("{method}-counts"), &[form, 0, 0, 255, 1, 0, 255, 30, 0, 0]);
        write("resume", &format!("{method}-values"), &[form, 80, 0, 255, 0, 4, 127, 1, 4, 192, 250, 255, 1]);
        write("resume", &format!("{method}-short"), &[form | resume::WHOLE, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
}

/// Parts of exported programs, with every tensor in the one storage of its folder, and a whole one.
fn programs() {
    for name in ["micro", "sizes", "training", "autocast"] {
        let archive = network(&format!("{name}.pt2"));
        let files = [
            "models/model.json",
            "data/weights/model_weights_config.json",
            "data/constants/model_constants_config.json",
        ];
        let parts = files.map(|file| one_storage(&unpacked(&archive, file)));
        write("pt2", &format!("{name}.parts"), &parts.join("\0").into_bytes());
    }
    write("pt2", "condition.pt2", &network("condition.pt2"));
}

fn one_storage(json: &str) -> String {
    let rename = |json: String, number: u32| {
        json.replace(&format!("\"weight_{number}\""), "\"weight_0\"")
            .replace(&format!("\"tensor_{number}\""), "\"tensor_0\"")
    };
    (1..10).fold(json.to_owned(), rename)
}

/// Models of both of torch's exporters, and one of every kind of tensor and attribute.
fn models() {
    for name in ["dynamo", "torchscript", "kinds"] {
        write("onnx", &format!("{name}.onnx"), &network(&format!("{name}.onnx")));
    }
}

/// Recordings of each compression, encoding and byte order, without chunks, and cut off.
fn recordings() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/recordings");
    for name in ["zstd", "lz4", "without-chunks", "big-endian", "raw", "foxglove", "cut-off"] {
        let file = format!("{name}.mcap");
        write("recording", &file, &fs::read(folder.join(&file)).expect("a recording"));
    }
}

/// A file of `tests/data/networks`.
fn network(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../data/networks/{name}.gz"));
    let mut bytes = Vec::new();
    GzDecoder::new(File::open(path).expect("a network")).read_to_end(&mut bytes).expect("a network");
    bytes
}

fn unpacked(archive: &[u8], file: &str) -> String {
    let mut archive = ZipArchive::new(Cursor::new(archive)).expect("an archive");
    let mut contents = String::new();
    archive.by_name(&format!("archive/{file}")).expect("a file").read_to_string(&mut contents).expect("JSON");
    contents
}

/// A state dict of tensors that are all views of storage `0`.
fn pickle(tensors: &[TensorSpec]) -> Vec<u8> {
    let mut out = b"\x80\x02ccollections\nOrderedDict\nq\0)Rq\x01(".to_vec();
    for (index, spec) in tensors.iter().enumerate() {
        text(&mut out, &spec.name);
        match index {
            0 => {
                out.extend(b"ctorch._utils\n_rebuild_tensor_v2\nq\x02((");
                text(&mut out, "storage");
                out.extend(b"ctorch\nFloatStorage\n");
                text(&mut out, "0");
                text(&mut out, "cpu");
                number(&mut out, STORAGE);
                out.extend(b"tQq\x03");
            }
            _ => out.extend(b"h\x02(h\x03"),
        }
        number(&mut out, 0);
        numbers(&mut out, &spec.shape);
        numbers(&mut out, &strides(&spec.shape));
        out.extend(b"\x89h\0)RtR");
    }
    out.extend(b"u}");
    text(&mut out, "_metadata");
    out.extend(b"h\0)Rsb.");
    out
}

fn strides(shape: &[usize]) -> Vec<usize> {
    (1..=shape.len()).map(|axis| shape[axis..].iter().product()).collect()
}

fn numbers(out: &mut Vec<u8>, values: &[usize]) {
    out.push(b'(');
    values.iter().for_each(|&value| number(out, value));
    out.push(b't');
}

fn number(out: &mut Vec<u8>, value: usize) {
    match u8::try_from(value) {
        Ok(byte) => out.extend([b'K', byte]),
        Err(_) => {
            out.push(b'M');
            out.extend((value as u16).to_le_bytes());
        }
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.bytes());
}
