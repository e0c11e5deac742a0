//! TensorBoard event file: scalars by step, in records of TFRecord.
//!
//! A record is its length (u64), the masked CRC-32C of the length, the content, and the masked CRC-32C of the content, low bytes first.
//! The content is a `tensorflow.Event` in protobuf:
//!
//! | message | fields |
//! |---|---|
//! | `Event` | 1 wall time (f64), 2 step (i64), 3 file version (text), 5 summary |
//! | `Summary` | 1 value, repeated |
//! | `Value` | 1 tag (text), 2 simple value (f32) |

use std::io::{self, Write};
use std::time::Duration;

/// Content of the first record.
const VERSION: &str = "brain.Event:2";
/// Polynomial of CRC-32C, reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// Number that masks a checksum, so that one of data which holds checksums is no weaker.
const MASK: u32 = 0xa282_ead8;

/// Writer of an event file. Each record is written at once, so that TensorBoard may read while it grows.
#[derive(Debug)]
pub struct EventFileWriter<W> {
    out: W,
}

impl<W: Write> EventFileWriter<W> {
    /// Begins a file at a time since 1970.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn new(mut out: W, time: Duration) -> io::Result<Self> {
        let mut event = Message::default();
        event.double(1, time.as_secs_f64());
        event.bytes(3, VERSION.as_bytes());
        out.write_all(&record(&event.0))?;
        Ok(Self { out })
    }

    /// Writes the values of a step, by tag, at a time since 1970.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn write(&mut self, time: Duration, step: u64, values: &[(&str, f64)]) -> io::Result<()> {
        let mut summary = Message::default();
        for (tag, value) in values {
            let mut entry = Message::default();
            entry.bytes(1, tag.as_bytes());
            entry.float(2, *value as f32);
            summary.bytes(1, &entry.0);
        }
        let mut event = Message::default();
        event.double(1, time.as_secs_f64());
        event.integer(2, step);
        event.bytes(5, &summary.0);
        self.out.write_all(&record(&event.0))?;
        self.out.flush()
    }
}

/// Message in protobuf.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn integer(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.varint(field << 3 | 1);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
    }

    fn float(&mut self, field: u64, value: f32) {
        self.varint(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// A record of that content.
fn record(content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u64).to_le_bytes();
    let sums = [&length[..], content].map(|bytes| masked_crc32c(bytes).to_le_bytes());
    [&length[..], &sums[0], content, &sums[1]].concat()
}

fn masked_crc32c(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(MASK)
}

/// CRC-32C (RFC 3720, appendix B.4).
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _bit| (sum >> 1) ^ (POLYNOMIAL & (sum & 1).wrapping_neg()))
    };
    !bytes.iter().fold(!0, step)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// Catches: another polynomial, bit order or end than CRC-32C has (the vectors of RFC 3720, B.4).
    #[test]
    fn checksums_are_those_of_the_standard() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
    }

    /// Remainder of a long division by the polynomial, bit by bit: another way to the checksum than the code's.
    fn divided(bytes: &[u8]) -> u32 {
        let bits = bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1));
        let sum = bits.fold(u32::MAX, |sum, bit| {
            let top = (sum >> 31) as u8 ^ bit;
            (sum << 1) ^ if top == 1 { 0x1edc_6f41 } else { 0 }
        });
        !sum.reverse_bits()
    }

    /// Contents of the records, whose lengths and checksums are checked.
    fn records(mut file: &[u8]) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        while !file.is_empty() {
            let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
            let (content, rest) = file[12..].split_at(length);
            for (bytes, sum) in [(&file[..8], &file[8..12]), (content, &rest[..4])] {
                let sum = u32::from_le_bytes(sum.try_into().unwrap()).wrapping_sub(MASK);
                assert_eq!(sum.rotate_left(15), divided(bytes));
            }
            records.push(content.to_vec());
            file = &rest[4..];
        }
        records
    }

    /// Catches: checksums of the wrong bytes or without their mask, fields of another number or type, steps of more than 7 bits.
    #[test]
    fn records_are_those_of_tensorboard() {
        let mut file = Vec::new();
        let mut writer = EventFileWriter::new(&mut file, Duration::from_millis(1500)).unwrap();
        writer.write(Duration::from_secs(2), 300, &[("loss", 0.5), ("a/b", -1.0)]).unwrap();
        let time = |seconds: f64| [&[0x09][..], &seconds.to_le_bytes()].concat();
        let value = |tag: &[u8], value: f32| {
            let entry = [&[0x0a, tag.len() as u8][..], tag, &[0x15], &value.to_le_bytes()].concat();
            [&[0x0a, entry.len() as u8][..], &entry].concat()
        };
        let summary = [value(b"loss", 0.5), value(b"a/b", -1.0)].concat();
        let first = [&time(1.5)[..], &[0x1a, 13], b"brain.Event:2"].concat();
        let second = [&time(2.0)[..], &[0x10, 0xac, 0x02, 0x2a, summary.len() as u8], &summary].concat();
        assert_eq!(records(&file), [first, second]);
    }
}
