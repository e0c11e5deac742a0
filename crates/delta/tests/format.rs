//! File format: a written file is read back, and every field is at its documented offset. Guards against a layout that
//! differs from its diagram, or changes without a new version.
#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, reason = "a test that cannot make its delta has failed")]

mod common;
#[path = "common/everywhere.rs"]
mod everywhere;

use common::{BIAS, HEAD, KERNEL, LABELS, header, sample, tensors};
use fieldfit_delta::{
    Codec, Delta, DeltaError, HeadDescription, HeadOrigin, Header, NoveltyThreshold, Provenance, Record, Task,
    TensorData, TensorKind, VERSION, encode, encode_with,
};
use sha2::{Digest, Sha256};

fn decoded(record: &Record) -> Vec<f32> {
    let mut values = vec![f32::NAN; record.len()];
    record.decode_into(&mut values).unwrap();
    values
}

/// Catches: any field that does not survive a file.
#[test]
fn everything_comes_back() {
    let file = sample();
    let delta = Delta::parse(&file).unwrap();
    assert_eq!(*delta.header(), Header { tensors: 3, ..header() });
    assert!(delta.labels().eq(LABELS));

    let records: Vec<Record> = delta.records().collect();
    assert_eq!(records.len(), 3);
    for (record, tensor) in records.iter().zip(&tensors()) {
        assert_eq!(record.name, tensor.name);
        assert!(record.shape.iter().map(|&size| size as usize).eq(tensor.shape.iter().copied()));
        assert_eq!((record.kind, record.constraint, record.codec), (tensor.kind, tensor.constraint, tensor.codec));
    }
    assert_eq!(records.iter().map(Record::rows).collect::<Vec<_>>(), [2, 1, 2]);
    assert_eq!(decoded(&records[0]), KERNEL, "half precision holds these exactly");
    for (record, values) in [(&records[1], &BIAS[..]), (&records[2], &HEAD)] {
        for (decoded, value) in decoded(record).iter().zip(values) {
            assert!((decoded - value).abs() <= 3.0 / 254.0 * 1.0001, "{decoded}, not {value}");
        }
    }
}

/// Catches: a task that does not survive a file, or one that earlier readers would take for classification: the version tells it.
#[test]
fn a_task_other_than_classification_has_a_version_of_its_own() {
    for (task, version) in [(Task::Segmentation, 3), (Task::Regression, 4), (Task::MultiLabel, 4)] {
        let header = Header { task, ..header() };
        let mut file = encode(&header, &LABELS, &tensors()).unwrap();
        let delta = Delta::parse(&file).unwrap();
        assert_eq!((delta.version(), delta.header().task), (version, task));
        assert_eq!(delta.header().head, HeadDescription::default());
        // The same under the version before, which has the head at the header's end only from 3 on.
        let refused = under_version(version - 1, &mut file);
        assert!(matches!(refused, DeltaError::HeaderValue { field: "task", .. }), "{refused}");
    }
}

/// Gives a file another format version; returns the error that it is refused with.
fn under_version(version: u32, file: &mut Vec<u8>) -> DeltaError {
    let head = if version < 3 { 3 } else { 0 };
    let length = u32::from_le_bytes(file[12..16].try_into().unwrap()) as usize;
    file.drain(24 + length - head..24 + length);
    file[8] = version as u8;
    file[12..16].copy_from_slice(&((length - head) as u32).to_le_bytes());
    let end = (file.len() as u64).to_le_bytes();
    file[16..24].copy_from_slice(&end);
    let hash = file.len() - 32;
    let digest = Sha256::digest(&file[..hash]);
    file[hash..].copy_from_slice(&digest);
    Delta::parse(file).unwrap_err()
}

/// Catches: a table of positions, whose first dimension stands for the batch, that is read or written as one row: small
/// values would vanish beside large ones.
#[test]
fn each_position_is_a_row() {
    let values = [1.0, -2.0, 100.0, 200.0, 0.01, -0.02];
    let positions = TensorData {
        name: "pos_embed",
        shape: &[1, 3, 2],
        kind: TensorKind::Difference,
        constraint: None,
        codec: Codec::Int8,
        values: &values,
    };
    let file = encode(&header(), &LABELS, &[positions]).unwrap();
    let delta = Delta::parse(&file).unwrap();
    let record = delta.records().next().unwrap();
    assert_eq!(record.rows(), 3);
    for (found, value) in decoded(&record).iter().zip(values) {
        assert!((found - value).abs() <= 0.01 * value.abs(), "{found}, not {value}");
    }
}

