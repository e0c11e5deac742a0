//! Compression: a file is decompressed to itself, and no frame takes more memory than a delta may. Guards against
//! decompression bombs, and frames whose end is not checked.
#![cfg(feature = "compression")]
#![allow(clippy::unwrap_used, reason = "a test that cannot make its delta has failed")]

mod common;

use common::sample;
use fieldfit_delta::compression::{CompressionError, compress, decompress};
use fieldfit_delta::limits::MAX_FILE_BYTES;
use fieldfit_delta::{Codec, SecretKey, TensorData, TensorKind, encode};
use proptest::prelude::*;

/// A delta of many like rows, as compressible as deltas are at best.
fn large() -> Vec<u8> {
    let values: Vec<f32> = (0..40_000).map(|i| if i % 7 == 0 { 0.5 } else { 0.0 }).collect();
    let tensor = TensorData {
        name: "w",
        shape: &[200, 200],
        kind: TensorKind::Difference,
        constraint: None,
        codec: Codec::F16,
        values: &values,
    };
    encode(&common::header(), &common::LABELS, &[tensor]).unwrap()
}

/// Catches: a limit that is one too high or too low.
#[test]
fn a_file_fits_into_its_own_length() {
    let file = sample();
    assert_eq!(decompress(compress(&file), file.len()).unwrap(), file);
    assert!(matches!(decompress(compress(&file), file.len() - 1), Err(CompressionError::TooLong { .. })));
}

/// Catches: a byte that is lost on the way, a signature included, and a frame that is larger than what it holds.
#[test]
fn a_file_comes_out_as_it_went_in() {
    for file in [sample(), large(), SecretKey::from_seed(&[1; 32]).sign(&sample(), 1).unwrap()] {
        assert_eq!(decompress(compress(&file), MAX_FILE_BYTES).unwrap(), file);
        assert_eq!(decompress(file.clone(), 0).unwrap(), file, "what is not packed is left alone");
    }
    assert!(compress(&large()).len() * 4 < large().len());
}

/// Catches: a reader that only its own frames can be read by: this one was made by `zstd -19`.
#[test]
fn frames_of_other_tools_are_read() {
    let frame = include_bytes!("fixtures/version-2.delta.zst").to_vec();
    assert_eq!(decompress(frame, MAX_FILE_BYTES).unwrap(), include_bytes!("fixtures/version-2.delta"));
}

/// A frame of 16 kB that begins with these bytes and goes on for 512 MiB of zeros.
fn bomb(beginning: &[u8]) -> Vec<u8> {
    const RAW: u32 = 0;
    const RUN: u32 = 1;
    let block = |kind: u32, length: usize, last: bool| {
        let [a, b, c, _] = ((length as u32) << 3 | kind << 1 | u32::from(last)).to_le_bytes();
        [a, b, c]
    };
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58];
    frame.extend(block(RAW, beginning.len(), false));
    frame.extend(beginning);
    for turn in 0..4096 {
        frame.extend(block(RUN, 128 << 10, turn == 4095));
        frame.push(0);
    }
    frame
}

/// Catches: a frame that is unpacked before anyone asks what is in it, or how large it gets.
#[test]
fn bombs_are_refused() {
    assert!(matches!(decompress(bomb(b"GIF89a"), usize::MAX), Err(CompressionError::Content)));
    let announced = sample().len() + 104;
    let refused = decompress(bomb(&sample()), usize::MAX).unwrap_err();
    assert!(matches!(refused, CompressionError::TooLong { limit } if limit == announced), "{refused:?}");
    let mut boasting = sample();
    boasting[16..24].copy_from_slice(&(1_u64 << 40).to_le_bytes());
    let refused = decompress(bomb(&boasting), 1 << 20).unwrap_err();
    assert!(matches!(refused, CompressionError::TooLong { limit: 1_048_576 }), "{refused:?}");
    boasting[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(decompress(bomb(&boasting), 1 << 20), Err(CompressionError::Content)));
}

/// Catches: a window that is allocated because a frame asks for it: 1 GiB, in a frame of a few bytes.
#[test]
fn a_window_over_the_limit_is_refused() {
    let greedy = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 20 << 3, 0x01, 0x00, 0x00];
    assert!(matches!(decompress(greedy, MAX_FILE_BYTES), Err(CompressionError::Frame { .. })));
}

/// Catches: a frame whose end, or what follows it, is not looked at.
#[test]
fn cut_and_continued_frames_are_refused() {
    let frame = compress(&sample());
    for length in 4..frame.len() {
        assert!(decompress(frame[..length].to_vec(), MAX_FILE_BYTES).is_err(), "{length} of {} bytes", frame.len());
    }
    let twice = [&frame[..], &frame].concat();
    assert!(matches!(decompress(twice, MAX_FILE_BYTES), Err(CompressionError::Surplus { .. })));
}

proptest! {
    /// Catches: a frame that makes the decoder panic, and a file that is changed on the way.
    #[test]
    fn any_frame_is_unpacked_or_refused(after: Vec<u8>, at: prop::sample::Index, byte: u8) {
        let mut file = sample();
        file.extend(after.iter().take(104));
        let mut frame = compress(&file);
        prop_assert_eq!(&decompress(frame.clone(), MAX_FILE_BYTES).unwrap(), &file);
        let at = at.index(frame.len());
        frame[at] = byte;
        let _ = decompress(frame, MAX_FILE_BYTES);
    }
}
