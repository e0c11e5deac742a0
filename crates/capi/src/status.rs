//! Status of a call, and the error object that explains it.

use crate::failure::{Failure, message};
use std::ffi::{CStr, CString, c_char};
use std::ptr;

/// Status of a call. Releases add statuses: handle one that you don't know as `FIELDFIT_FAILED`.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum fieldfit_status {
    /// The call did what it says.
    FIELDFIT_OK = 0,
    /// An argument that breaks the function's contract: NULL, a wrong struct_size, text that is not UTF-8, an unknown option.
    FIELDFIT_INVALID_ARGUMENT = 1,
    /// A handle that is closed, or never was open.
    FIELDFIT_CLOSED = 2,
    /// The call panicked: a defect of the library, or of a callback.
    FIELDFIT_PANICKED = 3,
    /// A call that changed this runtime panicked before. Frames are still answered; nothing else is changed until it is closed
    /// and opened again.
    FIELDFIT_POISONED = 4,
    /// The adaptation has not ended yet.
    FIELDFIT_RUNNING = 5,
    /// The call waits for the thread that makes it: a callback's.
    FIELDFIT_OWN_THREAD = 6,
    /// The adaptation was stopped; a checkpoint may be there to resume from.
    FIELDFIT_STOPPED = 7,
    /// A base or a delta that cannot be used.
    FIELDFIT_MODEL = 8,
    /// A frame or images that cannot be used.
    FIELDFIT_IMAGE = 9,
    /// A device that is unavailable, or a computation that failed.
    FIELDFIT_DEVICE = 10,
    /// No store, or one that cannot be read or written or refuses the operation.
    FIELDFIT_STORE = 11,
    /// The version cannot run here, or cannot answer that.
    FIELDFIT_VERSION = 12,
    /// An adaptation or a class addition that was not completed; nothing was stored.
    FIELDFIT_ADAPTATION = 13,
    /// A file that cannot be read or written.
    FIELDFIT_FILE = 14,
    /// Any other failure.
    FIELDFIT_FAILED = 15,
}

/// Error of a call: its status and a message.
pub struct fieldfit_error {
    status: fieldfit_status,
    message: CString,
}

impl fieldfit_error {
    fn new(failure: &Failure) -> Self {
        // The message is escaped, NULs included.
        Self { status: failure.status(), message: CString::new(message(failure)).unwrap_or_default() }
    }
}

/// Hands the failure's error object to the caller, if it wants it, and returns the failure's status.
///
/// # Safety
/// `error` is NULL or points to a writable pointer.
pub unsafe fn give(failure: &Failure, error: *mut *mut fieldfit_error) -> fieldfit_status {
    if !error.is_null() {
        let object = Box::into_raw(Box::new(fieldfit_error::new(failure)));
        // SAFETY: the caller's promise.
        unsafe { error.write(object) };
    }
    failure.status()
}

/// Clears the caller's pointer to an error object, if there is one.
///
/// # Safety
/// `error` is NULL or points to a writable pointer.
pub unsafe fn clear(error: *mut *mut fieldfit_error) {
    if !error.is_null() {
        // SAFETY: the caller's promise.
        unsafe { error.write(ptr::null_mut()) };
    }
}

/// Returns the message of an error: what failed, where, what was expected and found, and what to do. It is UTF-8 on one line
/// without control characters, and lives until `fieldfit_error_free`. Of NULL, an empty message.
///
/// # Safety
/// `error` is NULL or an error that a call of this library gave and that is not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_error_message(error: *const fieldfit_error) -> *const c_char {
    // SAFETY: the caller's promise.
    unsafe { error.as_ref() }.map_or(c"", |error| error.message.as_c_str()).as_ptr()
}

/// Returns the status of an error: what the call that gave it returned. Of NULL, `FIELDFIT_OK`.
///
/// # Safety
/// `error` is NULL or an error that a call of this library gave and that is not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_error_status(error: *const fieldfit_error) -> fieldfit_status {
    // SAFETY: the caller's promise.
    unsafe { error.as_ref() }.map_or(fieldfit_status::FIELDFIT_OK, |error| error.status)
}

/// Frees an error. NULL is ignored.
///
/// # Safety
/// `error` is NULL or an error that a call of this library gave and that is not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_error_free(error: *mut fieldfit_error) {
    if !error.is_null() {
        // SAFETY: the caller's promise; `give` made it from a box.
        drop(unsafe { Box::from_raw(error) });
    }
}

/// Returns the name of a status, such as "FIELDFIT_STORE"; of a number that is none, "FIELDFIT_FAILED". It lives as long as the
/// process.
#[unsafe(no_mangle)]
pub extern "C" fn fieldfit_status_name(status: i32) -> *const c_char {
    const NAMES: [&CStr; 16] = [
        c"FIELDFIT_OK",
        c"FIELDFIT_INVALID_ARGUMENT",
        c"FIELDFIT_CLOSED",
        c"FIELDFIT_PANICKED",
        c"FIELDFIT_POISONED",
        c"FIELDFIT_RUNNING",
        c"FIELDFIT_OWN_THREAD",
        c"FIELDFIT_STOPPED",
        c"FIELDFIT_MODEL",
        c"FIELDFIT_IMAGE",
        c"FIELDFIT_DEVICE",
        c"FIELDFIT_STORE",
        c"FIELDFIT_VERSION",
        c"FIELDFIT_ADAPTATION",
        c"FIELDFIT_FILE",
        c"FIELDFIT_FAILED",
    ];
    let name = usize::try_from(status).ok().and_then(|index| NAMES.get(index));
    name.unwrap_or(&NAMES[NAMES.len() - 1]).as_ptr()
}
