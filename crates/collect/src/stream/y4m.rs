//! Y4M (YUV4MPEG2): raw YUV frames behind a line of text each.

use super::{MAX_FRAME_BYTES, StreamError};
use fieldfit_data::{PixelFormat, Pixels, Plane};
use fieldfit_tensor::text::escape;
use std::io::{BufRead, BufReader, Read};

/// First bytes of a stream.
pub(super) const MAGIC: &[u8] = b"YUV4MPEG2 ";
/// Maximum bytes of a line of text.
const MAX_LINE: u64 = 1024;

/// Iterator over the frames of a Y4M stream of 8-bit 4:2:0, 4:2:2 or grey, of limited range. A frame that the end of the stream
/// cuts is an error.
#[derive(Debug)]
pub struct Y4m<R> {
    reader: BufReader<R>,
    width: u32,
    height: u32,
    sampling: Sampling,
    rate: Option<f64>,
    frame: u64,
    is_done: bool,
}

/// Resolution of the colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sampling {
    /// 4:2:0: a quarter of the pixels.
    Quarter,
    /// 4:2:2: half of each row.
    Half,
    /// No colours.
    Grey,
}

/// Frame of a Y4M stream, in a format of [`Pixels`]: NV12, YUYV or grey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanarFrame {
    format: PixelFormat,
    width: u32,
    height: u32,
    data: Vec<u8>,
    chroma: Option<Vec<u8>>,
}

impl PlanarFrame {
    /// Borrows the pixels.
    pub fn pixels(&self) -> Pixels<'_> {
        let Self { format, width, height, .. } = *self;
        let chroma = self.chroma.as_deref().map(|data| Plane { data, stride: width as usize });
        Pixels { chroma, ..Pixels::packed(&self.data, format, width, height) }
    }
}

impl<R: Read> Y4m<R> {
    /// Reads the header of a stream.
    ///
    /// # Errors
    /// If it is not one, or announces frames that are not read: more than 8 bits, 4:4:4, full range, odd sides.
    pub fn open(reader: R) -> Result<Self, StreamError> {
        let mut stream = Self {
            reader: BufReader::new(reader),
            width: 0,
            height: 0,
            sampling: Sampling::Quarter,
            rate: None,
            frame: 0,
            is_done: false,
        };
        let line = stream.line()?.unwrap_or_default();
        let Some(parameters) = line.strip_prefix("YUV4MPEG2 ") else {
            return Err(stream.invalid("the header is missing: it is no Y4M stream".into()));
        };
        for parameter in parameters.split_ascii_whitespace() {
            stream.set(parameter)?;
        }
        stream.check()?;
        Ok(stream)
    }

    /// Frames a second that the header states.
    pub const fn rate(&self) -> Option<f64> {
        self.rate
    }

    fn set(&mut self, parameter: &str) -> Result<(), StreamError> {
        let advice = "pipe `ffmpeg … -pix_fmt yuv420p -f yuv4mpegpipe -`";
        let side =
            |text: &str| text.parse().map_err(|_| self.invalid(format!("the side `{}` is no number", escape(text))));
        match parameter.split_at_checked(1) {
            Some(("W", text)) => self.width = side(text)?,
            Some(("H", text)) => self.height = side(text)?,
            Some(("F", text)) => self.rate = rate(text),
            Some(("C", name)) => {
                self.sampling = match name {
                    "420" | "420jpeg" | "420paldv" | "420mpeg2" => Sampling::Quarter,
                    "422" => Sampling::Half,
                    "mono" => Sampling::Grey,
                    other => {
                        return Err(self.invalid(format!("frames of {} are not read: {advice}", escape(other))));
                    }
                };
            }
            Some(("X", "COLORRANGE=FULL")) => {
                return Err(
                    self.invalid(format!("frames of full range are not read: {advice} with `-vf scale=out_range=tv`"))
                );
            }
            _ignored => {}
        }
        Ok(())
    }

    fn check(&self) -> Result<(), StreamError> {
        let Self { width, height, .. } = *self;
        let is_even = width % 2 == 0 && (height % 2 == 0 || self.sampling != Sampling::Quarter);
        if width == 0 || height == 0 {
            return Err(self.invalid("the header states no size".into()));
        }
        if !is_even && self.sampling != Sampling::Grey {
            return Err(
                self.invalid(format!("frames of {width} × {height} pixels share colours: scale them to even sides"))
            );
        }
        if u64::from(width) * u64::from(height) * 2 > MAX_FRAME_BYTES {
            return Err(self.invalid(format!("frames of {width} × {height} pixels are larger than any that is read")));
        }
        Ok(())
    }

    fn planes(&mut self) -> Result<PlanarFrame, StreamError> {
        let Self { width, height, .. } = *self;
        let area = width as usize * height as usize;
        let luma = self.plane(area)?;
        let frame = |format, data, chroma| PlanarFrame { format, width, height, data, chroma };
        match self.sampling {
            Sampling::Grey => Ok(frame(PixelFormat::Gray8, luma, None)),
            Sampling::Quarter => {
                let (u, v) = (self.plane(area / 4)?, self.plane(area / 4)?);
                let chroma = u.into_iter().zip(v).flat_map(|(u, v)| [u, v]).collect();
                Ok(frame(PixelFormat::Nv12, luma, Some(chroma)))
            }
            Sampling::Half => {
                let (u, v) = (self.plane(area / 2)?, self.plane(area / 2)?);
                let pairs = luma.as_chunks::<2>().0.iter().zip(u).zip(v);
                let data = pairs.flat_map(|(([one, two], u), v)| [*one, u, *two, v]).collect();
                Ok(frame(PixelFormat::Yuyv, data, None))
            }
        }
    }

