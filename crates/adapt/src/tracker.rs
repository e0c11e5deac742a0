//! Who a run talks to while it goes on.

use crate::{Control, Event};
use std::time::Instant;

/// Where events go, and where the wishes to stop and to wait come from.
pub struct Tracker<'a> {
    control: &'a Control,
    events: &'a mut dyn FnMut(Event),
}

impl<'a> Tracker<'a> {
    /// Events go to `events`; `control` says when to stop and when to wait.
    pub fn new(control: &'a Control, events: &'a mut dyn FnMut(Event)) -> Self {
        Self { control, events }
    }

    /// Passes an event on, then waits if the control wants it. A run tells something after each batch of images, in
    /// every phase: this is where it yields.
    pub fn tell(&mut self, event: Event) {
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

    /// Whether somebody asked the run to stop.
    pub fn is_stopped(&self) -> bool {
        self.control.is_stopped()
    }
}
