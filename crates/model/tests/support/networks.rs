//! Network files: the committed ones, and parts of them written by hand.

use flate2::read::GzDecoder;
use std::fs::File;
use std::io::{Cursor, Read, Write};
use std::path::Path;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// A file of `tests/data/networks`, which `tests/peers/networks.py` made.
pub fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../tests/data/networks/{name}.gz"));
    let mut bytes = Vec::new();
    GzDecoder::new(File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    bytes
}

/// Files of a zip archive, by name.
pub type Files = Vec<(String, Vec<u8>)>;

pub fn unpack(archive: &[u8]) -> Files {
    let mut archive = ZipArchive::new(Cursor::new(archive)).unwrap();
    let count = archive.len();
    let read = |index| {
        let mut file = archive.by_index(index).unwrap();
        let mut contents = Vec::new();
        file.read_to_end(&mut contents).unwrap();
        (file.name().unwrap().into_owned(), contents)
    };
    (0..count).map(read).collect()
}

pub fn pack(files: &[(String, Vec<u8>)], method: CompressionMethod) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, contents) in files {
        archive.start_file(name, SimpleFileOptions::default().compression_method(method)).unwrap();
        archive.write_all(contents).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// A field of a protocol buffer: a number.
pub fn number(field: u64, value: i64) -> Vec<u8> {
    [varint(field << 3), varint(value.cast_unsigned())].concat()
}

/// A field of a protocol buffer: text, bytes, or a message of these fields.
pub fn message(field: u64, parts: &[&[u8]]) -> Vec<u8> {
    let contents = parts.concat();
    [varint(field << 3 | 2), varint(contents.len() as u64), contents].concat()
}

pub fn text(field: u64, text: &str) -> Vec<u8> {
    message(field, &[text.as_bytes()])
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A model of ONNX of that opset, whose graph has these fields.
pub fn onnx(opset: i64, graph: &[&[u8]]) -> Vec<u8> {
    [number(1, 8), message(7, graph), message(8, &[&number(2, opset)])].concat()
}

/// A node of the graph: its op, its inputs, its outputs, its further fields.
pub fn node(op: &str, inputs: &[&str], outputs: &[&str], fields: &[&[u8]]) -> Vec<u8> {
    let inputs = inputs.iter().map(|name| text(1, name));
    let outputs = outputs.iter().map(|name| text(2, name));
    let names: Vec<u8> = inputs.chain(outputs).flatten().collect();
    message(1, &[&names, &text(4, op), &fields.concat()])
}

/// An initialiser of the graph: its name, its type, its shape, its further fields.
pub fn initialiser(name: &str, dtype: i64, shape: &[i64], fields: &[&[u8]]) -> Vec<u8> {
    let dims: Vec<u8> = shape.iter().flat_map(|&dim| number(1, dim)).collect();
    message(5, &[&dims, &number(2, dtype), &text(8, name), &fields.concat()])
}
