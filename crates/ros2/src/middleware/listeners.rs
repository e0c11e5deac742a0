//! Listeners: threads of subscriptions, one for each topic, whatever carries it.

use super::MiddlewareError;
use crate::gate::Gate;
use futures::executor::block_on;
use std::thread::{self, JoinHandle};

/// Threads of subscriptions.
#[derive(Debug, Default)]
pub(super) struct Listeners(Vec<JoinHandle<()>>);

impl Listeners {
    /// Starts the thread of a topic. Whenever the gate opens, it calls `subscribe`, which subscribes the topic and hears its
    /// messages until the gate is shut. After an error, it subscribes again when the gate opens the next time.
    pub fn start(
        &mut self,
        topic: &str,
        gate: Gate,
        subscribe: impl Fn(&Gate) -> Result<(), MiddlewareError> + Send + 'static,
    ) -> Result<(), MiddlewareError> {
        let listen = move || {
            while gate.wait_open() {
                if let Err(error) = subscribe(&gate) {
                    log::error!("{error}");
                    block_on(gate.shut());
                }
            }
        };
        let thread = thread::Builder::new().name("fieldfit-listen".into()).spawn(listen);
        self.0.push(thread.map_err(|source| MiddlewareError::Thread { name: topic.to_owned(), source })?);
        Ok(())
    }

    /// Waits for the threads, which end with their gates.
    pub fn join(&mut self) {
        for thread in self.0.drain(..) {
            if thread.join().is_err() {
                log::error!("a subscription panicked");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::cell::Cell;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    /// Time in which a thread that does what it should not is noticed. One that does not is never mistaken for it.
    const PATIENCE: Duration = Duration::from_millis(50);

    /// Listeners of one topic that cannot be subscribed at first, and how each subscription went.
    fn listeners(gate: &Gate) -> (Listeners, Receiver<bool>) {
        let (told, heard) = channel();
        let (mut listeners, has_failed) = (Listeners::default(), Cell::new(false));
        let subscribe = move |gate: &Gate| {
            let is_subscribed = has_failed.replace(true);
            told.send(is_subscribed).unwrap();
            if !is_subscribed {
                return Err(MiddlewareError::Create { name: "/image".into(), reason: "no network".into() });
            }
            block_on(gate.shut());
            Ok(())
        };
        listeners.start("/image", gate.clone(), subscribe).unwrap();
        (listeners, heard)
    }

    /// Shuts and opens the gate until a subscription is told of: a thread may sleep through a gate that is shut for a moment.
    fn opened_again(gate: &Gate, heard: &Receiver<bool>) -> bool {
        let mut tries = (0..1200).map(|_| {
            gate.set(false);
            gate.set(true);
            heard.recv_timeout(PATIENCE).ok()
        });
        tries.find_map(|told| told).unwrap()
    }

    /// Catches: a topic that is tried again and again while it cannot be subscribed, one that is given up after a failure or
    /// when its gate is shut, and a thread that outlives its gate.
    #[test]
    fn a_topic_is_subscribed_whenever_its_gate_opens() {
        let gate = Gate::default();
        let (mut listeners, heard) = listeners(&gate);
        gate.set(true);
        assert!(!heard.recv().unwrap(), "the first subscription fails");
        assert!(heard.recv_timeout(PATIENCE).is_err(), "it is tried again while the gate is open");
        assert!(opened_again(&gate, &heard) && opened_again(&gate, &heard));
        gate.end();
        listeners.join();
        assert!(heard.iter().all(|is_subscribed| is_subscribed), "the thread has ended, and with it its sender");
    }
}
