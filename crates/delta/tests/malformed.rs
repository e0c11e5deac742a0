//! Malformed files: none is accepted, and none makes the reader panic. Guards against a missing check, or one hidden by
//! another: files are damaged with a stale hash, and forged with a correct one.
#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, reason = "a test that cannot make its delta has failed")]

mod common;

use common::{LABELS, header, sample, tensors};
use fieldfit_delta::limits::{
    MAX_LABEL_BYTES, MAX_NAME_BYTES, MAX_REPLACED_VALUES, MAX_TENSORS, max_values_without_base,
};
use fieldfit_delta::{
    Codec, CodecError, Constraint, Delta, DeltaError, Header, Provenance, TensorData, TensorKind, VERSION, encode,
};
use fieldfit_tensor::Norm;
use sha2::{Digest, Sha256};

/// Fixed places of the sample, as the crate's documentation has them; see `format.rs`.
struct Places {
    labels: usize,
    record: usize,
    bias_payload: usize,
}

fn places(file: &[u8]) -> Places {
    let u32_at = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    let labels = 24 + u32_at(12);
    let record = labels + 8 + u32_at(labels + 4);
    Places { labels, record, bias_payload: record + 45 + 12 + 31 }
}

/// The sample after an edit by someone who can write a length and a hash.
fn forged(edit: impl FnOnce(&mut Vec<u8>, &Places)) -> Vec<u8> {
    let mut file = sample();
    let places = places(&file);
    file.truncate(file.len() - 32);
    edit(&mut file, &places);
    sealed(file)
}

/// The file under a length and a hash that are right.
fn sealed(mut file: Vec<u8>) -> Vec<u8> {
    let length = (file.len() + 32) as u64;
    file[16..24].copy_from_slice(&length.to_le_bytes());
    let hash = Sha256::digest(&file);
    file.extend_from_slice(&hash);
    file
}

fn put<const N: usize>(file: &mut [u8], at: usize, bytes: [u8; N]) {
    file[at..at + N].copy_from_slice(&bytes);
}

/// Asserts that the edit is refused with the error of this pattern, and that the message says something.
macro_rules! refuses {
    ($pattern:pat, $edit:expr) => {{
        let file = forged($edit);
        let refused = Delta::parse(&file).unwrap_err();
        assert!(matches!(refused, $pattern), "{refused:?} is not {}", stringify!($pattern));
        assert!(refused.to_string().len() > 20, "{refused}");
    }};
}

/// Asserts that what is to be written is refused with the error of this pattern.
macro_rules! not_written {
    ($pattern:pat, $result:expr) => {{
        let refused = $result.unwrap_err();
        assert!(matches!(refused, $pattern), "{refused:?} is not {}", stringify!($pattern));
    }};
}

fn write(tensor: TensorData) -> Result<Vec<u8>, DeltaError> {
    encode(&header(), &LABELS, &[tensor])
}

/// Catches: a byte that no check covers.
#[test]
fn every_flipped_byte_is_refused() {
    let whole = sample();
    for index in 0..whole.len() {
        for mask in [0x01, 0x80, 0xff] {
            let mut file = whole.clone();
            file[index] ^= mask;
            assert!(Delta::parse(&file).is_err(), "byte {index} ^ {mask:#x} was accepted");
        }
    }
}

/// Catches: a reader that trusts a length before it has the bytes.
#[test]
fn every_shorter_file_is_cut_short() {
    let whole = sample();
    for length in 0..whole.len() {
        let refused = Delta::parse(&whole[..length]).unwrap_err();
        assert!(
            matches!(refused, DeltaError::Truncated { found, .. } if found == length as u64),
            "{length} bytes: {refused:?}"
        );
    }
}

/// Catches: a second file hidden behind the first.
#[test]
fn every_longer_file_has_trailing_bytes() {
    let whole = sample();
    for extra in [&[0][..], &[1, 2, 3], &whole] {
        let refused = Delta::parse(&[&whole, extra].concat()).unwrap_err();
        assert_eq!(
            refused,
            DeltaError::TrailingBytes { expected: whole.len() as u64, found: (whole.len() + extra.len()) as u64 }
        );
    }
}

