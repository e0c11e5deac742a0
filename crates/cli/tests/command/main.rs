//! Tests of the command as a person or a script runs it: output, exit status, and what it leaves behind.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod classes;
mod collect;
mod compare;
mod damaged_store;
mod deltas;
mod doctor;
mod documents;
mod inputs;
mod json;
mod kills;
#[cfg(target_os = "linux")]
mod memory;
mod mender;
mod outputs;
mod refusals;
mod scene;
mod segmentation;
#[cfg(feature = "serve")]
mod serve;
mod signals;
mod streams;
mod targets;
mod text;
