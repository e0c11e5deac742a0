//! Adaptation handle: a run on a thread of its own beside the frames, which is paused, resumed, stopped and waited for.

use crate::adaptation_options::AdaptationOptions;
use crate::adapted::{AdaptedOut, fieldfit_adapted};
use crate::argument::{optional_text, path, place, put};
use crate::callback::{Callback, fieldfit_callback};
use crate::failure::Failure;
use crate::guard::{catch, guard};
use crate::registry::Registry;
use crate::runtime::{RUNTIMES, RuntimeState, fieldfit_runtime};
use crate::status::{fieldfit_error, fieldfit_status};
use crate::text::json;
use fieldfit::Error;
use fieldfit::data::{DataError, Dataset, open_dataset_until};
use fieldfit::train::{AdaptError, Adapted, Control, Event};
use std::ffi::{c_char, c_void};
use std::ops::ControlFlow;
use std::path::Path;
use std::ptr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::{Duration, Instant};

/// Adaptation that was started.
pub struct fieldfit_adaptation {
    _opaque: [u8; 0],
}

/// The adaptations that are not closed.
static ADAPTATIONS: Registry<fieldfit_adaptation, AdaptationState> = Registry::new("adaptation");

/// Result of a run, which every call that waits is told.
type RunResult = Result<Adapted, Arc<Failure>>;

/// Adaptation behind a handle.
struct AdaptationState {
    control: Control,
    outcome: Arc<Outcome>,
    thread: ThreadId,
    join: Mutex<Option<JoinHandle<()>>>,
}

/// Result of the run, once there is one.
#[derive(Default)]
struct Outcome {
    result: Mutex<Option<RunResult>>,
    ended: Condvar,
}

impl Outcome {
    fn set(&self, result: Result<Adapted, Failure>) {
        *self.lock() = Some(result.map_err(Arc::new));
        self.ended.notify_all();
    }

