//! Mask decoder: PNG files with a class for each pixel, as values, palette indices or colours.

use crate::augmentation::{Erased, Geometry};
use crate::decode::{MAX_PIXELS, read};
use crate::error::{DataError, FolderError};
use crate::resampler::Window;
use crate::target::{Masks, nearest_pixel};
use fieldfit_durable::read_text;
use fieldfit_tensor::text::find_unprintable;
use png::{BitDepth, ColorType, Decoder, Limits, Transformations};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// File that names the classes, one a line, in the order of the values.
pub(crate) const CLASSES_FILE: &str = "classes.txt";
/// File that names the classes by their colours, as CamVid has it: `red green blue name` a line.
pub(crate) const COLOURS_FILE: &str = "label_colors.txt";
/// Names of the class of pixels that do not count, in any case.
const IGNORED_NAMES: [&str; 5] = ["void", "ignore", "ignored", "unlabelled", "unlabeled"];
/// The most classes of a mask: [`Masks::IGNORED`] is none.
const MAX_CLASSES: usize = 255;
/// The most bytes of a file of class names.
const LONGEST_TEXT: u64 = 1 << 20;
/// The most bytes that the decoder allocates.
const MAX_DECODER_BYTES: usize = 4 * MAX_PIXELS as usize + (1 << 26);

/// Encoding of masks: which class a pixel's value or colour is. Clones share it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum MaskEncoding {
    /// By value or palette index; [`Masks::IGNORED`] is ignored.
    Values(Arc<[Option<u8>; 256]>),
    /// By colour, red, green and blue.
    Colours(Arc<BTreeMap<[u8; 3], u8>>),
}

/// Class names and encoding of a folder's masks.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MaskClasses {
    pub classes: Vec<String>,
    pub encoding: MaskEncoding,
}

/// Mask of one image, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mask {
    pub width: u32,
    pub height: u32,
    pub values: Vec<u8>,
}

impl MaskClasses {
    /// Reads the class names of a data set from its folder, or from the folder above.
    pub fn read(folder: &Path) -> Result<Self, DataError> {
        let above = folder.canonicalize().ok().and_then(|folder| folder.parent().map(Path::to_owned));
        let folders = [Some(folder.to_owned()), above];
        let path = |name: &str| folders.iter().flatten().map(|folder| folder.join(name)).find(|path| path.exists());
        match (path(CLASSES_FILE), path(COLOURS_FILE)) {
            (Some(path), _) => Self::of_values(&text(&path)?, &path),
            (None, Some(path)) => Self::of_colours(&text(&path)?, &path),
            (None, None) => Err(FolderError::ClassNames { path: folder.into() }.into()),
        }
    }

    fn of_values(text: &str, path: &Path) -> Result<Self, DataError> {
        let mut names = ClassNames::new(path);
        let mut values = [None; 256];
        values[usize::from(Masks::IGNORED)] = Some(Masks::IGNORED);
        for (line, name) in text.lines().map(str::trim).enumerate() {
            let class = names.add(line, name)?;
            *values.get_mut(line).ok_or_else(|| names.problem(line, "is one too many: a value is at most 255"))? =
                Some(class);
        }
        Ok(Self { classes: names.finish()?, encoding: MaskEncoding::Values(values.into()) })
    }

    fn of_colours(text: &str, path: &Path) -> Result<Self, DataError> {
        let mut names = ClassNames::new(path);
        let mut colours = BTreeMap::new();
        for (line, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
            let malformed = || names.problem(line, "is no `red green blue name`, each colour 0 to 255");
            let words: Vec<&str> = text.split_whitespace().collect();
            let [red, green, blue, name @ ..] = &words[..] else { return Err(malformed()) };
            let mut colour = [0; 3];
            for (channel, word) in colour.iter_mut().zip([red, green, blue]) {
                *channel = word.parse().map_err(|_| malformed())?;
            }
            let class = names.add(line, &name.join(" "))?;
            if colours.insert(colour, class).is_some() {
                return Err(names.problem(line, "has a colour that an earlier one has"));
            }
        }
        Ok(Self { classes: names.finish()?, encoding: MaskEncoding::Colours(colours.into()) })
    }
}

