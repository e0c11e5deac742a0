//! Options of an adaptation, as the JSON object that C passes.

use crate::failure::Failure;
use fieldfit::Device;
use fieldfit::data::FolderOptions;
use fieldfit::train::Options;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::path::PathBuf;

/// Options of an adaptation: those of training, and those of the run.
#[derive(Debug, Clone)]
pub struct AdaptationOptions {
    /// Options of training.
    pub training: Options,
    /// How folders of images are opened.
    pub folder: FolderOptions,
    /// Folders and collections of earlier days, whose images are learned from, too.
    pub replay: Vec<PathBuf>,
    /// Maximum bytes of each of them; `None` for all of it.
    pub replay_bytes: Option<u64>,
    /// Whether to resume from the checkpoint that an interrupted run left in the store.
    pub resume: bool,
}

impl AdaptationOptions {
    /// Parses the JSON object, without which everything is at its default; the runtime's device computes, on the given `threads`
    /// if it is the CPU.
    pub fn parse(json: Option<&str>, device: Device) -> Result<Self, Failure> {
        let mut members: Map<String, Value> = serde_json::from_str(json.unwrap_or("{}")).map_err(Failure::Options)?;
        let (group, resume, threads) =
            (take(&mut members, "group")?, take(&mut members, "resume")?, take(&mut members, "threads")?);
        let (replay, replay_bytes) = (take(&mut members, "replay")?, take(&mut members, "replay_bytes")?);
        let replay: Vec<PathBuf> = replay.unwrap_or_default();
        let training: Options = serde_json::from_value(Value::Object(members)).map_err(Failure::Options)?;
        let device = match (device, threads) {
            (Device::Cpu { .. }, Some(threads)) => Device::Cpu { threads },
            (device, _) => device,
        };
        let training = training.with_device(device);
        training.validate().map_err(fieldfit::Error::from)?;
        let folder = FolderOptions::new(training.start.purpose(!replay.is_empty())).with_group(group);
        Ok(Self { training, folder, replay, replay_bytes, resume: resume.unwrap_or(false) })
    }
}

/// Takes a member out of the object; `None` if it is missing.
fn take<T: DeserializeOwned>(members: &mut Map<String, Value>, name: &str) -> Result<Option<T>, Failure> {
    members.remove(name).map(|value| serde_json::from_value(value).map_err(Failure::Options)).transpose()
}
