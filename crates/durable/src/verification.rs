//! Verification cache: identifies a file that was already verified, so that later starts skip hashing it.

use serde::{Deserialize, Serialize};
use std::fs::File;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Age from which a mark is reliable. A file may change twice within one tick of its file system's clock, the coarsest of
/// which tick every two seconds (FAT).
const SETTLED: Duration = Duration::from_secs(3);

/// File mark: tells a file from others, and from itself before it was changed, by what its system records of it.
///
/// The time of the last change of its status moves with every `write` and with every attempt to set the times, and can't be
/// set back. A mark does not show
///
/// - a write through a shared memory mapping: the times move at the first write to a clean page, at `msync` or when the page
///   is written back, not with each write to a page that is dirty already, and on some file systems (tmpfs) not at all;
/// - a write to the block device below the file system, and a medium that loses bits by itself.
///
/// For what a mark doesn't show, [`Rehash`](crate::Rehash) reads the file again in the background.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMark {
    device: u64,
    inode: u64,
    bytes: u64,
    /// Time of the last change of its content: seconds and nanoseconds since 1970.
    modified: (i64, i64),
    /// Time of the last change of the file or its metadata.
    changed: (i64, i64),
}

/// The result of verifying a whole file: its hash, and that it holds finite values only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// The file.
    pub file: FileMark,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
}

impl FileMark {
    /// Returns the mark of an open file, or `None` where the system has no such metadata.
    #[cfg(unix)]
    pub fn of(file: &File) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let metadata = file.metadata().ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// Returns the mark of an open file, or `None` where the system has no such metadata.
    #[cfg(not(unix))]
    pub fn of(_file: &File) -> Option<Self> {
        None
    }

    /// Returns whether any later change is certain to alter the mark.
    pub fn is_settled(&self) -> bool {
        SystemTime::now().duration_since(UNIX_EPOCH).is_ok_and(|now| self.is_settled_at(now))
    }

    fn is_settled_at(&self, now: Duration) -> bool {
        let newest = self.modified.max(self.changed).0;
        u64::try_from(newest).is_ok_and(|newest| Duration::from_secs(newest.saturating_add(1)) + SETTLED <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a file that is changed again within the same tick and keeps its mark; a clock that was turned back and makes
    /// every file look settled.
    #[test]
    fn only_a_mark_of_some_age_is_relied_on() {
        let mark = |modified, changed| FileMark { device: 1, inode: 2, bytes: 3, modified, changed };
        let at = |seconds: f64, mark: FileMark| mark.is_settled_at(Duration::from_secs_f64(seconds));
        assert!(at(1004.0, mark((1000, 0), (1000, 999_999_999))));
        assert!(!at(1003.9, mark((1000, 0), (900, 0))));
        assert!(!at(1003.9, mark((900, 0), (1000, 0))));
        assert!(!at(500.0, mark((1000, 0), (1000, 0))), "a file of the future");
        assert!(!at(500.0, mark((i64::MAX, 0), (0, 0))));
    }
}
