//! C interface of Fieldfit: what `include/fieldfit.h` declares, over the crate `fieldfit`.
//!
//! | module | functions |
//! |---|---|
//! | `runtime` | open, close, version, labels, drift |
//! | `prediction` | infer, also in batches, with the scores of every class |
//! | `embedding` | the features of a frame |
//! | `task` | the running version's task; answers that are no ranking: pixels, values, labels |
//! | `version` | activate, confirm, roll back, poll, add |
//! | `class_addition` | teach a class, remove it |
//! | `adaptation` | start, pause, resume, stop, wait, close |
//! | `notice` | the callback of a runtime's events |
//! | `collector` | open, observe, label, statistics, close |
//! | `status`, `text`, `abi` | errors, strings, the number of the binary interface |
//!
//! Three rules hold for every function. It runs behind `guard::guard`, which turns a failure or a panic into a status. A
//! handle is looked up among the live ones (`registry`), so that a closed one is found out. A structure begins with its size
//! (`sized`), so that a program and a library of different releases understand each other.
//!
//! Names of types and constants are those of C, so that one search finds them in the header, in programs and here.

#![allow(non_camel_case_types, reason = "names are those of the header")]

// The header declares functions in this order.
mod abi;
mod status;
mod text;

mod options;
mod runtime;

mod frame;
mod prediction;

mod embedding;

mod task;

mod version;

mod adapted;
mod class_addition;

mod callback;

mod adaptation;

mod notice;

mod collector;

// What no header declares.
mod adaptation_options;
mod argument;
mod failure;
mod guard;
mod label_table;
mod registry;
mod sized;
#[cfg(test)]
mod tests;
