//! Start point: the weights that training starts at.

use fieldfit_data::Purpose;
use serde::{Deserialize, Serialize};

/// Weights that training starts at. Radii, penalties and retention refer to the base, θ0, in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StartPoint {
    /// The base: δ starts at 0.
    #[default]
    Base,
    /// The active version: δ starts at its own, and the head at its rows. The classes are its own and those of the images.
    Active,
}

impl StartPoint {
    /// Every choice.
    pub const ALL: [Self; 2] = [Self::Base, Self::Active];

    /// Returns the name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Active => "active",
        }
    }

    /// Returns the purpose that images are opened for: one class will do where others come from the active version, or from
    /// replayed images.
    pub const fn purpose(self, is_replaying: bool) -> Purpose {
        match self {
            Self::Base if !is_replaying => Purpose::Adapt,
            Self::Base | Self::Active => Purpose::Continue,
        }
    }
}
