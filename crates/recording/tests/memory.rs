//! Memory of hostile files: lengths that they claim take none.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "tests")]

use fieldfit_recording::MessageReader;
use std::fs;

/// Peak of the memory that the process has asked for, in KiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Catches: memory of the size that a record, a chunk or a zstd window claims, taken before its bytes are there. One test, so that no
/// other takes memory beside it.
#[test]
fn claims_take_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("claims.mcap");
    let claim: u64 = 200 << 20;
    let length = claim.to_le_bytes();
    let chunk = |compression: &[u8], content: &[u8]| {
        let name = (compression.len() as u32).to_le_bytes();
        let stored = (content.len() as u64).to_le_bytes();
        let body = [&[0; 16][..], &length, &[0; 4], &name, compression, &stored, content].concat();
        [&[6][..], &(body.len() as u64).to_le_bytes(), &body].concat()
    };
    // Frames without content that claim a window of 64 MiB, and of 1 GiB.
    let windows = [[0x28, 0xb5, 0x2f, 0xfd, 0, 16 << 3, 1, 0, 0], [0x28, 0xb5, 0x2f, 0xfd, 0, 20 << 3, 1, 0, 0]];
    let mut files = vec![
        [&[5][..], &length, b"x"].concat(),
        [&[6][..], &length, b"x"].concat(),
        [&[9][..], &u64::MAX.to_le_bytes(), b"x"].concat(),
        chunk(b"", b"x"),
        chunk(b"lz4", b"x"),
    ];
    files.extend(windows.map(|frame| chunk(b"zstd", &frame)));
    let before = peak();
    for file in files {
        fs::write(&path, [&b"\x89MCAP0\r\n"[..], &file].concat()).unwrap();
        let mut reader = MessageReader::open(&path).unwrap();
        assert!(!matches!(reader.next_message(), Ok(Some(_))));
    }
    let taken = peak() - before;
    assert!(taken < 128 << 10, "{taken} KiB");
}
