//! Architecture registry: builds a network by name.

use crate::{efficientnet_lite, mobilenet_v2, network::Network, resnet, vit};
use thiserror::Error;

/// Names of all architectures, in the order of help texts.
pub const ARCHITECTURES: &[&str] = &[
    "efficientnet-lite0",
    "efficientnet-lite1",
    "efficientnet-lite2",
    "efficientnet-tiny",
    "mobilenetv2",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet-tiny",
    "deit-tiny",
    "deit-small",
    "deit-tiny-distilled",
    "deit-small-distilled",
    "vit-small",
    "dinov2-small",
    "dinov2-small-reg4",
    "vit-micro",
];

/// Names of the architectures that exist for tests only.
pub const TEST_ARCHITECTURES: &[&str] = &["efficientnet-tiny", "resnet-tiny", "vit-micro"];

/// Builds the network of that name, with the head of its published checkpoint.
///
/// # Errors
/// If no architecture has that name.
pub fn by_name(name: &str) -> Result<Network, UnknownArchitecture> {
    match name {
        "efficientnet-lite0" => Ok(efficientnet_lite::lite0()),
        "efficientnet-lite1" => Ok(efficientnet_lite::lite1()),
        "efficientnet-lite2" => Ok(efficientnet_lite::lite2()),
        "efficientnet-tiny" => Ok(efficientnet_lite::tiny()),
        "mobilenetv2" => Ok(mobilenet_v2::mobilenet_v2()),
        "resnet18" => Ok(resnet::resnet18()),
        "resnet34" => Ok(resnet::resnet34()),
        "resnet50" => Ok(resnet::resnet50()),
        "resnet-tiny" => Ok(resnet::tiny()),
        "deit-tiny" => Ok(vit::deit_tiny()),
        "deit-small" => Ok(vit::deit_small()),
        "deit-tiny-distilled" => Ok(vit::deit_tiny_distilled()),
        "deit-small-distilled" => Ok(vit::deit_small_distilled()),
        "vit-small" => Ok(vit::vit_small()),
        "dinov2-small" => Ok(vit::dinov2_small()),
        "dinov2-small-reg4" => Ok(vit::dinov2_small_reg4()),
        "vit-micro" => Ok(vit::micro()),
        _ => Err(UnknownArchitecture { name: name.to_owned() }),
    }
}

/// Unknown architecture name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown architecture `{name}`: use one of {}", ARCHITECTURES.join(", "))]
pub struct UnknownArchitecture {
    /// The requested name.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a name on the list that the registry does not know, or a network under another's name.
    #[test]
    fn every_listed_name_builds_its_own_network() {
        for name in ARCHITECTURES {
            assert_eq!(by_name(name).unwrap().architecture, *name);
        }
        assert!(TEST_ARCHITECTURES.iter().all(|name| ARCHITECTURES.contains(name)));
        assert!(by_name("resnet-9000").unwrap_err().to_string().contains("efficientnet-lite0"));
    }

    /// Catches: a shortcut whose shape is not that of the sum that it is added to, a node outside the sections, a cut that
    /// more than one value crosses.
    #[test]
    fn graphs_fit() {
        for network in ARCHITECTURES.iter().map(|name| by_name(name).unwrap()) {
            network.shapes(224, 224).unwrap();
            let sections = &network.graph.sections;
            let covered = sections.iter().flat_map(|section| section.nodes.clone());
            assert!(covered.eq(0..network.graph.nodes.len()), "{}", network.architecture);
            for cut in 0..=sections.len() {
                assert_eq!(network.before(cut).unwrap().graph.sections.len(), cut, "{}", network.architecture);
                assert_eq!(
                    network.after(cut).unwrap().graph.sections.len(),
                    sections.len() - cut,
                    "{}",
                    network.architecture
                );
            }
        }
    }
}
