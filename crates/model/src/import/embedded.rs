//! Embedded configuration: labels and preprocessing in the metadata of an exported safetensors file, so that importing it
//! again gives the same model.

use super::config::{Config, ConfigLabels};
use crate::error::ModelError;
use fieldfit_tensor::{Filter, Fit, Preprocessing};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Configuration that an export writes into the metadata of a safetensors file, as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmbeddedConfig {
    /// Name of the architecture.
    pub architecture: String,
    /// Class names, in the order of the head's outputs.
    pub labels: Vec<String>,
    size: u32,
    /// Columns of the input, if it is the whole frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    width: Option<u32>,
    crop: f32,
    /// Mean per channel in units of 0..255, as [`Preprocessing`] has it: units of 0..1 would round.
    mean: [f32; 3],
    std: [f32; 3],
    filter: Filter,
}

impl EmbeddedConfig {
    /// Key of the configuration in the file's metadata.
    pub const KEY: &str = "fieldfit";

    /// Creates the configuration of a model.
    pub fn new(architecture: &str, labels: &[String], preprocessing: Preprocessing) -> Self {
        let Preprocessing { size, fit, crop, mean, std, filter } = preprocessing;
        let width = fit.width();
        Self { architecture: architecture.to_owned(), labels: labels.to_vec(), size, width, crop, mean, std, filter }
    }

    const fn preprocessing(&self) -> Preprocessing {
        let Self { size, width, crop, mean, std, filter, .. } = *self;
        Preprocessing { size, fit: Fit::of_width(width), crop, mean, std, filter }
    }
}

/// Returns the configuration in the metadata of a safetensors file; an empty one for any other file.
///
/// # Errors
/// [`ModelError::Config`] if the file has one that is malformed.
pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<Config, ModelError> {
    let metadata = SafeTensors::read_metadata(bytes).ok().and_then(|(_, metadata)| metadata.metadata().clone());
    let Some(json) = metadata.and_then(|mut metadata| metadata.remove(EmbeddedConfig::KEY)) else {
        return Ok(Config::default());
    };
    let embedded: EmbeddedConfig =
        serde_json::from_str(&json).map_err(|source| ModelError::Config { path: path.to_owned(), source })?;
    let preprocessing = embedded.preprocessing();
    let labels = ConfigLabels { labels: embedded.labels, path: Some(path.to_owned()) };
    Ok(Config::exact(embedded.architecture, labels, path, preprocessing))
}
