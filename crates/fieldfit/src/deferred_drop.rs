//! Deferred drop: frees replaced values once their last user has finished, on the thread that replaced them.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Replaced values that may still be in use; each is freed by the owner of this list, never by its last user.
///
/// Freeing tens of megabytes is no work for a thread that answers frames.
#[derive(Debug)]
pub(crate) struct DeferredDrop<T>(Vec<Arc<T>>);

impl<T> DeferredDrop<T> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Takes a value whose last shared pointer was replaced, and waits for its users at most that long.
    pub(crate) fn retire(&mut self, value: Arc<T>, patience: Duration) {
        self.0.push(value);
        let deadline = Instant::now() + patience;
        while !self.free() && Instant::now() < deadline {
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// Frees what has no user left. Returns whether that is all.
    pub(crate) fn free(&mut self) -> bool {
        self.0.retain(|value| Arc::strong_count(value) > 1);
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread::ThreadId;

    /// Test value that sends the thread that drops it.
    struct Weights(mpsc::Sender<ThreadId>);

    impl Drop for Weights {
        fn drop(&mut self) {
            self.0.send(thread::current().id()).unwrap();
        }
    }

    /// Catches: a frame that ends up freeing the weights it computed with.
    #[test]
    fn the_holder_frees_even_if_a_user_is_slower() {
        let (sender, dropped) = mpsc::channel();
        let old = Arc::new(Weights(sender));
        let in_use = old.clone();
        let frame = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            drop(in_use);
        });
        let mut retired = DeferredDrop::new();
        retired.retire(old, Duration::from_secs(60));
        frame.join().unwrap();
        assert_eq!(dropped.recv().unwrap(), thread::current().id());
        assert!(retired.free());
    }

    /// Catches: a swap that hangs on a user that takes its time, or that forgets what it couldn't free.
    #[test]
    fn patience_ends_and_the_rest_is_freed_later() {
        let (sender, dropped) = mpsc::channel();
        let old = Arc::new(Weights(sender));
        let in_use = old.clone();
        let mut retired = DeferredDrop::new();
        retired.retire(old, Duration::from_millis(1));
        assert!(dropped.try_recv().is_err());
        drop(in_use);
        assert!(dropped.try_recv().is_err(), "the last user does not free");
        assert!(retired.free());
        assert!(dropped.try_recv().is_ok());
    }
}
