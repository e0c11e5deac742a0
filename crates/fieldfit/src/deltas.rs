//! Delta files by themselves: signed, packed, verified and compared.

use crate::info::hex;
use crate::output_file::write_output;
use crate::runtime::{decoded, parse, read};
use crate::{Error, SecretKey, Signature, Trust};
use fieldfit_delta::{Codec, Delta, Record, TensorKind, compression};
use fieldfit_model::{Base, Weights};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::SystemTime;

/// Signs a delta and writes it to `out`, which may be the same file. Without a `sequence`, the number is the seconds since
/// 1970.
///
/// # Errors
/// If the file can't be read or written, is no delta, or is one of format version 1.
pub fn sign(delta: &Path, key: &SecretKey, sequence: Option<u64>, out: &Path) -> Result<Signature, Error> {
    let file = read(delta)?;
    let sequence = sequence.unwrap_or_else(seconds_since_1970);
    let signed =
        key.sign(&file, sequence).map_err(|source| Error::Delta { path: delta.to_owned(), source: source.into() })?;
    write_output(out, &signed)?;
    Ok(Signature { key: key.public(), sequence })
}

fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// How long a delta is, as a file and on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Packed {
    /// Bytes of the delta.
    pub bytes: u64,
    /// Bytes of the zstd frame around it.
    pub packed: u64,
}

/// Verifies a delta and writes it to `out` in a zstd frame. Everything that reads deltas reads them packed, too.
///
/// # Errors
/// If the file can't be read or written, or is no delta.
pub fn pack(delta: &Path, out: &Path) -> Result<Packed, Error> {
    let file = read(delta)?;
    parse(delta, &file)?;
    let packed = compression::compress(&file);
    write_output(out, &packed)?;
    Ok(Packed { bytes: file.len() as u64, packed: packed.len() as u64 })
}

/// Verifies a packed delta and writes it to `out` as it was before.
///
/// # Errors
/// If the file can't be read or written, or holds no delta.
pub fn unpack(packed: &Path, out: &Path) -> Result<u64, Error> {
    let file = read(packed)?;
    parse(packed, &file)?;
    write_output(out, &file)?;
    Ok(file.len() as u64)
}

/// What is right about a delta.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Its identity, in hexadecimal.
    pub hash: String,
    /// The base that it is made for, in hexadecimal.
    pub base: String,
    /// Its signer's public key, in hexadecimal, if it is signed.
    pub key: Option<String>,
    /// The number that its signer gave it.
    pub sequence: Option<u64>,
    /// What the trust file calls its signer.
    pub signer: Option<String>,
    /// Whether it was applied to a base, and every tensor fitted and lay in its ball.
    pub fits: bool,
}

/// Verifies a delta file: whole, within every limit and rightly signed; if a trust file is given, let in by it; if a model
/// folder is given, made for that base and in its balls.
///
/// # Errors
/// If anything of that isn't so.
pub fn verify(delta: &Path, model: Option<&Path>, trust: Option<&Path>) -> Result<Verified, Error> {
    let file = read(delta)?;
    let parsed = parse(delta, &file)?;
    let signature = parsed.signature();
    let signer = match trust {
        Some(path) => read_trust(path)?.judge(signature)?.map(str::to_owned),
        None => None,
    };
    if let Some(model) = model {
        Weights::adapted(&Base::open(model)?, &parsed)?;
    }
    Ok(Verified {
        hash: hex(parsed.hash()),
        base: hex(parsed.header().base),
        key: signature.map(|signature| signature.key.to_string()),
        sequence: signature.map(|signature| signature.sequence),
        signer,
        fits: model.is_some(),
    })
}

fn read_trust(path: &Path) -> Result<Trust, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    Ok(Trust::parse(path, &text)?)
}

/// Two deltas beside each other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeltaDiff {
    /// Whether both are made for one base.
    pub same_base: bool,
    /// Whether both name the same classes in the same order.
    pub same_labels: bool,
    /// Every tensor that either has, in the first one's order, then those of the second alone.
    pub tensors: Vec<TensorDiff>,
}

/// One tensor of two deltas. Norms are `√Σv²` of the values as decoded; a tensor that a delta leaves out has moved by 0.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TensorDiff {
    /// Its name.
    pub name: String,
    /// How the first stores it, if it does.
    pub left_codec: Option<Codec>,
    /// How the second stores it, if it does.
    pub right_codec: Option<Codec>,
    /// The norm of the first.
    pub left: f64,
    /// The norm of the second.
    pub right: f64,
    /// The norm of first minus second; nothing if their shapes or kinds differ.
    pub difference: Option<f64>,
    /// The cosine of the angle between them; nothing if either is zero, or they can't be compared.
    pub cosine: Option<f64>,
}

/// Compares two delta files tensor by tensor.
///
/// # Errors
/// If either can't be read or is no delta.
pub fn diff(left: &Path, right: &Path) -> Result<DeltaDiff, Error> {
    let files = (read(left)?, read(right)?);
    let (a, b) = (parse(left, &files.0)?, parse(right, &files.1)?);
    let mut tensors = Vec::new();
    for name in names(&a, &b) {
        tensors.push(tensor_diff(name, Side::of(left, &a, name)?, Side::of(right, &b, name)?));
    }
    Ok(DeltaDiff { same_base: a.header().base == b.header().base, same_labels: a.labels().eq(b.labels()), tensors })
}

/// A tensor in one of two deltas; without values if it is left out.
struct Side<'a> {
    record: Option<Record<'a>>,
    values: Vec<f32>,
}

impl<'a> Side<'a> {
    fn of(path: &Path, delta: &Delta<'a>, name: &str) -> Result<Self, Error> {
        let record = delta.records().find(|record| record.name == name);
        let values = record.as_ref().map_or(Ok(Vec::new()), |record| decoded(path, record))?;
        Ok(Self { record, values })
    }
}

fn names<'a>(left: &Delta<'a>, right: &Delta<'a>) -> Vec<&'a str> {
    let mut seen = BTreeSet::new();
    left.records().chain(right.records()).map(|record| record.name).filter(|name| seen.insert(*name)).collect()
}

fn tensor_diff(name: &str, left: Side<'_>, right: Side<'_>) -> TensorDiff {
    let comparable = match (&left.record, &right.record) {
        (Some(left), Some(right)) => left.shape == right.shape && left.kind == right.kind,
        (left, right) => left.iter().chain(right).all(|one| one.kind == TensorKind::Difference),
    };
    let product = |a: &Side<'_>, b: &Side<'_>| -> f64 {
        a.values.iter().zip(&b.values).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let (squares, both) = ((product(&left, &left), product(&right, &right)), product(&left, &right));
    // ‖a − b‖² term by term: near twins would lose it in ‖a‖² + ‖b‖² − 2ab.
    let apart = || match (left.values.is_empty(), right.values.is_empty()) {
        (false, false) => left.values.iter().zip(&right.values).map(|(a, b)| f64::from(a - b).powi(2)).sum(),
        _ => squares.0 + squares.1,
    };
    TensorDiff {
        name: name.to_owned(),
        left: squares.0.sqrt(),
        right: squares.1.sqrt(),
        difference: comparable.then(|| f64::sqrt(apart())),
        cosine: (comparable && squares.0 > 0.0 && squares.1 > 0.0).then(|| both / (squares.0 * squares.1).sqrt()),
        left_codec: left.record.map(|record| record.codec),
        right_codec: right.record.map(|record| record.codec),
    }
}
