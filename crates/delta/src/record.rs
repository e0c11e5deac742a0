//! Record of a delta: one changed tensor, with its kind, constraint, codec and payload.

use crate::codec::{Codec, CodecError};
use crate::cursor::Cursor;
use crate::error::{DeltaError, TensorName};
use crate::limits::{MAX_NAME_BYTES, MAX_RANK, MAX_REPLACED_VALUES, MAX_TENSOR_VALUES};
use fieldfit_tensor::{Norm, text::find_unprintable};
use serde::{Deserialize, Serialize};

/// Kind of a changed tensor: difference or replacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TensorKind {
    /// δ = θ − θ0: added to the base's tensor of the same name and shape.
    Difference,
    /// θ: replaces the base's tensor, whose shape may differ. Used for a new head.
    Replacement,
    /// No tensor of the network: a statistic of its features on the training images.
    Statistic,
}

/// Constraint of a difference: the ball around its base that contains it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Constraint {
    /// Norm of the distance.
    pub norm: Norm,
    /// γ.
    pub radius: f32,
    /// Norm of the decoded difference; under [`Norm::Mars`], the largest of its rows.
    pub distance: f32,
}

/// Record of one changed tensor; its values are encoded in the file's bytes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Record<'a> {
    /// The tensor's name, as the base has it.
    pub name: &'a str,
    /// Its dimensions, outermost first.
    pub shape: heapless::Vec<u32, MAX_RANK>,
    /// Kind of the values.
    pub kind: TensorKind,
    /// Constraint; `None` if unconstrained.
    pub constraint: Option<Constraint>,
    /// Codec of the values.
    pub codec: Codec,
    /// The encoded values.
    pub payload: &'a [u8],
}

impl Record<'_> {
    /// Returns the number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().map(|&size| size as usize).product()
    }

    /// Whether the tensor has no values, which never holds for a file's records.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of rows for norms and codecs: one per output unit, one per token or position of `[1, tokens,
    /// width]`, and one for a tensor of one dimension.
    pub fn rows(&self) -> usize {
        match *self.shape {
            [1, tokens, _] => tokens as usize,
            [rows, _, ..] => rows as usize,
            _ => 1,
        }
    }

    /// Decodes the values to `out`, row-major.
    ///
    /// # Errors
    /// If the length of `out` differs from the tensor's.
    pub fn decode_into(&self, out: &mut [f32]) -> Result<(), DeltaError> {
        if out.len() != self.len() {
            return Err(self.fault(CodecError::Room { expected: self.len(), found: out.len() }));
        }
        self.codec.decode(self.payload, self.rows(), out).map_err(|source| self.fault(source))
    }

    /// Checks every encoded value.
    pub(crate) fn check_payload(&self) -> Result<(), DeltaError> {
        self.codec.check(self.payload, self.len(), self.rows()).map_err(|source| self.fault(source))
    }

    fn fault(&self, source: CodecError) -> DeltaError {
        DeltaError::Payload { name: self.name.into(), source }
    }
}

impl<'a> Record<'a> {
    /// Reads the record at the cursor and checks it, except its payload's values.
    pub(crate) fn read(cursor: &mut Cursor<'a>, index: usize) -> Result<Self, DeltaError> {
        let length = cursor.u16("a tensor's name")?.into();
        check_name_length(index, length)?;
        let name = cursor.text(length, "a tensor's name")?;
        check_name_text(index, name)?;
        let shape = read_shape(cursor, name)?;
        let kind = TensorKind::read(cursor, name)?;
        let constraint = Constraint::read(cursor, name)?;
        check_constraint(name, kind, constraint)?;
        let number = cursor.u8("a codec")?;
        let codec =
            Codec::from_number(number).ok_or_else(|| DeltaError::UnknownCodec { name: name.into(), found: number })?;
        let length = cursor.u32("a payload's length")?;
        let payload = cursor.take(length as usize, "a payload")?;
        Ok(Self { name, shape, kind, constraint, codec, payload })
    }
}

fn read_shape(cursor: &mut Cursor, name: &str) -> Result<heapless::Vec<u32, MAX_RANK>, DeltaError> {
    let rank = cursor.u8("a tensor's rank")?.into();
    let mut shape = heapless::Vec::new();
    for _ in 0..rank {
        let size = cursor.u32("a tensor's shape")?;
        shape.push(size).map_err(|_| DeltaError::Rank { name: name.into(), found: rank })?;
    }
    check_shape(name, shape.iter().map(|&size| size as usize))?;
    Ok(shape)
}

