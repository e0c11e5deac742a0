//! Prediction: the top classes of a frame, as plain data.

use crate::argument::buffer;
use crate::failure::Failure;
use crate::frame::{fieldfit_frame, frames_of};
use crate::guard::guard;
use crate::label_table::CLabels;
use crate::runtime::{RUNTIMES, RuntimeState, fieldfit_runtime};
use crate::sized::{self, SizedStruct};
use crate::status::{fieldfit_error, fieldfit_status};
use crate::version::fieldfit_version;
use fieldfit::{MAX_TOP, Prediction, Ranked};
use std::ffi::c_char;
use std::ptr;

/// Maximum number of classes that a prediction ranks.
pub const FIELDFIT_MAX_TOP: usize = 16;
const _: () = assert!(FIELDFIT_MAX_TOP == MAX_TOP, "the number is part of the binary interface");

/// Ranked class of a prediction.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct fieldfit_ranked {
    /// Name of the class, UTF-8. It lives until the runtime is closed.
    pub label: *const c_char,
    /// Index of the class in the head's outputs.
    pub index: u32,
    /// Its softmax probability, 0..1.
    pub probability: f32,
}

impl fieldfit_ranked {
    const NONE: Self = Self { label: ptr::null(), index: 0, probability: 0.0 };
}

/// Prediction for one frame: begin with `fieldfit_prediction_init()`. It owns nothing: copy it as you like.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct fieldfit_prediction {
    /// `sizeof(fieldfit_prediction)`.
    pub struct_size: u32,
    /// Number of classes in `top`.
    pub count: u32,
    /// The version that answered.
    pub version: fieldfit_version,
    /// Classes by descending probability.
    pub top: [fieldfit_ranked; FIELDFIT_MAX_TOP],
    /// Number of classes in `base`; 0 without `FIELDFIT_BASE_ANSWERS`.
    pub base_count: u32,
    /// 1 if the members of novelty are set, 0 without `FIELDFIT_NOVELTY` or if the version records no threshold.
    pub has_novelty: u32,
    /// Mahalanobis distance of the frame's features from the nearest class mean.
    pub novelty_distance: f32,
    /// Distance above which a frame counts as unknown.
    pub novelty_threshold: f32,
    /// Share of known images, 0..1, that the threshold was chosen to call unknown.
    pub novelty_false_alarm_rate: f32,
    /// 1 if the frame counts as unknown.
    pub is_unknown: u32,
    /// The base's own classes by descending probability, in the same pass.
    pub base: [fieldfit_ranked; FIELDFIT_MAX_TOP],
}

// SAFETY: `repr(C)`, begins with its size, and has numbers, pointers and structures of such alone.
unsafe impl SizedStruct for fieldfit_prediction {
    const LEAST: usize = size_of::<Self>();
}

impl fieldfit_prediction {
    /// Returns the prediction with names from the runtime's table.
    fn new(state: &RuntimeState, prediction: &Prediction) -> Result<Self, Failure> {
        let own = state.labels.own(prediction.labels())?;
        let (top, count) = ranking(prediction.top(), &own);
        let (mut base, mut base_count) = ([fieldfit_ranked::NONE; FIELDFIT_MAX_TOP], 0);
        if let Some((ranked, labels)) = prediction.base().zip(prediction.base_labels()) {
            (base, base_count) = ranking(ranked, &*state.labels.base(labels)?);
        }
        let novelty = prediction.novelty();
        Ok(Self {
            struct_size: size_of::<Self>() as u32,
            count,
            version: prediction.version().into(),
            top,
            base_count,
            has_novelty: novelty.is_some().into(),
            novelty_distance: novelty.map_or(0.0, |novelty| novelty.distance),
            novelty_threshold: novelty.map_or(0.0, |novelty| novelty.threshold),
            novelty_false_alarm_rate: novelty.map_or(0.0, |novelty| novelty.false_alarm_rate),
            is_unknown: novelty.is_some_and(|novelty| novelty.is_unknown()).into(),
            base,
        })
    }
}

/// Returns the classes of a ranking with their names, and their number.
fn ranking<'a>(
    ranked: impl Iterator<Item = Ranked<'a>>,
    labels: &CLabels,
) -> ([fieldfit_ranked; FIELDFIT_MAX_TOP], u32) {
    let mut top = [fieldfit_ranked::NONE; FIELDFIT_MAX_TOP];
    let mut count = 0;
    for (place, Ranked { index, probability, .. }) in top.iter_mut().zip(ranked) {
        *place = fieldfit_ranked { label: labels.names()[index as usize].as_ptr(), index, probability };
        count += 1;
    }
    (top, count)
}

