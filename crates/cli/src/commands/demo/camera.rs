//! A thread that asks a runtime for an answer to every frame, whatever happens to the runtime meanwhile.

use fieldfit::{Error, Frame, Runtime, Version};
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Between two frames: most of the processor is left to the adaptation.
const PAUSE: Duration = Duration::from_millis(100);
/// How many frames a version is given before the next change.
const LOOK: u64 = 5;

/// Frames without an end, and the runtime that answers them.
pub struct Camera<'a> {
    runtime: &'a Runtime,
    frame: Vec<u8>,
    answered: AtomicU64,
    is_stopped: AtomicBool,
}

/// Frames in a row that one version answered in the same way.
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
    /// A camera that sees one image again and again.
    pub fn new(runtime: &'a Runtime, image: &Path) -> Result<Self, Error> {
        let frame = fs::read(image).map_err(|source| Error::Read { path: image.to_owned(), source })?;
        Ok(Self { runtime, frame, answered: AtomicU64::new(0), is_stopped: AtomicBool::new(false) })
    }

    /// Answers frames until somebody stops the camera.
    pub fn run(&self) -> Result<Vec<Spell>, Error> {
        // Whoever waits for frames must not wait for one that never comes.
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

    /// Ends the run.
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
    }
}
