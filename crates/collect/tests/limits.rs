//! Limits as properties: bytes, images per class, age, who goes first, and clocks that jump.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{NOW, ROOT, TestClock, add, jpeg, open, open_at};
use fieldfit_collect::{Collection, Contents, ImageId, Label, Limits, NewImage, Origin};
use fieldfit_durable::testing::Simulated;
use proptest::prelude::*;
use std::time::Duration;

fn teacher() -> Origin {
    Origin::Teacher { name: "large".into() }
}

fn label_as(collection: &mut Collection, seed: u32, origin: Origin, fingerprint: u64) -> usize {
    let bytes = jpeg(seed);
    let mut image = NewImage::new(&bytes, "drive");
    image.fingerprint = fingerprint;
    collection.add(&[image], &Label::new("mud", origin)).unwrap().stored.len()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Catches: a limit that is exceeded after any sequence of operations, a class that loses its last images to another one, a
    /// count or a length that drifts from the images, a log that replays to something else.
    #[test]
    fn limits_hold_after_every_operation(
        operations in prop::collection::vec((0..4_u8, 0..3_usize, 0..60_u32, 1..4_u32), 1..40),
        images in 4..10_u64,
    ) {
        let limits = Limits::NONE.with_bytes(images * 800).with_per_class(4).with_min_per_class(1);
        let disk = Simulated::new();
        let mut collection = open(&disk, limits).unwrap();
        for (operation, class, seed, count) in operations {
            let class = ["mud", "grass", "gravel"][class];
            let ids: Vec<ImageId> = collection.contents().images().map(|(image, _)| image.id).take(count as usize).collect();
            let before: Vec<(String, usize)> = counts(collection.contents());
            match operation {
                0 | 1 => drop(add(&mut collection, class, &(seed..seed + count).collect::<Vec<_>>()).unwrap()),
                2 => drop(collection.relabel(&ids, &Label::new(class, Origin::Operator))),
                _ => collection.discard(&ids).unwrap(),
            }
            let contents = collection.contents();
            prop_assert!(contents.bytes() <= limits.bytes);
            prop_assert_eq!(contents.bytes(), contents.images().map(|(image, _)| image.bytes).sum::<u64>());
            for (name, count) in counts(contents) {
                prop_assert!(count <= 4, "{} has {}", name, count);
                prop_assert_eq!(count, contents.count(&name));
            }
            if operation < 2 {
                for (name, _) in before.into_iter().filter(|(name, _)| name != class) {
                    // Its images may have been relabelled one by one.
                    let taken = contents.images().any(|(_, label)| label.class == class);
                    prop_assert!(contents.count(&name) >= 1 || taken, "{} is gone", name);
                }
            }
        }
        let expected: Vec<_> = collection.contents().images().map(|(image, label)| (image.clone(), label.clone())).collect();
        drop(collection);
        let reopened = open(&disk, limits).unwrap();
        let found: Vec<_> = reopened.contents().images().map(|(image, label)| (image.clone(), label.clone())).collect();
        prop_assert_eq!(found, expected);
    }
}

fn counts(contents: &Contents) -> Vec<(String, usize)> {
    contents.statistics().classes.into_iter().map(|(class, origins)| (class, origins.values().sum())).collect()
}

/// Catches: an operator's label that goes for a model's, and pseudo-labels that stay while operators' go.
#[test]
fn pseudo_labels_go_first_and_never_displace_others() {
    let disk = Simulated::new();
    let mut collection = open(&disk, Limits::NONE.with_per_class(2)).unwrap();
    label_as(&mut collection, 1, Origin::Operator, 1);
    label_as(&mut collection, 2, teacher(), u64::MAX);
    assert_eq!(
        label_as(&mut collection, 3, Origin::Operator, 3),
        1,
        "the pseudo-label went, however unlike the others"
    );
    assert!(collection.contents().image(&ImageId::of(&jpeg(2))).is_none());
    assert_eq!(label_as(&mut collection, 4, teacher(), 0xff00), 0, "no operator's label goes for a pseudo-label");
    assert_eq!(collection.contents().len(), 2);
}