/// Class names as they are read, line by line.
struct ClassNames<'a> {
    path: &'a Path,
    names: Vec<String>,
    known: BTreeSet<String>,
}

impl<'a> ClassNames<'a> {
    const fn new(path: &'a Path) -> Self {
        Self { path, names: Vec::new(), known: BTreeSet::new() }
    }

    /// Adds a name; returns its class, or that of ignored pixels.
    fn add(&mut self, line: usize, name: &str) -> Result<u8, DataError> {
        if name.is_empty() || find_unprintable(name).is_some() {
            return Err(self.problem(line, "is blank or not printable"));
        }
        if IGNORED_NAMES.iter().any(|ignored| ignored.eq_ignore_ascii_case(name)) {
            return Ok(Masks::IGNORED);
        }
        if !self.known.insert(name.to_owned()) {
            return Err(self.problem(line, "names a class that an earlier one names"));
        }
        let class = u8::try_from(self.names.len()).ok().filter(|class| usize::from(*class) < MAX_CLASSES);
        let class = class.ok_or_else(|| self.problem(line, "is one too many: masks have at most 255 classes"))?;
        self.names.push(name.to_owned());
        Ok(class)
    }

    fn problem(&self, line: usize, problem: &'static str) -> DataError {
        FolderError::ClassName { path: self.path.to_owned(), line: line + 1, problem }.into()
    }

    fn finish(self) -> Result<Vec<String>, DataError> {
        match self.names.len() {
            0 | 1 => Err(FolderError::FewClassNames { path: self.path.to_owned(), found: self.names.len() }.into()),
            _ => Ok(self.names),
        }
    }
}

fn text(path: &Path) -> Result<String, DataError> {
    let failed = |source| DataError::Read { path: path.into(), source };
    let bytes = read_text(path, LONGEST_TEXT).map_err(|error| failed(std::io::Error::other(error)))?;
    String::from_utf8(bytes).map_err(|error| failed(std::io::Error::other(error)))
}

impl MaskEncoding {
    /// Returns the encoding of the same masks in other classes: `classes[class]` is the new one.
    pub fn with_classes(&self, classes: &[u8]) -> Self {
        let moved = |class: u8| if class == Masks::IGNORED { class } else { classes[usize::from(class)] };
        match self {
            Self::Values(values) => Self::Values(values.map(|class| class.map(moved)).into()),
            Self::Colours(colours) => {
                let moved = colours.iter().map(|(colour, class)| (*colour, moved(*class)));
                Self::Colours(Arc::new(moved.collect()))
            }
        }
    }

    /// The classes of a row of pixels of a grey or palette image.
    fn of_values(&self, palette: &[[u8; 3]], values: &mut [u8]) -> Result<(), DataError> {
        for value in values {
            *value = match self {
                Self::Values(classes) => classes[usize::from(*value)]
                    .ok_or_else(|| DataError::MaskValue { found: value.to_string(), expected: CLASSES_FILE })?,
                Self::Colours(_) => {
                    let colour = palette.get(usize::from(*value)).copied().unwrap_or([*value; 3]);
                    self.of_colour(colour)?
                }
            };
        }
        Ok(())
    }

    /// The class of a pixel of a colour image.
    fn of_colour(&self, colour @ [red, green, blue]: [u8; 3]) -> Result<u8, DataError> {
        let (class, expected) = match self {
            Self::Colours(classes) => (classes.get(&colour).copied(), COLOURS_FILE),
            Self::Values(classes) => {
                let is_grey = red == green && green == blue;
                (is_grey.then_some(classes[usize::from(red)]).flatten(), CLASSES_FILE)
            }
        };
        class.ok_or_else(|| DataError::MaskValue { found: format!("{red} {green} {blue}"), expected })
    }
}

