//! File system trait: the primitive operations of durable files, and the seam where tests inject faults.

use std::{any::Any, ffi::OsString, fmt, io, path::Path};

/// The primitive operations of a file system that durable files are made of.
///
/// None of them promises more than POSIX does: what was not synced may be lost, or survive in part and in any order.
pub trait FileSystem: fmt::Debug + Send + Sync {
    /// Returns the whole content of a regular file; a symbolic link is followed.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] if it is no regular file, which might block for ever or have no end;
    /// [`io::ErrorKind::FileTooLarge`] if it is longer than `limit` bytes, and what the system says.
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>>;

    /// Returns the names in a folder, sorted.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>>;

    /// Returns what is at `path`, a symbolic link not followed; `None` only if nothing has the name.
    ///
    /// # Errors
    /// What the system says, but for [`io::ErrorKind::NotFound`].
    fn entry_type(&self, path: &Path) -> io::Result<Option<EntryType>>;

    /// Creates an empty file at `path`, where nothing may be, not even a dangling link.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if something has the name, and what the system says.
    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile + '_>>;

    /// Opens the file at `path`, which exists, to write after its end.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] if it is a link or no regular file, and what the system says.
    fn append(&self, path: &Path) -> io::Result<Box<dyn NewFile + '_>>;

    /// Gives the file at `from` the name `to`, in one step, instead of what was there. Both are in the same folder.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Creates an empty folder, whose parent exists.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if there is something of that name, and what the system says.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// Returns when the names in a folder are on the medium.
    ///
    /// # Errors
    /// What the system says.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Claims the advisory lock of the file at `path`, which is created if need be, and leaves `holder` in it
    /// for people to read, if there is space for it.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] if it is a link or no regular file, and what the system says; that somebody else holds the lock is no error but [`Claim::Taken`].
    fn claim(&self, path: &Path, holder: &str) -> io::Result<Claim>;

    /// Claims the lock of the file at `path` beside others who do so, too: all together keep [`claim`](Self::claim) away.
    ///
    /// # Errors
    /// What the system says; that somebody holds the lock alone is no error but [`Claim::Taken`].
    fn share(&self, path: &Path) -> io::Result<Claim>;

    /// Returns the bytes that an unprivileged process may still write to the file system of a folder; `None` where the
    /// system doesn't say.
    fn free_space(&self, folder: &Path) -> Option<u64>;
}

/// Type of an entry of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryType {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link, dangling or not.
    Link,
    /// A device, a pipe or a socket.
    Other,
}

impl EntryType {
    /// Its name in a message, with an article.
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "a regular file",
            Self::Folder => "a folder",
            Self::Link => "a symbolic link",
            Self::Other => "a device, pipe or socket",
        }
    }
}

/// A file being written, from its start or after its end.
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

/// Outcome of claiming a lock.
#[derive(Debug)]
pub enum Claim {
    /// The caller holds it.
    Held(Lock),
    /// Another one holds it.
    Taken {
        /// Its holder, as that named itself.
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
