//! Free space: how many bytes a checkpoint may still take on its disk.

use crate::error::AdaptError;
use fieldfit_durable::{Disk, FileSystem};
use std::path::{Path, PathBuf};

/// Bytes that an unprivileged process may still write to the file system of that path's folder; `None` where the system
/// doesn't say.
pub(crate) fn free_space(path: &Path) -> Option<u64> {
    Disk.free_space(path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new(".")))
}

/// Refuses to take `needed` bytes of a disk that has fewer; does nothing where the system doesn't say how many it has.
pub(crate) fn require_space(path: &Path, needed: u64, free: Option<u64>) -> Result<(), AdaptError> {
    match free {
        Some(free) if free < needed => Err(AdaptError::CheckpointSpace { path: PathBuf::from(path), needed, free }),
        _ => Ok(()),
    }
}
