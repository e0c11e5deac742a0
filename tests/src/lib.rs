//! Test support: fixtures and helpers that the tests of several crates share.

#![allow(clippy::unwrap_used, reason = "a fixture that cannot be made ends the test")]

pub mod allocation;
pub mod deltas;
pub mod described;
pub mod formula;
pub mod golden;
pub mod network_files;
pub mod place;
pub mod scenes;
pub mod shades;
pub mod tiny;

use std::error::Error;
use std::io::Write;

/// An error with its causes, as the command prints it.
pub fn message(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Says that a test did not run where it was meant to, and why: on the standard error itself, past the harness, which hides
/// what passing tests print.
#[allow(clippy::explicit_write, reason = "the harness keeps back what `eprintln!` prints")]
pub fn not_run(test: &str, why: &dyn Error) {
    writeln!(std::io::stderr(), "NOT RUN: {test}: {}", message(why)).unwrap();
}

/// Documentation examples: compiles the programs of `README.md` and of the guide as doctests.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../README.md")]
    struct Readme;

    #[doc = include_str!("../../docs/guide/robot.md")]
    struct Guide;

    #[doc = include_str!("../../docs/robots.md")]
    struct FrameLoops;
}
