//! CDR: the encoding of ROS 2 messages (OMG DDSI-RTPS, section 10; XCDR version 1).

use crate::byte_reader::ByteReader;

/// Bytes of the header that names the encoding. Values are aligned from its end on.
const HEADER_BYTES: usize = 4;
/// Number of the encoding with high bytes first.
const BIG_ENDIAN: u16 = 0;
/// Number of the encoding with low bytes first.
const LITTLE_ENDIAN: u16 = 1;

/// Reader of a CDR message, field by field.
#[derive(Debug)]
pub(crate) struct CdrReader<'a> {
    rest: ByteReader<'a>,
    /// Bytes after the header.
    length: usize,
    is_big_endian: bool,
}

impl<'a> CdrReader<'a> {
    pub fn new(message: &'a [u8]) -> Result<Self, String> {
        let mut rest = ByteReader::new(message);
        let header: [u8; HEADER_BYTES] = rest.array("encapsulation header")?;
        let is_big_endian = match u16::from_be_bytes([header[0], header[1]]) {
            BIG_ENDIAN => true,
            LITTLE_ENDIAN => false,
            other => return Err(format!("its CDR encoding is {other:#06x}: expected 0x0000 or 0x0001")),
        };
        Ok(Self { rest, length: message.len() - HEADER_BYTES, is_big_endian })
    }

    pub fn u8(&mut self, field: &str) -> Result<u8, String> {
        self.rest.u8(field)
    }

    pub fn u32(&mut self, field: &str) -> Result<u32, String> {
        let read = self.length - self.rest.rest().len();
        self.rest.bytes(read.next_multiple_of(4) - read, field)?;
        let bytes = self.rest.array(field)?;
        Ok(if self.is_big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// A sequence of bytes.
    pub fn bytes(&mut self, field: &str) -> Result<&'a [u8], String> {
        let length = self.u32(field)? as usize;
        self.rest.bytes(length, field)
    }

    /// A string, whose length counts the zero at its end. Some writers leave out the zero of an empty one.
    pub fn text(&mut self, field: &str) -> Result<&'a str, String> {
        let bytes = self.bytes(field)?;
        let text = bytes.strip_suffix(&[0]).unwrap_or(bytes);
        std::str::from_utf8(text).map_err(|_| format!("its {field} is no UTF-8"))
    }

    /// Skips a `std_msgs/msg/Header`.
    pub fn skip_header(&mut self) -> Result<(), String> {
        let (_seconds, _nanoseconds) = (self.u32("stamp")?, self.u32("stamp")?);
        self.bytes("frame_id").map(drop)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// Catches: numbers aligned from the message's start instead of the header's end, the wrong byte order, a zero that stays in
    /// a text, lengths beyond the message.
    #[test]
    fn fields_are_aligned_and_in_the_stated_byte_order() {
        for big in [false, true] {
            let number = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
            let mut message = vec![0, u8::from(!big), 0, 0, 7, 0, 0, 0];
            message.extend(number(3));
            message.extend(b"ab\0");
            message.push(99);
            message.extend(number(0x0102_0304));
            let mut reader = CdrReader::new(&message).unwrap();
            assert_eq!(reader.u8("first"), Ok(7));
            assert_eq!(reader.text("second"), Ok("ab"));
            assert_eq!(reader.u32("third"), Ok(0x0102_0304));
            assert!(reader.u8("end").unwrap_err().contains("ends within its end"));
            let mut reader = CdrReader::new(&message[..10]).unwrap();
            reader.u8("first").unwrap();
            assert!(reader.u32("second").is_err());
        }
        assert!(CdrReader::new(&[0, 2, 0, 0]).unwrap_err().contains("0x0002"));
        assert!(CdrReader::new(&[0, 1]).is_err());
    }
}
