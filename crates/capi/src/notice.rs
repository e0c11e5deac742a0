//! Notices: events that the runtime causes or observes by itself, delivered to a callback as JSON.

use crate::callback::{Callback, fieldfit_callback};
use crate::guard::guard;
use crate::runtime::{RUNTIMES, fieldfit_runtime};
use crate::status::{fieldfit_error, fieldfit_status};
use crate::text::json;
use fieldfit::RuntimeEvent;
use std::collections::VecDeque;
use std::ffi::{CStr, CString, c_void};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

/// Maximum number of notices that are kept until a callback is set.
const KEPT: usize = 64;

/// Slot for the callback of a runtime's notices.
///
/// The callback is called without a lock. Who replaces it waits until no other thread is inside the former one, so that what
/// that one used can be freed.
#[derive(Debug)]
pub struct NoticeSlot {
    state: Mutex<State>,
    left: Condvar,
}

#[derive(Debug)]
struct State {
    callback: Option<Callback>,
    /// Notices from before the first callback, such as those of opening; `None` once one was set.
    kept: Option<VecDeque<CString>>,
    /// Threads inside a callback.
    inside: Vec<ThreadId>,
    /// Those that wait there for the others to leave: nobody waits for them.
    waiting: Vec<ThreadId>,
}

impl NoticeSlot {
    /// Creates a slot without a callback.
    pub fn new() -> Self {
        let state = State { callback: None, kept: Some(VecDeque::new()), inside: Vec::new(), waiting: Vec::new() };
        Self { state: Mutex::new(state), left: Condvar::new() }
    }

    /// Delivers an event, or keeps it until there is a callback.
    pub fn deliver(&self, event: &RuntimeEvent) {
        match json(event, "a notice") {
            Ok(text) => self.call(text),
            Err(failure) => log::error!("a notice is not delivered: {failure}"),
        }
    }

    /// Replaces the callback. On return no other thread is inside the former one, but for threads that replace it from inside, too.
    /// Kept notices are delivered.
    pub fn set(&self, callback: Option<Callback>) {
        let mut state = self.state();
        state.callback = callback;
        let kept = callback.and_then(|_| state.kept.take());
        let here = thread::current().id();
        state.waiting.push(here);
        self.left.notify_all();
        while state.inside.iter().any(|thread| !state.waiting.contains(thread)) {
            state = self.left.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(position) = state.waiting.iter().position(|&thread| thread == here) {
            state.waiting.swap_remove(position);
        }
        drop(state);
        kept.into_iter().flatten().for_each(|notice| self.call(notice));
    }

    fn call(&self, notice: CString) {
        let mut state = self.state();
        match (state.callback, &mut state.kept) {
            (Some(callback), _) => {
                state.inside.push(thread::current().id());
                drop(state);
                self.call_inside(callback, &notice);
            }
            (None, Some(kept)) => {
                kept.push_back(notice);
                if kept.len() > KEPT {
                    kept.pop_front();
                }
            }
            (None, None) => {}
        }
    }

    /// Calls the callback on a thread that is counted as inside, until it returns or panics.
    fn call_inside(&self, callback: Callback, notice: &CStr) {
        struct Inside<'a>(&'a NoticeSlot);
        impl Drop for Inside<'_> {
            fn drop(&mut self) {
                let here = thread::current().id();
                let mut state = self.0.state();
                if let Some(position) = state.inside.iter().position(|&thread| thread == here) {
                    state.inside.swap_remove(position);
                }
                self.0.left.notify_all();
            }
        }
        let _inside = Inside(self);
        callback.call(notice);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sets the function that is called with each notice of the runtime, `{"notice":"swapped","from":null,"to":3}`: swaps,
/// fallbacks, confirmations, an unavailable store, drift. NULL removes it.
///
/// A notice of a call is delivered on the thread of that call; one that arises beside a frame or a trial, on a thread of the
/// runtime's. The function may call the library. No frame waits for it. Notices from before the first function was set, such as
/// those of opening, are kept, 64 at most, and delivered by this call.
///
/// On return, no other thread is inside the function that was set before: what it used may be freed. Functions that replace it from
/// inside at the same time do not wait for each other.
///
/// # Safety
/// Any thread may call `callback` with `user`, until another is set or the runtime is closed. `error` is NULL or points to a
/// writable pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fieldfit_on_notice(
    runtime: *const fieldfit_runtime,
    callback: fieldfit_callback,
    user: *mut c_void,
    error: *mut *mut fieldfit_error,
) -> fieldfit_status {
    let body = || {
        let state = RUNTIMES.get(runtime, "runtime")?;
        // SAFETY: the caller's promise.
        state.notices.set(unsafe { Callback::new(callback, user) });
        Ok(())
    };
    // SAFETY: the caller's promise about `error`.
    unsafe { guard(error, body) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::c_char;
    use std::sync::{Arc, Barrier, mpsc};
    use std::time::Duration;

    /// Slot, and the meeting of the two threads inside its callback.
    struct Meeting(NoticeSlot, Barrier);

    unsafe extern "C-unwind" fn replace(_: *const c_char, user: *mut c_void) {
        // SAFETY: the meeting outlives the threads that call this.
        let Meeting(slot, barrier) = unsafe { &*user.cast::<Meeting>() };
        barrier.wait();
        slot.set(None);
    }

    /// Catches: two callbacks that each wait for the other to leave.
    #[test]
    fn functions_that_replace_each_other_from_inside_return() {
        let meeting = Arc::new(Meeting(NoticeSlot::new(), Barrier::new(2)));
        // SAFETY: the meeting lives until both threads are done, or for ever where one hangs: it is leaked then.
        let callback = unsafe { Callback::new(Some(replace), Arc::as_ptr(&meeting).cast_mut().cast()) };
        meeting.0.set(callback);
        let (done, returned) = mpsc::channel();
        for _ in 0..2 {
            let (meeting, done) = (meeting.clone(), done.clone());
            thread::spawn(move || {
                meeting.0.call(c"{}".into());
                done.send(()).unwrap_or_default();
            });
        }
        for _ in 0..2 {
            assert!(returned.recv_timeout(Duration::from_secs(600)).is_ok(), "a callback hangs");
        }
    }
}
