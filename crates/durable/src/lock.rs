//! Advisory locks: keep a second writer away, and end with their process.

use crate::{
    error::DurableError,
    file_system::{Claim, FileSystem, Lock},
};
use std::{
    env,
    path::Path,
    process, thread,
    time::{Duration, Instant},
};

/// Interval at which a waiting writer tries again.
const PAUSE: Duration = Duration::from_millis(5);

/// Takes the advisory lock of the file at `path`, which is created if need be; waits for as long as `patience` if
/// somebody else holds it.
///
/// Locks keep apart those who ask for them and nobody else. The file stays when the lock is given back.
///
/// # Errors
/// [`DurableError::Locked`] with the holder's name if it is not free in time; [`DurableError::Io`].
pub fn lock(files: &dyn FileSystem, path: &Path, patience: Duration) -> Result<Lock, DurableError> {
    let end = Instant::now() + patience;
    loop {
        match files.claim(path, &holder()).map_err(DurableError::at("lock", path))? {
            Claim::Held(lock) => return Ok(lock),
            Claim::Taken { by } if Instant::now() >= end => {
                return Err(DurableError::Locked { path: path.to_owned(), by });
            }
            Claim::Taken { .. } => thread::sleep(PAUSE),
        }
    }
}

/// Takes the lock of the file at `path` if nobody holds it; `None` if somebody does.
///
/// # Errors
/// [`DurableError::Io`].
pub fn try_lock(files: &dyn FileSystem, path: &Path) -> Result<Option<Lock>, DurableError> {
    Ok(held(files.claim(path, &holder()).map_err(DurableError::at("lock", path))?))
}

/// Takes the lock of the file at `path` beside others who share it; `None` if somebody holds it alone.
///
/// # Errors
/// [`DurableError::Io`].
pub fn share(files: &dyn FileSystem, path: &Path) -> Result<Option<Lock>, DurableError> {
    Ok(held(files.share(path).map_err(DurableError::at("lock", path))?))
}

fn held(claim: Claim) -> Option<Lock> {
    match claim {
        Claim::Held(lock) => Some(lock),
        Claim::Taken { .. } => None,
    }
}

/// Returns the name of this process for others who want the lock.
fn holder() -> String {
    let program = env::current_exe().ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    format!("process {} ({})", process::id(), program.as_deref().unwrap_or("unknown program"))
}
