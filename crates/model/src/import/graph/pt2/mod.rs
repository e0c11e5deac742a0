//! Reader of exported programs: what `torch.export.save` of torch 2.8 to 2.15 writes, `.pt2`.
//!
//! ```text
//! NAME/archive_format                          pt2
//! NAME/archive_version                         0
//! NAME/byteorder                               little
//! NAME/models/MODEL.json                       graph and signature
//! NAME/data/weights/MODEL_weights_config.json  parameters and buffers: file, type, shape, strides
//! NAME/data/weights/weight_0 …                 their storages, little-endian, at multiples of 64 bytes
//! NAME/data/constants/…                        the same of constants
//! ```
//!
//! Everything is stored as it is, so that it is lent from the archive. Graphs within the graph are inlined where they only
//! switch gradients or autocast off; others are control flow, which is refused. Pickles are not read.

mod output_tree;
mod payload;
mod program;
mod schema;

use super::error::GraphError;
use super::raw::{RawGraph, RawRange, RawSource};
use crate::import::CheckpointError;
use crate::import::archive::Archive;
use crate::import::error::Program as ProgramKind;
use payload::Payloads;
use program::GraphBuilder;
use schema::{Program, Versions};
use serde::Deserialize;

pub(super) use crate::import::archive::START;

const FORMAT: &str = "archive_format";
const FORMAT_VALUE: &[u8] = b"pt2";
const VERSION: &str = "archive_version";
const VERSION_VALUE: &str = "0";
const BYTE_ORDER: &str = "byteorder";
const MODELS: &str = "models/";
const JSON: &str = ".json";
/// The readable major version of the schema.
const SCHEMA: u32 = 8;

/// Returns whether this seems to be an archive of a program whose weights are lent from it. Those of earlier versions of torch
/// have their state dict as a checkpoint of its own.
pub(super) fn is_likely(bytes: &[u8]) -> bool {
    let Some(archive) = bytes.starts_with(START).then(|| Archive::parse(bytes).ok()).flatten() else { return false };
    let in_folder = |name: &str, rest: fn(&str) -> bool| name.split_once('/').is_some_and(|(_, name)| rest(name));
    let has = |is_it: fn(&str) -> bool| archive.names().any(|name| in_folder(name, is_it));
    has(|name| name == FORMAT)
        && has(|name| name.starts_with(MODELS) && name.ends_with(JSON))
        && !has(|name| name.starts_with("data/weights/") && name.ends_with(".pt"))
}

/// Reads the one program of an archive.
///
/// # Errors
/// If it is no such archive, of another version, damaged, or holds what a graph has no form for.
pub(super) fn read(bytes: &[u8]) -> Result<RawGraph<'_>, GraphError> {
    let entries = Entries::open(bytes)?;
    let program = entries.program()?;
    let entry = format!("{MODELS}{program}{JSON}");
    let json = entries.read(&entry)?;
    let versions = check_schema(parse(&entry, json)?)?;
    let mut payloads = Payloads::read(&entries, program)?;
    let Program { graph_module, opset_version, range_constraints } = parse(&entry, json)?;
    let GraphBuilder { inputs, outputs, tensors, nodes, types, .. } = GraphBuilder::read(graph_module, &mut payloads)?;
    let source = RawSource::Pt2 {
        torch: versions.torch_version,
        schema: [versions.schema_version.major, versions.schema_version.minor],
        opsets: opset_version,
    };
    let range = |range: schema::RangeConstraint| RawRange { min: range.min_val, max: range.max_val };
    let ranges = range_constraints.into_iter().map(|(symbol, constraint)| (symbol, range(constraint))).collect();
    Ok(RawGraph { source, inputs, outputs, tensors, nodes, types, ranges, external: Vec::new() })
}

fn check_schema(versions: Versions<'_>) -> Result<Versions<'_>, GraphError> {
    match versions.schema_version.major {
        SCHEMA => Ok(versions),
        major => Err(GraphError::Schema {
            expected: SCHEMA,
            found: [major, versions.schema_version.minor],
            torch: versions.torch_version.as_str().to_owned(),
        }),
    }
}

/// Parses a file of the archive as JSON.
fn parse<'a, T: Deserialize<'a>>(entry: &str, json: &'a [u8]) -> Result<T, GraphError> {
    serde_json::from_slice(json).map_err(|source| GraphError::Json { entry: entry.to_owned(), source })
}

/// Files of the archive, by their names inside its one folder.
struct Entries<'a> {
    archive: Archive<'a>,
    folder: &'a str,
}

impl<'a> Entries<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, GraphError> {
        let archive = Archive::parse(bytes)?;
        let folder = archive.names().find_map(|name| {
            let folder = name.strip_suffix(FORMAT)?.strip_suffix('/')?;
            (!folder.contains('/')).then_some(folder)
        });
        let Some(folder) = folder else { return Err(other_archive(&archive)) };
        let entries = Self { archive, folder };
        entries.check_format()?;
        Ok(entries)
    }

    fn check_format(&self) -> Result<(), GraphError> {
        if self.read(FORMAT)? != FORMAT_VALUE {
            return Err(GraphError::Format);
        }
        let version = if self.contains(VERSION) { self.read(VERSION)? } else { VERSION_VALUE.as_bytes() };
        if version != VERSION_VALUE.as_bytes() {
            let found = String::from_utf8_lossy(version).into_owned();
            return Err(GraphError::ArchiveVersion { expected: VERSION_VALUE, found });
        }
        match self.contains(BYTE_ORDER) && self.read(BYTE_ORDER)? != b"little" {
            true => Err(CheckpointError::BigEndian.into()),
            false => Ok(()),
        }
    }

    /// The name of the one program.
    fn program(&self) -> Result<&'a str, GraphError> {
        let mut programs = self.archive.names().filter_map(|name| {
            let name = name.strip_prefix(self.folder)?.strip_prefix('/')?;
            let program = name.strip_prefix(MODELS)?.strip_suffix(JSON)?;
            (!program.contains('/')).then_some(program)
        });
        match (programs.next(), programs.count()) {
            (Some(program), 0) => Ok(program),
            (first, more) => Err(GraphError::Programs { found: usize::from(first.is_some()) + more }),
        }
    }

    fn contains(&self, name: &str) -> bool {
        self.archive.contains(&self.path(name))
    }

    fn read(&self, name: &str) -> Result<&'a [u8], GraphError> {
        Ok(self.archive.stored(&self.path(name))?)
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }
}

/// What a zip archive is that is no exported program of a readable version.
fn other_archive(archive: &Archive<'_>) -> GraphError {
    let has = |is_it: fn(&str) -> bool| archive.names().any(is_it);
    if has(|name| name.starts_with("serialized_exported_program")) {
        GraphError::Earlier
    } else if has(|name| name.split('/').nth(1) == Some("code") || name.ends_with("/constants.pkl")) {
        CheckpointError::Program(ProgramKind::TorchScript).into()
    } else if has(|name| name.ends_with("data.pkl")) {
        GraphError::WeightsAlone
    } else {
        GraphError::Format
    }
}
