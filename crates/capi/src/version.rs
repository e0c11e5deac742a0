//! Versions: which weights run, and the calls that change it.

use crate::argument::{path, place, put};
use crate::failure::Failure;
use crate::guard::guard;
use crate::runtime::{RUNTIMES, fieldfit_runtime};
use crate::status::{fieldfit_error, fieldfit_status};
use fieldfit::Version;
use std::ffi::c_char;

/// Kind of a version.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum fieldfit_version_kind {
    /// The base without a delta.
    FIELDFIT_VERSION_BASE = 0,
    /// The base with a delta file that is in no store.
    FIELDFIT_VERSION_FILE = 1,
    /// The base with a version of the store.
    FIELDFIT_VERSION_STORED = 2,
}

/// Version of the weights.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct fieldfit_version {
    /// A `fieldfit_version_kind`.
    pub kind: u32,
    /// Number of `FIELDFIT_VERSION_STORED`; otherwise 0.
    pub number: u32,
}

impl From<Version> for fieldfit_version {
    fn from(version: Version) -> Self {
        use fieldfit_version_kind::*;
        let (kind, number) = match version {
            Version::Base => (FIELDFIT_VERSION_BASE, 0),
            Version::File => (FIELDFIT_VERSION_FILE, 0),
            Version::Stored(number) => (FIELDFIT_VERSION_STORED, number),
        };
        Self { kind: kind as u32, number }
    }
}

/// Tells the running version.
///
/// # Safety
/// `out` is NULL or writable. `error` is NULL or points to a writable pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_current_version(
    runtime: *const fieldfit_runtime,
    out: *mut fieldfit_version,
    error: *mut *mut fieldfit_error,
) -> fieldfit_status {
    let body = || {
        let state = RUNTIMES.get(runtime, "runtime")?;
        place(out, "out")?;
        // SAFETY: the caller's promise about `out`.
        unsafe { put(out, state.runtime.version().into()) };
        Ok(())
    };
    // SAFETY: the caller's promise about `error`.
    unsafe { guard(error, body) }
}

/// Activates a version of the store, here and for every other process that polls. Unless it was confirmed before, it is on trial
/// from then on. If it cannot run, what ran before goes on.
///
/// # Safety
/// `error` is NULL or points to a writable pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_activate(
    runtime: *const fieldfit_runtime,
    version: u32,
    error: *mut *mut fieldfit_error,
) -> fieldfit_status {
    let body = || RUNTIMES.get(runtime, "runtime")?.change(|runtime| Ok(runtime.activate(version)?));
    // SAFETY: the caller's promise about `error`.
    unsafe { guard(error, body) }
}

/// Confirms the running version, if it is a version of the store on trial, without waiting for more predictions.
///
/// # Safety
/// `error` is NULL or points to a writable pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_confirm(
    runtime: *const fieldfit_runtime,
    error: *mut *mut fieldfit_error,
) -> fieldfit_status {
    let body = || RUNTIMES.get(runtime, "runtime")?.change(|runtime| Ok(runtime.confirm()?));
    // SAFETY: the caller's promise about `error`.
    unsafe { guard(error, body) }
}

/// Rolls back to the version that was active before, at last to the base.
///
/// # Safety
/// `out` is NULL or writable; it takes the version that runs since. `error` is NULL or points to a writable pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_rollback(
    runtime: *const fieldfit_runtime,
    out: *mut fieldfit_version,
    error: *mut *mut fieldfit_error,
) -> fieldfit_status {
    let body = || {
        let version = RUNTIMES.get(runtime, "runtime")?.change(|runtime| Ok(runtime.rollback()?))?;
        // SAFETY: the caller's promise about `out`.
        unsafe { put(out, version.into()) };
        Ok(())
    };
    // SAFETY: the caller's promise about `error`.
    unsafe { guard(error, body) }
}

/// Runs the store's active version if it has changed, by this process or another. Cheap when nothing has; otherwise it prepares
/// the weights on the calling thread: call it from another one than the frames'.
///
/// # Safety
/// `changed` and `out` are NULL or writable: `changed` takes whether another version runs since, `out` the version that runs.
/// `error` is NULL or points to a writable pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_poll(
    runtime: *const fieldfit_runtime,
    changed: *mut bool,
    out: *mut fieldfit_version,
    error: *mut *mut fieldfit_error,
) -> fieldfit_status {
    let body = || {
        let state = RUNTIMES.get(runtime, "runtime")?;
        let version = state.change(|runtime| Ok(runtime.poll()?))?;
        // SAFETY: the caller's promise about `changed` and `out`.
        unsafe {
            put(changed, version.is_some());
            put(out, version.unwrap_or_else(|| state.runtime.version()).into());
        }
        Ok(())
    };
    // SAFETY: the caller's promise about `error`.
    unsafe { guard(error, body) }
}

/// Adds a delta file from elsewhere to the store, as a candidate; `fieldfit_activate` runs it.
///
/// # Safety
/// `delta` is NULL or a NUL-terminated path. `version` is NULL or writable; it takes the candidate's number. `error` is NULL or
/// points to a writable pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_add(
    runtime: *const fieldfit_runtime,
    delta: *const c_char,
    version: *mut u32,
    error: *mut *mut fieldfit_error,
) -> fieldfit_status {
    let body = || -> Result<(), Failure> {
        let state = RUNTIMES.get(runtime, "runtime")?;
        // SAFETY: the caller's promise about `delta`.
        let delta = unsafe { path(delta, "delta")? };
        let number = state.change(|runtime| Ok(runtime.add(delta)?))?;
        // SAFETY: the caller's promise about `version`.
        unsafe { put(version, number) };
        Ok(())
    };
    // SAFETY: the caller's promise about `error`.
    unsafe { guard(error, body) }
}
