//! Delta export: writes an adapted model, or a delta's tensors alone, as safetensors for other programs.

use super::file::{decoded, parse, parse_to_decode, read, read_for};
use crate::Error;
use crate::info::delta_info;
use crate::output_file::{OutputKind, check_output, write_output};
use fieldfit_delta::{Record, TensorKind};
use fieldfit_durable::read_bounded;
use fieldfit_model::import::EmbeddedConfig;
use fieldfit_model::{Base, SourceLayout, Weights};
use fieldfit_tensor::{Dtype, Preprocessing, Task, TensorId, TensorView as Stored};
use safetensors::tensor::TensorView;
use serde::Serialize;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Share of a tensor's difference above which rounding it to the exported type is reported.
pub const RIVAL: f64 = 0.1;

/// Result of an export.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Exported {
    /// Number of tensors in the file.
    pub tensors: usize,
    /// Size of the file, in bytes.
    pub bytes: u64,
    /// Tensors whose rounding error is comparable to what the adaptation changed.
    pub rivals: Vec<Rival>,
}

/// Rounding error of a tensor that exceeds [`RIVAL`] of its difference from the base.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Rival {
    /// The tensor's name.
    pub name: String,
    /// Rounding error relative to the difference, ‖round(θ) − θ‖ / ‖δ‖.
    pub share: f64,
}

/// Writes the whole adapted model to a safetensors file, under the names that the base's checkpoint has. The file's
/// metadata has architecture, labels and preprocessing: importing it again gives the same answers. Tensors of a network that
/// was imported with its graph have the shapes that they have in its file.
///
/// # Errors
/// If the base or the delta cannot be read or do not belong together, a value is out of the type's range, or the file
/// cannot be written. No partial file is left then.
pub fn export_merged(
    delta: impl AsRef<Path>,
    model: impl AsRef<Path>,
    dtype: Dtype,
    out: impl AsRef<Path>,
) -> Result<Exported, Error> {
    let (delta, model, out) = (delta.as_ref(), model.as_ref(), out.as_ref());
    check_output(out, OutputKind::Tensors)?;
    let base = Base::open(model)?;
    let file = read_for(&base, delta)?;
    let parsed = parse(delta, &file)?;
    let weights = Weights::adapted(&base, &parsed)?;
    let (mut tensors, mut rivals) = (Vec::new(), Vec::new());
    for (id, spec) in weights.network.tensors() {
        let values = &weights.params[id];
        let bytes = dtype.encode(values).map_err(|index| {
            let (name, found) = (spec.name.clone(), values[index]);
            Error::ExportRange { name, index, found, dtype }
        })?;
        let record = parsed.records().find(|record| record.name == spec.name && record.kind == TensorKind::Difference);
        if let Some(record) = record {
            let mut rounded = vec![0.0; values.len()];
            Stored::new(dtype, &bytes).copy_into(&mut rounded);
            rivals.extend(rival(&spec.name, &decoded(delta, &record)?, values, &rounded));
        }
        tensors.push(in_file_layout(
            &base,
            id,
            dtype,
            Plain { name: spec.name.clone(), shape: spec.shape.clone(), bytes },
        ));
    }
    let preprocessing = Preprocessing { size: weights.input_size, crop: weights.crop, ..*base.preprocessing() };
    let config = EmbeddedConfig::new(weights.network.architecture, &weights.labels, preprocessing);
    // A model folder classifies: values and labels are for programs that know them.
    let config = match weights.task() {
        Task::Classification | Task::Segmentation => Some(serde_json::to_string(&config).map_err(not_written(out))?),
        Task::Regression | Task::MultiLabel => None,
    };
    let bytes = write(tensors.as_slice(), dtype, config, out)?;
    Ok(Exported { tensors: tensors.len(), bytes, rivals })
}

/// Returns a tensor in the shape and order of axes of the file that its network was imported from.
fn in_file_layout(base: &Base, id: TensorId, dtype: Dtype, tensor: Plain) -> Plain {
    // A head for other classes has no layout there.
    let Some(layout) = base.source_layout(id).filter(|layout| layout.fits(&tensor.shape)) else { return tensor };
    let Plain { name, shape, bytes } = tensor;
    let bytes = match dtype {
        Dtype::F16 | Dtype::Bf16 => reordered::<2>(layout, &bytes, &shape),
        Dtype::F32 => reordered::<4>(layout, &bytes, &shape),
    };
    Plain { name, shape: layout.shape.clone(), bytes }
}

