//! The store from outside, on the real disk and on a simulated one that forgets and fails.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's own mistakes")]

mod common;
mod damage;
mod earlier;
mod faults;
mod places;
mod processes;
mod pruning;
mod random;
mod trials;
mod trust;
