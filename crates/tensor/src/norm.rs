//! Norm: how the distance of a tensor from its base is measured.

use serde::{Deserialize, Serialize};

/// The norm that measures a tensor's distance from its base, ‖θ − θ0‖.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Norm {
    /// `√Σδ²` over the whole tensor: one norm a tensor.
    L2,
    /// Maximum absolute row sum: `Σ|δ|` over each row (Gouk et al., ICLR 2021), one norm an output unit, all under one
    /// radius.
    Mars,
}
