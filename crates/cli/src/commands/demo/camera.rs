//! Simulated camera: one image, classified again and again by a runtime that is adapted meanwhile.

use super::playback::{PAUSE, Playback};
use fieldfit::{Error, Frame, Runtime, Version};
use std::fmt;
use std::fs;
use std::path::Path;
use std::thread;

/// Frames that a version answers before the next change.
const LOOK: u64 = 5;

/// Camera that shows one image until it is stopped.
pub struct Camera<'a> {
    runtime: &'a Runtime,
    frame: Vec<u8>,
    pub playback: Playback,
}

/// Consecutive frames with one version and one answer.
pub struct Spell {
    version: Version,
    label: String,
    frames: u64,
}

impl fmt::Display for Spell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answered {} frames: {}", self.version, self.frames, self.label)
    }
}

impl<'a> Camera<'a> {
    /// Creates a camera that shows one image.
    pub fn new(runtime: &'a Runtime, image: &Path) -> Result<Self, Error> {
        let frame = fs::read(image).map_err(|source| Error::Read { path: image.to_owned(), source })?;
        Ok(Self { runtime, frame, playback: Playback::default() })
    }

    /// Answers frames until the camera is stopped.
    pub fn run(&self) -> Result<Vec<Spell>, Error> {
        // No thread may wait for a frame that never comes.
        let outcome = self.answer_all();
        self.playback.stop();
        outcome
    }

    fn answer_all(&self) -> Result<Vec<Spell>, Error> {
        let mut spells: Vec<Spell> = Vec::new();
        while !self.playback.is_stopped() {
            let prediction = self.runtime.infer(&Frame::Encoded(&self.frame))?;
            let (version, label) = (prediction.version(), prediction.best().map_or("nothing", |best| best.label));
            match spells.last_mut() {
                Some(spell) if spell.version == version && spell.label == label => spell.frames += 1,
                _ => spells.push(Spell { version, label: label.to_owned(), frames: 1 }),
            }
            self.playback.count();
            thread::sleep(PAUSE);
        }
        Ok(spells)
    }

    /// Waits until some frames more have been answered.
    pub fn wait(&self) {
        self.playback.wait(LOOK);
    }
}
