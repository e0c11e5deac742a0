//! Wire format of protocol buffers: fields of a message, lent from the file.
//!
//! ```text
//! message = { varint(number << 3 | type), value }
//! type 0  varint: 7 bits a byte, the least significant first
//! type 1  8 bytes, little-endian
//! type 2  varint(length), so many bytes: text, bytes, a message, or numbers one after another
//! type 5  4 bytes, little-endian
//! ```

use crate::import::graph::error::{GraphError, WireProblem};
use crate::import::graph::name::{LONGEST_NAME, Name};

/// A message's bytes, and where in the file they begin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    bytes: &'a [u8],
    start: usize,
}

/// A field: its number, and its value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    pub number: u32,
    /// Where in the file it begins.
    offset: usize,
    value: Value<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(Message<'a>),
    Fixed32([u8; 4]),
}

impl<'a> Message<'a> {
    /// The message that is the whole file.
    pub const fn whole(bytes: &'a [u8]) -> Self {
        Self { bytes, start: 0 }
    }

    /// Its fields, in order, up to the first that is invalid.
    pub const fn fields(self) -> Fields<'a> {
        Fields { rest: self.bytes, offset: self.start }
    }
}

/// Iterator over the fields of a message.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, GraphError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field().map_err(|problem| GraphError::Wire { offset: self.offset, problem });
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<Field<'a>, WireProblem> {
        let offset = self.offset;
        let key = self.varint()?;
        let (number, kind) = (u32::try_from(key >> 3).unwrap_or(0), (key & 7) as u8);
        if number == 0 {
            return Err(WireProblem::Type(kind));
        }
        let value = match kind {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(self.fixed()?),
            2 => {
                let length = self.varint()?;
                let start = self.offset;
                Value::Bytes(Message { bytes: self.take(length)?, start })
            }
            5 => Value::Fixed32(self.fixed()?),
            kind => return Err(WireProblem::Type(kind)),
        };
        Ok(Field { number, offset, value })
    }

    fn varint(&mut self) -> Result<u64, WireProblem> {
        let (value, length) = varint(self.rest).ok_or(WireProblem::Number)?;
        self.take(length as u64)?;
        Ok(value)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], WireProblem> {
        let bytes = self.take(N as u64)?;
        bytes.first_chunk().copied().ok_or(WireProblem::Number)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], WireProblem> {
        let parts = usize::try_from(length).ok().and_then(|length| self.rest.split_at_checked(length));
        let (taken, rest) = parts.ok_or(WireProblem::CutShort { expected: length, found: self.rest.len() })?;
        self.rest = rest;
        self.offset += taken.len();
        Ok(taken)
    }
}

/// The number at the start of the bytes, and the bytes that it takes.
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (position, &byte) in bytes.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if position == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * position);
        if byte & 0x80 == 0 {
            return Some((value, position + 1));
        }
    }
    None
}

impl<'a> Field<'a> {
    /// A signed integer, as ONNX writes all of its integers: in two's complement.
    pub fn int(&self) -> Result<i64, GraphError> {
        match self.value {
            Value::Varint(value) => Ok(value.cast_signed()),
            Value::Fixed64(_) | Value::Bytes(_) | Value::Fixed32(_) => Err(self.other_type()),
        }
    }

    pub fn float(&self) -> Result<f32, GraphError> {
        match self.value {
            Value::Fixed32(bytes) => Ok(f32::from_le_bytes(bytes)),
            Value::Varint(_) | Value::Fixed64(_) | Value::Bytes(_) => Err(self.other_type()),
        }
    }

