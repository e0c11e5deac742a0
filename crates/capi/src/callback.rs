//! Callback: a C function with the pointer that it is called with.

use std::ffi::{CStr, c_char, c_void};

/// Function that the library calls with an event as a JSON object, NUL-terminated, which lives until it returns, and with the
/// pointer that was given beside it.
///
/// It may call the library. It must not throw an exception or `longjmp`: the process ends then.
pub type fieldfit_callback = Option<unsafe extern "C-unwind" fn(json: *const c_char, user: *mut c_void)>;

/// A function and its pointer.
#[derive(Debug, Clone, Copy)]
pub struct Callback {
    function: unsafe extern "C-unwind" fn(*const c_char, *mut c_void),
    user: *mut c_void,
}

// SAFETY: who makes a callback promises that any thread may call it.
unsafe impl Send for Callback {}
// SAFETY: as above.
unsafe impl Sync for Callback {}

impl Callback {
    /// Returns the callback of a function; `None` of NULL.
    ///
    /// # Safety
    /// Any thread may call the function with `user`, as long as the callback is set.
    pub unsafe fn new(function: fieldfit_callback, user: *mut c_void) -> Option<Self> {
        function.map(|function| Self { function, user })
    }

    /// Calls the function.
    pub fn call(&self, json: &CStr) {
        // SAFETY: the promise that came with the callback.
        unsafe { (self.function)(json.as_ptr(), self.user) }
    }
}
