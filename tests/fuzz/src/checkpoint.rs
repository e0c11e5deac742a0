//! Fuzz target of checkpoint files: whole files of every format, and parts of them inside a valid file.

use crate::base::message;
use crate::{ARCHITECTURE, safetensors, scratch};
use fieldfit_model::ModelError;
use fieldfit_model::import::{ImportRequest, import};
use std::fs;
use std::io::{Cursor, Write};
use std::path::PathBuf;
use std::sync::LazyLock;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// What a legacy checkpoint begins with: magic number, protocol version, and that it is little-endian.
const LEGACY: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\
    \x80\x02}(X\x0d\0\0\0little_endian\x88u.";
/// The magic number's pickle alone: a file that begins so is a whole checkpoint.
const LEGACY_START: &[u8] = LEGACY.split_at(15).0;
/// The keys of a legacy checkpoint that has the storage `0`.
const LEGACY_KEYS: &[u8] = b"\x80\x02](X\x01\0\0\00e.";
/// Values of a storage that is made up, as the seeds have it: as many as the largest tensor of the architecture.
pub const STORAGE: usize = 1200;
/// The bytes of such a storage.
const ZEROS: &[u8] = &[0; STORAGE * size_of::<f32>()];

/// Imports the bytes. A pickle alone becomes the state of a checkpoint, under protocol 2 of a legacy one, under others of
/// a zip archive; the header of a safetensors file alone stands before zeros.
pub fn run(data: &[u8]) {
    let is_pickle = data.starts_with(b"\x80") && !data.starts_with(LEGACY_START);
    match data {
        [b'{', ..] => import_bytes(&safetensors::around(data, &[])),
        [_, 2, ..] if is_pickle => import_bytes(&legacy(data)),
        _ if is_pickle => import_bytes(&archive(data, CompressionMethod::Stored)),
        _ => import_bytes(data),
    }
}

/// A legacy checkpoint of that state and one storage of zeros.
pub fn legacy(pickle: &[u8]) -> Vec<u8> {
    [LEGACY, pickle, LEGACY_KEYS, &(STORAGE as u64).to_le_bytes(), ZEROS].concat()
}

/// A zip checkpoint of that state and one storage of zeros.
pub fn archive(pickle: &[u8], method: CompressionMethod) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in [("data.pkl", pickle), ("byteorder", b"little"), ("data/0", ZEROS)] {
        let options = SimpleFileOptions::default().compression_method(method);
        archive.start_file(format!("net/{name}"), options).expect("a file in memory");
        archive.write_all(bytes).expect("a file in memory");
    }
    archive.finish().expect("a file in memory").into_inner()
}

/// Ten labels, as many as the architecture has classes.
static LABELS: LazyLock<PathBuf> = LazyLock::new(|| {
    let labels: String = (0..10).map(|class| format!("thing {class}\n")).collect();
    scratch::write("labels.txt", labels.as_bytes())
});

/// An import makes a folder, which goes again, or leaves nothing behind.
fn import_bytes(bytes: &[u8]) {
    let (weights, out) = (scratch::write("weights.bin", bytes), scratch::path("out"));
    match import(&ImportRequest::new(&weights, &out).of(ARCHITECTURE, &LABELS)) {
        Ok(_) => fs::remove_dir_all(&out).expect("an import's folder"),
        Err(error) => {
            assert!(!matches!(error, ModelError::Exists { .. }), "a refused checkpoint left a folder");
            drop(message(&error));
        }
    }
}
