//! Frame recorder: writes frames and their answers to an MCAP file, which gets its name once it is whole.

use crate::Error;
use crate::output_file::{OutputFile, OutputKind};
use fieldfit_data::{Frame, encode_jpeg, encoded_extension};
use fieldfit_recording::{RecordedFrame, RecordingWriter};
use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// JPEG quality of images of a format that viewers of recordings do not show.
const QUALITY: u8 = 92;

/// Recorder of frames and their answers. Dropped without [`finish`](Self::finish), it leaves nothing.
pub struct FrameRecorder {
    writer: RecordingWriter<OutputFile>,
    path: PathBuf,
    /// Time of the last frame.
    last: Duration,
}

impl FrameRecorder {
    /// Begins a recording at `path`, where an earlier one may be.
    ///
    /// # Errors
    /// As [`check_output`](crate::check_output).
    pub fn create(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref().to_owned();
        let writer = RecordingWriter::new(OutputFile::create(&path, OutputKind::Recording)?).map_err(failed(&path))?;
        Ok(Self { writer, path, last: Duration::ZERO })
    }

    /// Records an encoded image, the lines that are drawn on it, and its answer: an object in JSON.
    ///
    /// JPEG, PNG and WebP are recorded as they are, other formats as JPEG. The time is that of the call.
    ///
    /// # Errors
    /// [`Error::Output`] if the file cannot be written; [`Error::Data`] if an image of another format cannot be decoded.
    pub fn record(&mut self, image: &[u8], lines: &[&str], answer: &str) -> Result<(), Error> {
        let (image, format) = shown(image)?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let time = now.max(self.last + Duration::from_nanos(1));
        let frame = RecordedFrame { time, image: &image, format, lines, answer };
        self.writer.write(&frame).map_err(failed(&self.path))?;
        self.last = time;
        Ok(())
    }

    /// Ends the recording, in place of the file that was at its path.
    ///
    /// # Errors
    /// [`Error::Output`] if the file cannot be written; the previous one is then still there.
    pub fn finish(self) -> Result<(), Error> {
        self.writer.finish().map_err(failed(&self.path))?.replace(&self.path)
    }
}

/// The image in a format that viewers show, and the format's name.
fn shown(image: &[u8]) -> Result<(Cow<'_, [u8]>, &'static str), Error> {
    Ok(match encoded_extension(image) {
        Some("jpg") => (image.into(), "jpeg"),
        Some("png") => (image.into(), "png"),
        Some("webp") => (image.into(), "webp"),
        Some(_) | None => (encode_jpeg(&Frame::Encoded(image).to_rgb()?, QUALITY)?.into(), "jpeg"),
    })
}

fn failed(path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| Error::Output { path: path.to_owned(), source }
}