    /// Waits for the result until the deadline, without one for ever.
    fn wait(&self, deadline: Option<Instant>) -> Option<RunResult> {
        let mut result = self.lock();
        while result.is_none() {
            result = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => self.ended.wait(result).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return None,
                Some(left) => self.ended.wait_timeout(result, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        result.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<RunResult>> {
        self.result.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AdaptationState {
    /// Starts the run on a thread of its own.
    fn start(
        state: Arc<RuntimeState>,
        images: impl AsRef<Path> + Send + 'static,
        options: AdaptationOptions,
        callback: Option<Callback>,
    ) -> Result<Self, Failure> {
        let (control, outcome) = (Control::new(), Arc::new(Outcome::default()));
        let (run_control, run_outcome) = (control.clone(), outcome.clone());
        let run = move || run_outcome.set(catch(|| run(&state, images.as_ref(), &options, &run_control, callback)));
        let join = thread::Builder::new().name("fieldfit-run".into()).spawn(run).map_err(Failure::Thread)?;
        Ok(Self { control, outcome, thread: join.thread().id(), join: Mutex::new(Some(join)) })
    }

    /// Refuses a call that waits for the run on the run's own thread.
    fn require_other_thread(&self, call: &'static str) -> Result<(), Failure> {
        match self.thread == thread::current().id() {
            true => Err(Failure::OwnThread { call }),
            false => Ok(()),
        }
    }

    /// Stops the run, if it goes on, and waits for its thread to end.
    fn end(&self) {
        self.control.stop();
        let join = self.join.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The thread catches its panics: it ends with a result.
        join.map(JoinHandle::join);
    }
}

/// Opens the images and adapts to them.
fn run(
    state: &RuntimeState,
    images: &Path,
    options: &AdaptationOptions,
    control: &Control,
    callback: Option<Callback>,
) -> Result<Adapted, Failure> {
    let images = opened(images, options, control)?;
    state.change(|runtime| {
        let adaptation = runtime.adaptation(&images).options(options.training.clone()).control(control);
        Ok(adaptation.resume(options.resume).on_event(|event| deliver(callback, &event)).run()?)
    })
}

/// Opens a folder or collection of images, and behind it those of earlier days, until `control` stops.
fn opened(images: &Path, options: &AdaptationOptions, control: &Control) -> Result<Dataset, Error> {
    let open = |folder: &Path| {
        let opened = open_dataset_until(folder, &options.folder, &mut |_| {
            if control.is_stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        opened.map_err(|error| match error {
            Error::Data(DataError::Interrupted) => AdaptError::Interrupted { checkpoint: None }.into(),
            error => error,
        })
    };
    let mut images = open(images)?;
    for earlier in &options.replay {
        images = images.replaying(open(earlier)?, options.replay_bytes, options.training.seed)?;
    }
    Ok(images)
}

fn deliver(callback: Option<Callback>, event: &Event) {
    let Some(callback) = callback else { return };
    match json(event, "an event") {
        Ok(text) => callback.call(&text),
        Err(failure) => log::error!("an event is not delivered: {failure}"),
    }
}

/// Starts to adapt the base to labelled images, one folder a class, on a thread of its own. Other threads go on being answered by
/// what runs, until the new version replaces it, if the gate accepts it.
///
/// `options_json` is an object such as `{"epochs":8,"size":96,"memory_budget":536870912,"nice":10}`, or NULL for the defaults.
/// `docs/guide/cpp.md` lists the options; an unknown one is an error.
///
/// `callback`, if it is not NULL, is called with each event of the run, `{"event":"step","step":1,…}`, on the run's thread, which
/// waits for it. It may call the library, but neither wait for the adaptation nor close it.
///
/// Close the adaptation with `fieldfit_adapt_close`.
///
/// # Safety
/// `images` and `options_json` are NULL or NUL-terminated. Another thread may call `callback` with `user` until the adaptation is
/// closed. `out` is NULL or writable. `error` is NULL or points to a writable pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_adapt_start(
    runtime: *const fieldfit_runtime,
    images: *const c_char,
    options_json: *const c_char,
    callback: fieldfit_callback,
    user: *mut c_void,
    out: *mut *mut fieldfit_adaptation,
    error: *mut *mut fieldfit_error,
) -> fieldfit_status {
    let body = || {
        place(out, "out")?;
        // SAFETY: the caller's promise about `out`; whoever ignores the status finds NULL.
        unsafe { put(out, ptr::null_mut()) };
        let state = RUNTIMES.get(runtime, "runtime")?;
        // SAFETY: the caller's promise about the strings and the callback.
        let (images, json, callback) = unsafe {
            (path(images, "images")?, optional_text(options_json, "options_json")?, Callback::new(callback, user))
        };
        let options = AdaptationOptions::parse(json, state.runtime.device())?;
        let handle = ADAPTATIONS.add(Arc::new(AdaptationState::start(state, images, options, callback)?));
        // SAFETY: the caller's promise about `out`.
        unsafe { put(out, handle) };
        Ok(())
    };
    // SAFETY: the caller's promise about `error`.
    unsafe { guard(error, body) }
}

/// Asks the run to wait after the batch that it is at. It keeps its memory and gives up the processor.
///
/// # Safety
/// `error` is NULL or points to a writable pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_adapt_pause(
    adaptation: *const fieldfit_adaptation,
    error: *mut *mut fieldfit_error,
) -> fieldfit_status {
    let body = || {
        ADAPTATIONS.get(adaptation, "adaptation")?.control.pause();
        Ok(())
    };
    // SAFETY: the caller's promise about `error`.
    unsafe { guard(error, body) }
}

/// Lets a paused run go on.
///
/// # Safety
/// `error` is NULL or points to a writable pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_adapt_resume(
    adaptation: *const fieldfit_adaptation,
    error: *mut *mut fieldfit_error,
) -> fieldfit_status {
    let body = || {
        ADAPTATIONS.get(adaptation, "adaptation")?.control.resume();
        Ok(())
    };
    // SAFETY: the caller's promise about `error`.
    unsafe { guard(error, body) }
}

/// Asks the run to save a checkpoint and stop, also one that is paused; `fieldfit_adapt_wait` then returns `FIELDFIT_STOPPED`, or
/// the result, if the run was complete before. `{"resume":true}` continues a stopped run.
///
/// # Safety
/// `error` is NULL or points to a writable pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_adapt_stop(
    adaptation: *const fieldfit_adaptation,
    error: *mut *mut fieldfit_error,
) -> fieldfit_status {
    let body = || {
        ADAPTATIONS.get(adaptation, "adaptation")?.control.stop();
        Ok(())
    };
    // SAFETY: the caller's promise about `error`.
    unsafe { guard(error, body) }
}

/// Waits for the run to end, at most `timeout_ms` milliseconds: 0 asks and returns at once, a negative number waits without
/// limit. Returns `FIELDFIT_OK` with the result, `FIELDFIT_RUNNING` if it has not ended, or what it failed at. Any number of calls
/// get the same.
///
/// `text`, if it is not NULL, takes the result as a JSON object, the event `done`; free it with `fieldfit_string_free`.
///
/// # Safety
/// `out` is NULL or points to a structure that begins with its size. `text` is NULL or writable. `error` is NULL or points to a
/// writable pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_adapt_wait(
    adaptation: *const fieldfit_adaptation,
    timeout_ms: i64,
    out: *mut fieldfit_adapted,
    text: *mut *mut c_char,
    error: *mut *mut fieldfit_error,
) -> fieldfit_status {
    let body = || {
        let state = ADAPTATIONS.get(adaptation, "adaptation")?;
        // SAFETY: the caller's promise about `out` and `text`.
        let place = unsafe { AdaptedOut::new(out, text)? };
        if timeout_ms != 0 {
            state.require_other_thread("fieldfit_adapt_wait")?;
        }
        let limit = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
        // A limit beyond the clock's range is none.
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        place.put(state.outcome.wait(deadline).ok_or(Failure::Running)?.map_err(Failure::Ended)?)
    };
    // SAFETY: the caller's promise about `error`.
    unsafe { guard(error, body) }
}

/// Closes an adaptation: stops the run, if it goes on, and waits for its thread to end. Every later call with the handle returns
/// `FIELDFIT_CLOSED`; NULL is ignored. From inside the run's callback it returns `FIELDFIT_OWN_THREAD` and closes nothing.
#[unsafe(no_mangle)]
pub extern "C" fn fieldfit_adapt_close(adaptation: *mut fieldfit_adaptation) -> fieldfit_status {
    let body = || {
        if !adaptation.is_null() {
            ADAPTATIONS.get(adaptation, "adaptation")?.require_other_thread("fieldfit_adapt_close")?;
            ADAPTATIONS.remove(adaptation, "adaptation")?.end();
        }
        Ok(())
    };
    // SAFETY: the place for an error is NULL.
    unsafe { guard(ptr::null_mut(), body) }
}
