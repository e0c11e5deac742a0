//! Protobuf: fields of a message by their number (<https://protobuf.dev/programming-guides/encoding>).

use crate::byte_reader::ByteReader;

/// Returns the content of the last field of that number, which holds bytes; `None` if the message has none.
pub(crate) fn bytes_field(message: &[u8], number: u64) -> Result<Option<&[u8]>, String> {
    let mut rest = ByteReader::new(message);
    let mut found = None;
    while !rest.rest().is_empty() {
        let key = varint(&mut rest)?;
        match key & 7 {
            0 => drop(varint(&mut rest)?),
            1 => drop(rest.u64("field")?),
            2 => {
                let length = usize::try_from(varint(&mut rest)?).unwrap_or(usize::MAX);
                let content = rest.bytes(length, "field")?;
                found = if key >> 3 == number { Some(content) } else { found };
            }
            5 => drop(rest.u32("field")?),
            other => return Err(format!("it has a field of wire type {other}, which is no protobuf")),
        }
    }
    Ok(found)
}

fn varint(rest: &mut ByteReader<'_>) -> Result<u64, String> {
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = rest.u8("number")?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("it has a number of more than 64 bits, which is no protobuf".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: fields of other types that are not skipped, lengths beyond the message, numbers without an end.
    #[test]
    fn fields_are_found_between_others() {
        let message = [
            &[0x08, 0x96, 0x01][..], // field 1: 150
            &[0x11, 2, 2, 2, 2, 2, 2, 2, 2],
            &[0x1a, 2, 2, 9],
            &[0x25, 2, 2, 2, 2],
            &[0x12, 3, b'a', b'b', b'c'],
        ];
        let message = message.concat();
        assert_eq!(bytes_field(&message, 2), Ok(Some(&b"abc"[..])));
        assert_eq!(bytes_field(&message, 7), Ok(None));
        for malformed in
            [&message[..message.len() - 1], &[0x0b], &[0x08], &[0x80; 20], &[0x12, 0xff, 0xff, 0xff, 0xff, 0x7f]]
        {
            assert!(bytes_field(malformed, 2).is_err(), "{malformed:?}");
        }
    }
}