    fn plane(&mut self, bytes: usize) -> Result<Vec<u8>, StreamError> {
        let mut plane = Vec::with_capacity(bytes);
        let read = self.reader.by_ref().take(bytes as u64).read_to_end(&mut plane)?;
        if read < bytes { Err(self.invalid("the stream ends within the frame".into())) } else { Ok(plane) }
    }

    /// Reads a line of text without its end; `None` at the end of the stream.
    fn line(&mut self) -> Result<Option<String>, StreamError> {
        let mut line = Vec::new();
        self.reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(None);
        }
        let text = line.strip_suffix(b"\n").map(|line| String::from_utf8_lossy(line).into_owned());
        text.map(Some).ok_or_else(|| self.invalid("a line of text does not end: the stream is damaged".into()))
    }

    fn next_frame(&mut self) -> Result<Option<PlanarFrame>, StreamError> {
        match self.line()? {
            None => Ok(None),
            Some(line) if line == "FRAME" || line.starts_with("FRAME ") => self.planes().map(Some),
            Some(_) => Err(self.invalid("`FRAME` was expected: the stream is damaged".into())),
        }
    }

    fn invalid(&self, problem: String) -> StreamError {
        StreamError::Invalid { format: "Y4M", frame: self.frame, problem }
    }
}

/// Frames a second of a ratio such as `30000:1001`.
fn rate(text: &str) -> Option<f64> {
    let (frames, seconds) = text.split_once(':')?;
    let rate = frames.parse::<f64>().ok()? / seconds.parse::<f64>().ok()?;
    (rate.is_finite() && rate > 0.0).then_some(rate)
}

impl<R: Read> Iterator for Y4m<R> {
    type Item = Result<PlanarFrame, StreamError>;

    /// Returns the next frame. After an error there is none.
    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let frame = self.next_frame().transpose();
        self.is_done = !matches!(frame, Some(Ok(_)));
        self.frame += 1;
        frame
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn stream(header: &str, frames: &[&[u8]]) -> Vec<u8> {
        let frames = frames.iter().flat_map(|frame| [b"FRAME\n", *frame].concat());
        header.bytes().chain([b'\n']).chain(frames).collect()
    }

    fn frames(stream: &[u8]) -> Result<Vec<PlanarFrame>, StreamError> {
        Y4m::open(stream)?.collect()
    }

    /// Catches: planes read in the wrong order or length, a frame's parameters read as pixels.
    #[test]
    fn planes_become_a_format_of_frames() {
        let quarter =
            stream("YUV4MPEG2 W2 H2 F30000:1001 Ip A1:1 C420jpeg", &[&[1, 2, 3, 4, 90, 200], &[5, 6, 7, 8, 91, 201]]);
        let read = frames(&quarter).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read[1].pixels().data, [5, 6, 7, 8]);
        assert_eq!(
            (read[1].pixels().format, read[1].pixels().chroma.unwrap().data),
            (PixelFormat::Nv12, &[91, 201][..])
        );
        assert!((Y4m::open(&quarter[..]).unwrap().rate().unwrap() - 29.97).abs() < 0.001);
        let half = frames(&stream("YUV4MPEG2 W2 H1 C422", &[&[1, 2, 90, 200]])).unwrap();
        assert_eq!((half[0].pixels().format, half[0].pixels().data), (PixelFormat::Yuyv, &[1, 90, 2, 200][..]));
        let grey = frames(&stream("YUV4MPEG2 W3 H1 Cmono", &[&[1, 2, 3]])).unwrap();
        assert_eq!((grey[0].pixels().format, grey[0].pixels().data), (PixelFormat::Gray8, &[1, 2, 3][..]));
        read.iter().chain(&half).chain(&grey).for_each(|frame| frame.pixels().check().unwrap());
    }

    /// Catches: frames whose colours would be wrong, a header that makes the reader allocate, a cut frame that is stored.
    #[test]
    fn what_cannot_be_read_is_refused() {
        for header in [
            "W2 H2 C444",
            "W2 H2 C420p10",
            "W2 H2 XCOLORRANGE=FULL",
            "W3 H2 C420",
            "W0 H2",
            "W2",
            "Wx H2",
            "W99999 H99999",
        ] {
            assert!(Y4m::open(stream(&format!("YUV4MPEG2 {header}"), &[]).as_slice()).is_err(), "{header}");
        }
        let whole = stream("YUV4MPEG2 W2 H2", &[&[1, 2, 3, 4, 90, 200]]);
        let header = whole.len() - 12;
        for length in header + 1..whole.len() {
            assert!(frames(&whole[..length]).is_err(), "{length}");
        }
        assert!(frames(&[whole.as_slice(), b"noise\n"].concat()).is_err());
    }
}
