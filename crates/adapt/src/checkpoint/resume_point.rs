//! Resume point: how far the run had come whose checkpoint is read.

use fieldfit_nets::Network;
use std::ops::RangeInclusive;

/// Point of the run at which the state was saved that [`Method::restore`](crate::Method::restore) is given.
#[derive(Debug, Clone, Copy)]
pub struct ResumePoint<'a> {
    /// The network, under the new head.
    pub network: &'a Network,
    /// Number of optimiser steps done.
    pub step: u64,
    /// Whether the last step was done.
    pub is_trained: bool,
}

impl ResumePoint<'_> {
    /// Range of a count of something that comes after training: 0 before the last step.
    pub(crate) fn after_training(&self, most: u64) -> RangeInclusive<u64> {
        0..=if self.is_trained { most } else { 0 }
    }
}