/// Reads and decodes a mask that must be as large as its image; returns it with its file's SHA-256.
pub(crate) fn open(
    path: &Path,
    encoding: &MaskEncoding,
    (width, height): (u32, u32),
) -> Result<(Mask, [u8; 32]), DataError> {
    let bytes = read(path)?;
    let mask = decode(&bytes, encoding).and_then(|mask| match (mask.width, mask.height) == (width, height) {
        true => Ok(mask),
        false => Err(DataError::MaskSize { mask: [mask.width, mask.height], image: [width, height] }),
    });
    Ok((mask.map_err(|error| error.of(path))?, Sha256::digest(&bytes).into()))
}

/// Decodes a PNG of 8 bits a channel or less.
fn decode(bytes: &[u8], encoding: &MaskEncoding) -> Result<Mask, DataError> {
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: MAX_DECODER_BYTES });
    // Values and palette indices as they are in the file: no expansion to colours.
    decoder.set_transformations(Transformations::IDENTITY);
    let malformed = |error: png::DecodingError| DataError::MaskFormat { reason: error.to_string() };
    let mut reader = decoder.read_info().map_err(malformed)?;
    let (width, height) = (reader.info().width, reader.info().height);
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(DataError::TooLarge { width, height, limit: MAX_PIXELS });
    }
    let (colour, depth) = (reader.info().color_type, reader.info().bit_depth);
    let channels = match (colour, depth) {
        (
            ColorType::Grayscale | ColorType::Indexed,
            BitDepth::One | BitDepth::Two | BitDepth::Four | BitDepth::Eight,
        ) => 1,
        (ColorType::Rgb, BitDepth::Eight) => 3,
        (ColorType::Rgba, BitDepth::Eight) => 4,
        _ => return Err(DataError::MaskFormat { reason: format!("{colour:?} of {} bits a channel", depth as u8) }),
    };
    let palette = reader.info().palette.as_deref().unwrap_or_default().as_chunks().0.to_vec();
    let size = reader.output_buffer_size().ok_or(DataError::TooLarge { width, height, limit: MAX_PIXELS })?;
    let mut pixels = vec![0; size];
    // The whole image at once: rows of an interlaced one are parts.
    let line = reader.next_frame(&mut pixels).map_err(malformed)?.line_size;
    let mut values = Vec::with_capacity(width as usize * height as usize);
    for row in pixels.chunks_exact(line.max(1)) {
        add_row(encoding, (row, channels, depth), &palette, width as usize, &mut values)?;
    }
    // The rest of the file: what is cut off behind the last row is damaged, too.
    reader.finish().map_err(malformed)?;
    Ok(Mask { width, height, values })
}

/// Appends the classes of one row of pixels.
fn add_row(
    encoding: &MaskEncoding,
    (row, channels, depth): (&[u8], usize, BitDepth),
    palette: &[[u8; 3]],
    width: usize,
    out: &mut Vec<u8>,
) -> Result<(), DataError> {
    if channels > 1 {
        for pixel in row.chunks_exact(channels).take(width) {
            out.push(encoding.of_colour([pixel[0], pixel[1], pixel[2]])?);
        }
        return Ok(());
    }
    let start = out.len();
    let bits = depth as usize;
    let value = |pixel: usize| {
        let shift = 8 - bits - pixel * bits % 8;
        (row[pixel * bits / 8] >> shift) & (0xff >> (8 - bits))
    };
    out.extend((0..width).map(value));
    encoding.of_values(palette, &mut out[start..])
}

impl Mask {
    /// Whether no pixel counts.
    pub fn is_ignored(&self) -> bool {
        self.values.iter().all(|class| *class == Masks::IGNORED)
    }

