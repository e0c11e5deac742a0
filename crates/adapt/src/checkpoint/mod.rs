//! Checkpoint: a run's state on disk, from which a resumed run ends in the same bits.

pub(crate) mod check;
pub(crate) mod free_space;
pub(crate) mod identity;
pub(crate) mod progress;
pub(crate) mod resume_point;
pub(crate) mod snapshot;
#[cfg(test)]
mod tests;
mod validation;
