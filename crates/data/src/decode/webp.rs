//! WebP container check: whether the chunks that hold the image are whole, since decoders may read past a cut one's end.

/// First bytes of a WebP file: `RIFF`, a length, `WEBP`.
const HEADER: usize = 12;
/// Bytes of a chunk's name and length.
const CHUNK_HEADER: usize = 8;
/// Chunks that hold the image or, of an animation, its first frame.
const IMAGE_CHUNKS: [&[u8; 4]; 4] = [b"VP8 ", b"VP8L", b"ALPH", b"ANMF"];

/// Whether the content is a WebP file.
pub(super) fn is_webp(bytes: &[u8]) -> bool {
    bytes.starts_with(b"RIFF") && bytes.get(8..HEADER) == Some(b"WEBP")
}

/// Whether the file ends inside a chunk that holds the image (WebP Container Specification, "RIFF File Format"). What
/// follows the first frame of an animation, or is only metadata, may be missing.
pub(super) fn is_truncated(bytes: &[u8]) -> bool {
    let mut position = HEADER;
    while let Some(header) = bytes.get(position..position + CHUNK_HEADER) {
        let (name, length) = header.split_at(4);
        let length = length.iter().rev().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
        let is_image = IMAGE_CHUNKS.iter().any(|chunk| chunk.as_slice() == name);
        let end = position.saturating_add(CHUNK_HEADER).saturating_add(length);
        if is_image && end > bytes.len() {
            return true;
        }
        if is_image && name != b"ALPH" {
            return false;
        }
        // Chunks begin at even positions.
        position = end.saturating_add(length & 1).min(bytes.len());
    }
    false
}
