//! Who a run talks to while it goes on.

use crate::{Control, Event};

/// Where events go, and where the wish to stop comes from.
pub struct Tracker<'a> {
    control: &'a Control,
    events: &'a mut dyn FnMut(Event),
}

impl<'a> Tracker<'a> {
    /// Events go to `events`; `control` says when to stop.
    pub fn new(control: &'a Control, events: &'a mut dyn FnMut(Event)) -> Self {
        Self { control, events }
    }

    /// Passes an event on.
    pub fn tell(&mut self, event: Event) {
        (self.events)(event);
    }

    /// Whether somebody asked the run to stop.
    pub fn is_stopped(&self) -> bool {
        self.control.is_stopped()
    }
}