    /// Writes the window at inference, nearest pixels.
    pub fn resample(&self, window: &Window, [rows, columns]: [usize; 2], out: &mut [u8]) {
        let source = |start: f64, length: f64, position: usize, target: usize, limit: u32| {
            let centre = start + (position as f64 + 0.5) * length / target as f64;
            (centre.max(0.0) as usize).min(limit as usize - 1)
        };
        for (row, out) in out.chunks_exact_mut(columns).enumerate() {
            let y = source(window.top, window.height, row, rows, self.height);
            let line = &self.values[y * self.width as usize..][..self.width as usize];
            for (column, out) in out.iter_mut().enumerate() {
                *out = line[source(window.left, window.width, column, columns, self.width)];
            }
        }
    }

    /// Writes the mask of an augmented input, at the size of the network's output: its window, flipped as it is; what was erased
    /// does not count.
    pub fn augment(&self, geometry: &Geometry, input: [usize; 2], size @ [rows, columns]: [usize; 2], out: &mut [u8]) {
        self.resample(&geometry.window, size, out);
        if let Some(Erased { rows: erased_rows, columns: erased_columns }) = &geometry.erased {
            let is_erased = |row: usize, column: usize| {
                erased_rows.contains(&nearest_pixel(row, rows, input[0]))
                    && erased_columns.contains(&nearest_pixel(column, columns, input[1]))
            };
            for (index, class) in out.iter_mut().enumerate() {
                *class = if is_erased(index / columns, index % columns) { Masks::IGNORED } else { *class };
            }
        }
        if geometry.is_flipped {
            out.chunks_exact_mut(columns).for_each(<[u8]>::reverse);
        }
    }
}

