//! The command as a person or a script runs it: what it prints where, how it exits, and what it leaves behind.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod boards;
mod compare;
mod deltas;
mod documents;
mod interrupt;
mod json;
mod kills;
#[cfg(target_os = "linux")]
mod memory;
mod refusals;
mod scene;
mod text;
