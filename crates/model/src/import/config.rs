//! Configuration beside the weights, in a folder that Hugging Face's hub or its libraries wrote.
//!
//! `config.json` of timm has the architecture and, in `pretrained_cfg`, the preprocessing; that of transformers has the
//! kind of model and the labels, and `preprocessor_config.json` beside it the preprocessing.

use crate::error::ModelError;
use crate::file;
use fieldfit_tensor::{Filter, Preprocessing};
use serde_json::Value;
use std::path::{Path, PathBuf};

const CONFIG: &str = "config.json";
const PREPROCESSOR: &str = "preprocessor_config.json";

/// Labels that a configuration has: one per class, in the order of the logits.
#[derive(Debug, Default, PartialEq)]
pub(super) struct ConfigLabels {
    pub labels: Vec<String>,
    /// The configuration.
    pub path: Option<PathBuf>,
}

/// Configuration of a model: architecture, labels and preprocessing, as far as they are known.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Config {
    /// `deit_small_patch16_224`, or the kind of model alone, `deit`.
    pub architecture: Option<String>,
    pub labels: ConfigLabels,
    /// The file with the preprocessing.
    pub path: Option<PathBuf>,
    size: Option<u32>,
    crop: Option<f32>,
    /// Mean per channel, in units of 0..1.
    mean: Option<[f32; 3]>,
    std: Option<[f32; 3]>,
    filter: Option<Filter>,
    /// The whole preprocessing, where none of it is rounded or left open.
    exact: Option<Preprocessing>,
}

impl Config {
    /// The configuration in that folder, if there is any.
    ///
    /// # Errors
    /// If a file of it cannot be read or is no JSON.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        let (config, preprocessor) = (folder.join(CONFIG), folder.join(PREPROCESSOR));
        let json = read_json(&config)?;
        let mut found = Self {
            architecture: text(&json["architecture"]).or_else(|| text(&json["model_type"])),
            labels: ConfigLabels { labels: labels(&json), path: Some(config.clone()) },
            ..Self::default()
        };
        let timm = if json["pretrained_cfg"].is_object() { &json["pretrained_cfg"] } else { &json };
        if timm["mean"].is_array() {
            found.take_timm(timm);
            found.path = Some(config);
            return Ok(found);
        }
        let json = read_json(&preprocessor)?;
        if json["image_mean"].is_array() {
            found.take_transformers(&json);
            found.path = Some(preprocessor);
        }
        Ok(found)
    }

    /// A configuration that says everything.
    pub fn exact(architecture: String, labels: ConfigLabels, path: &Path, preprocessing: Preprocessing) -> Self {
        Self {
            architecture: Some(architecture),
            labels,
            path: Some(path.to_owned()),
            exact: Some(preprocessing),
            ..Self::default()
        }
    }

    fn take_timm(&mut self, json: &Value) {
        self.size = side(&json["input_size"][1]);
        self.crop = number(&json["crop_pct"]);
        self.mean = triple(&json["mean"]);
        self.std = triple(&json["std"]);
        self.filter = match json["interpolation"].as_str() {
            Some("bilinear") => Some(Filter::Bilinear),
            Some("bicubic") => Some(Filter::Bicubic),
            Some("lanczos") => Some(Filter::Lanczos3),
            _ => None,
        };
    }

    /// `size` is the shorter side before the crop where there is one, and the crop itself where there is none.
    fn take_transformers(&mut self, json: &Value) {
        let sides =
            |value: &Value| side(value).or_else(|| side(&value["height"])).or_else(|| side(&value["shortest_edge"]));
        let resized = sides(&json["size"]);
        let cropped = sides(&json["crop_size"]).filter(|_| json["do_center_crop"] != false);
        self.size = cropped.or(resized);
        self.crop = match (number(&json["crop_pct"]), cropped, resized) {
            (Some(crop), ..) => Some(crop),
            (None, Some(cropped), Some(resized)) => Some((cropped as f32 / resized as f32).min(1.0)),
            (None, ..) => Some(1.0),
        };
        self.mean = triple(&json["image_mean"]);
        self.std = triple(&json["image_std"]);
        // PIL's numbers.
        self.filter = match json["resample"].as_u64() {
            Some(1) => Some(Filter::Lanczos3),
            Some(2) => Some(Filter::Bilinear),
            Some(3) => Some(Filter::Bicubic),
            _ => None,
        };
    }

    /// The preprocessing, as far as it is said; the rest from `otherwise`.
    pub fn preprocessing(&self, otherwise: Preprocessing) -> Preprocessing {
        if let Some(exact) = self.exact {
            return exact;
        }
        let scaled = |values: [f32; 3]| values.map(|value| value * 255.0);
        Preprocessing {
            size: self.size.unwrap_or(otherwise.size),
            fit: otherwise.fit,
            crop: self.crop.unwrap_or(otherwise.crop),
            mean: self.mean.map_or(otherwise.mean, scaled),
            std: self.std.map_or(otherwise.std, scaled),
            filter: self.filter.unwrap_or(otherwise.filter),
        }
    }
}

