//! Status: what a runtime and an adaptation tell processes that watch their store.

mod activity;
mod adaptation_reporter;
mod runtime_reporter;

pub(crate) use activity::Activity;
pub(crate) use adaptation_reporter::AdaptationReporter;
pub(crate) use runtime_reporter::{Reported, RuntimeReporter};
