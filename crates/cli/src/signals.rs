//! Signal handlers: SIGINT, SIGTERM and SIGHUP stop the run, a second one ends the process at once; SIGUSR1 pauses and
//! SIGUSR2 resumes the run.
//!
//! SIGTSTP and SIGCONT remain the shell's: a process stopped by them stops wherever it is, with all its threads.

use crate::error::CliError;
use crate::output::print_error_line;
use fieldfit::train::Control;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use signal_hook::{flag, iterator};
use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{io, ptr, thread};

/// Exit status of a process that a signal ends at once.
const FAILURE: c_int = 1;

/// Signal handlers and the control of the run that they act on.
pub struct Signals {
    control: Control,
    /// Whether the next stopping signal ends the process: outside a run, and after a first signal.
    is_final: Arc<AtomicBool>,
}

impl Signals {
    /// Installs the handlers. A stopping signal that the process was started to ignore (`nohup`) stays ignored.
    ///
    /// # Errors
    /// [`CliError::Signal`] if the system refuses a handler or the thread.
    pub fn install() -> Result<Self, CliError> {
        let installed = Self { control: Control::new(), is_final: Arc::new(AtomicBool::new(true)) };
        let mut handled = vec![SIGUSR1, SIGUSR2];
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            if is_ignored(signal).map_err(CliError::Signal)? {
                continue;
            }
            handled.push(signal);
            // In this order, in the handler itself: nothing that hangs keeps the second signal from ending the process.
            flag::register_conditional_shutdown(signal, FAILURE, installed.is_final.clone())
                .and_then(|_| flag::register(signal, installed.is_final.clone()))
                .map_err(CliError::Signal)?;
        }
        let mut signals = iterator::Signals::new(&handled).map_err(CliError::Signal)?;
        let control = installed.control.clone();
        let listen = move || signals.forever().for_each(|signal| handle(&control, signal));
        thread::Builder::new().name("fieldfit-signals".into()).spawn(listen).map_err(CliError::Signal)?;
        Ok(installed)
    }

    /// Runs `work`, which the first stopping signal asks to stop. Before and after, such a signal ends the process at once.
    pub fn during<T>(&self, work: impl FnOnce(&Control) -> T) -> T {
        self.is_final.store(false, Ordering::SeqCst);
        let outcome = work(&self.control);
        self.is_final.store(true, Ordering::SeqCst);
        outcome
    }

    /// Whether a signal asked the run to stop.
    pub fn is_stopped(&self) -> bool {
        self.control.is_stopped()
    }
}

fn handle(control: &Control, signal: c_int) {
    match signal {
        SIGUSR1 => control.pause(),
        SIGUSR2 => control.resume(),
        _ if control.stop() => print_error_line("stopping; send the signal again to end at once"),
        _ => {
            print_error_line("the run is complete and its result is being stored; send the signal again to end at once")
        }
    }
}

/// Makes a write beyond the limit of file sizes (`ulimit -f`) an error, as on a full disk, which a run outlives; by default
/// the system ends the process.
///
/// # Errors
/// [`CliError::Signal`] if the system refuses the handler.
pub fn outlive_file_size_limit() -> Result<(), CliError> {
    // What the handler sets is never read: that there is one is enough.
    flag::register(SIGXFSZ, Arc::default()).map(drop).map_err(CliError::Signal)
}

/// Returns whether the process ignores a signal.
fn is_ignored(signal: c_int) -> io::Result<bool> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action, the call only writes the current one to `action`, which is large enough for it.
    if unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: every field of a zeroed `sigaction` is valid, and so is what the successful call wrote.
    Ok(unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN)
}

/// Returns this command line, quoted for a shell, with `--resume`.
pub fn resume_command() -> String {
    let mut words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    if !words.iter().any(|word| word == "--resume") {
        words.push("--resume".into());
    }
    // Only a word with a zero byte can't be quoted, and the system passes none.
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
}
