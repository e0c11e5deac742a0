//! Tests of the fleet: sharing, hostile carriers, recalls, a hundred robots, and the page's commands.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod common;
mod document;
mod hostile;
mod hundred;
mod recalls;
mod sharing;