/// Catches: structural checks that lean on the hash: with a right one, no change of any byte may panic or run over, and
/// what is accepted can be read to its end.
#[test]
fn every_forged_byte_is_refused_or_read_whole() {
    let length = sample().len() - 32;
    for index in 24..length {
        for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            let file = forged(|file, _| file[index] = value);
            let Ok(delta) = Delta::parse(&file) else { continue };
            assert_eq!(delta.labels().count(), delta.header().classes as usize);
            assert_eq!(delta.records().count(), delta.header().tensors as usize);
            for record in delta.records() {
                let mut values = vec![f32::NAN; record.len()];
                record.decode_into(&mut values).unwrap();
                assert!(values.iter().all(|value| value.is_finite()), "byte {index} = {value:#x}");
            }
        }
    }
}

/// Catches: as above, for a file that was cut and given a right length and hash.
#[test]
fn every_forged_cut_is_refused() {
    for length in 24..sample().len() - 32 {
        let file = forged(|file, _| file.truncate(length));
        assert!(Delta::parse(&file).is_err(), "{length} bytes were accepted");
    }
}

/// Catches: another file, or one of the future, that is called damaged.
#[test]
fn what_is_no_delta_of_this_version_is_called_so() {
    for file in [&b"GIF89a"[..], &[0; 400], b"\x89FFDELTB and more"] {
        assert!(matches!(Delta::parse(file).unwrap_err(), DeltaError::Magic { .. }));
    }
    let mut file = sample();
    file[8] = VERSION as u8 + 1;
    assert_eq!(Delta::parse(&file).unwrap_err(), DeltaError::Version { found: VERSION + 1 });
    file[8] = 0;
    assert_eq!(Delta::parse(&file).unwrap_err(), DeltaError::Version { found: 0 });
    let mut file = sample();
    file[30] ^= 1;
    assert!(matches!(Delta::parse(&file).unwrap_err(), DeltaError::Hash { .. }));
}

/// Catches: a header that is believed.
#[test]
fn malformed_headers_are_refused() {
    refuses!(DeltaError::HeaderLength { found: 4097 }, |file, _| put(file, 12, 4097_u32.to_le_bytes()));
    refuses!(DeltaError::Section { what: "the header", .. }, |file, _| put(file, 12, 4096_u32.to_le_bytes()));
    refuses!(DeltaError::HeaderEncoding { .. }, |file, _| put(file, 12, 40_u32.to_le_bytes()));
    refuses!(DeltaError::HeaderSurplus { surplus: 1 }, |file, places| {
        let length = (places.labels - 24 + 1) as u32;
        put(file, 12, length.to_le_bytes());
        file.insert(places.labels, 0);
    });
    // After the base and the parent: the task, then the input's size.
    refuses!(DeltaError::HeaderEncoding { .. }, |file, _| file[24 + 32 + 33] = 9);
    let crop = 24 + 32 + 33 + 1 + 2;
    for value in [f32::NAN, f32::INFINITY, 0.0, -0.5, 1.5] {
        refuses!(DeltaError::HeaderValue { field: "crop", .. }, |file, _| put(file, crop, value.to_le_bytes()));
    }
    // Before the labels: images, changed answers (a byte each) and divergence; before these, that they were measured.
    refuses!(DeltaError::HeaderValue { field: "accuracy after", .. }, |file, places| {
        put(file, places.labels - 7 - 4, f32::NAN.to_le_bytes());
    });
    for value in [f32::NAN, f32::INFINITY, -0.5] {
        refuses!(DeltaError::HeaderValue { field: "divergence", .. }, |file, places| {
            put(file, places.labels - 4, value.to_le_bytes());
        });
    }
    refuses!(DeltaError::HeaderValue { field: "changed answers", .. }, |file, places| file[places.labels - 5] = 61);
    refuses!(DeltaError::HeaderEncoding { .. }, |file, places| file[places.labels - 7] = 2);
    refuses!(DeltaError::Classes { found: 0 }, |file, _| file[crop + 4] = 0);
    refuses!(DeltaError::Section { .. }, |file, _| file[crop + 5] = 4);
    refuses!(DeltaError::Surplus { section: "records", .. }, |file, _| file[crop + 5] = 2);
}