fn reordered<const N: usize>(layout: &SourceLayout, bytes: &[u8], shape: &[usize]) -> Vec<u8> {
    let values: Vec<[u8; N]> = bytes.as_chunks().0.to_vec();
    layout.to_file(values, shape).unwrap_or_default().into_flattened()
}

/// Writes a delta's tensors, decoded to f32, to a safetensors file, and beside it, with the extension `json`, all that the
/// delta says about itself: which tensors are differences from which base, and which replace its own.
///
/// # Errors
/// If the delta can't be read, or the files can't be written.
pub fn export_differences(delta: impl AsRef<Path>, out: impl AsRef<Path>) -> Result<Exported, Error> {
    let (delta, out) = (delta.as_ref(), out.as_ref());
    let about = description_path(out)?;
    check_output(out, OutputKind::Tensors)?;
    let file = read(delta)?;
    let parsed = parse_to_decode(delta, &file)?;
    let tensors = parsed.records().map(|record| plain(delta, &record)).collect::<Result<Vec<_>, _>>()?;
    let description = serde_json::to_vec_pretty(&delta_info(delta, file.len(), &parsed)).map_err(not_written(out))?;
    write_output(&about, OutputKind::Description, &description)?;
    let bytes = write(tensors.as_slice(), Dtype::F32, None, out)?;
    Ok(Exported { tensors: tensors.len(), bytes, rivals: Vec::new() })
}

/// Returns the path of the description that [`export_differences`] writes: the same with the extension `json`.
pub fn beside(out: impl AsRef<Path>) -> PathBuf {
    out.as_ref().with_extension("json")
}

/// Maximum bytes of a description: many more than that of any network.
const LONGEST_DESCRIPTION: u64 = 64 << 20;

/// Returns [`beside`], unless that is the export itself or holds something else than a delta's description.
fn description_path(out: &Path) -> Result<PathBuf, Error> {
    let path = beside(out);
    check_output(&path, OutputKind::Description)?;
    let refused = |reason: &str| Err(not_written(&path)(reason));
    if path == out {
        return refused("the description of the tensors has this name; choose one that does not end in .json");
    }
    match read_bounded(&path, LONGEST_DESCRIPTION) {
        Ok(bytes) if serde_json::from_slice::<Description>(&bytes).is_err() => {
            refused("it exists, and describes no delta; choose another name")
        }
        // A missing or unreadable file: `check_output` has said what can be said.
        Ok(_) | Err(_) => Ok(path),
    }
}

/// Marker of a delta's description among JSON files.
#[derive(serde::Deserialize)]
struct Description {
    #[serde(rename = "hash")]
    _hash: String,
    #[serde(rename = "base")]
    _base: String,
}

/// Plain tensor: name, shape and bytes as in a safetensors file.
struct Plain {
    name: String,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

fn plain(path: &Path, record: &Record<'_>) -> Result<Plain, Error> {
    let values = decoded(path, record)?;
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let shape = record.shape.iter().map(|&size| size as usize).collect();
    Ok(Plain { name: record.name.to_owned(), shape, bytes })
}

fn rival(name: &str, moved: &[f32], exact: &[f32], rounded: &[f32]) -> Option<Rival> {
    let error = norm(exact.iter().zip(rounded).map(|(exact, rounded)| rounded - exact));
    let share = error / norm(moved.iter().copied());
    (share > RIVAL).then(|| Rival { name: name.to_owned(), share })
}

fn norm(values: impl Iterator<Item = f32>) -> f64 {
    values.map(|value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

/// Writes the tensors, with the configuration of the model if they are one, and returns the file's length.
fn write(tensors: &[Plain], dtype: Dtype, config: Option<String>, out: &Path) -> Result<u64, Error> {
    let views = tensors.iter().map(|tensor| {
        let view = TensorView::new(fieldfit_model::safetensors_dtype(dtype), tensor.shape.clone(), &tensor.bytes)
            .map_err(not_written(out))?;
        Ok((tensor.name.as_str(), view))
    });
    let views = views.collect::<Result<Vec<_>, Error>>()?;
    let mut metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    metadata.extend(config.map(|config| (EmbeddedConfig::KEY.to_owned(), config)));
    let file = safetensors::serialize(views, Some(metadata)).map_err(not_written(out))?;
    write_output(out, OutputKind::Tensors, &file)?;
    Ok(file.len() as u64)
}

fn not_written<E: Into<Box<dyn std::error::Error + Send + Sync>>>(out: &Path) -> impl Fn(E) -> Error {
    let path = out.to_owned();
    move |source| Error::Export { path: path.clone(), source: source.into() }
}
