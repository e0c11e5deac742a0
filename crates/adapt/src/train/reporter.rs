//! Reporter: passes a run's events on, and the wishes to stop and to wait back.

use crate::event::Event;
use crate::train::control::Control;
use std::time::Instant;

/// Reporter of a run's events, which waits where its control wants it to.
pub struct Reporter<'a> {
    control: &'a Control,
    events: &'a mut dyn FnMut(Event),
}

impl<'a> Reporter<'a> {
    /// Creates a reporter to `events`, under `control`.
    pub fn new(control: &'a Control, events: &'a mut dyn FnMut(Event)) -> Self {
        Self { control, events }
    }

    /// Passes an event on, then waits if the control wants it. A run reports something after each batch of images,
    /// in every phase: this is where it yields.
    pub fn report(&mut self, event: Event) {
        (self.events)(event);
        let mut paused = None;
        self.control.wait(|| {
            paused = Some(Instant::now());
            (self.events)(Event::Paused);
        });
        if let Some(since) = paused {
            (self.events)(Event::Unpaused { seconds: since.elapsed().as_secs_f64() });
        }
    }

    /// Returns whether the run was asked to stop.
    pub fn is_stopped(&self) -> bool {
        self.control.is_stopped()
    }
}
