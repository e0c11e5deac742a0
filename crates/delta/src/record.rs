//! One changed tensor.

use crate::codec::{Codec, CodecError};
use crate::cursor::Cursor;
use crate::error::{DeltaError, Name};
use crate::limits::{MAX_NAME_BYTES, MAX_RANK, MAX_REPLACED_VALUES, MAX_TENSOR_VALUES};
use fieldfit_tensor::{Norm, text::find_unprintable};
use serde::{Deserialize, Serialize};

/// What a record's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TensorKind {
    /// δ = θ − θ0: added to the base's tensor of the same name and shape.
    Difference,
    /// θ: stands in the place of the base's tensor, whose shape it need not have. A new head is one.
    Replacement,
}

/// The ball around its base that a difference lies in.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Constraint {
    /// How distances are measured.
    pub norm: Norm,
    /// γ.
    pub radius: f32,
    /// The norm of the difference as decoded, the greatest of its rows' under [`Norm::Mars`].
    pub distance: f32,
}

/// One changed tensor, its values still encoded in the file's bytes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Record<'a> {
    /// The tensor's name, as the base has it.
    pub name: &'a str,
    /// Its dimensions, outermost first.
    pub shape: heapless::Vec<u32, MAX_RANK>,
    /// What the values are.
    pub kind: TensorKind,
    /// The ball that a constrained difference lies in.
    pub constraint: Option<Constraint>,
    /// How the values are encoded.
    pub codec: Codec,
    /// The encoded values.
    pub payload: &'a [u8],
}

impl Record<'_> {
    /// How many values the tensor has.
    pub fn len(&self) -> usize {
        self.shape.iter().map(|&size| size as usize).product()
    }

    /// Whether the tensor has no values; a file's records all have some.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many rows norms and codecs see: one an output unit, one a token or position of `[1, tokens, width]`, and one in
    /// all for a tensor of one dimension.
    pub fn rows(&self) -> usize {
        match *self.shape {
            [1, tokens, _] => tokens as usize,
            [rows, _, ..] => rows as usize,
            _ => 1,
        }
    }

    /// Writes the values, row-major.
    ///
    /// # Errors
    /// If `out` has another length than the tensor.
    pub fn decode_into(&self, out: &mut [f32]) -> Result<(), DeltaError> {
        if out.len() != self.len() {
            return Err(self.fault(CodecError::Room { expected: self.len(), found: out.len() }));
        }
        self.codec.decode(self.payload, self.rows(), out).map_err(|source| self.fault(source))
    }

    /// Whether every encoded value is sound.
    pub(crate) fn check_payload(&self) -> Result<(), DeltaError> {
        self.codec.check(self.payload, self.len(), self.rows()).map_err(|source| self.fault(source))
    }

    fn fault(&self, source: CodecError) -> DeltaError {
        DeltaError::Payload { name: self.name.into(), source }
    }
}

impl<'a> Record<'a> {
    /// Reads the record at the cursor, all but its payload's values checked.
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
            found => Err(DeltaError::UnknownKind { name: name.into(), found }),
        }
    }

    #[cfg(feature = "alloc")]
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Difference => 0,
            Self::Replacement => 1,
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
        let norm = match cursor.u8("a ball's norm")? {
            0 => return Ok(None),
            1 => Norm::L2,
            2 => Norm::Mars,
            found => return Err(DeltaError::UnknownNorm { name: name.into(), found }),
        };
        let radius = cursor.f32("a ball's radius")?;
        let distance = cursor.f32("a ball's distance")?;
        Ok(Some(Self { norm, radius, distance }))
    }
}

pub(crate) fn check_name_length(index: usize, found: usize) -> Result<(), DeltaError> {
    if (1..=MAX_NAME_BYTES).contains(&found) { Ok(()) } else { Err(DeltaError::NameLength { index, found }) }
}

pub(crate) fn check_name_text(index: usize, name: &str) -> Result<(), DeltaError> {
    find_unprintable(name).map_or(Ok(()), |found| Err(DeltaError::NameText { index, found }))
}

/// The number of values, if the shape is within the limits.
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

/// A ball of finite numbers, around a difference only.
pub(crate) fn check_constraint(name: &str, kind: TensorKind, constraint: Option<Constraint>) -> Result<(), DeltaError> {
    let Some(constraint) = constraint else { return Ok(()) };
    let sound = |number: f32| number.is_finite() && number >= 0.0;
    let name = Name::from(name);
    if kind == TensorKind::Replacement {
        return Err(DeltaError::BallOfReplacement { name });
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
            TensorKind::Replacement => {
                self.replacements = self.replacements.saturating_add(values);
                if self.replacements > MAX_REPLACED_VALUES {
                    return Err(DeltaError::ReplacedSize { name: name.into(), found: self.replacements });
                }
            }
        }
        Ok(())
    }
}
