//! Unit tests: calls of the functions as C makes them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod changes;
mod contracts;
mod frames;
mod layout;
mod panics;

use crate::frame::{fieldfit_format, fieldfit_frame};
use crate::options::{FIELDFIT_CREATE_STORE, fieldfit_options};
use crate::prediction::{fieldfit_infer, fieldfit_prediction};
use crate::runtime::{fieldfit_close, fieldfit_open, fieldfit_runtime};
use crate::status::{fieldfit_error, fieldfit_error_free, fieldfit_error_message, fieldfit_status};
use fieldfit_tests::tiny;
use std::ffi::{CStr, CString, c_char};
use std::path::Path;
use std::ptr;

/// A tiny base with a store and images, opened as C does.
struct Scene {
    folder: tempfile::TempDir,
    runtime: *mut fieldfit_runtime,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        tiny::base(folder.path(), 2);
        tiny::images(&folder.path().join("images"), 12, 5);
        let runtime = open(&folder.path().join("tiny-2"), &folder.path().join("store")).unwrap();
        Self { folder, runtime }
    }

    fn images(&self) -> CString {
        c_path(&self.folder.path().join("images"))
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        fieldfit_close(self.runtime);
    }
}

fn open(model: &Path, store: &Path) -> Result<*mut fieldfit_runtime, (fieldfit_status, String)> {
    let (model, store) = (c_path(model), c_path(store));
    let mut options: fieldfit_options = zeroed();
    options.model = model.as_ptr();
    options.store = store.as_ptr();
    options.threads = 1;
    options.flags = FIELDFIT_CREATE_STORE;
    let mut runtime = ptr::null_mut();
    // SAFETY: the strings and the place outlive the call.
    call(|error| unsafe { fieldfit_open(&options, &mut runtime, error) })?;
    Ok(runtime)
}

/// A structure as its function `fieldfit_…_init` gives it.
fn zeroed<T: crate::sized::SizedStruct>() -> T {
    let mut structure = std::mem::MaybeUninit::<T>::zeroed();
    // SAFETY: any bytes are a value of it, and it begins with its size.
    unsafe {
        structure.as_mut_ptr().cast::<u32>().write(size_of::<T>() as u32);
        structure.assume_init()
    }
}

/// Makes a call; of a failure, the status and the message.
fn call(function: impl FnOnce(*mut *mut fieldfit_error) -> fieldfit_status) -> Result<(), (fieldfit_status, String)> {
    let mut error = ptr::dangling_mut();
    let status = function(&mut error);
    if status == fieldfit_status::FIELDFIT_OK {
        assert!(error.is_null(), "success clears the error");
        return Ok(());
    }
    // SAFETY: the call gave it, and it is freed once.
    let message = unsafe { text(fieldfit_error_message(error)) };
    // SAFETY: as above.
    unsafe { fieldfit_error_free(error) };
    Err((status, message))
}

/// # Safety
/// The text is NUL-terminated.
unsafe fn text(text: *const c_char) -> String {
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_str().unwrap().to_owned()
}

fn c_path(path: &Path) -> CString {
    CString::new(path.to_str().unwrap()).unwrap()
}

const SIDES: [u32; 2] = [40, 30];

fn pixels() -> Vec<u8> {
    (0..SIDES[0] * SIDES[1] * 3).map(|index| (index * 7 % 251) as u8).collect()
}

fn frame(data: &[u8]) -> fieldfit_frame {
    let mut frame: fieldfit_frame = zeroed();
    frame.format = fieldfit_format::FIELDFIT_RGB8 as u32;
    (frame.data, frame.length) = (data.as_ptr(), data.len());
    [frame.width, frame.height] = SIDES;
    frame
}

fn infer(
    runtime: *const fieldfit_runtime,
    frame: &fieldfit_frame,
) -> Result<fieldfit_prediction, (fieldfit_status, String)> {
    let mut prediction: fieldfit_prediction = zeroed();
    // SAFETY: the structures outlive the call.
    call(|error| unsafe { fieldfit_infer(runtime, frame, &mut prediction, error) })?;
    Ok(prediction)
}
