//! Scratch folder: files for readers that take a path.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use tempfile::TempDir;

/// In memory where the system has such a folder: a disk would be most of the time. It outlives the process, because
/// libFuzzer ends it without running destructors.
static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("fieldfit-fuzz-").tempdir_in(parent).expect("a temporary folder")
});

/// The path of that name in this process's folder.
pub(crate) fn path(name: &str) -> PathBuf {
    FOLDER.path().join(name)
}

/// Writes the file of that name, over the one of the last execution.
pub(crate) fn write(name: &str, bytes: &[u8]) -> PathBuf {
    let path = path(name);
    fs::write(&path, bytes).expect("room in the temporary folder");
    path
}
