//! Gate of a subscription: open while the node is in a state that wants its messages.

use event_listener::{Event, EventListener, Listener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const SHUT: u8 = 0;
const OPEN: u8 = 1;
const ENDED: u8 = 2;

/// Gate that threads and futures wait at; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: AtomicU8,
    changed: Event,
}

impl Gate {
    /// Opens or shuts the gate, unless it has ended.
    pub fn set(&self, is_open: bool) {
        let next = if is_open { OPEN } else { SHUT };
        self.change(|state| (state != ENDED).then_some(next));
    }

    /// Ends the gate for good: it stays shut, and whoever waits is told.
    pub fn end(&self) {
        self.change(|_| Some(ENDED));
    }

    /// Returns whether the gate is open.
    pub fn is_open(&self) -> bool {
        self.state() == OPEN
    }

    /// Waits until the gate is open. Returns `false` if it has ended.
    pub fn wait_open(&self) -> bool {
        self.wait(|state| state != SHUT) == OPEN
    }

    /// Waits until the gate is not open any more.
    pub async fn shut(&self) {
        while self.is_open() {
            let changed = self.0.changed.listen();
            if self.is_open() {
                changed.await;
            }
        }
    }

    fn state(&self) -> u8 {
        self.0.state.load(Ordering::SeqCst)
    }

    fn change(&self, next: impl FnMut(u8) -> Option<u8>) {
        // An update that returns `None` leaves the state as it is.
        let _ = self.0.state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
        self.0.changed.notify(usize::MAX);
    }

    fn wait(&self, is_met: impl Fn(u8) -> bool) -> u8 {
        loop {
            let changed: EventListener = self.0.changed.listen();
            let state = self.state();
            if is_met(state) {
                return state;
            }
            changed.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use std::thread;

    /// Catches: a subscription that outlives the active state, one that never begins, one that keeps the process from ending.
    #[test]
    fn whoever_waits_is_told_of_every_change() {
        let gate = Gate::default();
        thread::scope(|scope| {
            let subscription = scope.spawn(|| {
                let mut opened = 0;
                while gate.wait_open() {
                    opened += 1;
                    block_on(gate.shut());
                }
                opened
            });
            gate.set(true);
            gate.set(false);
            gate.end();
            gate.set(true);
            assert!(subscription.join().unwrap() <= 1);
        });
        assert!(!gate.wait_open(), "an ended gate stays shut");
    }
}
