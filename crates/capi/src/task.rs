//! Tasks: answers about a frame that are no ranking of classes: the class of each pixel, values, any number of labels.

use crate::argument::{buffer, place, put};
use crate::failure::Failure;
use crate::frame::fieldfit_frame;
use crate::guard::guard;
use crate::runtime::{RUNTIMES, fieldfit_runtime};
use crate::sized;
use crate::status::{fieldfit_error, fieldfit_status};
use crate::version::fieldfit_version;
use fieldfit::{Error, Task};

/// Task of a version: what it answers about a frame.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum fieldfit_task {
    /// One class: `fieldfit_infer`.
    FIELDFIT_CLASSIFICATION = 0,
    /// A class for each pixel: `fieldfit_segment`.
    FIELDFIT_SEGMENTATION = 1,
    /// A value for each target: `fieldfit_estimate`.
    FIELDFIT_REGRESSION = 2,
    /// Any number of labels: `fieldfit_tag`.
    FIELDFIT_MULTI_LABEL = 3,
}

impl From<Task> for fieldfit_task {
    fn from(task: Task) -> Self {
        match task {
            Task::Classification => Self::FIELDFIT_CLASSIFICATION,
            Task::Segmentation => Self::FIELDFIT_SEGMENTATION,
            Task::Regression => Self::FIELDFIT_REGRESSION,
            Task::MultiLabel => Self::FIELDFIT_MULTI_LABEL,
        }
    }
}

/// Tells the task of the running version. A call that answers for another task returns `FIELDFIT_VERSION`.
///
/// # Safety
/// `out` is NULL or writable. `error` is NULL or points to a writable pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_current_task(
    runtime: *const fieldfit_runtime,
    out: *mut fieldfit_task,
    error: *mut *mut fieldfit_error,
) -> fieldfit_status {
    let body = || {
        let state = RUNTIMES.get(runtime, "runtime")?;
        place(out, "out")?;
        // SAFETY: the caller's promise about `out`.
        unsafe { put(out, state.runtime.task().into()) };
        Ok(())
    };
    // SAFETY: the caller's promise about `error`.
    unsafe { guard(error, body) }
}

/// Names the class of each pixel of a frame, and writes it, row by row, at the size of `width` and `height`, such as the frame's: each
/// pixel has the class of the nearest one of the network's output. A class is an index of the labels.
///
/// # Safety
/// `frame` is NULL or points to a structure that begins with its size; the frame's bytes do not change until the call returns.
/// `classes` is NULL or has room for `width` times `height` numbers. `out`, which takes the version that answered, is NULL or
/// writable. `error` is NULL or points to a writable pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_segment(
    runtime: *const fieldfit_runtime,
    frame: *const fieldfit_frame,
    width: u32,
    height: u32,
    classes: *mut u16,
    out: *mut fieldfit_version,
    error: *mut *mut fieldfit_error,
) -> fieldfit_status {
    let body = || {
        let state = RUNTIMES.get(runtime, "runtime")?;
        let [width, height] = [side(width, "width")?, side(height, "height")?];
        // SAFETY: the caller's promise about `frame`, its bytes and `classes`. 24 bits times 24 bits are within 64.
        let (frame, classes) =
            unsafe { (sized::read(frame, "frame")?.borrow()?, buffer(classes, width * height, "classes")?) };
        let answer = state.runtime.segment(&frame)?;
        classes.copy_from_slice(answer.resized(height, width).classes());
        // SAFETY: the caller's promise about `out`.
        unsafe { put(out, answer.version().into()) };
        Ok(())
    };
    // SAFETY: the caller's promise about `error`.
    unsafe { guard(error, body) }
}

/// Estimates the values of a frame's targets, and writes them in the order of the labels, which name the targets and their units, such
/// as `tilt [deg]`. `length` is the number of the labels; another one is `FIELDFIT_INVALID_ARGUMENT`, also because a swap came between.
///
/// # Safety
/// `frame` is NULL or points to a structure that begins with its size; the frame's bytes do not change until the call returns.
/// `values` is NULL or has room for `length` numbers. `out`, which takes the version that answered, is NULL or writable. `error`
/// is NULL or points to a writable pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_estimate(
    runtime: *const fieldfit_runtime,
    frame: *const fieldfit_frame,
    values: *mut f32,
    length: usize,
    out: *mut fieldfit_version,
    error: *mut *mut fieldfit_error,
) -> fieldfit_status {
    let body = || {
        let state = RUNTIMES.get(runtime, "runtime")?;
        // SAFETY: the caller's promise about `frame`, its bytes and `values`.
        let (frame, values) = unsafe { (sized::read(frame, "frame")?.borrow()?, buffer(values, length, "values")?) };
        let answer = state.runtime.estimate(&frame)?;
        fill(values, "values", answer.values().map(|one| one.value))?;
        // SAFETY: the caller's promise about `out`.
        unsafe { put(out, answer.version().into()) };
        Ok(())
    };
    // SAFETY: the caller's promise about `error`.
    unsafe { guard(error, body) }
}

/// Tells which labels a frame has: writes the probability of each, 0..1, and to `thresholds`, unless that is NULL, the probability from
/// which on it is predicted. Those of several labels do not add up to 1. `length` is the number of the labels; another one is
/// `FIELDFIT_INVALID_ARGUMENT`, also because a swap came between.
///
/// # Safety
/// `frame` is NULL or points to a structure that begins with its size; the frame's bytes do not change until the call returns.
/// `probabilities` and `thresholds` are NULL or have room for `length` numbers, and do not overlap. `out`, which takes the version that
/// answered, is NULL or writable. `error` is NULL or points to a writable pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_tag(
    runtime: *const fieldfit_runtime,
    frame: *const fieldfit_frame,
    probabilities: *mut f32,
    thresholds: *mut f32,
    length: usize,
    out: *mut fieldfit_version,
    error: *mut *mut fieldfit_error,
) -> fieldfit_status {
    let body = || {
        let state = RUNTIMES.get(runtime, "runtime")?;
        // SAFETY: the caller's promise about `frame`, its bytes and `probabilities`.
        let (frame, probabilities) =
            unsafe { (sized::read(frame, "frame")?.borrow()?, buffer(probabilities, length, "probabilities")?) };
        let answer = state.runtime.tag(&frame)?;
        fill(probabilities, "probabilities", answer.all().map(|tag| tag.probability))?;
        if !thresholds.is_null() {
            // SAFETY: the caller's promise about `thresholds`.
            let thresholds = unsafe { buffer(thresholds, length, "thresholds")? };
            fill(thresholds, "thresholds", answer.all().map(|tag| tag.threshold))?;
        }
        // SAFETY: the caller's promise about `out`.
        unsafe { put(out, answer.version().into()) };
        Ok(())
    };
    // SAFETY: the caller's promise about `error`.
    unsafe { guard(error, body) }
}

/// Requires a side that an image can have.
fn side(side: u32, argument: &'static str) -> Result<usize, Failure> {
    match side {
        1..=0xff_ffff => Ok(side as usize),
        _ => Err(Failure::Value { argument, found: side.into(), expected: "1 to 16777215 pixels" }),
    }
}

/// Writes numbers to a buffer of as many.
fn fill(buffer: &mut [f32], what: &'static str, numbers: impl Iterator<Item = f32>) -> Result<(), Error> {
    let numbers: Vec<f32> = numbers.collect();
    if numbers.len() != buffer.len() {
        return Err(Error::BufferLength { what, expected: numbers.len(), found: buffer.len() });
    }
    buffer.copy_from_slice(&numbers);
    Ok(())
}