/// Catches: labels that do not name the classes, or run over their section.
#[test]
fn malformed_labels_are_refused() {
    refuses!(DeltaError::LabelCount { classes: 2, labels: 3 }, |file, places| file[places.labels] = 3);
    refuses!(DeltaError::Section { what: "the labels", .. }, |file, places| {
        put(file, places.labels + 4, u32::MAX.to_le_bytes());
    });
    refuses!(DeltaError::Section { what: "a label", .. }, |file, places| file[places.labels + 8] = 40);
    refuses!(DeltaError::LabelLength { index: 0, found: 257 }, |file, places| {
        put(file, places.labels + 8, 257_u16.to_le_bytes());
    });
    refuses!(DeltaError::Utf8 { what: "a label", .. }, |file, places| file[places.labels + 10] = 0xff);
    refuses!(DeltaError::Surplus { section: "labels", surplus: 1, .. }, |file, places| {
        file[places.labels + 4] += 1;
        file.insert(places.record, 0);
    });
}

/// Catches: a record that is believed.
#[test]
fn malformed_records_are_refused() {
    refuses!(DeltaError::NameLength { index: 0, found: 0 }, |file, places| file[places.record] = 0);
    refuses!(DeltaError::NameLength { index: 0, found: 129 }, |file, places| file[places.record] = 129);
    refuses!(DeltaError::Utf8 { what: "a tensor's name", .. }, |file, places| file[places.record + 2] = 0xc0);
    refuses!(DeltaError::Rank { found: 0, .. }, |file, places| file[places.record + 13] = 0);
    refuses!(DeltaError::Rank { found: 7, .. }, |file, places| file[places.record + 13] = 7);
    refuses!(DeltaError::EmptyDimension { axis: 1, .. }, |file, places| file[places.record + 18] = 0);
    refuses!(DeltaError::TensorSize { .. }, |file, places| {
        (0..4).for_each(|axis| put(file, places.record + 14 + 4 * axis, u32::MAX.to_le_bytes()));
    });
    refuses!(DeltaError::UnknownKind { found: 3, .. }, |file, places| file[places.record + 30] = 3);
    refuses!(DeltaError::ConstraintOfReplacement { .. }, |file, places| file[places.record + 30] = 2);
    refuses!(DeltaError::ConstraintOfReplacement { .. }, |file, places| file[places.record + 30] = 1);
    refuses!(DeltaError::UnknownNorm { found: 3, .. }, |file, places| file[places.record + 31] = 3);
    for value in [f32::NAN, f32::INFINITY, -1.0] {
        refuses!(DeltaError::Radius { .. }, |file, places| put(file, places.record + 32, value.to_le_bytes()));
        refuses!(DeltaError::Distance { .. }, |file, places| put(file, places.record + 36, value.to_le_bytes()));
    }
    refuses!(DeltaError::UnknownCodec { found: 200, .. }, |file, places| file[places.record + 40] = 200);
    refuses!(DeltaError::Section { what: "a payload", .. }, |file, places| {
        put(file, places.record + 41, u32::MAX.to_le_bytes());
    });
    refuses!(DeltaError::Payload { source: CodecError::Length { expected: 12, found: 13, .. }, .. }, |file, places| {
        file[places.record + 41] = 13;
        file.insert(places.record + 45, 0);
    });
    refuses!(DeltaError::Surplus { section: "records", surplus: 1, .. }, |file, _| file.push(0));
}

