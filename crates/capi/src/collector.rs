//! Collector handle: frames are buffered, and a label stores those that it is for.

use crate::argument::{optional_text, path, place, put, text};
use crate::failure::Failure;
use crate::frame::fieldfit_frame;
use crate::guard::guard;
use crate::prediction::fieldfit_prediction;
use crate::registry::Registry;
use crate::sized;
use crate::status::{fieldfit_error, fieldfit_status};
use crate::text::json;
use fieldfit::Error;
use fieldfit::collect::{Collector, CollectorOptions, Label, ModelOutput, Origin, PredictedClass, Span};
use std::ffi::{CStr, c_char};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

/// Collector of labelled images: a collection on disk, and the frames before a label in memory. Any number of threads may share it.
pub struct fieldfit_collector {
    _opaque: [u8; 0],
}

/// The open collectors.
static COLLECTORS: Registry<fieldfit_collector, Collector> = Registry::new("collector");

/// Opens a collector that stores into the collection at `collection`, which is made if there is none. `options_json` is NULL or an object of
/// what differs from the defaults, times in seconds, such as `{"rate":5,"buffer":3,"per_class":500}`: `session`, `rate`, `all`,
/// `buffer`, `buffer_bytes`, `block`, `quality`, `bytes`, `per_class`, `min_per_class`, `age`, `free_disk`, `masks`, `max_side`. An
/// adaptation reads the collection in place: give its path to `fieldfit_adapt_start`.
///
/// Close it with `fieldfit_collector_close`.
///
/// # Safety
/// `collection` and `options_json` are NULL or NUL-terminated. `out` is NULL or writable. `error` is NULL or points to a writable
/// pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_collector_open(
    collection: *const c_char,
    options_json: *const c_char,
    out: *mut *mut fieldfit_collector,
    error: *mut *mut fieldfit_error,
) -> fieldfit_status {
    let body = || {
        place(out, "out")?;
        // SAFETY: the caller's promise about `out`; whoever ignores the status finds NULL.
        unsafe { put(out, ptr::null_mut()) };
        // SAFETY: the caller's promise about the texts.
        let (path, options) =
            unsafe { (path(collection, "collection")?, optional_text(options_json, "options_json")?) };
        let options: CollectorOptions =
            serde_json::from_str(options.unwrap_or("{}")).map_err(Failure::CollectorOptions)?;
        let handle = COLLECTORS.add(Arc::new(Collector::open(&path, options).map_err(Error::from)?));
        // SAFETY: the caller's promise about `out`.
        unsafe { put(out, handle) };
        Ok(())
    };
    // SAFETY: the caller's promise about `error`.
    unsafe { guard(error, body) }
}

/// Takes a frame of the camera into the buffer, at most as many a second as the collector's rate. `at` is the time of capture in seconds
/// on the camera's clock. `prediction` is NULL or what the runtime said of the frame: a full collection keeps frames of which it was unsure.
/// `taken`, unless it is NULL, tells whether the frame is in the buffer. It never waits for the disk.
///
/// # Safety
/// `frame` is NULL or points to a structure that begins with its size; the frame's bytes do not change until the call returns.
/// `prediction` is NULL or points to a prediction whose runtime is open. `taken` is NULL or writable. `error` is NULL or points to a
/// writable pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_collector_observe(
    collector: *const fieldfit_collector,
    frame: *const fieldfit_frame,
    at: f64,
    prediction: *const fieldfit_prediction,
    taken: *mut bool,
    error: *mut *mut fieldfit_error,
) -> fieldfit_status {
    let body = || {
        let collector = COLLECTORS.get(collector, "collector")?;
        let at = seconds(at, "at")?;
        // SAFETY: the caller's promise about `frame`, its bytes, and `prediction`.
        let (frame, output) = unsafe { (sized::read(frame, "frame")?.borrow()?, model_output(prediction)?) };
        let id = collector.observe(&frame, at, output).map_err(Error::from)?;
        // SAFETY: the caller's promise about `taken`.
        unsafe { put(taken, id.is_some()) };
        Ok(())
    };
    // SAFETY: the caller's promise about `error`.
    unsafe { guard(error, body) }
}

/// Labels the buffered frames of the last so many seconds with a class, and stores those that are worth it. `origin` says who labels:
/// `operator`, which NULL stands for, `outcome`, `tag`, `zone`, `track`, `import` or `teacher:MODEL`, whose labels never judge.
/// `kept_json`, unless it is NULL, takes an object of what was stored and left out; free it with `fieldfit_string_free`.
///
/// # Safety
/// `label` and `origin` are NULL or NUL-terminated. `kept_json` is NULL or writable. `error` is NULL or points to a writable pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_collector_label(
    collector: *const fieldfit_collector,
    last: f64,
    label: *const c_char,
    origin: *const c_char,
    kept_json: *mut *mut c_char,
    error: *mut *mut fieldfit_error,
) -> fieldfit_status {
    let body = || {
        let span = Span::Last(seconds(last, "last")?);
        // SAFETY: the caller's promises.
        unsafe { label_span(collector, span, (label, origin), kept_json) }
    };
    // SAFETY: the caller's promise about `error`.
    unsafe { guard(error, body) }
}

