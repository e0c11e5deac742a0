//! Simulated camera: one image, classified again and again by a runtime that is adapted meanwhile.

use fieldfit::{Error, Frame, Runtime, Version};
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Time between two frames; most of the processor is left to the adaptation.
const PAUSE: Duration = Duration::from_millis(100);
/// Frames that a version answers before the next change.
const LOOK: u64 = 5;

/// Camera that shows one image until it is stopped.
pub struct Camera<'a> {
    runtime: &'a Runtime,
    frame: Vec<u8>,
    answered: AtomicU64,
    is_stopped: AtomicBool,
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

/// Guard that stops a camera.
pub struct StopOnDrop<'a>(&'a Camera<'a>);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl<'a> Camera<'a> {
    /// Creates a camera that shows one image.
    pub fn new(runtime: &'a Runtime, image: &Path) -> Result<Self, Error> {
        let frame = fs::read(image).map_err(|source| Error::Read { path: image.to_owned(), source })?;
        Ok(Self { runtime, frame, answered: AtomicU64::new(0), is_stopped: AtomicBool::new(false) })
    }

    /// Answers frames until the camera is stopped.
    pub fn run(&self) -> Result<Vec<Spell>, Error> {
        // No thread may wait for a frame that never comes.
        let outcome = self.answer_all();
        self.stop();
        outcome
    }

    fn answer_all(&self) -> Result<Vec<Spell>, Error> {
        let mut spells: Vec<Spell> = Vec::new();
        while !self.is_stopped.load(Ordering::Acquire) {
            let prediction = self.runtime.infer(&Frame::Encoded(&self.frame))?;
            let (version, label) = (prediction.version(), prediction.best().map_or("nothing", |best| best.label));
            match spells.last_mut() {
                Some(spell) if spell.version == version && spell.label == label => spell.frames += 1,
                _ => spells.push(Spell { version, label: label.to_owned(), frames: 1 }),
            }
            self.answered.fetch_add(1, Ordering::AcqRel);
            thread::sleep(PAUSE);
        }
        Ok(spells)
    }

    /// Waits until some frames more have been answered.
    pub fn wait(&self) {
        let enough = self.answered.load(Ordering::Acquire) + LOOK;
        while self.answered.load(Ordering::Acquire) < enough && !self.is_stopped.load(Ordering::Acquire) {
            thread::sleep(PAUSE);
        }
    }

    /// Stops the camera.
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
    }

    /// Returns a guard that stops the camera when it is dropped.
    pub const fn stop_on_drop(&self) -> StopOnDrop<'_> {
        StopOnDrop(self)
    }
}
