//! Guard of an entry: catches panics, and turns what a call returns into a status.

use crate::failure::Failure;
use crate::status::{clear, fieldfit_error, fieldfit_status, give};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs the body of an entry: its failure or panic becomes a status and, if the caller wants it, an error object.
///
/// # Safety
/// `error` is NULL or points to a writable pointer.
pub unsafe fn guard(error: *mut *mut fieldfit_error, body: impl FnOnce() -> Result<(), Failure>) -> fieldfit_status {
    // Unwind safety: what a panic leaves half changed is a runtime, which then is poisoned.
    match catch(body) {
        Ok(()) => {
            // SAFETY: the caller's promise.
            unsafe { clear(error) };
            fieldfit_status::FIELDFIT_OK
        }
        // SAFETY: the caller's promise.
        Err(failure) => unsafe { give(&failure, error) },
    }
}

/// Runs `body`; its panic becomes a failure.
pub fn catch<T>(body: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| Err(Failure::of_panic(&*payload)))
}
