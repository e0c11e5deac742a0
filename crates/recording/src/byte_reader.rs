//! Byte reader: little-endian numbers and texts of a record, each within its bounds.

/// Reader of a slice of bytes. An error names the field that the bytes end before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ByteReader<'a> {
    rest: &'a [u8],
}

impl<'a> ByteReader<'a> {
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The bytes that were not read.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn bytes(&mut self, length: usize, field: &str) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(|| {
            format!("it ends within its {field}: expected {length} more bytes, found {}", self.rest.len())
        })?;
        self.rest = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self, field: &str) -> Result<[u8; N], String> {
        let bytes = self.bytes(N, field)?;
        bytes.first_chunk().copied().ok_or_else(|| format!("it ends within its {field}"))
    }

    pub fn u8(&mut self, field: &str) -> Result<u8, String> {
        self.array(field).map(u8::from_le_bytes)
    }

    pub fn u16(&mut self, field: &str) -> Result<u16, String> {
        self.array(field).map(u16::from_le_bytes)
    }

    pub fn u32(&mut self, field: &str) -> Result<u32, String> {
        self.array(field).map(u32::from_le_bytes)
    }

    pub fn u64(&mut self, field: &str) -> Result<u64, String> {
        self.array(field).map(u64::from_le_bytes)
    }

    /// A text after its length in 32 bits.
    pub fn text(&mut self, limit: usize, field: &str) -> Result<&'a str, String> {
        let length = self.u32(field)? as usize;
        if length > limit {
            return Err(format!("its {field} has {length} bytes, and at most {limit} are read"));
        }
        std::str::from_utf8(self.bytes(length, field)?).map_err(|_| format!("its {field} is no UTF-8"))
    }
}