/// Catches: a reader or a writer that needs at least one tensor, or text in a label.
#[test]
fn a_delta_may_change_nothing() {
    let file = encode(&Header { classes: 1, ..header() }, &[""], &[]).unwrap();
    let delta = Delta::parse(&file).unwrap();
    assert!(delta.labels().eq([""]));
    assert_eq!(delta.records().count(), 0);
}

/// Catches: a field that is not where the documentation's diagram has it.
#[test]
fn every_field_is_where_the_diagram_says() {
    let file = sample();
    let u16_at = |at: usize| usize::from(u16::from_le_bytes(file[at..at + 2].try_into().unwrap()));
    let u32_at = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    let f32_at = |at: usize| f32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    assert_eq!(file[..8], *b"\x89FFDELTA");
    assert_eq!(u32_at(8), 2, "the earliest version that has room for the default head");
    let header = u32_at(12);
    assert_eq!(u64::from_le_bytes(file[16..24].try_into().unwrap()), file.len() as u64);
    assert_eq!(file[24..24 + 32], [0xb5; 32], "the header begins with the base");

    let labels = 24 + header;
    assert_eq!(u32_at(labels), 2);
    assert_eq!(u32_at(labels + 4), 2 + 3 + 2 + LABELS[1].len());
    assert_eq!(u16_at(labels + 8), 3);
    assert_eq!(file[labels + 10..labels + 13], *b"cat");

    let record = labels + 8 + u32_at(labels + 4);
    assert_eq!(u16_at(record), 11);
    assert_eq!(file[record + 2..record + 13], *b"stem.weight");
    assert_eq!(file[record + 13], 4);
    assert_eq!([0, 4, 8, 12].map(|at| u32_at(record + 14 + at)), [2, 3, 1, 1]);
    assert_eq!(file[record + 30..record + 32], [0, 2], "a difference, in MARS balls");
    assert_eq!((f32_at(record + 32), f32_at(record + 36)), (1.5, 1.25));
    assert_eq!(file[record + 40], 0, "f16");
    assert_eq!(u32_at(record + 41), 12);
    assert_eq!(file[record + 45..record + 47], [0x00, 0x34], "0.25 in half precision");

    let record = record + 45 + 12;
    assert_eq!(u16_at(record), 9);
    let payload = record + 2 + 9 + 1 + 4 + 1 + 9 + 1 + 4;
    assert_eq!(f32_at(payload), 0.75 / 127.0);
    assert_eq!(file[payload + 4..payload + 7], [(-85_i8) as u8, 0, 127]);

    let end = file.len() - 32;
    assert_eq!(file[end..], *Sha256::digest(&file[..end]));
    assert_eq!(Delta::parse(&file).unwrap().hash(), file[end..]);
}

/// Catches: a change to the format, the header's order of fields included, that forgot to take a new version: robots in
/// the field hold files of this one.
#[test]
fn version_2_stays_as_it_was() {
    let hash = Delta::parse(&sample()).unwrap().hash();
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hash, "bc4c5866f2ec671ee9eeae03144d755eed90b11d223f83ccc69f4c5a0e91a5b1");
}

/// Catches: a buffer that is filled in part, or run over.
#[test]
fn a_buffer_of_another_size_is_refused() {
    let file = sample();
    let record = Delta::parse(&file).unwrap().records().next().unwrap();
    for room in [0, 5, 7] {
        let refused = record.decode_into(&mut vec![0.0; room]).unwrap_err();
        assert!(matches!(refused, DeltaError::Payload { .. }), "{refused}");
        assert!(refused.to_string().contains("stem.weight"), "{refused}");
    }
}

/// Catches: a payload that the reader refuses, of another length than planned, or decoded to something else than told.
#[test]
fn every_codec_makes_files_that_are_read() {
    for shape in [[1, 1], [3, 7], [2, 16], [5, 9]] {
        let values: Vec<f32> =
            (0..shape[0] * shape[1]).map(|i| if i < shape[1] { 0.0 } else { 0.25 - (i % 5) as f32 }).collect();
        for codec in Codec::ALL {
            let tensor = TensorData {
                name: "w",
                shape: &shape,
                kind: TensorKind::Difference,
                constraint: None,
                codec,
                values: &values,
            };
            let file = encode(&header(), &LABELS, &[tensor]).unwrap();
            let delta = Delta::parse(&file).unwrap();
            let record = delta.records().next().unwrap();
            let (stored, planned) = (record.payload.len(), codec.payload_bytes(values.len(), shape[0]));
            assert!(
                stored == planned || codec == Codec::Sparse && stored < planned,
                "{codec:?}: {stored} of {planned}"
            );
            let mut read = vec![f32::NAN; values.len()];
            record.decode_into(&mut read).unwrap();
            assert_eq!(read, codec.decoded(&values, shape[0]).unwrap(), "{codec:?}");
        }
    }
}

