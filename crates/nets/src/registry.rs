//! The architectures that there are, by name.

use crate::{efficientnet_lite, network::Network, vit};
use thiserror::Error;

/// Every architecture's name, in the order in which help texts list them.
pub const ARCHITECTURES: &[&str] = &[
    "efficientnet-lite0",
    "efficientnet-tiny",
    "deit-tiny",
    "deit-small",
    "vit-small",
    "dinov2-small",
    "dinov2-small-reg4",
    "vit-micro",
];

/// The network of that name, with the head of its published checkpoint.
///
/// # Errors
/// If there is no architecture of that name.
pub fn by_name(name: &str) -> Result<Network, UnknownArchitecture> {
    match name {
        "efficientnet-lite0" => Ok(efficientnet_lite::lite0()),
        "efficientnet-tiny" => Ok(efficientnet_lite::tiny()),
        "deit-tiny" => Ok(vit::deit_tiny()),
        "deit-small" => Ok(vit::deit_small()),
        "vit-small" => Ok(vit::vit_small()),
        "dinov2-small" => Ok(vit::dinov2_small()),
        "dinov2-small-reg4" => Ok(vit::dinov2_small_reg4()),
        "vit-micro" => Ok(vit::micro()),
        _ => Err(UnknownArchitecture { name: name.to_owned() }),
    }
}

/// A name that no architecture has.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no architecture is called `{name}`: use one of {}", ARCHITECTURES.join(", "))]
pub struct UnknownArchitecture {
    /// The name that was asked for.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name on the list that the registry doesn't know, or a network under another's name.
    #[test]
    fn every_listed_name_builds_its_own_network() {
        for name in ARCHITECTURES {
            assert_eq!(by_name(name).unwrap().architecture, *name);
        }
        assert!(by_name("resnet-9000").unwrap_err().to_string().contains("efficientnet-lite0"));
    }
}
