//! Test helpers: small images that differ, a clock that tests set, and the view that a reader has of a collection.
#![allow(dead_code, reason = "each test binary uses some of it")]

use fieldfit_collect::{Clock, CollectError, Collection, ImageId, Label, Limits, NewImage, Origin};
use fieldfit_data::{RgbImage, encode_jpeg};
use fieldfit_durable::FileSystem;
use fieldfit_durable::testing::Simulated;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Where the collection is on a simulated disk.
pub const ROOT: &str = "/robot/collection";
/// A credible time, in seconds since 1970.
pub const NOW: u64 = 1_800_000_000;

/// A sharp image that no other seed has: blocks of different brightness.
pub fn scene(seed: u32) -> RgbImage {
    let hash = |x: u32, y: u32| {
        let mixed =
            (u64::from(seed) << 32 | u64::from(x << 16 | y)).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as u32
    };
    RgbImage::from_fn(48, 36, |x, y| image::Rgb([(hash(x / 6, y / 6) % 200 + 25) as u8; 3]))
}

pub fn jpeg(seed: u32) -> Vec<u8> {
    encode_jpeg(&scene(seed), 80).unwrap()
}

/// Clocks that a test sets, in seconds.
#[derive(Debug, Clone, Default)]
pub struct TestClock {
    wall: Arc<AtomicU64>,
    steady: Arc<AtomicU64>,
}

impl TestClock {
    pub fn at(wall: u64) -> Self {
        let clock = Self::default();
        clock.jump(wall);
        clock
    }

    /// Sets the wall clock; the steady one goes on.
    pub fn jump(&self, wall: u64) {
        self.wall.store(wall, Ordering::SeqCst);
    }

    /// Lets time pass.
    pub fn pass(&self, seconds: u64) {
        self.wall.fetch_add(seconds, Ordering::SeqCst);
        self.steady.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn wall(&self) -> Duration {
        Duration::from_secs(self.wall.load(Ordering::SeqCst))
    }

    fn steady(&self) -> Duration {
        Duration::from_secs(self.steady.load(Ordering::SeqCst))
    }
}

/// Opens the collection of a simulated disk.
pub fn open(disk: &Simulated, limits: Limits) -> Result<Collection, CollectError> {
    open_at(disk, limits, &TestClock::at(NOW))
}

pub fn open_at(disk: &Simulated, limits: Limits, clock: &TestClock) -> Result<Collection, CollectError> {
    Collection::open_on(Arc::new(disk.clone()), Path::new(ROOT), limits, Box::new(clock.clone()))
}

pub fn add(collection: &mut Collection, class: &str, seeds: &[u32]) -> Result<Vec<ImageId>, CollectError> {
    let files: Vec<Vec<u8>> = seeds.iter().map(|seed| jpeg(*seed)).collect();
    let images: Vec<NewImage<'_>> = files.iter().map(|bytes| NewImage::new(bytes, "drive")).collect();
    Ok(collection.add(&images, &Label::new(class, Origin::Operator))?.stored)
}

/// What a reader sees: class and count of each image.
pub type Look = BTreeMap<ImageId, (String, u32)>;

/// Looks at a collection, whose every image has to be on the disk, whole, and no other file.
pub fn look(disk: &Simulated, collection: &Collection) -> Look {
    let contents = collection.contents();
    let mut files = disk.contents();
    files.retain(|path, _| path.starts_with(Path::new(ROOT).join("images")));
    assert_eq!(files.len(), contents.len(), "as many files as labels");
    let seen = contents.images().map(|(image, label)| {
        let bytes = disk.read(&contents.file(image), 1 << 20).unwrap();
        assert_eq!(ImageId::of(&bytes), image.id);
        assert_eq!(bytes.len() as u64, image.bytes);
        (image.id, (label.class.clone(), image.seen))
    });
    seen.collect()
}