/// Catches: a reader that lost a released version: each of these files was written by the first release that had its
/// format whole, and is never written again.
#[test]
fn files_of_every_version_are_still_read() {
    let files: [&[u8]; 4] = [
        include_bytes!("fixtures/version-1.delta"),
        include_bytes!("fixtures/version-2.delta"),
        include_bytes!("fixtures/version-3.delta"),
        include_bytes!("fixtures/version-4.delta"),
    ];
    for (version, file) in (1..).zip(files) {
        let delta = Delta::parse(file).unwrap();
        let fidelity = header().provenance.fidelity.filter(|_| version > 1);
        let provenance = Provenance { fidelity, ..header().provenance };
        let head = if version > 2 { TAUGHT } else { HeadDescription::default() };
        let task = if version > 3 { Task::MultiLabel } else { Task::Classification };
        assert_eq!(*delta.header(), Header { tensors: 7, provenance, head, task, ..header() });
        assert_eq!((delta.version(), delta.labels().collect()), (version, LABELS.to_vec()));
        assert_eq!(delta.signature().map(|signature| signature.sequence), (version > 1).then_some(7));
        assert!(delta.records().map(|record| record.codec).eq(Codec::ALL));
        for record in delta.records() {
            for (read, written) in decoded(&record).iter().zip(EVERY_CODEC) {
                assert!((read - written).abs() < 0.005, "{:?}: {read} for {written}", record.codec);
            }
        }
    }
    assert_eq!(files.len(), VERSION as usize);
}

/// A head with one taught class that tells unknown images.
const TAUGHT: HeadDescription = HeadDescription {
    origin: HeadOrigin::Replaced,
    taught: 1,
    novelty: Some(NoveltyThreshold { distance: 7.5, false_alarm_rate: 0.0625 }),
};

/// Catches: a head that is lost or believed where no writer can have meant it; a file that earlier readers refuse without need.
#[test]
fn a_head_is_described_since_version_3() {
    let with = |head| encode(&Header { head, ..header() }, &LABELS, &tensors());
    let kept = HeadDescription { origin: HeadOrigin::Kept, ..HeadDescription::default() };
    for head in [TAUGHT, kept] {
        let file = with(head).unwrap();
        let delta = Delta::parse(&file).unwrap();
        assert_eq!((delta.version(), delta.header().head), (3, head));
    }
    assert_eq!(Delta::parse(&with(HeadDescription::default()).unwrap()).unwrap().version(), 2);
    let threshold = |distance, false_alarm_rate| Some(NoveltyThreshold { distance, false_alarm_rate });
    for head in [
        HeadDescription { taught: 3, ..TAUGHT },
        HeadDescription { origin: HeadOrigin::Kept, ..TAUGHT },
        HeadDescription { novelty: threshold(f32::NAN, 0.5), ..TAUGHT },
        HeadDescription { novelty: threshold(-1.0, 0.5), ..TAUGHT },
        HeadDescription { novelty: threshold(1.0, 0.0), ..TAUGHT },
        HeadDescription { novelty: threshold(1.0, 1.0), ..TAUGHT },
    ] {
        assert!(matches!(with(head).unwrap_err(), DeltaError::HeaderValue { .. }), "{head:?}");
    }
}

/// Catches: records that change when they are copied to another file, and ones that are there twice.
#[test]
fn records_are_copied_as_they_are() {
    let file = sample();
    let delta = Delta::parse(&file).unwrap();
    let records: Vec<_> = delta.records().collect();
    let [.., last] = tensors();
    let copy = encode_with(&header(), &LABELS, &records, &[]).unwrap();
    assert_eq!(copy, file);
    let twice = encode_with(&header(), &LABELS, &records, &[last]).unwrap_err();
    assert!(matches!(twice, DeltaError::DuplicateName { .. }), "{twice}");
}

/// Values that every codec comes near to.
const EVERY_CODEC: [f32; 10] = [0.5, -0.5, 0.5, 0.5, -0.5, -0.5, 0.5, -0.5, 0.5, 0.5];

/// Catches: a reader that differs between machines: `tests/microcontroller` asks a Cortex-M4 the same.
#[test]
fn a_file_is_the_same_everywhere() {
    let (mut copy, mut values) = ([0; everywhere::FILE.len()], [0.0; everywhere::VALUES]);
    everywhere::check_values(&mut values);
    everywhere::check_damage(&mut copy);
    everywhere::check_forgeries(&mut copy, &mut values);
}
