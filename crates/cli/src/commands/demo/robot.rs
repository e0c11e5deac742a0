//! Robot of the live demo: answers the camera's frames on one thread, and watches the store for changes on another.

use super::playback::{PAUSE, Playback};
use super::played::Scene;
use fieldfit::{Error, Frame, Runtime, Version};
use serde::Serialize;
use std::fmt;
use std::fs;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Robot that answers frames until it is stopped.
pub struct Robot<'a> {
    runtime: &'a Runtime,
    scenes: Vec<Scene>,
    pub playback: Playback,
    /// What each version answered, in the order in which they ran; or why the robot ended.
    outcome: Mutex<Result<Vec<Tally>, Error>>,
}

/// Answers of a version without a change between them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tally {
    version: Version,
    frames: u64,
    right: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, frames, right } = self;
        write!(f, "{version} answered {frames} frames of a style that was not learned, {right} right")
    }
}

impl<'a> Robot<'a> {
    /// Creates a robot whose camera shows these scenes again and again.
    pub fn new(runtime: &'a Runtime, scenes: Vec<Scene>) -> Self {
        Self { runtime, scenes, playback: Playback::default(), outcome: Mutex::new(Ok(Vec::new())) }
    }

    /// Answers frames until the robot is stopped.
    pub fn answer(&self) {
        let shown = self.scenes.iter().flat_map(|scene| scene.frames.iter().map(move |path| (&scene.class, path)));
        for (class, path) in shown.cycle().take_while(|_| !self.playback.is_stopped()) {
            let answer = || {
                let bytes = fs::read(path).map_err(|source| Error::Read { path: path.clone(), source })?;
                let prediction = self.runtime.infer(&Frame::Encoded(&bytes))?;
                Ok((prediction.version(), prediction.best().is_some_and(|best| best.label == *class)))
            };
            match answer() {
                Ok((version, is_right)) => self.count(version, is_right),
                Err(error) => self.end(error),
            }
            thread::sleep(PAUSE);
        }
    }

    /// Swaps in what the store says, until the robot is stopped: somebody may change it on the page.
    pub fn watch(&self) {
        while !self.playback.is_stopped() {
            if let Err(error) = self.runtime.poll() {
                self.end(error);
            }
            thread::sleep(PAUSE);
        }
    }

    /// Stops the robot, and returns what each version answered.
    ///
    /// # Errors
    /// That of the first frame that could not be answered.
    pub fn stop(&self) -> Result<Vec<Tally>, Error> {
        self.playback.stop();
        std::mem::replace(&mut *self.outcome.lock().unwrap_or_else(PoisonError::into_inner), Ok(Vec::new()))
    }

    fn count(&self, version: Version, is_right: bool) {
        if let Ok(tallies) = &mut *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) {
            if tallies.last().is_none_or(|tally| tally.version != version) {
                tallies.push(Tally { version, frames: 0, right: 0 });
            }
            if let Some(tally) = tallies.last_mut() {
                tally.frames += 1;
                tally.right += u64::from(is_right);
            }
        }
        self.playback.count();
    }

    fn end(&self, error: Error) {
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        if outcome.is_ok() {
            *outcome = Err(error);
        }
        self.playback.stop();
    }
}
