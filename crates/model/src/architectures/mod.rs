//! Described architectures: published networks that are known by a [description](NetworkDescription), so that their weights alone
//! are enough.
//!
//! The descriptions are those that an import of the network's `.pt2` file made: `tests/peers/coverage/architectures.py` writes
//! them. A model folder that is made of such weights has the description in it, as one of a network file has.

use crate::description::NetworkDescription;
use crate::import::imagenet;
use fieldfit_nets::Network;
use fieldfit_tensor::{Filter, Preprocessing};
use flate2::read::GzDecoder;
use std::io::Read;
use std::sync::OnceLock;

/// Described architecture: a network under the names that one library gives to its tensors.
#[derive(Debug)]
pub(crate) struct DescribedArchitecture {
    /// Name, that of the same network in another library, too.
    pub name: &'static str,
    /// The library, in messages.
    pub library: &'static str,
    /// The part of the shorter side that the published checkpoint was evaluated on, and the filter.
    recipe: (f32, Filter),
    /// The description, as JSON and compressed by gzip.
    json: &'static [u8],
    /// The same, once it is parsed: an import compares a checkpoint with every architecture.
    description: OnceLock<NetworkDescription>,
}

/// Declares an architecture, whose description is the file of that name.
macro_rules! described {
    ($name:literal, $library:literal, $file:literal, $crop:literal, $filter:ident) => {
        DescribedArchitecture {
            name: $name,
            library: $library,
            recipe: ($crop, Filter::$filter),
            json: include_bytes!(concat!($file, ".json.gz")),
            description: OnceLock::new(),
        }
    };
}

/// Every described architecture.
pub(crate) static DESCRIBED: [DescribedArchitecture; 10] = [
    described!("mobilenetv3-small", "torchvision's", "mobilenetv3-small-torchvision", 0.875, Bilinear),
    described!("mobilenetv3-small", "timm's", "mobilenetv3-small-timm", 0.875, Bicubic),
    described!("mobilenetv3-large", "torchvision's", "mobilenetv3-large-torchvision", 0.875, Bilinear),
    described!("mobilenetv3-large", "timm's", "mobilenetv3-large-timm", 0.875, Bicubic),
    described!("efficientnet-b0", "torchvision's", "efficientnet-b0-torchvision", 0.875, Bicubic),
    described!("efficientnet-b0", "timm's", "efficientnet-b0-timm", 0.875, Bicubic),
    described!("convnext-atto", "timm's", "convnext-atto-timm", 0.875, Bicubic),
    described!("convnext-tiny", "torchvision's", "convnext-tiny-torchvision", 0.949, Bilinear),
    described!("convnext-tiny", "timm's", "convnext-tiny-timm", 0.875, Bicubic),
    described!("regnety-002", "timm's", "regnety-002-timm", 0.875, Bicubic),
];

/// Returns the names of the described architectures, each once.
pub fn described_architectures() -> impl Iterator<Item = &'static str> {
    let repeats = |position: usize| position > 0 && DESCRIBED[position - 1].name == DESCRIBED[position].name;
    DESCRIBED.iter().enumerate().filter(move |(position, _)| !repeats(*position)).map(|(_, described)| described.name)
}

impl DescribedArchitecture {
    /// Returns the description, with the head of the published checkpoint.
    pub fn description(&self) -> &NetworkDescription {
        self.description.get_or_init(|| self.parsed())
    }

    fn parsed(&self) -> NetworkDescription {
        let mut json = Vec::new();
        let read = GzDecoder::new(self.json).read_to_end(&mut json).map_err(|error| error.to_string());
        let description = read.and_then(|_| NetworkDescription::parse(&json).map_err(|error| error.to_string()));
        match description {
            Ok(description) => description,
            // A test parses each of them.
            Err(error) => unreachable!("the description of {} that is built in: {error}", self.name),
        }
    }

    /// Returns the network, its tensors in the shapes that they have in a checkpoint.
    pub fn network_in_file(&self) -> Network {
        let description = self.description();
        let mut network = description.network();
        for (spec, tensor) in network.tensors.iter_mut().zip(&description.tensors) {
            if let Some(source) = &tensor.source {
                spec.shape.clone_from(&source.shape);
            }
        }
        network
    }

    /// Returns the preprocessing under which the published checkpoint was evaluated.
    pub const fn preprocessing(&self) -> Preprocessing {
        let (crop, filter) = self.recipe;
        Preprocessing { crop, filter, ..imagenet(224) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a description that this version does not read, a tensor that no checkpoint has or has otherwise, a
    /// network that accepts one image size alone, a name that is listed twice.
    #[test]
    fn every_description_is_of_a_checkpoint() {
        for described in &DESCRIBED {
            let description = described.description();
            for tensor in &description.tensors {
                let source = tensor.source.as_ref().unwrap_or_else(|| panic!("{}: {}", described.name, tensor.name));
                assert!(!source.turned && source.fits(&tensor.shape), "{}: {}", described.name, tensor.name);
            }
            assert_eq!(description.head.classes, 1000, "{}", described.name);
            assert!([96, 224, 256].iter().all(|side| description.accepts([*side; 2])), "{}", described.name);
        }
        let names: Vec<&str> = described_architectures().collect();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]) && names.len() == 6, "{names:?}");
    }
}