/// Catches: eviction of what nothing else resembles.
#[test]
fn the_most_redundant_image_goes() {
    let disk = Simulated::new();
    let mut collection = open(&disk, Limits::NONE.with_per_class(3)).unwrap();
    for (seed, fingerprint) in [(1, 0xffff_0000), (2, 0b0011), (3, 0b0111), (4, 0xff00_0000_0000)] {
        label_as(&mut collection, seed, Origin::Operator, fingerprint);
    }
    let kept: Vec<u64> = collection.contents().images().map(|(image, _)| image.fingerprint).collect();
    assert_eq!(kept, [0xffff_0000, 0b0111, 0xff00_0000_0000]);
}

/// Catches: images that never expire, that expire by a clock that jumped in the session, or that expire because a machine booted
/// without knowing the time.
#[test]
fn age_is_counted_by_a_clock_that_does_not_jump() {
    let limits = Limits::NONE.with_age(Some(Duration::from_secs(1000)));
    let disk = Simulated::new();
    let clock = TestClock::at(5);
    let mut collection = open_at(&disk, limits, &clock).unwrap();
    add(&mut collection, "mud", &[1]).unwrap();
    assert_eq!(collection.contents().images().next().unwrap().0.time, None, "1970 is no time");
    clock.jump(NOW);
    add(&mut collection, "mud", &[2]).unwrap();
    clock.jump(NOW + 1_000_000);
    assert_eq!(collection.expire().unwrap(), 0, "a clock that jumped ahead");
    clock.jump(0);
    clock.pass(999);
    assert_eq!(collection.expire().unwrap(), 0, "a clock that went back");
    clock.pass(2);
    assert_eq!(collection.expire().unwrap(), 2, "the one of an unknown time counts as of the next known one");
    drop(collection);
    let mut reopened = open_at(&disk, limits, &TestClock::at(NOW)).unwrap();
    add(&mut reopened, "mud", &[3]).unwrap();
    drop(reopened);
    assert_eq!(open_at(&disk, limits, &TestClock::at(3)).unwrap().contents().len(), 1, "no credible time, no expiry");
    assert_eq!(open_at(&disk, limits, &TestClock::at(NOW + 1001)).unwrap().contents().len(), 0, "at the next start");
}

/// Catches: forgotten images of which the log still tells, and others that are forgotten with them.
#[test]
fn what_is_forgotten_leaves_no_trace() {
    let disk = Simulated::new();
    let clock = TestClock::at(NOW);
    let mut collection = open_at(&disk, Limits::NONE, &clock).unwrap();
    let mut ids = Vec::new();
    for seed in 1..=3 {
        ids.extend(add(&mut collection, "mud", &[seed]).unwrap());
        clock.pass(100);
    }
    assert_eq!(collection.forget(NOW + 50, NOW + 150).unwrap(), 1);
    let everything = disk.contents();
    let is_mentioned = |id: &ImageId| {
        let id = id.to_string();
        everything.iter().any(|(path, bytes)| {
            path.to_string_lossy().contains(&id) || bytes.windows(id.len()).any(|window| window == id.as_bytes())
        })
    };
    assert_eq!(ids.iter().map(is_mentioned).collect::<Vec<_>>(), [true, false, true]);
}

/// Catches: a log that grows with every label and is never compacted, and limits that contradict each other.
#[test]
fn the_log_is_bounded_by_the_images() {
    let disk = Simulated::new();
    let mut collection = open(&disk, Limits::NONE.with_per_class(3)).unwrap();
    let mut longest = 0;
    for round in 0..1500 {
        add(&mut collection, "mud", &[round % 7]).unwrap();
        let log = disk.contents()[&std::path::Path::new(ROOT).join("collection.jsonl")].len();
        longest = longest.max(log);
    }
    assert!(longest < 150_000, "{longest}");
    assert!(open(&Simulated::new(), Limits::NONE.with_per_class(3).with_min_per_class(4)).is_err());
}

/// Catches: a folder of somebody's files that becomes a collection, and a missing one that is taken for an empty one.
#[test]
fn other_folders_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("thesis.tex"), "").unwrap();
    let refused = Collection::open(folder.path(), Limits::NONE).unwrap_err().to_string();
    assert!(refused.contains("`thesis.tex` is in it already"), "{refused}");
    let missing = Contents::read(&folder.path().join("none")).unwrap_err().to_string();
    assert!(missing.contains("there is no collection at"), "{missing}");
}
