//! Text that the library hands to its caller: JSON, as NUL-terminated strings.

use crate::failure::Failure;
use serde::Serialize;
use std::ffi::{CString, c_char};

/// Writes a value as JSON for C; `what` it is, for messages.
pub fn json(value: &impl Serialize, what: &'static str) -> Result<CString, Failure> {
    let text = serde_json::to_string(value).map_err(|source| Failure::Json { what, source })?;
    CString::new(text).map_err(|nul| Failure::Nul { what, offset: nul.nul_position() })
}

/// Frees a string that a call of this library gave. NULL is ignored.
///
/// # Safety
/// `text` is NULL or a string that a call of this library gave as `char *` and that is not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_string_free(text: *mut c_char) {
    if !text.is_null() {
        // SAFETY: the caller's promise.
        drop(unsafe { CString::from_raw(text) });
    }
}
