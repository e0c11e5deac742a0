//! Answers of `infer`: shown on standard output, and recorded if that was asked for.

use crate::error::CliError;
use crate::output::{Output, Text};
use fieldfit::FrameRecorder;
use serde::Serialize;
use std::io;
use std::path::Path;

/// Most lines of an answer that are drawn on its image.
const MAX_LINES: usize = 5;

/// Where answers go.
pub struct Answers<'a> {
    pub output: &'a Output,
    recorder: Option<FrameRecorder>,
}

impl<'a> Answers<'a> {
    /// Begins the recording, if there is one.
    pub fn new(output: &'a Output, recording: Option<&Path>) -> Result<Self, CliError> {
        Ok(Self { output, recorder: recording.map(FrameRecorder::create).transpose()? })
    }

    /// Whether nobody wants more answers.
    pub fn is_closed(&self) -> bool {
        self.output.is_closed() && self.recorder.is_none()
    }

    /// Shows the answer to an encoded image, and records both.
    pub fn show<T: Serialize>(&mut self, image: &[u8], answer: &T, text: fn(&T) -> Text) -> Result<(), CliError> {
        if let Some(recorder) = &mut self.recorder {
            let (object, text) = (serde_json::to_string(answer).map_err(io::Error::from)?, text(answer));
            // The first line is the image's name.
            let lines: Vec<&str> = text.lines().skip(1).take(MAX_LINES).map(str::trim).collect();
            recorder.record(image, &lines, &object)?;
        }
        self.output.show(answer, text)
    }

    /// Ends the recording.
    pub fn finish(self) -> Result<(), CliError> {
        Ok(self.recorder.map_or(Ok(()), FrameRecorder::finish)?)
    }
}