    pub fn message(&self) -> Result<Message<'a>, GraphError> {
        match self.value {
            Value::Bytes(message) => Ok(message),
            Value::Varint(_) | Value::Fixed64(_) | Value::Fixed32(_) => Err(self.other_type()),
        }
    }

    pub fn bytes(&self) -> Result<&'a [u8], GraphError> {
        Ok(self.message()?.bytes)
    }

    pub fn name(&self) -> Result<Name<'a>, GraphError> {
        let bytes = self.bytes()?;
        if bytes.len() > LONGEST_NAME {
            return Err(self.invalid(WireProblem::LongName { found: bytes.len(), limit: LONGEST_NAME }));
        }
        std::str::from_utf8(bytes).map(Name::from).map_err(|_| self.invalid(WireProblem::Text))
    }

    /// Adds its integers: one, or packed.
    pub fn push_ints(&self, ints: &mut Vec<i64>) -> Result<(), GraphError> {
        let Value::Bytes(packed) = self.value else {
            ints.push(self.int()?);
            return Ok(());
        };
        let mut rest = packed.bytes;
        while !rest.is_empty() {
            let (value, length) = varint(rest).ok_or_else(|| self.invalid(WireProblem::Number))?;
            rest = &rest[length..];
            ints.push(value.cast_signed());
        }
        Ok(())
    }

    /// Its little-endian numbers of `size` bytes, 4 or 8: one, or packed.
    pub fn push_fixed(&self, size: usize, numbers: &mut FixedNumbers<'a>) -> Result<(), GraphError> {
        match self.value {
            Value::Bytes(packed) if packed.bytes.len().is_multiple_of(size) => numbers.extend(packed.bytes),
            Value::Fixed32(bytes) if size == 4 => numbers.push(&bytes),
            Value::Fixed64(bytes) if size == 8 => numbers.push(&bytes),
            Value::Varint(_) | Value::Fixed64(_) | Value::Bytes(_) | Value::Fixed32(_) => return Err(self.other_type()),
        }
        Ok(())
    }

    /// The error of what was found in this field.
    pub fn invalid(&self, problem: WireProblem) -> GraphError {
        GraphError::Wire { offset: self.offset, problem }
    }

    fn other_type(&self) -> GraphError {
        self.invalid(WireProblem::Field(self.number))
    }
}

/// Little-endian numbers of a repeated field: lent while they lie in one piece.
#[derive(Debug, Default)]
pub(super) struct FixedNumbers<'a>(pub std::borrow::Cow<'a, [u8]>);

impl<'a> FixedNumbers<'a> {
    fn extend(&mut self, bytes: &'a [u8]) {
        if self.0.is_empty() {
            self.0 = bytes.into();
        } else {
            self.push(bytes);
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.0.to_mut().extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(bytes: &[u8]) -> Result<Vec<Field<'_>>, GraphError> {
        Message::whole(bytes).fields().collect()
    }

    fn problem(bytes: &[u8]) -> WireProblem {
        match fields(bytes) {
            Err(GraphError::Wire { problem, .. }) => problem,
            other => panic!("{other:?}"),
        }
    }

    /// Catches: a number of several bytes, a negative one or one at the limit that is decoded wrongly.
    #[test]
    fn numbers_are_decoded() {
        let int = |bytes: &[u8]| fields(&[&[8], bytes].concat()).unwrap()[0].int().unwrap();
        assert_eq!(int(&[0]), 0);
        assert_eq!(int(&[0xac, 2]), 300);
        assert_eq!(int(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), -1);
        assert_eq!(int(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]), i64::MAX);
        assert_eq!(fields(&[0x15, 0, 0, 0x80, 0x3f]).unwrap()[0].float().unwrap(), 1.0);
    }

    /// Catches: lists that one writer packs and another doesn't.
    #[test]
    fn lists_may_be_packed() {
        let ints = |bytes: &[u8]| {
            let mut ints = Vec::new();
            fields(bytes).unwrap().iter().for_each(|field| field.push_ints(&mut ints).unwrap());
            ints
        };
        assert_eq!(ints(&[8, 1, 8, 2, 8, 3]), [1, 2, 3]);
        assert_eq!(ints(&[10, 3, 1, 2, 3]), [1, 2, 3]);
        let mut floats = FixedNumbers::default();
        let bytes = [10, 4, 1, 2, 3, 4, 13, 5, 6, 7, 8];
        fields(&bytes).unwrap().iter().for_each(|field| field.push_fixed(4, &mut floats).unwrap());
        assert_eq!(*floats.0, [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    /// Catches: a length that reaches outside the message, a number without an end, a wire type that ONNX doesn't have, or a
    /// field of number 0, and a panic at any of them.
    #[test]
    fn invalid_fields_are_rejected() {
        assert_eq!(problem(&[10, 5, 1, 2]), WireProblem::CutShort { expected: 5, found: 2 });
        assert_eq!(problem(&[8]), WireProblem::Number);
        assert_eq!(problem(&[8, 0x80]), WireProblem::Number);
        assert_eq!(problem(&[[8].as_slice(), &[0xff; 9], &[2]].concat()), WireProblem::Number);
        assert_eq!(problem(&[9, 1, 2, 3]), WireProblem::CutShort { expected: 8, found: 3 });
        assert_eq!(problem(&[11]), WireProblem::Type(3));
        assert_eq!(problem(&[0, 0]), WireProblem::Type(0));
        let wrong = fields(&[13, 0, 0, 0, 0]).unwrap()[0].int();
        assert!(matches!(wrong, Err(GraphError::Wire { offset: 0, problem: WireProblem::Field(1) })));
    }
}
