//! Reader of checkpoints of torch before 1.6: five pickles in a row, then the storages.
//!
//! ```text
//! pickle  magic number 0x1950a86a20f9469cfc6c
//! pickle  protocol version 1001
//! pickle  system: byte order and sizes of C types
//! pickle  the object; its storages are named, not included
//! pickle  list of the storages' keys
//! then, in the order of the keys: i64 number of values, the values, little-endian
//! ```

use super::CheckpointError;
use super::pickle::{self, Object, Pickled, StorageReference, Value};
use super::state::{Averages, state_dict};
use super::storage::{StateDict, Storage};
use std::borrow::Cow;
use std::collections::HashMap;

const MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;
const PROTOCOL: i128 = 1001;
/// First bytes of the file: the pickle of the magic number, protocol 2.
pub(crate) const START: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// Every tensor of the checkpoint.
pub(crate) fn read(bytes: &[u8], averages: Averages) -> Result<StateDict<'_>, CheckpointError> {
    let mut rest = bytes;
    let mut next = || {
        let pickled = pickle::read(rest).map_err(|error| error.after(bytes.len() - rest.len()))?;
        rest = &rest[pickled.length..];
        Ok::<_, CheckpointError>(pickled)
    };
    if next()?.root != Value::Int(MAGIC) || next()?.root != Value::Int(PROTOCOL) {
        return Err(CheckpointError::Format);
    }
    if !is_little_endian(&next()?) {
        return Err(CheckpointError::BigEndian);
    }
    let state = next()?;
    let keys = next()?;
    let storages = storages(&state.storages, &keys, rest)?;
    state_dict(&state, storages, averages)
}

fn is_little_endian(system: &Pickled<'_>) -> bool {
    match system.root {
        Value::Object(index) => match &system.objects[index] {
            Object::Dict(items) => items.contains(&(Value::Text("little_endian"), Value::Bool(true))),
            _ => false,
        },
        _ => false,
    }
}

/// The storages in the order in which the object refers to them.
fn storages<'a>(
    references: &[StorageReference<'a>],
    keys: &Pickled<'a>,
    mut rest: &'a [u8],
) -> Result<Vec<Storage<'a>>, CheckpointError> {
    let by_key: HashMap<&str, &StorageReference<'_>> = references.iter().map(|r| (r.key, r)).collect();
    let Value::Object(index) = keys.root else { return Err(CheckpointError::Format) };
    let Object::List(keys) = &keys.objects[index] else { return Err(CheckpointError::Format) };
    let mut found = HashMap::new();
    for key in keys {
        let Value::Text(key) = *key else { return Err(CheckpointError::Format) };
        let reference = by_key.get(key).ok_or_else(|| CheckpointError::StorageUnknown { key: key.to_owned() })?;
        let cut_short = || CheckpointError::StorageCutShort { key: key.to_owned() };
        let (count, after) = rest.split_first_chunk::<8>().ok_or_else(cut_short)?;
        if usize::try_from(i64::from_le_bytes(*count)) != Ok(reference.count) {
            return Err(CheckpointError::StorageLength { key: key.to_owned() });
        }
        let length = reference.count.checked_mul(reference.element.size()).ok_or_else(cut_short)?;
        let (values, after) = after.split_at_checked(length).ok_or_else(cut_short)?;
        found.insert(key, values);
        rest = after;
    }
    let storage = |reference: &StorageReference<'a>| match found.get(reference.key) {
        Some(values) => Ok(Storage { element: reference.element, bytes: Cow::Borrowed(*values) }),
        None => Err(CheckpointError::StorageMissing { key: reference.key.to_owned() }),
    };
    references.iter().map(storage).collect()
}
