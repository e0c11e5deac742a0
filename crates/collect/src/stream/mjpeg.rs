//! MJPEG: JPEG images one after the other, bare or as the parts of an HTTP stream.

use super::{MAX_FRAME_BYTES, StreamError};
use std::io::{BufReader, Read};

/// Marker codes (ITU-T T.81, table B.1).
const START: u8 = 0xd8;
const END: u8 = 0xd9;
const SCAN: u8 = 0xda;
const TEMPORARY: u8 = 0x01;
const RESTARTS: std::ops::RangeInclusive<u8> = 0xd0..=0xd7;

/// Iterator over the images of an MJPEG stream, byte by byte as the camera encoded them. What stands between two images is
/// skipped, as boundaries of HTTP streams are. An image that the end of the stream cuts is an error.
#[derive(Debug)]
pub struct MotionJpeg<R> {
    reader: BufReader<R>,
    frame: u64,
    is_done: bool,
}

impl<R: Read> MotionJpeg<R> {
    /// Returns the images of a stream.
    pub fn new(reader: R) -> Self {
        Self { reader: BufReader::new(reader), frame: 0, is_done: false }
    }

    /// Reads up to the next start of an image; false at the end of the stream.
    fn find_start(&mut self) -> Result<bool, StreamError> {
        let mut previous = 0;
        let mut skipped = 0;
        while let Some(byte) = self.optional_byte()? {
            if (previous, byte) == (0xff, START) {
                return Ok(true);
            }
            previous = byte;
            skipped += 1;
            if skipped > MAX_FRAME_BYTES {
                return Err(self.invalid(format!("no image in {skipped} bytes: it is no MJPEG stream")));
            }
        }
        Ok(false)
    }

    /// Reads an image behind its start marker. The lengths of segments are followed, since a thumbnail in one has markers, too.
    fn image(&mut self) -> Result<Vec<u8>, StreamError> {
        let mut image = vec![0xff, START];
        let mut marker = self.marker(&mut image)?;
        loop {
            marker = match marker {
                END => return Ok(image),
                SCAN => {
                    self.segment(&mut image)?;
                    self.scan(&mut image)?
                }
                TEMPORARY => self.marker(&mut image)?,
                _segment => {
                    self.segment(&mut image)?;
                    self.marker(&mut image)?
                }
            };
        }
    }

    /// Reads a marker, and fill bytes before it.
    fn marker(&mut self, image: &mut Vec<u8>) -> Result<u8, StreamError> {
        if self.byte(image)? != 0xff {
            return Err(self.invalid("a marker was expected: the image is damaged".into()));
        }
        self.marker_code(image)
    }

    /// Reads the code of a marker whose first byte was read.
    fn marker_code(&mut self, image: &mut Vec<u8>) -> Result<u8, StreamError> {
        loop {
            match self.byte(image)? {
                0xff => {}
                code => return Ok(code),
            }
        }
    }

    /// Reads a segment with its length.
    fn segment(&mut self, image: &mut Vec<u8>) -> Result<(), StreamError> {
        let length = u16::from_be_bytes([self.byte(image)?, self.byte(image)?]);
        let Some(content) = length.checked_sub(2) else {
            return Err(self.invalid("a segment has no length: the image is damaged".into()));
        };
        let read = self.reader.by_ref().take(content.into()).read_to_end(image)?;
        if read < usize::from(content) { Err(self.cut()) } else { self.check_length(image) }
    }

    /// Reads entropy-coded data and the marker behind it.
    fn scan(&mut self, image: &mut Vec<u8>) -> Result<u8, StreamError> {
        loop {
            if self.byte(image)? != 0xff {
                continue;
            }
            match self.marker_code(image)? {
                // A zero is stuffed, a restart is part of the scan.
                0 => {}
                code if RESTARTS.contains(&code) => {}
                code => return Ok(code),
            }
        }
    }

    fn byte(&mut self, image: &mut Vec<u8>) -> Result<u8, StreamError> {
        let byte = self.optional_byte()?.ok_or_else(|| self.cut())?;
        image.push(byte);
        self.check_length(image)?;
        Ok(byte)
    }

    fn optional_byte(&mut self) -> Result<Option<u8>, StreamError> {
        Ok(self.reader.by_ref().bytes().next().transpose()?)
    }

    fn check_length(&self, image: &[u8]) -> Result<(), StreamError> {
        if image.len() as u64 <= MAX_FRAME_BYTES {
            return Ok(());
        }
        Err(self.invalid(format!("it is longer than {MAX_FRAME_BYTES} bytes, the most that is read")))
    }

    fn cut(&self) -> StreamError {
        self.invalid("the stream ends within the image".into())
    }

    fn invalid(&self, problem: String) -> StreamError {
        StreamError::Invalid { format: "MJPEG", frame: self.frame, problem }
    }
}

impl<R: Read> Iterator for MotionJpeg<R> {
    type Item = Result<Vec<u8>, StreamError>;

    /// Returns the next image. After an error there is none.
    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let image = match self.find_start() {
            Ok(true) => self.image(),
            Ok(false) => {
                self.is_done = true;
                return None;
            }
            Err(error) => Err(error),
        };
        self.is_done = image.is_err();
        self.frame += 1;
        Some(image)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use fieldfit_data::{RgbImage, encode_jpeg};

    fn jpeg(seed: u32) -> Vec<u8> {
        let pixel = |x: u32, y: u32| image::Rgb([x * 7 + seed, y * 11, x * y].map(|value| value as u8));
        encode_jpeg(&RgbImage::from_fn(40, 30, pixel), 95).unwrap()
    }

    /// The image with another one in a segment, as cameras put thumbnails into EXIF.
    fn with_thumbnail(image: &[u8], thumbnail: &[u8]) -> Vec<u8> {
        let length = (thumbnail.len() as u16 + 2).to_be_bytes();
        [&image[..2], &[0xff, 0xe1], &length, thumbnail, &image[2..]].concat()
    }

    fn images(stream: &[u8]) -> Vec<Vec<u8>> {
        MotionJpeg::new(stream).collect::<Result<_, _>>().unwrap()
    }

    /// Catches: an image that ends at its thumbnail's end marker, bytes lost between images, boundaries taken into an image.
    #[test]
    fn images_come_out_as_they_went_in() {
        let expected = [jpeg(1), with_thumbnail(&jpeg(2), &jpeg(3)), jpeg(4)];
        assert_eq!(images(&expected.concat()), expected);
        let part =
            |image: &Vec<u8>| [b"--frame\r\nContent-Type: image/jpeg\r\n\r\n", image.as_slice(), b"\r\n"].concat();
        assert_eq!(images(&expected.each_ref().map(part).concat()), expected);
        assert!(images(b"").is_empty());
    }

    /// Catches: a cut image that is stored, and a stream that is read on from the middle of one.
    #[test]
    fn a_cut_image_is_an_error_and_the_last_item() {
        let stream = [jpeg(1), jpeg(2)].concat();
        for length in jpeg(1).len() + 3..stream.len() {
            let items: Vec<_> = MotionJpeg::new(&stream[..length]).collect();
            assert!(items.len() == 2 && items[0].is_ok() && items[1].is_err(), "{length}");
        }
    }
}
