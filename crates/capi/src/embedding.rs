//! Embedding: the features of a frame, which the head reads.

use crate::argument::{buffer, place, put};
use crate::frame::fieldfit_frame;
use crate::guard::guard;
use crate::runtime::{RUNTIMES, fieldfit_runtime};
use crate::sized;
use crate::status::{fieldfit_error, fieldfit_status};
use crate::version::fieldfit_version;

/// Tells the number of values of `fieldfit_embed`: the same for every version.
///
/// # Safety
/// `out` is NULL or writable. `error` is NULL or points to a writable pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_embedding_length(
    runtime: *const fieldfit_runtime,
    out: *mut usize,
    error: *mut *mut fieldfit_error,
) -> fieldfit_status {
    let body = || {
        let state = RUNTIMES.get(runtime, "runtime")?;
        place(out, "out")?;
        // SAFETY: the caller's promise about `out`.
        unsafe { put(out, state.runtime.embedding_len()) };
        Ok(())
    };
    // SAFETY: the caller's promise about `error`.
    unsafe { guard(error, body) }
}

/// Computes the features of a frame, which the head reads, and writes them. Also a base without a head has features. Features of
/// two versions differ.
///
/// # Safety
/// `frame` is NULL or points to a structure that begins with its size; the frame's bytes do not change until the call returns.
/// `features` is NULL or has room for `length` numbers. `out`, which takes the version that answered, is NULL or writable. `error`
/// is NULL or points to a writable pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_embed(
    runtime: *const fieldfit_runtime,
    frame: *const fieldfit_frame,
    features: *mut f32,
    length: usize,
    out: *mut fieldfit_version,
    error: *mut *mut fieldfit_error,
) -> fieldfit_status {
    let body = || {
        let state = RUNTIMES.get(runtime, "runtime")?;
        // SAFETY: the caller's promise about `frame`, its bytes and `features`.
        let (frame, features) =
            unsafe { (sized::read(frame, "frame")?.borrow()?, buffer(features, length, "features")?) };
        let version = state.runtime.embed(&frame, features)?;
        // SAFETY: the caller's promise about `out`.
        unsafe { put(out, version.into()) };
        Ok(())
    };
    // SAFETY: the caller's promise about `error`.
    unsafe { guard(error, body) }
}
