//! A file system's primitive operations: the seam where tests put faults.

use std::{any::Any, ffi::OsString, fmt, io, path::Path};

/// The primitive operations of a file system that durable files are made of.
///
/// None of them promises more than POSIX does: what was not synced may be lost, or survive in part and in any order.
pub trait FileSystem: fmt::Debug + Send + Sync {
    /// The whole file.
    ///
    /// # Errors
    /// [`io::ErrorKind::FileTooLarge`] if it is longer than `limit` bytes, and what the system says.
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>>;

    /// The names in a folder, sorted.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>>;

    /// An empty file at `path`, instead of what was there.
    ///
    /// # Errors
    /// What the system says.
    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile + '_>>;

    /// Gives the file at `from` the name `to`, in one step, instead of what was there. Both are in the same folder.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Takes a file's name away.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// A new, empty folder, whose parent exists.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if there is something of that name, and what the system says.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// Returns when the names in a folder are on the medium.
    ///
    /// # Errors
    /// What the system says.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Claims the advisory lock of the file at `path`, which is created if need be, and leaves `holder` in it.
    ///
    /// # Errors
    /// What the system says; that somebody else holds the lock is no error but [`Claim::Taken`].
    fn claim(&self, path: &Path, holder: &str) -> io::Result<Claim>;

    /// Claims the lock of the file at `path` beside others who do so, too: all together keep [`claim`](Self::claim) away.
    ///
    /// # Errors
    /// What the system says; that somebody holds the lock alone is no error but [`Claim::Taken`].
    fn share(&self, path: &Path) -> io::Result<Claim>;
}

/// A file being written.
///
/// It is synced through the handle that wrote it: a write that failed late is reported to that handle, and not always to
/// one opened later.
pub trait NewFile {
    /// Writes after what was written before.
    ///
    /// # Errors
    /// What the system says; any part may have been written.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Returns when the content is on the medium.
    ///
    /// # Errors
    /// What the system says; any part may be on the medium.
    fn sync(&mut self) -> io::Result<()>;
}

/// What came of claiming a lock.
#[derive(Debug)]
pub enum Claim {
    /// It is ours.
    Held(Lock),
    /// Somebody else has it.
    Taken {
        /// Who, as they put it.
        by: String,
    },
}

/// A lock that is held until this value is dropped or its process ends, however it ends.
#[must_use = "the lock is given back when this is dropped"]
pub struct Lock {
    _held: Box<dyn Any + Send + Sync>,
}

impl Lock {
    /// A lock that dropping `held` gives back.
    pub fn new(held: impl Any + Send + Sync) -> Self {
        Self { _held: Box::new(held) }
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Lock").finish_non_exhaustive()
    }
}
