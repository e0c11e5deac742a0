//! Playback: how many frames of a simulated camera have been answered, and whether it is stopped.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Time between two frames; most of the processor is left to the adaptation.
pub const PAUSE: Duration = Duration::from_millis(100);

/// State of a camera that plays on one thread and is waited for and stopped by others.
#[derive(Debug, Default)]
pub struct Playback {
    answered: AtomicU64,
    is_stopped: AtomicBool,
}

/// Guard that stops a camera.
pub struct StopOnDrop<'a>(&'a Playback);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Playback {
    /// Counts an answered frame.
    pub fn count(&self) {
        self.answered.fetch_add(1, Ordering::AcqRel);
    }

    /// Waits until that many frames more have been answered, or the camera is stopped.
    pub fn wait(&self, frames: u64) {
        let enough = self.answered.load(Ordering::Acquire) + frames;
        while self.answered.load(Ordering::Acquire) < enough && !self.is_stopped() {
            thread::sleep(PAUSE);
        }
    }

    /// Stops the camera.
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
    }

    /// Returns whether the camera is stopped.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }

    /// Returns a guard that stops the camera when it is dropped.
    pub const fn stop_on_drop(&self) -> StopOnDrop<'_> {
        StopOnDrop(self)
    }
}
