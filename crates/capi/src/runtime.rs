//! Runtime handle: opened, asked and closed.

use crate::argument::{place, put};
use crate::failure::Failure;
use crate::guard::{catch, guard};
use crate::label_table::LabelTable;
use crate::notice::NoticeSlot;
use crate::options::fieldfit_options;
use crate::registry::Registry;
use crate::sized;
use crate::status::{fieldfit_error, fieldfit_status};
use crate::text::json;
use fieldfit::Runtime;
use std::ffi::c_char;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Runtime: a base model, the version that runs on it, and its store. Any number of threads may share it.
pub struct fieldfit_runtime {
    _opaque: [u8; 0],
}

/// The open runtimes.
pub static RUNTIMES: Registry<fieldfit_runtime, RuntimeState> = Registry::new("runtime");

/// Runtime behind a handle.
pub struct RuntimeState {
    pub runtime: Runtime,
    pub labels: LabelTable,
    pub notices: Arc<NoticeSlot>,
    /// Whether a call that changed the runtime panicked.
    poisoned: AtomicBool,
}

impl RuntimeState {
    /// Makes the state of an opened runtime, whose notices come through that slot.
    pub fn new(runtime: Runtime, notices: Arc<NoticeSlot>) -> Self {
        Self { runtime, labels: LabelTable::default(), notices, poisoned: AtomicBool::new(false) }
    }

    /// Does work that changes the runtime, unless such work panicked before.
    pub fn change<T>(&self, work: impl FnOnce(&Runtime) -> Result<T, Failure>) -> Result<T, Failure> {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(Failure::Poisoned);
        }
        let changed = catch(|| work(&self.runtime));
        if let Err(Failure::Panicked { .. }) = &changed {
            self.poisoned.store(true, Ordering::Release);
        }
        changed
    }
}

/// Opens a runtime: maps and verifies the base, and prepares the version that runs first. With a store this is its active
/// version; if that cannot run, the last confirmed one; at last the base. A notice says why.
///
/// Close it with `fieldfit_close`. A process that forks must open it after that, in the child.
///
/// # Safety
/// `options` is NULL or points to a structure that begins with its size and whose strings are NULL or NUL-terminated. `out` is NULL
/// or writable. `error` is NULL or points to a writable pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_open(
    options: *const fieldfit_options,
    out: *mut *mut fieldfit_runtime,
    error: *mut *mut fieldfit_error,
) -> fieldfit_status {
    let body = || {
        place(out, "out")?;
        // SAFETY: the caller's promise about `out`; whoever ignores the status finds NULL.
        unsafe { put(out, ptr::null_mut()) };
        // SAFETY: the caller's promise about `options`.
        let builder = unsafe { sized::read::<fieldfit_options>(options, "options")?.builder()? };
        let notices = Arc::new(NoticeSlot::new());
        let slot = notices.clone();
        let runtime = builder.on_event(move |event| slot.deliver(event)).open()?;
        let handle = RUNTIMES.add(Arc::new(RuntimeState::new(runtime, notices)));
        // SAFETY: the caller's promise about `out`.
        unsafe { put(out, handle) };
        Ok(())
    };
    // SAFETY: the caller's promise about `error`.
    unsafe { guard(error, body) }
}

/// Closes a runtime. Every later call with the handle returns `FIELDFIT_CLOSED`; NULL is ignored.
///
/// Calls of other threads that are in progress end as they would have; the last one frees the memory. The callback of notices is
/// not called any more once this returns, but for the thread that closes from inside it. An adaptation goes on: close it first.
/// Labels of predictions die here.
#[unsafe(no_mangle)]
pub extern "C" fn fieldfit_close(runtime: *mut fieldfit_runtime) -> fieldfit_status {
    let body = || {
        if !runtime.is_null() {
            RUNTIMES.remove(runtime, "runtime")?.notices.set(None);
        }
        Ok(())
    };
    // SAFETY: the place for an error is NULL.
    unsafe { guard(ptr::null_mut(), body) }
}

/// Writes the class names of the running version to `out`, in the order of the head's outputs, as many as `capacity` has room
/// for, and their number to `count`. They are UTF-8 and live until the runtime is closed.
///
/// # Safety
/// `out` is NULL, if `capacity` is 0, or has room for `capacity` pointers. `count` is NULL or writable. `error` is NULL or points to
/// a writable pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_labels(
    runtime: *const fieldfit_runtime,
    out: *mut *const c_char,
    capacity: usize,
    count: *mut usize,
    error: *mut *mut fieldfit_error,
) -> fieldfit_status {
    let body = || {
        let state = RUNTIMES.get(runtime, "runtime")?;
        place(count, "count")?;
        if capacity > 0 {
            place(out, "out")?;
        }
        let labels = state.labels.own(&state.runtime.labels())?;
        for (index, name) in labels.names().iter().take(capacity).enumerate() {
            // SAFETY: the caller's promise: `index` is below `capacity`.
            unsafe { out.add(index).write(name.as_ptr()) };
        }
        // SAFETY: the caller's promise about `count`.
        unsafe { put(count, labels.names().len()) };
        Ok(())
    };
    // SAFETY: the caller's promise about `error`.
    unsafe { guard(error, body) }
}

/// Gives the drift figures of the running version as a JSON object: its latest frames, their mean confidence, and their
/// agreement with the base. Free it with `fieldfit_string_free`.
///
/// # Safety
/// `out` is NULL or writable. `error` is NULL or points to a writable pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_drift(
    runtime: *const fieldfit_runtime,
    out: *mut *mut c_char,
    error: *mut *mut fieldfit_error,
) -> fieldfit_status {
    let body = || {
        let state = RUNTIMES.get(runtime, "runtime")?;
        place(out, "out")?;
        let drift = json(&state.runtime.drift(), "drift")?;
        // SAFETY: the caller's promise about `out`.
        unsafe { put(out, drift.into_raw()) };
        Ok(())
    };
    // SAFETY: the caller's promise about `error`.
    unsafe { guard(error, body) }
}
