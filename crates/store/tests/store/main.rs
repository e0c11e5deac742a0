//! Tests of the store from outside, on the real disk and on a simulated one that loses data and fails.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's own mistakes")]

mod base;
mod common;
mod compatibility;
mod damage;
mod environment;
mod fault_injection;
mod processes;
mod pruning;
mod random;
mod state_limits;
mod transient;
mod trials;
mod trust;
mod verdict;