impl TensorKind {
    fn read(cursor: &mut Cursor, name: &str) -> Result<Self, DeltaError> {
        match cursor.u8("a tensor's kind")? {
            0 => Ok(Self::Difference),
            1 => Ok(Self::Replacement),
            2 => Ok(Self::Statistic),
            found => Err(DeltaError::UnknownKind { name: name.into(), found }),
        }
    }

    #[cfg(feature = "alloc")]
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Difference => 0,
            Self::Replacement => 1,
            Self::Statistic => 2,
        }
    }
}

/// Returns the number of a constraint's norm in the file; 0 stands for no constraint.
#[cfg(feature = "alloc")]
pub(crate) const fn norm_number(norm: Norm) -> u8 {
    match norm {
        Norm::L2 => 1,
        Norm::Mars => 2,
    }
}

impl Constraint {
    fn read(cursor: &mut Cursor, name: &str) -> Result<Option<Self>, DeltaError> {
        let norm = match cursor.u8("a constraint's norm")? {
            0 => return Ok(None),
            1 => Norm::L2,
            2 => Norm::Mars,
            found => return Err(DeltaError::UnknownNorm { name: name.into(), found }),
        };
        let radius = cursor.f32("a constraint's radius")?;
        let distance = cursor.f32("a constraint's distance")?;
        Ok(Some(Self { norm, radius, distance }))
    }
}

pub(crate) fn check_name_length(index: usize, found: usize) -> Result<(), DeltaError> {
    if (1..=MAX_NAME_BYTES).contains(&found) { Ok(()) } else { Err(DeltaError::NameLength { index, found }) }
}

pub(crate) fn check_name_text(index: usize, name: &str) -> Result<(), DeltaError> {
    find_unprintable(name).map_or(Ok(()), |found| Err(DeltaError::NameText { index, found }))
}

/// Checks the shape against the limits; returns the number of values.
pub(crate) fn check_shape(name: &str, shape: impl ExactSizeIterator<Item = usize>) -> Result<usize, DeltaError> {
    let rank = shape.len();
    if !(1..=MAX_RANK).contains(&rank) {
        return Err(DeltaError::Rank { name: name.into(), found: rank });
    }
    let mut values = 1_usize;
    for (axis, size) in shape.enumerate() {
        if size == 0 {
            return Err(DeltaError::EmptyDimension { name: name.into(), axis });
        }
        values = values
            .checked_mul(size)
            .filter(|&values| values <= MAX_TENSOR_VALUES)
            .ok_or_else(|| DeltaError::TensorSize { name: name.into() })?;
    }
    Ok(values)
}

/// Checks that a constraint has finite numbers and belongs to a difference.
pub(crate) fn check_constraint(name: &str, kind: TensorKind, constraint: Option<Constraint>) -> Result<(), DeltaError> {
    let Some(constraint) = constraint else { return Ok(()) };
    let sound = |number: f32| number.is_finite() && number >= 0.0;
    let name = TensorName::from(name);
    if kind != TensorKind::Difference {
        return Err(DeltaError::ConstraintOfReplacement { name });
    }
    if !sound(constraint.radius) {
        return Err(DeltaError::Radius { name, found: constraint.radius });
    }
    if !sound(constraint.distance) {
        return Err(DeltaError::Distance { name, found: constraint.distance });
    }
    Ok(())
}

/// Value budget of a file: sums the values that its records decode to, whatever few bytes they take.
pub(crate) struct ValueBudget {
    /// The most values of differences.
    limit: usize,
    differences: usize,
    replacements: usize,
}

impl ValueBudget {
    pub(crate) const fn new(limit: usize) -> Self {
        Self { limit, differences: 0, replacements: 0 }
    }

    pub(crate) fn add(&mut self, name: &str, kind: TensorKind, values: usize) -> Result<(), DeltaError> {
        match kind {
            TensorKind::Difference => {
                self.differences = self.differences.saturating_add(values);
                if self.differences > self.limit {
                    let (limit, found) = (self.limit, self.differences);
                    return Err(DeltaError::DifferenceSize { name: name.into(), limit, found });
                }
            }
            TensorKind::Replacement | TensorKind::Statistic => {
                self.replacements = self.replacements.saturating_add(values);
                if self.replacements > MAX_REPLACED_VALUES {
                    return Err(DeltaError::ReplacedSize { name: name.into(), found: self.replacements });
                }
            }
        }
        Ok(())
    }
}