/// Catches: a value that is not finite, in any guise.
#[test]
fn malformed_payloads_are_refused() {
    for bits in [0x7c00_u16, 0xfc00, 0x7e00] {
        refuses!(DeltaError::Payload { source: CodecError::NotFinite { index: 2, .. }, .. }, |file, places| {
            put(file, places.record + 45 + 4, bits.to_le_bytes());
        });
    }
    for scale in [f32::NAN, f32::INFINITY, f32::MAX, -1.0] {
        refuses!(DeltaError::Payload { source: CodecError::Scale { row: 0, .. }, .. }, |file, places| {
            put(file, places.bias_payload, scale.to_le_bytes());
        });
    }
    refuses!(DeltaError::Payload { source: CodecError::Code { index: 1, found: -128 }, .. }, |file, places| {
        file[places.bias_payload + 4 + 1] = 0x80;
    });
}

/// Catches: the second of two tensors of one name that wins silently.
#[test]
fn names_stand_once() {
    let [kernel, bias, _] = tensors();
    let file = encode(&header(), &LABELS, &[kernel, TensorData { name: "stem.other1", ..kernel }, bias]).unwrap();
    let at = file.windows(11).position(|window| window == b"stem.other1").unwrap();
    let mut file = file[..file.len() - 32].to_vec();
    file[at..at + 11].copy_from_slice(b"stem.weight");
    let hash = Sha256::digest(&file);
    file.extend_from_slice(&hash);
    assert_eq!(Delta::parse(&file).unwrap_err(), DeltaError::DuplicateName { name: "stem.weight".into() });

    not_written!(DeltaError::DuplicateName { .. }, encode(&header(), &LABELS, &[kernel, bias, kernel]));
}

/// Catches: values that would be stored as something else: NaN, infinity, and what f16 rounds to infinity.
#[test]
fn what_a_codec_cannot_hold_is_not_written() {
    let [kernel, ..] = tensors();
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for codec in [Codec::F16, Codec::Int8] {
            let values = [0.0, 0.0, 0.0, value, 0.0, 0.0];
            not_written!(
                DeltaError::Payload { source: CodecError::NotFinite { index: 3, .. }, .. },
                write(TensorData { codec, values: &values, ..kernel })
            );
        }
    }
    for (codec, most, beyond) in [(Codec::F16, 65504.0, 65504.01), (Codec::Int8, 1e38, 1.1e38)] {
        assert!(codec.decoded(&[-most], 1).unwrap()[0].is_finite());
        not_written!(CodecError::Overflow { index: 1, .. }, codec.decoded(&[0.0, -beyond], 1));
    }
    for (values, rows) in [(&[0.0; 3][..], 2), (&[0.0; 3], 0), (&[], 1)] {
        not_written!(CodecError::Rows { .. }, Codec::F16.decoded(values, rows));
    }
}

