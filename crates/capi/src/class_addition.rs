//! Class addition: a class is taught by a few frames, without training, or removed again.

use crate::adapted::{AdaptedOut, fieldfit_adapted};
use crate::argument::{optional_path, text};
use crate::frame::{fieldfit_frame, frames_of};
use crate::guard::guard;
use crate::runtime::{RUNTIMES, fieldfit_runtime};
use crate::status::{fieldfit_error, fieldfit_status};
use fieldfit::Error;
use fieldfit::data::{Dataset, FolderOptions};
use std::ffi::c_char;

/// Adds a class to the active version by the mean of the frames' features, stores the result with its verdict, and runs it, on
/// trial, if it was accepted. Seconds, not minutes: call it from another thread than the frames'.
///
/// `known` is a folder of images of the active version's classes, one folder a class, on which the verdict counts what the new
/// class costs the others; NULL for none.
///
/// `text`, if it is not NULL, takes the result as a JSON object with its reason; free it with `fieldfit_string_free`.
///
/// # Safety
/// `name` and `known` are NULL or NUL-terminated. `frames` is NULL or has `count` frames, each of the size that the first begins
/// with; their bytes do not change until the call returns. `out` is NULL or points to a structure that begins with its size.
/// `text` is NULL or writable. `error` is NULL or points to a writable pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_teach(
    runtime: *const fieldfit_runtime,
    name: *const c_char,
    frames: *const fieldfit_frame,
    count: usize,
    known: *const c_char,
    out: *mut fieldfit_adapted,
    text: *mut *mut c_char,
    error: *mut *mut fieldfit_error,
) -> fieldfit_status {
    let body = || {
        let state = RUNTIMES.get(runtime, "runtime")?;
        // SAFETY: the caller's promise about each argument.
        let (class, known, frames, result) = unsafe {
            let known = optional_path(known, "known")?;
            (self::text(name, "name")?, known, frames_of(frames, count)?, AdaptedOut::new(out, text)?)
        };
        let open = |folder| Dataset::open(folder, &FolderOptions::default()).map_err(Error::from);
        let known = known.as_deref().map(open).transpose()?;
        let adapted = state.change(|runtime| {
            let addition = runtime.teach(class, &frames);
            let adapted = match &known {
                Some(known) => addition.known(known).run(),
                None => addition.run(),
            };
            Ok(adapted?)
        })?;
        result.put(adapted)
    };
    // SAFETY: the caller's promise about `error`.
    unsafe { guard(error, body) }
}

/// Removes a class that was taught from the active version, and runs the result, on trial. The results are as of
/// `fieldfit_teach`.
///
/// # Safety
/// `name` is NULL or NUL-terminated. `out` is NULL or points to a structure that begins with its size. `text` is NULL or writable.
/// `error` is NULL or points to a writable pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_remove_taught(
    runtime: *const fieldfit_runtime,
    name: *const c_char,
    out: *mut fieldfit_adapted,
    text: *mut *mut c_char,
    error: *mut *mut fieldfit_error,
) -> fieldfit_status {
    let body = || {
        let state = RUNTIMES.get(runtime, "runtime")?;
        // SAFETY: the caller's promise about each argument.
        let (class, result) = unsafe { (self::text(name, "name")?, AdaptedOut::new(out, text)?) };
        result.put(state.change(|runtime| Ok(runtime.remove_taught(class)?))?)
    };
    // SAFETY: the caller's promise about `error`.
    unsafe { guard(error, body) }
}
