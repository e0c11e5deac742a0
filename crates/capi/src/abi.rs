//! Binary interface: its number, and the library's version.

use std::ffi::{CStr, c_char};

/// Number of the binary interface: a program that was compiled with it runs with every library of the same number, older or
/// newer. It is also the last part of the library's soname.
pub const FIELDFIT_ABI: u32 = 0;

/// The crate's version, NUL-terminated.
const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => unreachable!(),
};

/// Returns the library's `FIELDFIT_ABI`, which a program compares with the header's.
#[unsafe(no_mangle)]
pub extern "C" fn fieldfit_abi_version() -> u32 {
    FIELDFIT_ABI
}

/// Returns the library's version, such as "0.1.0". It lives as long as the process.
#[unsafe(no_mangle)]
pub extern "C" fn fieldfit_library_version() -> *const c_char {
    VERSION.as_ptr()
}
