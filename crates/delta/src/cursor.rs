//! Cursor: reads consecutive fields from borrowed bytes.

use crate::DeltaError;

/// Read position in a section of a file; a copy keeps the position.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Cursor<'a> {
    /// Creates a cursor at the start of a section, which begins `offset` bytes into the file.
    pub(crate) fn new(section: &'a [u8], offset: usize) -> Self {
        Self { rest: section, offset }
    }

    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    /// Reads the next `length` bytes.
    pub(crate) fn take(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], DeltaError> {
        let short = self.short(length, what);
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(short)?;
        self.advance(rest, length);
        Ok(taken)
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, DeltaError> {
        self.array(what).map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16, DeltaError> {
        self.array(what).map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, DeltaError> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, DeltaError> {
        self.array(what).map(u64::from_le_bytes)
    }

    pub(crate) fn f32(&mut self, what: &'static str) -> Result<f32, DeltaError> {
        self.array(what).map(f32::from_le_bytes)
    }

    /// Reads the next `length` bytes as UTF-8.
    pub(crate) fn text(&mut self, length: usize, what: &'static str) -> Result<&'a str, DeltaError> {
        let offset = self.offset;
        let bytes = self.take(length, what)?;
        core::str::from_utf8(bytes).map_err(|_| DeltaError::Utf8 { what, offset })
    }

    /// Checks that no bytes are left.
    pub(crate) fn end(&self, section: &'static str) -> Result<(), DeltaError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(DeltaError::Surplus { section, offset: self.offset, surplus: self.rest.len() })
    }

    /// Reads the next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DeltaError> {
        let short = self.short(N, what);
        let (&taken, rest) = self.rest.split_first_chunk().ok_or(short)?;
        self.advance(rest, N);
        Ok(taken)
    }

    fn advance(&mut self, rest: &'a [u8], by: usize) {
        self.rest = rest;
        self.offset += by;
    }

    fn short(&self, expected: usize, what: &'static str) -> DeltaError {
        DeltaError::Section { what, offset: self.offset, expected, found: self.rest.len() }
    }
}
