//! Outline of a JPEG stream: its frame, its scans, and where the entropy-coded data of the last one lies (ITU-T T.81, B.2).

use super::END_MARKER;

/// Marker codes (T.81, table B.1).
const SOF_BASELINE: u8 = 0xc0;
const SOF_EXTENDED: u8 = 0xc1;
const SOF_PROGRESSIVE: u8 = 0xc2;
const RST: std::ops::RangeInclusive<u8> = 0xd0..=0xd7;
const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const TEM: u8 = 0x01;

/// Coefficients of a block.
const COEFFICIENTS: usize = 64;
/// Precision of a coefficient before its first scan.
const UNSEEN: u8 = u8::MAX;

/// Outline of a stream that holds at least one scan.
pub(super) struct Outline {
    /// Whether scans refine the image step by step.
    pub is_progressive: bool,
    /// Whether the end marker follows the last scan.
    pub has_end_marker: bool,
    /// The frame's components.
    components: Vec<Component>,
    /// Number of scans.
    scans: usize,
    /// Ends of the last scan's entropy-coded segments: restart markers, and the end of its data.
    segment_ends: Vec<usize>,
}

/// One component of the frame: brightness or a colour.
struct Component {
    id: u8,
    /// Bits of each coefficient that no scan has brought yet.
    missing_bits: [u8; COEFFICIENTS],
}

impl Outline {
    /// Reads the markers; `None` if no scan follows a frame's header, which the decoder reports.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut outline = Self {
            is_progressive: false,
            has_end_marker: false,
            components: Vec::new(),
            scans: 0,
            segment_ends: Vec::new(),
        };
        let mut position = MAGIC_BYTES;
        while let Some((marker, content)) = next_marker(bytes, position) {
            let end = match marker {
                SOI | TEM => Some(content),
                marker if RST.contains(&marker) => Some(content),
                EOI => {
                    outline.has_end_marker = true;
                    break;
                }
                SOS => outline.scan(bytes, content),
                SOF_BASELINE | SOF_EXTENDED | SOF_PROGRESSIVE => outline.frame(bytes, content, marker),
                _other_segment => segment(bytes, content).map(|segment| content + 2 + segment.len()),
            };
            // A segment that is cut ends the stream.
            let Some(end) = end else { break };
            position = end;
            if outline.is_whole_after_one_scan() {
                outline.has_end_marker = matches!(next_marker(bytes, position), Some((EOI, _)));
                break;
            }
        }
        (outline.scans > 0).then_some(outline)
    }

    /// Whether scans are missing: some bits of some coefficients of a component are in none. An end marker behind them is
    /// what a repair tool, or a camera that was interrupted, has written.
    pub fn lacks_scans(&self) -> bool {
        !self.components.iter().all(|component| component.missing_bits.iter().all(|bits| *bits == 0))
    }

    /// Whether the decoder reads the last scan to its end and no further, whatever bytes follow.
    pub const fn can_be_padded(&self) -> bool {
        self.is_progressive || self.scans == 1
    }

    /// The stream with `padding` behind each entropy-coded segment of its last scan, and an end marker.
    pub fn padded(&self, bytes: &[u8], padding: &[u8]) -> Vec<u8> {
        let end = self.segment_ends.last().copied().unwrap_or(bytes.len());
        let mut padded = Vec::with_capacity(end + self.segment_ends.len() * padding.len() + END_MARKER.len());
        let mut start = 0;
        for &end in &self.segment_ends {
            padded.extend_from_slice(&bytes[start..end]);
            padded.extend_from_slice(padding);
            start = end;
        }
        padded.extend_from_slice(&END_MARKER);
        padded
    }

    fn is_whole_after_one_scan(&self) -> bool {
        !self.is_progressive && self.scans == 1 && !self.lacks_scans()
    }

    /// Reads the frame's header (T.81, B.2.2); returns where it ends.
    fn frame(&mut self, bytes: &[u8], content: usize, marker: u8) -> Option<usize> {
        let header = segment(bytes, content)?;
        self.is_progressive = marker == SOF_PROGRESSIVE;
        let components = header.get(6..)?.chunks_exact(3).take(usize::from(header[5]));
        self.components =
            components.map(|component| Component { id: component[0], missing_bits: [UNSEEN; COEFFICIENTS] }).collect();
        Some(content + 2 + header.len())
    }

    /// Reads a scan's header (T.81, B.2.3) and passes over its data; returns where that ends.
    fn scan(&mut self, bytes: &[u8], content: usize) -> Option<usize> {
        let header = segment(bytes, content)?;
        let (count, rest) = header.split_first()?;
        let (selectors, spectrum) = rest.split_at_checked(2 * usize::from(*count))?;
        let &[first, last, approximation] = spectrum.first_chunk()?;
        let (coefficients, missing_bits) = if self.is_progressive {
            (usize::from(first)..=usize::from(last).min(COEFFICIENTS - 1), approximation & 15)
        } else {
            (0..=COEFFICIENTS - 1, 0)
        };
        for id in selectors.chunks_exact(2).map(|selector| selector[0]) {
            for component in self.components.iter_mut().filter(|component| component.id == id) {
                component.missing_bits.get_mut(coefficients.clone())?.fill(missing_bits);
            }
        }
        self.scans += 1;
        self.segment_ends.clear();
        let mut position = content + 2 + header.len();
        while let Some((marker, behind)) = next_marker(bytes, position) {
            let is_restart = RST.contains(&marker);
            let start = marker_start(bytes, position, behind);
            self.segment_ends.push(start);
            if !is_restart {
                return Some(start);
            }
            position = behind;
        }
        // A single byte of ones at the end is a marker or a stuffed byte that was cut.
        let end = bytes.len() - usize::from(bytes.ends_with(&[0xff]));
        self.segment_ends.push(end);
        Some(end)
    }
}

const MAGIC_BYTES: usize = 2;

/// The next marker's code, and where what follows it begins; passes over stuffed zeros and fill bytes.
fn next_marker(bytes: &[u8], from: usize) -> Option<(u8, usize)> {
    let mut position = from;
    loop {
        position += memchr::memchr(0xff, bytes.get(position..)?)? + 1;
        match *bytes.get(position)? {
            0x00 | 0xff => {}
            marker => return Some((marker, position + 1)),
        }
    }
}

/// Where a marker begins whose content begins at `behind`: with the first of its fill bytes.
fn marker_start(bytes: &[u8], from: usize, behind: usize) -> usize {
    let fill = bytes[from..behind - 1].iter().rev().take_while(|byte| **byte == 0xff).count();
    behind - 1 - fill
}

/// The content of a marker segment without its length.
fn segment(bytes: &[u8], content: usize) -> Option<&[u8]> {
    let length = u16::from_be_bytes(*bytes.get(content..)?.first_chunk()?);
    bytes.get(content + 2..content + usize::from(length))
}
