//! What is packed comes out as it went in, and no frame takes more memory than a delta may. Guards against bombs, and against
//! frames whose end nobody looks at.
#![cfg(feature = "transport")]
#![allow(clippy::unwrap_used, reason = "a test that can't make its delta has failed")]

mod common;

use common::sample;
use fieldfit_delta::limits::MAX_FILE_BYTES;
use fieldfit_delta::transport::{TransportError, pack, unpack};
use fieldfit_delta::{Codec, Kind, SecretKey, Tensor, encode};
use proptest::prelude::*;

/// A delta of many like rows, as compressible as deltas are at best.
fn large() -> Vec<u8> {
    let values: Vec<f32> = (0..40_000).map(|i| if i % 7 == 0 { 0.5 } else { 0.0 }).collect();
    let tensor = Tensor {
        name: "w",
        shape: &[200, 200],
        kind: Kind::Difference,
        ball: None,
        codec: Codec::F16,
        values: &values,
    };
    encode(&common::header(), &common::LABELS, &[tensor]).unwrap()
}

/// Catches a byte that is lost on the way, a signature included, and a frame that is larger than what it holds.
#[test]
fn a_file_comes_out_as_it_went_in() {
    for file in [sample(), large(), SecretKey::from_seed(&[1; 32]).sign(&sample(), 1).unwrap()] {
        assert_eq!(unpack(pack(&file)).unwrap(), file);
        assert_eq!(unpack(file.clone()).unwrap(), file, "what isn't packed is left alone");
    }
    assert!(pack(&large()).len() * 4 < large().len());
}

/// Catches a reader that only its own frames can be read by: this one was made by `zstd -19`.
#[test]
fn frames_of_other_tools_are_read() {
    let frame = include_bytes!("fixtures/version-2.delta.zst").to_vec();
    assert_eq!(unpack(frame).unwrap(), include_bytes!("fixtures/version-2.delta"));
}

/// Catches a frame that is unpacked before anyone asks how large it gets: 17 kB that hold 512 MiB.
#[test]
fn a_bomb_is_refused() {
    let run_length = |last: u32| ((128 << 10) << 3 | 1 << 1 | last).to_le_bytes();
    let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58];
    for block in 0..4096_u32 {
        bomb.extend_from_slice(&run_length(u32::from(block == 4095))[..3]);
        bomb.push(0);
    }
    assert!(bomb.len() < 17_000 && 4096 * (128 << 10) > MAX_FILE_BYTES);
    assert!(matches!(unpack(bomb), Err(TransportError::TooLong)));
}

/// Catches a window that is allocated because a frame asks for it: 1 GiB, in a frame of a few bytes.
#[test]
fn a_window_over_the_limit_is_refused() {
    let greedy = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 20 << 3, 0x01, 0x00, 0x00];
    assert!(matches!(unpack(greedy), Err(TransportError::Frame { .. })));
}

/// Catches a frame whose end, or what follows it, isn't looked at.
#[test]
fn cut_and_continued_frames_are_refused() {
    let frame = pack(&sample());
    for length in 4..frame.len() {
        assert!(unpack(frame[..length].to_vec()).is_err(), "{length} of {} bytes", frame.len());
    }
    let twice = [&frame[..], &frame].concat();
    assert!(matches!(unpack(twice), Err(TransportError::Surplus { .. })));
}

proptest! {
    /// Catches a frame that makes the decoder panic, and a file that is changed on the way.
    #[test]
    fn any_frame_is_unpacked_or_refused(file: Vec<u8>, at: prop::sample::Index, byte: u8) {
        let mut frame = pack(&file);
        prop_assert_eq!(&unpack(frame.clone()).unwrap(), &file);
        let at = at.index(frame.len());
        frame[at] = byte;
        let _ = unpack(frame);
    }
}
