//! Computing at low priority, beside threads that answer frames.

use crate::{AdaptError, Event};
use std::panic::resume_unwind;
use std::sync::mpsc::sync_channel;
use std::thread;

/// Does the work on a thread that yields to others by `nice`, as do all threads that the work starts: on Linux niceness
/// is a thread's own, and handed down. Nothing else of the process changes. Events are heard on the calling thread.
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
        let run = thread::Builder::new().name("fieldfit-adapt".into()).spawn_scoped(scope, move || {
            lower(nice)?;
            // Nobody listens any more only if the listener has panicked; the panic ends the run's caller.
            work(&mut |event| drop(sender.send(event)))
        });
        let run = run.map_err(|source| AdaptError::Nice { nice, reason: source.to_string() })?;
        heard.iter().for_each(events);
        run.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// Lets this thread yield to others.
#[cfg(target_os = "linux")]
fn lower(nice: u8) -> Result<(), AdaptError> {
    let lowered = rustix::process::nice(i32::from(nice));
    lowered.map(drop).map_err(|source| AdaptError::Nice { nice, reason: source.to_string() })
}

#[cfg(not(target_os = "linux"))]
fn lower(nice: u8) -> Result<(), AdaptError> {
    let reason = "a thread's niceness is Linux's alone: run the whole process under `nice`".into();
    Err(AdaptError::Nice { nice, reason })
}
