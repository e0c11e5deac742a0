//! Delta files: bounded reading, decompression, parsing and decoding, with the path in every error.

use crate::Error;
use crate::execution_plan::plan_version;
use fieldfit_delta::compression::decompress;
use fieldfit_delta::limits::{MAX_FILE_BYTES, max_values_without_base};
use fieldfit_delta::{Delta, Record};
use fieldfit_durable::{BoundedReadError, read_bounded};
use fieldfit_exec::Precision;
use fieldfit_model::{Base, Weights, most_delta_bytes};
use std::path::Path;

/// Applies the delta in those bytes, read from that path, to the base.
pub(crate) fn adapted(base: &Base, path: &Path, bytes: &[u8]) -> Result<Weights, Error> {
    Ok(Weights::adapted(base, &parse(path, bytes)?)?)
}

/// Applies a delta to the base, if the network runs at the delta's input size.
pub(crate) fn runnable(base: &Base, delta: &Delta<'_>) -> Result<Weights, Error> {
    plan_version(base, delta.header(), Precision::F32, 0)?;
    Ok(Weights::adapted(base, delta)?)
}

/// Parses the delta in those bytes, read from that path.
pub(crate) fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<Delta<'a>, Error> {
    Delta::parse(bytes).map_err(|source| Error::Delta { path: path.to_owned(), source: source.into() })
}

/// Parses the delta in those bytes whose differences are to be decoded without the base, and so without its number of
/// parameters: within a limit that the file's length gives.
pub(crate) fn parse_to_decode<'a>(path: &Path, bytes: &'a [u8]) -> Result<Delta<'a>, Error> {
    Delta::parse_for(bytes, max_values_without_base(bytes.len()))
        .map_err(|source| Error::Delta { path: path.to_owned(), source: source.into() })
}

/// Decodes a record of the delta at that path.
pub(crate) fn decoded(path: &Path, record: &Record<'_>) -> Result<Vec<f32>, Error> {
    let mut values = vec![0.0; record.len()];
    let decoded = record.decode_into(&mut values);
    decoded.map_err(|source| Error::Delta { path: path.to_owned(), source: source.into() })?;
    Ok(values)
}

/// Reads a delta file of at most the length that a delta for that base may have, decompressed; not yet verified.
pub(crate) fn read_for(base: &Base, path: &Path) -> Result<Vec<u8>, Error> {
    read_up_to(path, most_delta_bytes(base))
}

/// Reads a delta file, decompressed; not yet verified.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    read_up_to(path, MAX_FILE_BYTES)
}

fn read_up_to(path: &Path, limit: usize) -> Result<Vec<u8>, Error> {
    let bytes = read_bounded(path, limit as u64).map_err(|error| match error {
        BoundedReadError::TooLarge { path, bytes: found, .. } => Error::TooLong { path, limit, found },
        error => error.into(),
    })?;
    decompress(bytes, limit).map_err(|source| Error::Transport { path: path.to_owned(), source: source.into() })
}
