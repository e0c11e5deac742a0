//! Fault injection: power cuts and failures at every file operation. Guards against a collection that labels an image it does not
//! have, keeps one that nothing labels, loses what was reported as stored, or does not open.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{ROOT, add, jpeg, look, open};
use fieldfit_collect::{CollectError, Collection, ImageId, Label, Limits, NewImage, Origin};
use fieldfit_durable::testing::{Fault, Simulated, exhaust};
use std::io::ErrorKind;
use std::path::Path;

const FAULTS: [Fault; 2] = [Fault::Stop, Fault::Error(ErrorKind::StorageFull)];

/// An operation on a collection of images 1 and 2 of `mud` and 3 of `grass`.
type Operation = fn(&mut Collection) -> Result<(), CollectError>;

const OPERATIONS: [(&str, Operation); 7] = [
    ("add", |collection| add(collection, "mud", &[11, 12]).map(drop)),
    ("add a known one and one of another class", |collection| add(collection, "mud", &[1, 3, 11]).map(drop)),
    ("add a class", |collection| add(collection, "gravel", &[11]).map(drop)),
    ("relabel", |collection| collection.relabel(&[id(1), id(2)], &Label::new("grass", Origin::Operator))),
    ("discard", |collection| collection.discard(&[id(1), id(3)])),
    ("forget", |collection| collection.forget(0, u64::MAX).map(drop)),
    ("add again", |collection| {
        // After an error the log is rewritten first.
        let first = add(collection, "mud", &[11]).is_ok();
        let second = add(collection, "mud", &[12]);
        if first { second.map(drop) } else { second.and(Err(CollectError::Confidence { found: 0.0 })) }
    }),
];

fn id(seed: u32) -> ImageId {
    ImageId::of(&jpeg(seed))
}

fn lived_in() -> Simulated {
    let disk = Simulated::new();
    let mut collection = open(&disk, Limits::NONE).unwrap();
    add(&mut collection, "mud", &[1, 2]).unwrap();
    add(&mut collection, "grass", &[3]).unwrap();
    disk
}

/// Catches: a step left out or in the wrong order: a power cut that shows neither the old contents nor the new ones, takes back
/// what was reported as done, or leaves a file without a label or a label without a file.
#[test]
fn every_operation_happens_whole_or_not_at_all() {
    let first = lived_in();
    let before = look(&first, &open(&first, Limits::NONE).unwrap());
    for (name, operation) in OPERATIONS {
        let changed = lived_in();
        let mut collection = open(&changed, Limits::NONE).unwrap();
        operation(&mut collection).unwrap();
        let after = look(&changed, &collection);
        assert_ne!(after, before, "{name} did nothing");
        for fault in FAULTS {
            let disks = exhaust(
                fault,
                lived_in,
                |disk| open(disk, Limits::NONE).and_then(|mut collection| operation(&mut collection)).is_ok(),
                |disk, done| {
                    let found = look(disk, &open(disk, Limits::NONE).unwrap());
                    let is_part =
                        found.iter().all(|(id, seen)| [&before, &after].iter().any(|look| look.get(id) == Some(seen)));
                    let is_whole = found == after || (!done && (found == before || name == "add again" && is_part));
                    assert!(is_whole, "{name}: {fault:?}, done: {done}: {found:#?}");
                },
            );
            assert!(disks > 10, "{name}: {disks}");
        }
    }
}

/// Catches: a new collection that a power cut leaves unopenable.
#[test]
fn making_a_collection_can_be_cut_anywhere() {
    for fault in FAULTS {
        exhaust(
            fault,
            Simulated::new,
            |disk| open(disk, Limits::NONE).is_ok(),
            |disk, _| assert!(open(disk, Limits::NONE).unwrap().contents().is_empty()),
        );
    }
}

/// Catches: an eviction that is half done: limits that are exceeded on the disk for a moment, an image that is gone and still
/// labelled, a new one stored without its label.
#[test]
fn limits_hold_at_every_operation_of_an_eviction() {
    let length = |seed| jpeg(seed).len() as u64;
    let limits = Limits::NONE.with_bytes((1..=3).map(length).max().unwrap() * 3 + 40);
    let on_disk = |disk: &Simulated| -> u64 {
        let is_image = |path: &&std::path::PathBuf| path.starts_with(Path::new(ROOT).join("images"));
        let contents = disk.contents();
        contents.keys().filter(is_image).map(|path| contents[path].len() as u64).sum()
    };
    for fault in FAULTS {
        let disks = exhaust(
            fault,
            lived_in,
            |disk| {
                let added = open(disk, limits).and_then(|mut collection| add(&mut collection, "grass", &[21, 22]));
                assert!(on_disk(disk) <= limits.bytes, "{} bytes of {}", on_disk(disk), limits.bytes);
                added.is_ok()
            },
            |disk, done| {
                let collection = open(disk, limits).unwrap();
                let found = look(disk, &collection);
                assert!(collection.contents().bytes() <= limits.bytes);
                assert!(!done || (found.contains_key(&id(21)) && found.contains_key(&id(22))), "{found:?}");
                assert_eq!(found.contains_key(&id(21)), found.contains_key(&id(22)), "both or none");
            },
        );
        assert!(disks > 10, "{disks}");
    }
}

/// Catches: an image stored on a disk that others need, or a refusal that leaves something behind.
#[test]
fn a_full_disk_refuses_before_anything_is_written() {
    let disk = lived_in();
    let before = disk.contents();
    let limits = Limits::NONE.with_free_disk(1 << 20);
    disk.set_free_space(Some((1 << 20) + 100));
    let mut collection = open(&disk, limits).unwrap();
    let error = add(&mut collection, "mud", &[11]).unwrap_err();
    assert!(matches!(error, CollectError::FreeDisk { free: 1_048_676, .. }), "{error}");
    assert_eq!(disk.contents(), before);
    disk.set_free_space(Some(2 << 20));
    assert_eq!(add(&mut collection, "mud", &[11]).unwrap().len(), 1);
}

/// Catches: a second writer, whose recovery would remove what the first is storing.
#[test]
fn one_process_writes() {
    let disk = lived_in();
    let collection = open(&disk, Limits::NONE).unwrap();
    assert!(matches!(open(&disk, Limits::NONE), Err(CollectError::Durable(_))));
    drop(collection);
    open(&disk, Limits::NONE).unwrap();
}

/// Catches: any image that is stored without being one, or a whole call that is lost for the sake of one image unnoticed.
#[test]
fn what_is_no_image_is_refused_whole() {
    let disk = lived_in();
    let before = disk.contents();
    let mut collection = open(&disk, Limits::NONE).unwrap();
    let whole = jpeg(11);
    let images = [NewImage::new(&whole, "drive"), NewImage::new(b"text", "drive")];
    let error = collection.add(&images, &Label::new("mud", Origin::Operator)).unwrap_err();
    assert!(matches!(error, CollectError::NotAnImage { .. }), "{error}");
    for class in ["", " ", "a/b", "..", ".hidden", "a\nb", &"x".repeat(256)] {
        assert!(matches!(add(&mut collection, class, &[11]), Err(CollectError::Class { .. })), "{class}");
    }
    assert_eq!(disk.contents(), before);
}
