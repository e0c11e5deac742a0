//! What the tests share.

#![allow(clippy::unwrap_used, reason = "a fixture that can't be made ends the test")]

pub mod tiny;
