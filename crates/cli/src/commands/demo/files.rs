//! Paths of the demo's model and images.

use crate::error::CliError;
use std::path::{Path, PathBuf};

const MODEL: &str = "models/efficientnet-lite0";
const IMAGES: &str = "tests/data/emoji";

/// Paths of the demo's model and images in a clone of the repository.
pub struct Files {
    /// The base model's folder.
    pub model: PathBuf,
    emoji: PathBuf,
}

impl Files {
    /// Searches the current folder, then the executable's folder and those above it, then the source tree that the
    /// executable was built from.
    pub fn find() -> Result<Self, CliError> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let executable = std::env::current_exe().unwrap_or_default();
        let mut roots = vec![PathBuf::new()];
        roots.extend(executable.ancestors().skip(1).map(Path::to_owned));
        roots.push(source.clone());
        let find = |what: &'static str| {
            let mut places = roots.iter().map(|root| root.join(what));
            places
                .find(|place| place.is_dir())
                .ok_or_else(|| CliError::NoDemoFiles { what, source_tree: source.clone() })
        };
        Ok(Self { model: find(MODEL)?, emoji: find(IMAGES)? })
    }

    /// Returns the folder of one drawing style.
    pub fn style(&self, name: &str) -> PathBuf {
        self.emoji.join(name)
    }

    /// Returns the image of the simulated camera, of a concept and a style that are not trained on.
    pub fn frame(&self) -> PathBuf {
        self.emoji.join("twitter/test/vehicle/truck_1f69a.png")
    }
}
