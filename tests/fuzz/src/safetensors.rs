//! Safetensors writer: puts a header over values, so that mutations are of names, types, shapes and offsets, not of
//! values.

/// The longest body that is made up.
const LONGEST: usize = 1 << 20;

/// The header under its length, then `body`, filled with zeros to the greatest number that stands in the header: the end
/// of the last tensor, in a header that makes sense.
pub fn around(header: &[u8], body: &[u8]) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend(body);
    let length = 8 + header.len() + greatest_number(header).min(LONGEST);
    if file.len() < length {
        file.resize(length, 0);
    }
    file
}

fn greatest_number(text: &[u8]) -> usize {
    let digits = text.split(|byte| !byte.is_ascii_digit());
    let number =
        |digits: &[u8]| digits.iter().fold(0_usize, |n, d| n.saturating_mul(10).saturating_add((d - b'0').into()));
    digits.map(number).max().unwrap_or(0)
}
