//! Arguments of a call: strings, paths and places for results.

use crate::failure::Failure;
use std::ffi::{CStr, c_char};
use std::path::PathBuf;
use std::slice;

/// Reads a string that may be absent.
///
/// # Safety
/// `text` is NULL or a NUL-terminated string, which stays as it is until the call returns.
pub unsafe fn optional_text<'a>(text: *const c_char, argument: &'static str) -> Result<Option<&'a str>, Failure> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map(Some).map_err(|error| Failure::Utf8 { argument, offset: error.valid_up_to() })
}

/// Reads a string.
///
/// # Safety
/// As [`optional_text`].
pub unsafe fn text<'a>(text: *const c_char, argument: &'static str) -> Result<&'a str, Failure> {
    // SAFETY: the caller's promise.
    unsafe { optional_text(text, argument)? }.ok_or(Failure::Null { argument, expected: "a string" })
}

/// Reads a path that may be absent: of any bytes on Unix, of UTF-8 elsewhere.
///
/// # Safety
/// As [`optional_text`].
pub unsafe fn optional_path(path: *const c_char, argument: &'static str) -> Result<Option<PathBuf>, Failure> {
    #[cfg(unix)]
    {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let _ = argument;
        // SAFETY: the caller's promise.
        let bytes = (!path.is_null()).then(|| unsafe { CStr::from_ptr(path) }.to_bytes());
        Ok(bytes.map(|bytes| OsStr::from_bytes(bytes).into()))
    }
    #[cfg(not(unix))]
    {
        // SAFETY: the caller's promise.
        Ok(unsafe { optional_text(path, argument)? }.map(PathBuf::from))
    }
}

/// Reads a path.
///
/// # Safety
/// As [`optional_text`].
pub unsafe fn path(path: *const c_char, argument: &'static str) -> Result<PathBuf, Failure> {
    // SAFETY: the caller's promise.
    unsafe { optional_path(path, argument)? }.ok_or(Failure::Null { argument, expected: "a path" })
}

/// Number of which every pattern of bits is a value.
pub trait Number {}

impl Number for f32 {}
impl Number for u16 {}

/// Borrows a buffer of the caller's to write numbers to.
///
/// # Safety
/// `values` is NULL or has room for `length` numbers, which nobody else reads or writes for the lifetime `'a`.
pub unsafe fn buffer<'a, T: Number>(
    values: *mut T,
    length: usize,
    argument: &'static str,
) -> Result<&'a mut [T], Failure> {
    place(values, argument)?;
    let bytes = length.checked_mul(size_of::<T>()).and_then(|bytes| isize::try_from(bytes).ok());
    if bytes.is_none() {
        return Err(Failure::Value {
            argument,
            found: length as u64,
            expected: "fewer numbers than memory has room for",
        });
    }
    // SAFETY: the caller's promise; the length is within `isize`, and any bits are a number.
    Ok(unsafe { slice::from_raw_parts_mut(values, length) })
}

/// Requires a place for a result.
pub fn place<T>(out: *mut T, argument: &'static str) -> Result<(), Failure> {
    match out.is_null() {
        true => Err(Failure::Null { argument, expected: "a place for the result" }),
        false => Ok(()),
    }
}

/// Writes a result to its place, if there is one.
///
/// # Safety
/// `out` is NULL or writable.
pub unsafe fn put<T>(out: *mut T, value: T) {
    if !out.is_null() {
        // SAFETY: the caller's promise.
        unsafe { out.write(value) };
    }
}
