//! Limits of a collection: bytes, images of a class, age, and free space that is left to others.

use std::time::Duration;

/// Limits of a collection. They hold at every moment, for the files of images; the log takes some hundred bytes an image
/// more, and twice that for a moment while it is compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Maximum bytes of all image files. Beyond it, the largest class gives its most redundant image for a new one.
    pub bytes: u64,
    /// Maximum images of a class. Beyond it, the class gives its most redundant image for a new one.
    pub per_class: usize,
    /// Images of a class that eviction leaves, whatever other classes need.
    pub min_per_class: usize,
    /// Age from which images are removed; `None` keeps them.
    pub age: Option<Duration>,
    /// Free bytes that are left on the disk: a label that needs more is refused.
    pub free_disk: u64,
}

impl Limits {
    /// No limits, for imports by hand: all images are kept.
    pub const NONE: Self = Self { bytes: u64::MAX, per_class: usize::MAX, min_per_class: 0, age: None, free_disk: 0 };

    /// Returns the limits with that maximum of [`bytes`](Self::bytes).
    #[must_use]
    pub const fn with_bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// Returns the limits with that maximum of images [`per_class`](Self::per_class).
    #[must_use]
    pub const fn with_per_class(mut self, images: usize) -> Self {
        self.per_class = images;
        self
    }

    /// Returns the limits with that [`min_per_class`](Self::min_per_class).
    #[must_use]
    pub const fn with_min_per_class(mut self, images: usize) -> Self {
        self.min_per_class = images;
        self
    }

    /// Returns the limits with that maximum [`age`](Self::age).
    #[must_use]
    pub const fn with_age(mut self, age: Option<Duration>) -> Self {
        self.age = age;
        self
    }

    /// Returns the limits with that much [`free_disk`](Self::free_disk).
    #[must_use]
    pub const fn with_free_disk(mut self, bytes: u64) -> Self {
        self.free_disk = bytes;
        self
    }
}

/// 1 GiB, 2000 images a class of which the last 20 stay, any age, 512 MiB left free.
impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 1 << 30, per_class: 2000, min_per_class: 20, age: None, free_disk: 512 << 20 }
    }
}
