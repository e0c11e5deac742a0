//! Priority: runs an adaptation at a lower priority than the threads that answer frames.

use crate::error::AdaptError;
use crate::event::Event;
use std::panic::resume_unwind;
use std::sync::mpsc::sync_channel;
use std::thread;

/// Runs `work` on a thread of a niceness higher by `nice`, which all threads that it starts inherit: on Linux niceness is a
/// thread's own. Nothing else of the process changes. Events are delivered on the calling thread.
///
/// A listener that panics ends the work at its next event; the panic then goes on in the caller.
///
/// # Errors
/// [`AdaptError::Nice`] if the system has no niceness of a thread; what the work fails at.
pub(crate) fn yielding<R: Send>(
    nice: u8,
    events: &mut dyn FnMut(Event),
    work: impl FnOnce(&mut dyn FnMut(Event)) -> Result<R, AdaptError> + Send,
) -> Result<R, AdaptError> {
    // No room: the run doesn't go on before its event is taken.
    let (sender, heard) = sync_channel(0);
    thread::scope(|scope| {
        // Dropped before the scope waits for the run, also by a panic of the listener: a run that sends must not wait for ever.
        let heard = heard;
        let run = thread::Builder::new().name("fieldfit-adapt".into()).spawn_scoped(scope, move || {
            lower(nice)?;
            work(&mut |event| {
                if sender.send(event).is_err() {
                    resume_unwind(Box::new("the listener of the run's events panicked"));
                }
            })
        });
        let run = run.map_err(|source| AdaptError::Nice { nice, reason: source.to_string() })?;
        heard.iter().for_each(events);
        run.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// Raises this thread's niceness.
#[cfg(target_os = "linux")]
fn lower(nice: u8) -> Result<(), AdaptError> {
    // 0 is the calling thread.
    // SAFETY: both calls take and give plain numbers, and change nothing but the thread's priority.
    let failed = unsafe {
        let now = libc::getpriority(libc::PRIO_PROCESS, 0);
        libc::setpriority(libc::PRIO_PROCESS, 0, now + libc::c_int::from(nice)) != 0
    };
    let reason = || std::io::Error::last_os_error().to_string();
    if failed { Err(AdaptError::Nice { nice, reason: reason() }) } else { Ok(()) }
}

#[cfg(not(target_os = "linux"))]
fn lower(nice: u8) -> Result<(), AdaptError> {
    let reason = "a thread's niceness is Linux's alone: run the whole process under `nice`".into();
    Err(AdaptError::Nice { nice, reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// Catches: a listener whose panic leaves the run waiting for ever, or lets it go on to its end unheard.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_panic_of_the_listener_ends_the_run() {
        let mut listen = |_| panic!("a listener's own fault");
        let ended = catch_unwind(AssertUnwindSafe(|| {
            yielding(1, &mut listen, |report| {
                loop {
                    report(Event::Paused);
                }
            })
        }));
        let ended: Result<Result<(), AdaptError>, _> = ended;
        assert!(ended.is_err());
    }
}