/// The file's contents; `null` if it does not exist.
///
/// # Errors
/// If it cannot be read or is no JSON.
pub(super) fn read_json(path: &Path) -> Result<Value, ModelError> {
    match file::read(path, file::LONGEST_TEXT) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map_err(|source| ModelError::Config { path: path.to_owned(), source })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Value::Null),
        Err(source) => Err(ModelError::read(path, source)),
    }
}

/// transformers' `id2label`, or timm's `label_names`.
fn labels(json: &Value) -> Vec<String> {
    let names = match (&json["id2label"], &json["pretrained_cfg"]["label_names"], &json["label_names"]) {
        (Value::Object(names), ..) => (0..names.len()).map(|class| text(&names[&class.to_string()])).collect(),
        (_, Value::Array(names), _) | (.., Value::Array(names)) => names.iter().map(text).collect(),
        _ => Some(Vec::new()),
    };
    names.unwrap_or_default()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn side(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|side| u32::try_from(side).ok())
}

fn number(value: &Value) -> Option<f32> {
    value.as_f64().map(|number| number as f32)
}

fn triple(value: &Value) -> Option<[f32; 3]> {
    let values: Vec<f32> = value.as_array()?.iter().map(number).collect::<Option<_>>()?;
    values.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fieldfit_tensor::Fit;
    use serde_json::json;

    const OTHERWISE: Preprocessing =
        Preprocessing { size: 1, fit: Fit::Crop, crop: 0.5, mean: [1.0; 3], std: [2.0; 3], filter: Filter::Lanczos3 };

    /// A folder with these files.
    fn config(config: &Value, preprocessor: &Value) -> Config {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(CONFIG), config.to_string()).unwrap();
        std::fs::write(folder.path().join(PREPROCESSOR), preprocessor.to_string()).unwrap();
        Config::read(folder.path()).unwrap()
    }

    /// Catches: means that stay in units of 0..1, a crop of the wrong side, a field that is read from elsewhere.
    #[test]
    fn timm_says_it_in_one_file() {
        let found = config(
            &json!({"architecture": "deit_small_patch16_224", "pretrained_cfg": {
                "input_size": [3, 240, 240], "crop_pct": 0.9, "mean": [0.5, 0.4, 0.2], "std": [0.1, 0.2, 1.0],
                "interpolation": "bicubic"}}),
            &Value::Null,
        );
        assert_eq!(found.architecture.as_deref(), Some("deit_small_patch16_224"));
        let expected = Preprocessing {
            size: 240,
            fit: Fit::Crop,
            crop: 0.9,
            mean: [127.5, 0.4 * 255.0, 51.0],
            std: [25.5, 51.0, 255.0],
            filter: Filter::Bicubic,
        };
        assert_eq!(found.preprocessing(OTHERWISE), expected);
    }

    /// Catches: the shorter side taken for the crop, labels in the order of the file's keys: "10" before "2".
    #[test]
    fn transformers_says_it_in_two() {
        let labels: serde_json::Map<_, _> =
            (0..11).map(|class| (class.to_string(), json!(format!("c{class}")))).collect();
        let found = config(
            &json!({"model_type": "dinov2", "id2label": labels}),
            &json!({"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}, "do_center_crop": true,
                "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "resample": 2}),
        );
        assert_eq!(found.labels.labels, (0..11).map(|class| format!("c{class}")).collect::<Vec<_>>());
        let (mean, std, filter) = ([127.5; 3], [127.5; 3], Filter::Bilinear);
        let expected = Preprocessing { size: 224, fit: Fit::Crop, crop: 0.875, mean, std, filter };
        assert_eq!(found.preprocessing(OTHERWISE), expected);
    }

    /// Catches: labels of timm's that are left out.
    #[test]
    fn timms_labels_are_read() {
        let found = config(&json!({"label_names": ["crane", "owl"]}), &Value::Null);
        assert_eq!(found.labels.labels, ["crane", "owl"]);
        assert_eq!(found.preprocessing(OTHERWISE), OTHERWISE);
    }
}