/// Mask file of an image: of the same name, or with `_L` behind it, as CamVid has it.
pub(crate) fn file_of(image: &Path, masks: &Path) -> Option<PathBuf> {
    let stem = image.file_stem()?.to_str()?;
    ["", "_L"].iter().map(|end| masks.join(format!("{stem}{end}.png"))).find(|path| path.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(width: u32, colour: ColorType, depth: BitDepth, palette: &[u8], data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let channels = if colour == ColorType::Rgb { 3 } else { 1 };
        let row = (width as usize * channels * depth as usize).div_ceil(8);
        let mut encoder = png::Encoder::new(&mut bytes, width, (data.len() / row) as u32);
        encoder.set_color(colour);
        encoder.set_depth(depth);
        if !palette.is_empty() {
            encoder.set_palette(palette.to_vec());
        }
        encoder.write_header().unwrap().write_image_data(data).unwrap();
        bytes
    }

    fn values(text: &str) -> MaskClasses {
        MaskClasses::of_values(text, Path::new(CLASSES_FILE)).unwrap()
    }

    /// Catches: palette indices that are expanded to colours or to grey, bits of a pixel that are taken from its neighbour,
    /// values that count although their class is to be ignored.
    #[test]
    fn values_are_classes_whatever_their_depth() {
        let names = values("sky\nroad\nvoid\ncar");
        assert_eq!(names.classes, ["sky", "road", "car"]);
        let grey = encoded(3, ColorType::Grayscale, BitDepth::Eight, &[], &[0, 1, 2, 3, 255, 0]);
        assert_eq!(decode(&grey, &names.encoding).unwrap().values, [0, 1, 255, 2, 255, 0]);
        let palette = [200, 0, 0, 0, 200, 0, 0, 0, 200, 9, 9, 9];
        let indexed = encoded(3, ColorType::Indexed, BitDepth::Two, &palette, &[0b0001_1100, 0b1110_0000]);
        assert_eq!(decode(&indexed, &names.encoding).unwrap().values, [0, 1, 2, 2, 255, 0]);
        let grey_as_colours = encoded(2, ColorType::Rgb, BitDepth::Eight, &[], &[1, 1, 1, 3, 3, 3]);
        assert_eq!(decode(&grey_as_colours, &names.encoding).unwrap().values, [1, 2]);
    }

    /// Catches: colours that are taken by their order, or a palette's index taken for the class.
    #[test]
    fn colours_are_classes_by_their_file() {
        let text = "64 128 64\tAnimal\n128 128 128 Big  Sky\n0 0 0 Void\n";
        let names = MaskClasses::of_colours(text, Path::new(COLOURS_FILE)).unwrap();
        assert_eq!(names.classes, ["Animal", "Big Sky"]);
        let pixels = [128, 128, 128, 64, 128, 64, 0, 0, 0];
        let colours = encoded(3, ColorType::Rgb, BitDepth::Eight, &[], &pixels);
        assert_eq!(decode(&colours, &names.encoding).unwrap().values, [1, 0, 255]);
        let indexed = encoded(3, ColorType::Indexed, BitDepth::Eight, &pixels, &[1, 2, 0]);
        assert_eq!(decode(&indexed, &names.encoding).unwrap().values, [0, 255, 1]);
    }

    /// Catches: hostile or wrong masks and files of names that panic, or are taken for something else.
    #[test]
    fn what_is_no_mask_is_refused() {
        let names = values("sky\nroad");
        let refused = |bytes: &[u8]| decode(bytes, &names.encoding).unwrap_err().to_string();
        let beyond = encoded(1, ColorType::Grayscale, BitDepth::Eight, &[], &[2]);
        assert!(refused(&beyond).contains("value 2"), "{}", refused(&beyond));
        let colours = encoded(1, ColorType::Rgb, BitDepth::Eight, &[], &[1, 0, 0]);
        assert!(refused(&colours).contains("1 0 0"), "{}", refused(&colours));
        let deep = encoded(1, ColorType::Grayscale, BitDepth::Sixteen, &[], &[0, 1]);
        assert!(refused(&deep).contains("16 bits"), "{}", refused(&deep));
        let whole = encoded(4, ColorType::Grayscale, BitDepth::Eight, &[], &[0; 64]);
        for length in 0..whole.len() - 12 {
            refused(&whole[..length]);
        }
        let mut huge = encoded(1, ColorType::Grayscale, BitDepth::Eight, &[], &[0]);
        huge[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
        let checksum = crc32(&huge[12..29]);
        huge[29..33].copy_from_slice(&checksum.to_be_bytes());
        assert!(refused(&huge).contains("at most"), "{}", refused(&huge));
        let problem = |text| MaskClasses::of_values(text, Path::new("names")).unwrap_err().to_string();
        assert!(problem("sky\nsky").contains("line 2"), "{}", problem("sky\nsky"));
        assert!(problem("sky\n\u{1b}[2J").contains("line 2"));
        assert!(problem("sky\nvoid").contains("1 class"), "{}", problem("sky\nvoid"));
        let problem = |text| MaskClasses::of_colours(text, Path::new("names")).unwrap_err().to_string();
        assert!(problem("1 2 3 a\n1 2 3 b").contains("line 2"));
        assert!(problem("1 2 300 a").contains("line 1"));
    }

    /// CRC-32 of a PNG chunk, bit by bit.
    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
        })
    }

    /// Catches: a mask that is cropped, flipped or erased otherwise than its image.
    #[test]
    fn masks_follow_the_geometry_of_their_images() {
        let mask = Mask { width: 4, height: 2, values: vec![0, 1, 2, 3, 4, 5, 6, 7] };
        let window = Window { left: 1.0, top: 0.0, width: 2.0, height: 2.0 };
        let mut geometry = Geometry { window, is_flipped: false, erased: None };
        let augmented = |geometry: &Geometry| {
            let mut out = [0; 8];
            mask.augment(geometry, [2, 4], [2, 4], &mut out);
            out
        };
        assert_eq!(augmented(&geometry), [1, 1, 2, 2, 5, 5, 6, 6]);
        geometry.erased = Some(Erased { columns: 0..1, rows: 1..2 });
        geometry.is_flipped = true;
        assert_eq!(augmented(&geometry), [2, 2, 1, 1, 6, 6, 5, 255]);
        // At half the size: the centres of the output's pixels.
        let mut small = [0; 2];
        mask.augment(&geometry, [2, 4], [1, 2], &mut small);
        assert_eq!(small, [6, 5]);
    }
}
