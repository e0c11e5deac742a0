//! Checkpoint writer for tests: writes what `torch.save` does.

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
    archive(&files(object, entries), method)
}

/// A zip archive of files in the folder `net`.
pub fn archive(files: &[(String, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let files: Vec<_> = files.iter().map(|(name, bytes)| (format!("net/{name}"), *bytes)).collect();
    plain_archive(&files, method)
}

/// A zip archive of these files.
pub fn plain_archive(files: &[(String, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        let options = SimpleFileOptions::default().compression_method(method);
        archive.start_file(name.as_str(), options).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// Bytes to which torch aligns what an archive stores.
const ALIGNMENT: usize = 64;

/// A zip archive of stored files in the folder `stem`, byte for byte laid out as torch lays it out: padded local headers,
/// data descriptors, a zip64 end of the directory before the plain one.
pub fn torch_archive(stem: &str, files: &[(String, &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in files {
        let (name, start) = (format!("{stem}/{name}"), file.len());
        let (crc, length) = (crc32fast::hash(bytes).to_le_bytes(), (bytes.len() as u32).to_le_bytes());
        let header = start + 30 + name.len() + 4;
        let padding = vec![b'Z'; header.next_multiple_of(ALIGNMENT) - header];
        let extra = [b"FB", (padding.len() as u16).to_le_bytes().as_slice(), &padding].concat();
        let lengths = |extra: usize| [(name.len() as u16).to_le_bytes(), (extra as u16).to_le_bytes()].concat();
        let fields = [[0, 0, 8, 8].as_slice(), &[0; 6]].concat();
        file.extend(
            [b"PK\x03\x04", fields.as_slice(), &[0; 12], &lengths(extra.len()), name.as_bytes(), &extra].concat(),
        );
        file.extend_from_slice(bytes);
        file.extend([b"PK\x07\x08".as_slice(), &crc, &length, &length].concat());
        directory.extend([b"PK\x01\x02", [0, 0].as_slice(), &fields, &crc, &length, &length, &lengths(0)].concat());
        directory.extend([[0; 10].as_slice(), &(start as u32).to_le_bytes(), name.as_bytes()].concat());
    }
    let (start, size, count) = (file.len(), directory.len(), files.len());
    let end = start + size;
    file.extend(directory);
    let wide = [count, count, size, start].map(|value| (value as u64).to_le_bytes()).concat();
    file.extend([b"PK\x06\x06".as_slice(), &44_u64.to_le_bytes(), &[0x1e, 3, 45, 0], &[0; 8], &wide].concat());
    file.extend([b"PK\x06\x07".as_slice(), &[0; 4], &(end as u64).to_le_bytes(), &[1, 0, 0, 0]].concat());
    let count = (count as u16).to_le_bytes();
    let (size, start) = ((size as u32).to_le_bytes(), (start as u32).to_le_bytes());
    file.extend([b"PK\x05\x06".as_slice(), &[0; 4], &count, &count, &size, &start, &[0, 0]].concat());
    file
}

/// The files of a zip checkpoint.
pub fn files<'a>(object: &'a [u8], entries: &'a [Entry]) -> Vec<(String, &'a [u8])> {
    let mut files = vec![("data.pkl".to_owned(), object), ("byteorder".to_owned(), b"little".as_slice())];
    files.extend(entries.iter().enumerate().map(|(key, entry)| (format!("data/{key}"), entry.storage.as_slice())));
    files
}

/// The pickle of a dictionary of these entries, each the code that makes it.
pub fn dictionary(items: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = b"\x80\x02}(".to_vec();
    for (name, code) in items {
        text(&mut out, name);
        out.extend_from_slice(code);
    }
    out.extend(b"u.");
    out
}

/// The code of a pickle, without its start and its end, to be put into another.
pub fn code(pickle: &[u8]) -> &[u8] {
    &pickle[2..pickle.len() - 1]
}

/// The pickle of an ordered dictionary of tensors; storages are called by their position.
pub fn state(entries: &[Entry], is_legacy: bool) -> Vec<u8> {
    numbered_state(0, entries, is_legacy)
}

/// The same of a zip checkpoint, with storages that are called by their position from `first` on.
pub fn state_from(first: usize, entries: &[Entry]) -> Vec<u8> {
    numbered_state(first, entries, false)
}

fn numbered_state(first: usize, entries: &[Entry], is_legacy: bool) -> Vec<u8> {
    let mut out = b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01(".to_vec();
    for (key, entry) in entries.iter().enumerate() {
        text(&mut out, &entry.name);
        tensor(&mut out, first + key, entry, is_legacy);
    }
    // A state dict has an attribute `_metadata`, another ordered dictionary.
    out.extend(b"u}");
    text(&mut out, "_metadata");
    out.extend(b"h\x00)Rsb.");
    out
}

/// The code of a tensor of the storage `key`.
pub fn tensor_of(key: usize, entry: &Entry) -> Vec<u8> {
    let mut out = b"ccollections\nOrderedDict\nq\x000".to_vec();
    tensor(&mut out, key, entry, false);
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

/// The code of a tuple of numbers.
pub fn numbers(out: &mut Vec<u8>, values: &[usize]) {
    out.push(b'(');
    values.iter().for_each(|&value| number(out, value));
    out.push(b't');
}

/// The code of a number, as a signed integer of eight bytes.
pub fn number(out: &mut Vec<u8>, value: usize) {
    out.extend([0x8a, 8]);
    out.extend((value as i64).to_le_bytes());
}

/// The code of a string.
pub fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.bytes());
}
