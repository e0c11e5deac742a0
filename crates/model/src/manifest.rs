//! Manifest of a model folder: name, architecture, input, weights file and origin.

use crate::error::ModelError;
use crate::file;
use crate::import::graph::IMPORTED;
use fieldfit_tensor::text::is_unprintable;
use fieldfit_tensor::{Filter, Fit, Preprocessing};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The manifest's file name in a model folder.
pub const MANIFEST_FILE: &str = "manifest.toml";
/// The labels' file name: one class a line, in the order of the logits.
pub const LABELS_FILE: &str = "labels.txt";
/// The file name of the licence notice.
pub const NOTICE_FILE: &str = "NOTICE";

/// Manifest, `manifest.toml`: a model's name, architecture, input, weights and origin. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name of the model.
    pub name: String,
    /// The architecture's name in [`fieldfit_nets::ARCHITECTURES`]; `imported` of a network that was imported with its graph.
    pub architecture: String,
    /// Image that the network reads.
    pub input: Input,
    /// Scaling of pixels to the network's input.
    pub preprocessing: Scaling,
    /// Weights file, its length and its hash.
    pub weights: WeightsFile,
    /// Network description and its hash; `None` of a built-in architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<DescriptionFile>,
    /// Origin of the weights.
    pub origin: WeightsOrigin,
}

/// Input image of the network: its size and crop.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Rows of the image, in pixels: the side of a square.
    pub size: u32,
    /// Columns of the image, in pixels, if it is the whole frame; `None` of a square in the frame's centre.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// The part of the source image's shorter side that the square covers, 0 < crop ≤ 1.
    pub crop: f32,
}

/// Scaling per channel after resampling: `(value − mean) / std`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scaling {
    /// Subtracted, red, green, blue, in units of 0..255.
    pub mean: [f32; 3],
    /// Divided by, red, green, blue, in units of 0..255.
    pub std: [f32; 3],
    /// Filter by which images are resampled.
    pub filter: Filter,
}

/// The weights file: its name, its length and its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightsFile {
    /// A file name in the model folder.
    pub file: String,
    /// The file's length.
    pub bytes: u64,
    /// SHA-256 of the file, 64 hexadecimal digits.
    #[serde(with = "hex::serde")]
    pub sha256: [u8; 32],
}

/// The network description: its name and its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescriptionFile {
    /// A file name in the model folder.
    pub file: String,
    /// SHA-256 of the file, 64 hexadecimal digits.
    #[serde(with = "hex::serde")]
    pub sha256: [u8; 32],
}

/// Origin of the weights: source, licence, and the checkpoint that was imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightsOrigin {
    /// The package, repository or person that published them, with its version.
    pub source: String,
    /// SPDX expression of their licence.
    pub licence: String,
    /// Name of the checkpoint that was imported.
    pub file: String,
    /// SHA-256 of that checkpoint, 64 hexadecimal digits.
    #[serde(with = "hex::serde")]
    pub sha256: [u8; 32],
}

impl Manifest {
    /// Reads and checks `manifest.toml` of a model folder.
    ///
    /// # Errors
    /// If the file can't be read, isn't a manifest, or says something impossible.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join(MANIFEST_FILE);
        let text = file::read_text(&path).map_err(|source| ModelError::read(&path, source))?;
        if text.chars().any(|character| is_unprintable(character) && !character.is_ascii_whitespace()) {
            return Err(ModelError::ManifestValue { path, field: "text", problem: PRINTABLE });
        }
        let manifest: Self = toml::from_str(&text)
            .map_err(|source| ModelError::Manifest { path: path.clone(), source: source.into() })?;
        match manifest.problem() {
            Some((field, problem)) => Err(ModelError::ManifestValue { path, field, problem }),
            None => Ok(manifest),
        }
    }

    /// Returns input and scaling together.
    pub const fn preprocessing(&self) -> Preprocessing {
        let (Input { size, width, crop }, Scaling { mean, std, filter }) = (self.input, self.preprocessing);
        Preprocessing { size, fit: Fit::of_width(width), crop, mean, std, filter }
    }

    /// Returns the first value that no model can have.
    pub(crate) fn problem(&self) -> Option<(&'static str, &'static str)> {
        let Self { name, architecture, input, preprocessing, weights, network, origin } = self;
        let WeightsOrigin { source, licence, file, .. } = origin;
        let is_bad_divisor = |std: &f32| !std.is_finite() || *std <= 0.0;
        let checks = [
            (!(1..=4096).contains(&input.size), "input.size", "must be 1 to 4096 pixels"),
            (input.width.is_some_and(|width| !(1..=4096).contains(&width)), "input.width", "must be 1 to 4096 pixels"),
            (!(input.crop > 0.0 && input.crop <= 1.0), "input.crop", "must be above 0 and at most 1"),
            (input.width.is_some() && input.crop != 1.0, "input.crop", "must be 1 where a width is given"),
            (!preprocessing.mean.iter().all(|v| v.is_finite()), "preprocessing.mean", "must be three finite numbers"),
            (preprocessing.std.iter().any(is_bad_divisor), "preprocessing.std", "must be three numbers above 0"),
            (is_acting(name), "name", PRINTABLE),
            (is_acting(architecture), "architecture", PRINTABLE),
            (is_acting(source), "origin.source", PRINTABLE),
            (is_acting(licence), "origin.licence", PRINTABLE),
            (is_acting(file), "origin.file", PRINTABLE),
            (!is_file_name(&weights.file), "weights.file", PLAIN),
            (network.as_ref().is_some_and(|network| !is_file_name(&network.file)), "network.file", PLAIN),
            (
                network.is_some() != (architecture == IMPORTED),
                "network",
                "must be there if the architecture is `imported`, and only then",
            ),
        ];
        checks.into_iter().find(|(is_bad, ..)| *is_bad).map(|(_, field, problem)| (field, problem))
    }
}

/// Requirement on every file name of a manifest.
const PLAIN: &str = "must be a plain file name in the model's folder";
/// Requirement on every text of a manifest.
const PRINTABLE: &str = "must have no control characters and none that change the direction of text";

fn is_acting(text: &str) -> bool {
    text.chars().any(is_unprintable)
}

/// Returns whether the name cannot lead out of its folder.
fn is_file_name(name: &str) -> bool {
    Path::new(name).file_name().is_some_and(|file| file == name)
}