/// Classifies a frame. Any number of threads may call it at once, also while an adaptation runs and versions are swapped: each
/// prediction is one version's, whole. Once its thread has its buffers, a frame allocates
/// nothing but the coefficients that it is resampled by.
///
/// # Safety
/// `frame` and `out` are NULL or point to structures that begin with their size; the frame's bytes do not change until the call
/// returns. `error` is NULL or points to a writable pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_infer(
    runtime: *const fieldfit_runtime,
    frame: *const fieldfit_frame,
    out: *mut fieldfit_prediction,
    error: *mut *mut fieldfit_error,
) -> fieldfit_status {
    let body = || {
        let state = RUNTIMES.get(runtime, "runtime")?;
        // SAFETY: the caller's promise about `out`, `frame` and its bytes.
        let (size, frame) = unsafe { (sized::check(out, "out")?, sized::read(frame, "frame")?.borrow()?) };
        let prediction = fieldfit_prediction::new(&state, &state.runtime.infer(&frame)?)?;
        // SAFETY: the caller's promise; `size` is of `out`.
        unsafe { sized::write(out, size, &prediction) };
        Ok(())
    };
    // SAFETY: the caller's promise about `error`.
    unsafe { guard(error, body) }
}

/// Classifies a frame, and writes the probability of every class, 0..1, in the order of the labels: the same pass as
/// `fieldfit_infer`, and the same bits. `length` is the number of the running version's labels; another one is
/// `FIELDFIT_INVALID_ARGUMENT`, also because a swap to other classes came between.
///
/// # Safety
/// `frame` is NULL or points to a structure that begins with its size; the frame's bytes do not change until the call returns.
/// `scores` is NULL or has room for `length` numbers. `out`, which takes the prediction, is NULL or points to a structure that
/// begins with its size. `error` is NULL or points to a writable pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_scores(
    runtime: *const fieldfit_runtime,
    frame: *const fieldfit_frame,
    scores: *mut f32,
    length: usize,
    out: *mut fieldfit_prediction,
    error: *mut *mut fieldfit_error,
) -> fieldfit_status {
    let body = || {
        let state = RUNTIMES.get(runtime, "runtime")?;
        // SAFETY: the caller's promise about `frame`, its bytes and `scores`.
        let (frame, scores) = unsafe { (sized::read(frame, "frame")?.borrow()?, buffer(scores, length, "scores")?) };
        // SAFETY: the caller's promise about `out`.
        let size = || unsafe { sized::check(out, "out") };
        let size = if out.is_null() { None } else { Some(size()?) };
        let prediction = fieldfit_prediction::new(&state, &state.runtime.scores(&frame, scores)?)?;
        if let Some(size) = size {
            // SAFETY: the caller's promise; `size` is of `out`.
            unsafe { sized::write(out, size, &prediction) };
        }
        Ok(())
    };
    // SAFETY: the caller's promise about `error`.
    unsafe { guard(error, body) }
}

/// Classifies frames with one version: the bits of `fieldfit_infer`. A message names the frame that cannot be used by its index;
/// no prediction is written then. A call allocates two lists, whatever their length.
///
/// # Safety
/// `frames` and `out` are NULL, if `count` is 0, or have `count` structures, each of the size that the first of them begins with; the
/// frames' bytes do not change until the call returns. `error` is NULL or points to a writable pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_infer_batch(
    runtime: *const fieldfit_runtime,
    frames: *const fieldfit_frame,
    count: usize,
    out: *mut fieldfit_prediction,
    error: *mut *mut fieldfit_error,
) -> fieldfit_status {
    let body = || {
        let state = RUNTIMES.get(runtime, "runtime")?;
        if count == 0 {
            return Ok(());
        }
        // SAFETY: the caller's promise about `frames`, their bytes and `out`.
        let (frames, size) = unsafe { (frames_of(frames, count)?, sized::check_array(out, count, "out")?) };
        let mut predictions = Vec::with_capacity(count);
        state.runtime.infer_batch(&frames, &mut predictions)?;
        for (index, prediction) in predictions.iter().enumerate() {
            let prediction = fieldfit_prediction::new(&state, prediction)?;
            // SAFETY: the caller's promise: `out` has `count` structures of that size.
            unsafe { sized::write(sized::element(out, index, size).cast_mut(), size, &prediction) };
        }
        Ok(())
    };
    // SAFETY: the caller's promise about `error`.
    unsafe { guard(error, body) }
}