/// Catches: a writer that makes what the reader refuses.
#[test]
fn what_exceeds_a_limit_is_not_written() {
    let [kernel, bias, head] = tensors();
    not_written!(DeltaError::LabelCount { classes: 2, labels: 1 }, encode(&header(), &["cat"], &[kernel]));
    let long = "x".repeat(MAX_LABEL_BYTES + 1);
    not_written!(DeltaError::LabelLength { index: 1, .. }, encode(&header(), &["cat", &long], &[kernel]));
    not_written!(DeltaError::Classes { found: 0 }, encode(&Header { classes: 0, ..header() }, &[], &[]));
    not_written!(DeltaError::InputSize { found: 0 }, encode(&Header { input_size: 0, ..header() }, &LABELS, &[kernel]));
    let provenance = Provenance { before: f32::NAN, ..header().provenance };
    not_written!(DeltaError::HeaderValue { .. }, encode(&Header { provenance, ..header() }, &LABELS, &[kernel]));

    let name = "é".repeat(MAX_NAME_BYTES / 2 + 1);
    not_written!(DeltaError::NameLength { index: 0, found: 130 }, write(TensorData { name: &name, ..kernel }));
    not_written!(DeltaError::NameLength { found: 0, .. }, write(TensorData { name: "", ..kernel }));
    not_written!(DeltaError::Rank { found: 7, .. }, write(TensorData { shape: &[1; 7], ..kernel }));
    not_written!(DeltaError::Rank { found: 0, .. }, write(TensorData { shape: &[], ..kernel }));
    not_written!(DeltaError::EmptyDimension { axis: 1, .. }, write(TensorData { shape: &[6, 0], ..kernel }));
    not_written!(DeltaError::TensorSize { .. }, write(TensorData { shape: &[usize::MAX, 2], ..kernel }));
    not_written!(DeltaError::ValueCount { expected: 4, found: 3, .. }, write(TensorData { shape: &[4], ..bias }));
    let constraint = Some(Constraint { norm: Norm::L2, radius: f32::NAN, distance: 0.0 });
    not_written!(DeltaError::Radius { .. }, write(TensorData { constraint, ..kernel }));
    not_written!(
        DeltaError::ConstraintOfReplacement { .. },
        write(TensorData { kind: TensorKind::Replacement, ..kernel })
    );

    let half = vec![0.0; MAX_REPLACED_VALUES / 2 + 1];
    let half = |name| TensorData { name, shape: &[MAX_REPLACED_VALUES / 2 + 1], values: &half, ..head };
    assert!(encode(&header(), &LABELS, &[half("a")]).is_ok());
    not_written!(DeltaError::ReplacedSize { .. }, encode(&header(), &LABELS, &[half("a"), half("b")]));

    let names: Vec<String> = (0..=MAX_TENSORS).map(|index| index.to_string()).collect();
    let many: Vec<TensorData> = names.iter().map(|name| TensorData { name, ..bias }).collect();
    not_written!(DeltaError::TensorCount { found: 4097 }, encode(&header(), &LABELS, &many));
    let file = encode(&header(), &LABELS, &many[1..]).unwrap();
    assert_eq!(Delta::parse(&file).unwrap().records().count(), MAX_TENSORS);
}

/// Catches: a message that cuts a name within a character, or runs on.
#[test]
fn long_names_are_cut_in_messages() {
    let name = "é".repeat(60);
    let refused = write(TensorData { name: &name, shape: &[0], ..tensors()[0] }).unwrap_err();
    assert!(refused.to_string().contains(&format!("`{}…`", "é".repeat(32))), "{refused}");
}

/// Catches: a packed byte with two readings: digits that no row is written with, and another filling.
#[test]
fn forged_packed_rows_are_refused() {
    use CodecError::{Byte, Padding, Scale};
    // A row of three: two bytes of scale, then digits.
    let nan = f32::NAN.to_bits().to_be_bytes();
    for (codec, payload, is_expected) in [
        (Codec::Int4, vec![0, 0x3f, 0x90, 0x89], (|fault| matches!(fault, Byte { .. })) as fn(CodecError) -> bool),
        (Codec::Int4, vec![0, 0x3f, 0x99, 0x99], |fault| matches!(fault, Padding { .. })),
        (Codec::Ternary, vec![0, 0x3f, 243], |fault| matches!(fault, Byte { .. })),
        (Codec::Ternary, vec![0, 0x3f, 0], |fault| matches!(fault, Padding { .. })),
        (Codec::Sign, vec![0, 0x3f, 0], |fault| matches!(fault, Padding { .. })),
        (Codec::Sign, vec![nan[1], nan[0], 0xff], |fault| matches!(fault, Scale { .. })),
        (Codec::Sign, vec![0, 0xbf, 0xff], |fault| matches!(fault, Scale { .. })),
        (Codec::Sparse, vec![2, 0, 0, 0, 0, 0, 0], |fault| matches!(fault, Padding { .. })),
    ] {
        let refused = Delta::parse(&with_payload(codec, &payload)).unwrap_err();
        let DeltaError::Payload { source, .. } = refused else { panic!("{codec:?}: {refused}") };
        assert!(is_expected(source), "{codec:?} {payload:?}: {source:?}");
    }
}

