//! Ctrl-C: the first one asks to save and stop, the second one ends at once.

use crate::error::Error;
use fieldfit::Control;
use std::process;

/// A flag that the first Ctrl-C (or SIGTERM, or SIGHUP) sets.
///
/// # Errors
/// If the system takes no handler.
pub fn control() -> Result<Control, Error> {
    let control = Control::new();
    let flag = control.clone();
    ctrlc::set_handler(move || {
        if flag.is_stopped() {
            process::exit(1);
        }
        flag.stop();
        eprintln!("saving a checkpoint; once more to end at once");
    })?;
    Ok(control)
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
