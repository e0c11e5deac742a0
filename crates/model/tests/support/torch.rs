//! Checkpoints as `torch.save` writes them.

use super::Tensor;
use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// A tensor of a checkpoint: a view of a storage of its own.
#[derive(Debug, Clone)]
pub struct Entry {
    pub name: String,
    pub class: &'static str,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
    pub offset: usize,
    /// What the pickle says the storage holds.
    pub count: usize,
    pub storage: Vec<u8>,
}

impl Entry {
    /// A tensor whose axes lie in memory in reverse, after one value that isn't its own: what a checkpoint holds that was
    /// converted from another framework.
    pub fn reversed(tensor: &Tensor) -> Self {
        let (values, shape) = (tensor.f32s(), tensor.shape.clone());
        let mut strides = vec![1; shape.len()];
        for axis in 1..shape.len() {
            strides[axis] = strides[axis - 1] * shape[axis - 1];
        }
        let mut storage = vec![f32::NAN; values.len() + 1];
        for (position, value) in values.into_iter().enumerate() {
            let (mut rest, mut place) = (position, 1);
            for axis in (0..shape.len()).rev() {
                place += rest % shape[axis] * strides[axis];
                rest /= shape[axis];
            }
            storage[place] = value;
        }
        let bytes = storage.iter().flat_map(|value| value.to_le_bytes()).collect();
        let (name, count) = (tensor.name.clone(), storage.len());
        Self { name, class: "FloatStorage", shape, strides, offset: 1, count, storage: bytes }
    }

    /// A batch norm's counter.
    pub fn counter(name: &str) -> Self {
        let (name, class, storage) = (name.to_owned(), "LongStorage", 1234_i64.to_le_bytes().to_vec());
        Self { name, class, shape: vec![], strides: vec![], offset: 0, count: 1, storage }
    }
}

/// The entries of a checkpoint, with a counter among them.
pub fn entries(tensors: &[Tensor]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = tensors.iter().map(Entry::reversed).collect();
    entries.insert(1, Entry::counter("_bn0.num_batches_tracked"));
    entries
}

/// A legacy checkpoint.
pub fn legacy(entries: &[Entry]) -> Vec<u8> {
    legacy_around(&state(entries, true), entries)
}

/// A legacy checkpoint around any pickle of an object.
pub fn legacy_around(object: &[u8], entries: &[Entry]) -> Vec<u8> {
    let mut file = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec();
    file.extend(b"\x80\x02M\xe9\x03.");
    file.extend(b"\x80\x02}q\x00(");
    text(&mut file, "protocol_version");
    file.extend(b"M\xe9\x03");
    text(&mut file, "little_endian");
    file.extend(b"\x88u.");
    file.extend(object);
    file.extend(b"\x80\x02]q\x00(");
    (0..entries.len()).for_each(|key| text(&mut file, &key.to_string()));
    file.extend(b"e.");
    for entry in entries {
        file.extend((entry.count as i64).to_le_bytes());
        file.extend(&entry.storage);
    }
    file
}

/// A zip checkpoint.
pub fn zip(entries: &[Entry], method: CompressionMethod) -> Vec<u8> {
    zip_around(&state(entries, false), entries, method)
}

/// A zip checkpoint around any pickle of an object.
pub fn zip_around(object: &[u8], entries: &[Entry], method: CompressionMethod) -> Vec<u8> {
    let mut files = vec![("data.pkl".to_owned(), object), ("byteorder".to_owned(), b"little")];
    files.extend(entries.iter().enumerate().map(|(key, entry)| (format!("data/{key}"), entry.storage.as_slice())));
    archive(&files, method)
}

/// A zip archive of files in the folder `net`.
pub fn archive(files: &[(String, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        let options = SimpleFileOptions::default().compression_method(method);
        archive.start_file(format!("net/{name}"), options).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// The pickle of an ordered dictionary of tensors; storages are called by their position.
pub fn state(entries: &[Entry], is_legacy: bool) -> Vec<u8> {
    let mut out = b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01(".to_vec();
    for (key, entry) in entries.iter().enumerate() {
        text(&mut out, &entry.name);
        tensor(&mut out, key, entry, is_legacy);
    }
    // A state dict has an attribute `_metadata`, another ordered dictionary.
    out.extend(b"u}");
    text(&mut out, "_metadata");
    out.extend(b"h\x00)Rsb.");
    out
}

fn tensor(out: &mut Vec<u8>, key: usize, entry: &Entry, is_legacy: bool) {
    out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
    text(out, "storage");
    out.extend(format!("ctorch\n{}\n", entry.class).bytes());
    text(out, &key.to_string());
    text(out, "cpu");
    number(out, entry.count);
    out.extend(if is_legacy { b"NtQ".as_slice() } else { b"tQ" });
    number(out, entry.offset);
    numbers(out, &entry.shape);
    numbers(out, &entry.strides);
    out.extend(b"\x89h\x00)RtR");
}

fn numbers(out: &mut Vec<u8>, values: &[usize]) {
    out.push(b'(');
    values.iter().for_each(|&value| number(out, value));
    out.push(b't');
}

/// As a signed integer of eight bytes.
fn number(out: &mut Vec<u8>, value: usize) {
    out.extend([0x8a, 8]);
    out.extend((value as i64).to_le_bytes());
}

pub fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.bytes());
}
