//! Fuzz case of the reader of exported programs: the input is a whole archive, or what stands inside one: the program, the list of its weights, the
//! list of its constants and their storage's first bytes, each ended by a zero byte but the last.

use crate::network;
use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Bytes of each of the two storages that are made up.
const STORAGE: usize = 512;

/// Reads the archive, or one that is right around its parts.
pub fn run(data: &[u8]) {
    match data {
        [b'P', b'K', ..] => network::read(data),
        _ => network::read(&archive(data)),
    }
}

/// An archive of these parts. Its storages, `weight_0` and `tensor_0`, go on with zeros.
pub fn archive(parts: &[u8]) -> Vec<u8> {
    let mut parts = parts.splitn(4, |&byte| byte == 0);
    let mut next = || parts.next().unwrap_or_default();
    let (program, weights, constants, body) = (next(), next(), next(), next());
    let mut storage = body.to_vec();
    storage.resize(STORAGE, 0);
    let files: [(&str, &[u8]); 8] = [
        ("archive_format", b"pt2"),
        ("archive_version", b"0"),
        ("byteorder", b"little"),
        ("models/model.json", program),
        ("data/weights/model_weights_config.json", weights),
        ("data/weights/weight_0", &storage),
        ("data/constants/model_constants_config.json", constants),
        ("data/constants/tensor_0", &storage),
    ];
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, contents) in files {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        archive.start_file(format!("net/{name}"), options).expect("a file in memory");
        archive.write_all(contents).expect("a file in memory");
    }
    archive.finish().expect("a file in memory").into_inner()
}