/// A file of one tensor, `[1, 3]`, with the payload in place of its own and a hash that is right.
fn with_payload(codec: Codec, payload: &[u8]) -> Vec<u8> {
    let (shape, values) = ([1, 3], [0.0; 3]);
    let tensor =
        TensorData { name: "w", shape: &shape, kind: TensorKind::Difference, constraint: None, codec, values: &values };
    let mut file = encode(&header(), &LABELS, &[tensor]).unwrap();
    let own = Delta::parse(&file).unwrap().records().next().unwrap().payload.len();
    file.truncate(file.len() - 32 - own);
    let start = file.len();
    file.extend_from_slice(payload);
    file[start - 4..start].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    sealed(file)
}

/// Catches: text of a file that moves the cursor, forges a line or reorders what is printed, and that is accepted or written.
#[test]
fn text_that_deceives_a_reader_is_refused() {
    for letter in ['\u{1b}', '\n', '\u{202e}', '\u{2066}', '\u{9b}'] {
        let text = format!("a{letter}b");
        let (bare, tensors) = (header(), tensors());
        let labelled = encode(&bare, &["cat", &text], &tensors);
        not_written!(DeltaError::LabelText { index: 1, .. }, labelled);
        not_written!(DeltaError::NameText { index: 0, .. }, write(TensorData { name: &text, ..tensors[0] }));
        let options = text.as_str().try_into().unwrap();
        let told = Header { provenance: Provenance { options, ..Provenance::default() }, ..bare };
        not_written!(DeltaError::HeaderText { field: "the options", .. }, encode(&told, &LABELS, &tensors));
    }
    refuses!(DeltaError::LabelText { index: 0, found: '\u{1b}' }, |file, places| file[places.labels + 10] = 0x1b);
    refuses!(DeltaError::NameText { index: 0, found: '\n' }, |file, places| file[places.record + 2] = b'\n');
    let options = sample().windows(8).position(|bytes| bytes == b"epochs=4").unwrap();
    refuses!(DeltaError::HeaderText { found: '\r', .. }, |file, _| file[options] = b'\r');
}

/// Catches: a few bytes that a reader decodes to gigabytes, in one tensor or in the sum of many.
#[test]
fn decoded_values_are_bounded_by_the_base() {
    let row = vec![0.0_f32; 1 << 20];
    let names: Vec<String> = (0..20).map(|index| format!("blocks.{index}")).collect();
    let tensors: Vec<TensorData> = names
        .iter()
        .map(|name| TensorData {
            name,
            shape: &[1, 1 << 20],
            kind: TensorKind::Difference,
            constraint: None,
            codec: Codec::Sparse,
            values: &row,
        })
        .collect();
    let file = encode(&header(), &LABELS, &tensors).unwrap();
    assert!(file.len() < 2000 && Delta::parse(&file).is_ok());
    assert!(Delta::parse_for(&file, 20 << 20).is_ok());
    let refused = Delta::parse_for(&file, (20 << 20) - 1).unwrap_err();
    assert!(matches!(refused, DeltaError::DifferenceSize { found, .. } if found == 20 << 20), "{refused:?}");
    let unknown = Delta::parse_for(&file, max_values_without_base(file.len())).unwrap_err();
    assert!(unknown.to_string().contains("blocks.16"), "{unknown}");

    // The sample's first tensor as one row of 2²⁸ values in one byte, twice.
    let whole = encode(&header(), &LABELS, &tensors[..2]).unwrap();
    let mut file = whole[..whole.len() - 32].to_vec();
    let shapes: Vec<usize> = file
        .windows(4)
        .enumerate()
        .filter_map(|(at, four)| (four == 0x10_0000_u32.to_le_bytes()).then_some(at))
        .collect();
    shapes.iter().for_each(|&at| put(&mut file, at, (1_u32 << 28).to_le_bytes()));
    assert_eq!(shapes.len(), 2);
    let refused = Delta::parse(&sealed(file)).unwrap_err();
    assert!(matches!(refused, DeltaError::DifferenceSize { .. }), "{refused:?}");
}