/// As `fieldfit_collector_label`, of the buffered frames from one time of the camera's clock to another, both included, in seconds.
///
/// # Safety
/// As `fieldfit_collector_label`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_collector_label_between(
    collector: *const fieldfit_collector,
    from: f64,
    to: f64,
    label: *const c_char,
    origin: *const c_char,
    kept_json: *mut *mut c_char,
    error: *mut *mut fieldfit_error,
) -> fieldfit_status {
    let body = || {
        let span = Span::Between(seconds(from, "from")?, seconds(to, "to")?);
        // SAFETY: the caller's promises.
        unsafe { label_span(collector, span, (label, origin), kept_json) }
    };
    // SAFETY: the caller's promise about `error`.
    unsafe { guard(error, body) }
}

/// Gives the numbers of the collection as a JSON object: images of each class and origin, bytes, frames that they stand for. Free
/// it with `fieldfit_string_free`.
///
/// # Safety
/// `out` is NULL or writable. `error` is NULL or points to a writable pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_collector_statistics(
    collector: *const fieldfit_collector,
    out: *mut *mut c_char,
    error: *mut *mut fieldfit_error,
) -> fieldfit_status {
    let body = || {
        let collector = COLLECTORS.get(collector, "collector")?;
        place(out, "out")?;
        let statistics = json(&collector.statistics(), "statistics")?;
        // SAFETY: the caller's promise about `out`.
        unsafe { put(out, statistics.into_raw()) };
        Ok(())
    };
    // SAFETY: the caller's promise about `error`.
    unsafe { guard(error, body) }
}

/// Closes a collector: frames that no label was for are forgotten. NULL is ignored. Calls of other threads that are in progress end as
/// they would have.
#[unsafe(no_mangle)]
pub extern "C" fn fieldfit_collector_close(collector: *mut fieldfit_collector) -> fieldfit_status {
    let body = || {
        if !collector.is_null() {
            COLLECTORS.remove(collector, "collector")?;
        }
        Ok(())
    };
    // SAFETY: the place for an error is NULL.
    unsafe { guard(ptr::null_mut(), body) }
}

/// Labels the frames of a span.
///
/// # Safety
/// The texts are NULL or NUL-terminated. `kept_json` is NULL or writable.
unsafe fn label_span(
    collector: *const fieldfit_collector,
    span: Span,
    (label, origin): (*const c_char, *const c_char),
    kept_json: *mut *mut c_char,
) -> Result<(), Failure> {
    let collector = COLLECTORS.get(collector, "collector")?;
    // SAFETY: the caller's promise.
    let (class, origin) = unsafe { (text(label, "label")?, optional_text(origin, "origin")?) };
    let origin = origin.unwrap_or("operator");
    let unknown = |expected| Failure::Text { argument: "origin", found: origin.to_owned(), expected };
    let origin: Origin = origin.parse().map_err(unknown)?;
    let kept = collector.label(span, &Label::new(class, origin)).map_err(Error::from)?;
    if !kept_json.is_null() {
        let kept = json(&kept, "what was kept")?;
        // SAFETY: the caller's promise.
        unsafe { put(kept_json, kept.into_raw()) };
    }
    Ok(())
}

/// The best class of a prediction, and its lead over the second.
///
/// # Safety
/// `prediction` is NULL or points to a prediction whose runtime is open, so that its labels live.
unsafe fn model_output(prediction: *const fieldfit_prediction) -> Result<ModelOutput, Failure> {
    if prediction.is_null() {
        return Ok(ModelOutput::default());
    }
    // SAFETY: the caller's promise.
    let prediction = unsafe { sized::read(prediction, "prediction")? };
    let [best, second, ..] = prediction.top;
    if prediction.count == 0 || best.label.is_null() {
        return Ok(ModelOutput::default());
    }
    // SAFETY: the caller's promise: a prediction's label is NUL-terminated and lives.
    let class = unsafe { CStr::from_ptr(best.label) }.to_string_lossy();
    let margin = best.probability - if prediction.count > 1 { second.probability } else { 0.0 };
    Ok(ModelOutput::new(Some(PredictedClass::new(class, best.probability, margin)), None))
}

fn seconds(seconds: f64, argument: &'static str) -> Result<Duration, Failure> {
    Duration::try_from_secs_f64(seconds).map_err(|_| Failure::Seconds { argument, found: seconds })
}
