//! Branches: how many times training continues from one start, and what becomes of their mean.

use super::setters;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Branches of training: continuations from one start, one after the other, each in an order and with augmentations of its
/// own. The result is their mean, which lies in every ball around θ0 that all of them lie in. They cost time, and the memory of
/// their sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Branches {
    /// Number of branches, 1 to [`Branches::MOST`].
    pub count: u32,
    /// Epochs before they part, which are trained once; fewer than [`Options::epochs`](super::Options::epochs).
    pub common: u32,
    /// What is kept of their mean.
    pub average: BranchAverage,
}

impl Branches {
    /// Largest number of branches.
    pub const MOST: u32 = 16;

    /// Creates that many branches, which part at the start and whose plain mean is the result.
    pub const fn new(count: u32) -> Self {
        Self { count, common: 0, average: BranchAverage::Mean }
    }

    setters! {
        with_common sets common: u32;
        with_average sets average: BranchAverage;
    }
}

impl fmt::Display for Branches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, common, average } = self;
        write!(f, "branches={count} common_epochs={common} branch_average={average}")
    }
}

impl Default for Branches {
    fn default() -> Self {
        Self::new(1)
    }
}

/// What is kept of the mean of branches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BranchAverage {
    /// All of it.
    #[default]
    Mean,
    /// Of each stage the share that the branches' cosines give (Model Stock, ECCV 2024, arXiv 2403.19522): the less
    /// they agree, the less.
    Stock,
}

impl BranchAverage {
    /// Every choice.
    pub const ALL: [Self; 2] = [Self::Mean, Self::Stock];

    /// Returns the name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Stock => "stock",
        }
    }
}

impl fmt::Display for BranchAverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
