//! Precision of inference.

use core::fmt;
use serde::{Deserialize, Serialize};

/// Precision in which a network is inferred. Training is f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// f32 weights and activations.
    #[default]
    F32,
    /// Weights of 8 bits with a scale an output, activations of 8 bits with a scale a value, sums in i32; on the CPU.
    Int8,
}

impl Precision {
    /// Every precision, the default first.
    pub const ALL: [Self; 2] = [Self::F32, Self::Int8];

    /// Returns the name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Int8 => "int8",
        }
    }

    /// Returns the precision of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|precision| precision.name() == name)
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
