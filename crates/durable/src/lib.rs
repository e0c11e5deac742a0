//! Durable files: atomic commit, seals and locks that survive power cuts.
//!
//! [`commit`] replaces a file's content so that whoever opens it next, even after a power cut, finds the old content or
//! the new one, whole. [`append`] adds to a log, whose reader finds a torn end by itself. [`commit_sealed`] also lets [`read_sealed`] tell a damaged file from a good one. [`lock`] keeps a
//! second writer away and ends with its process, however that ends.
//!
//! All of it goes through [`FileSystem`], a file system's few primitive operations: [`Disk`] is the real one, and the feature
//! `testing` has one that forgets what was not synced and fails at the operation a test names.
//!
//! [`FileMark`] and [`Verification`] spare a start the hash of a file that was verified before; [`Rehash`] hashes it again in
//! the background.
//!
//! This crate knows nothing of what is in the files and lays out no folders: that is the business of those who use it.
//!
//! ```
//! use fieldfit_durable::{Disk, commit_sealed, read_sealed};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("progress");
//! commit_sealed(&Disk, &path, *b"EXAMPLE1", b"step 12")?;
//! assert_eq!(read_sealed(&Disk, &path, *b"EXAMPLE1", 1 << 20)?, b"step 12");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bounded;
mod commit;
mod disk;
mod error;
mod file_system;
mod lock;
mod rehash;
mod seal;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod verification;

pub use bounded::{BoundedReadError, SpecialFile, open_regular, read_bounded, read_text, without_byte_order_mark};
pub use commit::{
    append, commit, create_folder, entry_type, leftover_of, list, publish, read, remove, remove_leftovers, rename,
    sync_folder, sync_parent,
};
pub use disk::Disk;
pub use error::DurableError;
pub use file_system::{Claim, EntryType, FileSystem, Lock, NewFile};
pub use lock::{lock, share, try_lock};
pub use rehash::Rehash;
pub use seal::{FileKind, SEAL_LEN, SealError, commit_sealed, commit_sealed_keeping, read_sealed, seal, unseal};
pub use verification::{FileMark, Verification};
