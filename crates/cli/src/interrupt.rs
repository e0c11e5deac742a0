//! Signals: Ctrl-C asks to save and stop, a second one ends at once; SIGUSR1 pauses the run, SIGUSR2 lets it go on.
//!
//! Why not SIGTSTP and SIGCONT: they are the shell's. A process stopped by them stops wherever it is, with all its
//! threads, and can't tell an operator that its temperature is why.

use crate::error::CliError;
use fieldfit::train::Control;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use std::{process, thread};

/// A control that signals reach: SIGINT, SIGTERM and SIGHUP stop the run, SIGUSR1 and SIGUSR2 pause and resume it.
///
/// # Errors
/// If the system takes no handler.
pub fn control() -> Result<Control, CliError> {
    let control = Control::new();
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2]).map_err(CliError::Signal)?;
    let obeying = control.clone();
    let listen = move || signals.forever().for_each(|signal| obey(&obeying, signal));
    thread::Builder::new().name("fieldfit-signals".into()).spawn(listen).map_err(CliError::Signal)?;
    Ok(control)
}

fn obey(control: &Control, signal: i32) {
    match signal {
        SIGUSR1 => control.pause(),
        SIGUSR2 => control.resume(),
        _ if control.is_stopped() => process::exit(1),
        _ => {
            control.stop();
            eprintln!("saving a checkpoint; once more to end at once");
        }
    }
}

/// This command line, as a shell reads it, with `--resume`.
pub fn resume_command() -> String {
    let mut words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    if !words.iter().any(|word| word == "--resume") {
        words.push("--resume".into());
    }
    // Only a word with a zero byte can't be quoted, and the system passes none.
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
}
