//! Delta writer: encodes tensors to a file that [`Delta::parse`](crate::Delta::parse) accepts.

use crate::codec::CodecError;
use crate::layout::{FILE_LENGTH_OFFSET, HEAD_VERSION, MAGIC, SIGNABLE_VERSION, VALUE_VERSION};
use crate::limits::{MAX_DIFFERENCE_VALUES, MAX_FILE_BYTES, MAX_HEADER_BYTES, MAX_TENSORS};
use crate::read::{check_label_length, check_label_text};
use crate::record::{ValueBudget, check_constraint, check_name_length, check_name_text, check_shape, norm_number};
use crate::{Codec, Constraint, DeltaError, HeadDescription, Header, Record, Task, TensorKind};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use sha2::{Digest, Sha256};

/// Tensor to be encoded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TensorData<'a> {
    /// The tensor's name, as the base has it.
    pub name: &'a str,
    /// Its dimensions, outermost first.
    pub shape: &'a [usize],
    /// Kind of the values.
    pub kind: TensorKind,
    /// Constraint of a difference; see [`Codec::decoded`] for its distance.
    pub constraint: Option<Constraint>,
    /// Codec of the values.
    pub codec: Codec,
    /// The values, row-major.
    pub values: &'a [f32],
}

impl TensorData<'_> {
    fn rows(&self) -> usize {
        match *self.shape {
            [1, tokens, _] => tokens,
            [rows, _, ..] => rows,
            _ => 1,
        }
    }
}

/// Encodes a delta file of tensors, which must be in the network's order. Sets `header.tensors`.
///
/// Unchanged tensors may be omitted; their values are the base's.
///
/// # Errors
/// If a value is not finite or beyond its codec's range, a limit is exceeded, two tensors share a name, or the labels
/// are not as many as the header's classes.
pub fn encode(header: &Header, labels: &[&str], tensors: &[TensorData]) -> Result<Vec<u8>, DeltaError> {
    encode_with(header, labels, &[], tensors)
}

