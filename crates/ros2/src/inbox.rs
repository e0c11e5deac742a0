//! Inbox of the thread that answers: holds the newest image and the newest detections alone, so that nothing queues.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Inbox that a later message of the same kind replaces, as long as it was not taken.
#[derive(Debug)]
pub struct Inbox<A, B> {
    slots: Mutex<Slots<A, B>>,
    filled: Condvar,
}

#[derive(Debug)]
struct Slots<A, B> {
    first: Option<A>,
    second: Option<B>,
    is_closed: bool,
}

/// Message of an [`Inbox`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken<A, B> {
    /// One of the first kind.
    First(A),
    /// One of the second kind.
    Second(B),
}

impl<A, B> Default for Inbox<A, B> {
    fn default() -> Self {
        let slots = Slots { first: None, second: None, is_closed: false };
        Self { slots: Mutex::new(slots), filled: Condvar::new() }
    }
}

impl<A, B> Inbox<A, B> {
    /// Puts a message of the first kind in, and returns the one that it replaces.
    pub fn put_first(&self, message: A) -> Option<A> {
        let replaced = self.slots().first.replace(message);
        self.filled.notify_one();
        replaced
    }

    /// Puts a message of the second kind in, and returns the one that it replaces.
    pub fn put_second(&self, message: B) -> Option<B> {
        let replaced = self.slots().second.replace(message);
        self.filled.notify_one();
        replaced
    }

    /// Waits for a message and takes it; `None` once the inbox is closed. Those of the second kind come first.
    pub fn take(&self) -> Option<Taken<A, B>> {
        let mut slots = self.slots();
        loop {
            if slots.is_closed {
                return None;
            }
            if let Some(message) = slots.second.take() {
                return Some(Taken::Second(message));
            }
            if let Some(message) = slots.first.take() {
                return Some(Taken::First(message));
            }
            slots = self.filled.wait(slots).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Drops what was not taken.
    pub fn clear(&self) {
        let mut slots = self.slots();
        (slots.first, slots.second) = (None, None);
    }

    /// Closes the inbox: whoever waits is told.
    pub fn close(&self) {
        self.slots().is_closed = true;
        self.filled.notify_all();
    }

    fn slots(&self) -> MutexGuard<'_, Slots<A, B>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// Catches: a queue, in which the answer to an old image comes after newer ones arrived.
    #[test]
    fn the_newest_message_replaces_the_one_before() {
        let inbox = Inbox::<u32, &str>::default();
        assert_eq!(inbox.put_first(1), None);
        assert_eq!(inbox.put_first(2), Some(1));
        assert_eq!(inbox.put_second("boxes"), None);
        assert_eq!(inbox.take(), Some(Taken::Second("boxes")));
        assert_eq!(inbox.take(), Some(Taken::First(2)));
    }

    /// Catches: a thread that waits for ever when the node ends.
    #[test]
    fn closing_wakes_whoever_waits() {
        let inbox = Inbox::<u32, u32>::default();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| inbox.take());
            inbox.close();
            assert_eq!(waiting.join().unwrap(), None);
        });
    }
}
