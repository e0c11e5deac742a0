//! Streams of frames: MJPEG and Y4M, as cameras and ffmpeg write them to a pipe.

mod mjpeg;
mod y4m;

pub use mjpeg::MotionJpeg;
pub use y4m::{PlanarFrame, Y4m};

use fieldfit_data::Frame;
use std::io::{self, Read};
use thiserror::Error;

/// Maximum bytes of one frame.
const MAX_FRAME_BYTES: u64 = 64 << 20;

/// Error of a stream of frames.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The stream can't be read.
    #[error("cannot read the stream: {0}")]
    Io(#[from] io::Error),
    /// A stream of neither format.
    #[error(
        "the stream is neither MJPEG nor Y4M: for other video, pipe `ffmpeg -i VIDEO -f yuv4mpegpipe -pix_fmt yuv420p -`"
    )]
    Unknown,
    /// An invalid frame or header.
    #[error("frame {frame} of the {format} stream: {problem}")]
    Invalid {
        /// The format.
        format: &'static str,
        /// Number of the frame, from 0.
        frame: u64,
        /// The defect, and what to do.
        problem: String,
    },
}

/// Stream of frames, of the format that its first bytes show.
pub enum FrameStream<R> {
    /// JPEG images, one after the other.
    MotionJpeg(MotionJpeg<R>),
    /// Raw YUV frames.
    Y4m(Y4m<R>),
}

/// Frame of a stream.
pub enum StreamFrame {
    /// An encoded image.
    Encoded(Vec<u8>),
    /// Raw pixels.
    Pixels(PlanarFrame),
}

impl StreamFrame {
    /// Borrows the frame.
    pub fn frame(&self) -> Frame<'_> {
        match self {
            Self::Encoded(bytes) => Frame::Encoded(bytes),
            Self::Pixels(pixels) => Frame::Pixels(pixels.pixels()),
        }
    }
}

/// Reader of a stream whose first bytes were read already.
type Resumed<R> = io::Chain<io::Cursor<Vec<u8>>, R>;

impl<R: Read> FrameStream<Resumed<R>> {
    /// Opens a stream by its first bytes.
    ///
    /// # Errors
    /// [`StreamError::Unknown`] if it is neither MJPEG nor Y4M, which an empty stream is; if it can't be read or its header is
    /// invalid.
    pub fn open(mut reader: R) -> Result<Self, StreamError> {
        let mut start = Vec::new();
        reader.by_ref().take(y4m::MAGIC.len() as u64).read_to_end(&mut start)?;
        let is_y4m = start == y4m::MAGIC;
        // A multipart stream begins with a boundary, a plain one with an image.
        let is_mjpeg = start.starts_with(b"--") || start.starts_with(b"\r\n--") || start.starts_with(b"\xff\xd8\xff");
        let reader = io::Cursor::new(start).chain(reader);
        match (is_y4m, is_mjpeg) {
            (true, _) => Ok(Self::Y4m(Y4m::open(reader)?)),
            (_, true) => Ok(Self::MotionJpeg(MotionJpeg::new(reader))),
            _neither => Err(StreamError::Unknown),
        }
    }

    /// Frames a second that the stream states.
    pub fn rate(&self) -> Option<f64> {
        match self {
            Self::MotionJpeg(_) => None,
            Self::Y4m(stream) => stream.rate(),
        }
    }
}

impl<R: Read> Iterator for FrameStream<R> {
    type Item = Result<StreamFrame, StreamError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::MotionJpeg(stream) => Some(stream.next()?.map(StreamFrame::Encoded)),
            Self::Y4m(stream) => Some(stream.next()?.map(StreamFrame::Pixels)),
        }
    }
}