/// Encodes a delta file as [`encode`] does, of records of another delta, byte by byte as they are there, and tensors behind
/// them.
///
/// # Errors
/// As [`encode`].
pub fn encode_with(
    header: &Header,
    labels: &[&str],
    records: &[Record<'_>],
    tensors: &[TensorData],
) -> Result<Vec<u8>, DeltaError> {
    let header = complete(header, labels, records.len() + tensors.len())?;
    let mut file = Vec::new();
    let kinds = records.iter().map(|record| record.kind).chain(tensors.iter().map(|tensor| tensor.kind));
    let has_statistics = kinds.into_iter().any(|kind| kind == TensorKind::Statistic);
    write_header(&header, has_statistics, &mut file)?;
    write_labels(labels, &mut file)?;
    write_records(records, tensors, &mut file)?;
    seal(&mut file);
    if file.len() > MAX_FILE_BYTES {
        return Err(DeltaError::FileLength { found: file.len() as u64 });
    }
    Ok(file)
}

fn complete(header: &Header, labels: &[&str], tensors: usize) -> Result<Header, DeltaError> {
    if tensors > MAX_TENSORS {
        return Err(DeltaError::TensorCount { found: tensors });
    }
    let header = Header { tensors: tensors as u32, ..header.clone() };
    header.check()?;
    if labels.len() != header.classes as usize {
        return Err(DeltaError::LabelCount { classes: header.classes, labels: labels.len() });
    }
    Ok(header)
}

/// Writes fixed part and header; [`seal`] sets the file's length.
fn write_header(header: &Header, has_statistics: bool, file: &mut Vec<u8>) -> Result<(), DeltaError> {
    let mut buffer = [0; MAX_HEADER_BYTES];
    let (fields, head) = ((header, header.provenance.fidelity), header.head);
    let is_plain = head == HeadDescription::default() && !has_statistics;
    let version = match header.task {
        Task::Classification if is_plain => SIGNABLE_VERSION,
        Task::Classification | Task::Segmentation => HEAD_VERSION,
        Task::Regression | Task::MultiLabel => VALUE_VERSION,
    };
    let encoded = if version < HEAD_VERSION {
        postcard::to_slice(&fields, &mut buffer)
    } else {
        postcard::to_slice(&(fields, head), &mut buffer)
    };
    let encoded = encoded.map_err(|reason| DeltaError::HeaderEncoding { reason })?;
    file.extend(MAGIC);
    file.extend(version.to_le_bytes());
    file.extend((encoded.len() as u32).to_le_bytes());
    file.extend(0_u64.to_le_bytes());
    file.extend_from_slice(encoded);
    Ok(())
}

fn write_labels(labels: &[&str], file: &mut Vec<u8>) -> Result<(), DeltaError> {
    for (index, label) in labels.iter().enumerate() {
        check_label_length(index, label.len())?;
        check_label_text(index, label)?;
    }
    let length: usize = labels.iter().map(|label| size_of::<u16>() + label.len()).sum();
    file.extend((labels.len() as u32).to_le_bytes());
    file.extend((length as u32).to_le_bytes());
    labels.iter().for_each(|label| write_text(label, file));
    Ok(())
}

fn write_records(records: &[Record<'_>], tensors: &[TensorData], file: &mut Vec<u8>) -> Result<(), DeltaError> {
    let mut names = BTreeSet::new();
    let mut budget = ValueBudget::new(MAX_DIFFERENCE_VALUES);
    for record in records {
        if !names.insert(record.name) {
            return Err(DeltaError::DuplicateName { name: record.name.into() });
        }
        budget.add(record.name, record.kind, record.len())?;
        copy_record(record, file);
    }
    for (index, tensor) in tensors.iter().enumerate() {
        check_name_length(index, tensor.name.len())?;
        check_name_text(index, tensor.name)?;
        if !names.insert(tensor.name) {
            return Err(DeltaError::DuplicateName { name: tensor.name.into() });
        }
        let values = check_shape(tensor.name, tensor.shape.iter().copied())?;
        budget.add(tensor.name, tensor.kind, values)?;
        check_constraint(tensor.name, tensor.kind, tensor.constraint)?;
        if tensor.values.len() != values {
            let (name, found) = (tensor.name.into(), tensor.values.len());
            return Err(DeltaError::ValueCount { name, expected: values, found });
        }
        write_record(tensor, file).map_err(|source| DeltaError::Payload { name: tensor.name.into(), source })?;
    }
    Ok(())
}

/// Writes a record whose lengths have been checked against the limits.
fn write_record(tensor: &TensorData, file: &mut Vec<u8>) -> Result<(), CodecError> {
    write_text(tensor.name, file);
    file.push(tensor.shape.len() as u8);
    tensor.shape.iter().for_each(|&size| file.extend((size as u32).to_le_bytes()));
    file.push(tensor.kind.number());
    write_constraint(tensor.constraint, file);
    file.push(tensor.codec.number());
    let length = file.len();
    file.extend(0_u32.to_le_bytes());
    tensor.codec.encode(tensor.values, tensor.rows(), file)?;
    let payload = file.len() - length - size_of::<u32>();
    file[length..][..size_of::<u32>()].copy_from_slice(&(payload as u32).to_le_bytes());
    Ok(())
}

/// Writes a record that was read from another file, as it is there.
fn copy_record(record: &Record<'_>, file: &mut Vec<u8>) {
    write_text(record.name, file);
    file.push(record.shape.len() as u8);
    record.shape.iter().for_each(|size| file.extend(size.to_le_bytes()));
    file.push(record.kind.number());
    write_constraint(record.constraint, file);
    file.push(record.codec.number());
    file.extend((record.payload.len() as u32).to_le_bytes());
    file.extend_from_slice(record.payload);
}

fn write_constraint(constraint: Option<Constraint>, file: &mut Vec<u8>) {
    let Some(Constraint { norm, radius, distance }) = constraint else { return file.push(0) };
    file.push(norm_number(norm));
    file.extend(radius.to_le_bytes());
    file.extend(distance.to_le_bytes());
}

fn write_text(text: &str, file: &mut Vec<u8>) {
    file.extend((text.len() as u16).to_le_bytes());
    file.extend_from_slice(text.as_bytes());
}

/// Writes the file's length, then the hash of all bytes before it.
fn seal(file: &mut Vec<u8>) {
    let hash_length = <Sha256 as Digest>::output_size();
    let length = (file.len() + hash_length) as u64;
    file[FILE_LENGTH_OFFSET..][..size_of::<u64>()].copy_from_slice(&length.to_le_bytes());
    let hash = Sha256::digest(&*file);
    file.extend_from_slice(&hash);
}
