//! Events of the node as JSON lines on `~/events`: those of the runtime, of an adaptation, and the node's own.

use serde::Serialize;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Events that wait for their publication; more are logged and dropped.
const QUEUE: usize = 256;

/// Event that the node causes by itself: `{"node":"labelled","class":"mud",…}`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "node", rename_all = "snake_case")]
#[non_exhaustive]
pub enum NodeEvent {
    /// The node is in another state.
    State {
        /// Its name.
        state: &'static str,
    },
    /// Images have a label.
    Labelled {
        /// The class.
        class: String,
        /// Number of images that have the label now.
        images: usize,
        /// Number of images of the span that were not stored.
        left_out: usize,
    },
    /// A label that was not given.
    LabelRefused {
        /// The reason.
        reason: String,
    },
    /// An adaptation began.
    AdaptationBegun {
        /// The collection.
        collection: String,
    },
    /// An adaptation ended without a result.
    AdaptationFailed {
        /// The reason.
        reason: String,
    },
    /// An image was refused, or could not be answered. The same reason is not repeated until another report.
    ImageRefused {
        /// The reason.
        reason: String,
    },
    /// Model and store could not be opened, or the store not be read.
    Failed {
        /// The reason.
        reason: String,
    },
}

/// Sender of events; clones send to the same receiver, and never wait.
#[derive(Debug, Clone)]
pub struct Events(SyncSender<String>);

impl Events {
    /// Returns a sender and the receiver of its JSON lines.
    pub fn channel() -> (Self, Receiver<String>) {
        let (sender, receiver) = sync_channel(QUEUE);
        (Self(sender), receiver)
    }

    /// Sends an event, unless too many wait.
    pub fn send(&self, event: &impl Serialize) {
        match serde_json::to_string(event) {
            Ok(json) => {
                log::debug!("{json}");
                if self.0.try_send(json).is_err() {
                    log::warn!("an event is dropped: {QUEUE} wait for their publication");
                }
            }
            Err(error) => log::error!("an event is no JSON: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a sender that waits for a subscriber, and with it the frames.
    #[test]
    fn sending_never_waits() {
        let (events, receiver) = Events::channel();
        (0..2 * QUEUE).for_each(|_| events.send(&NodeEvent::State { state: "active" }));
        assert_eq!(receiver.try_recv().unwrap(), r#"{"node":"state","state":"active"}"#);
        assert_eq!(receiver.try_iter().count(), QUEUE - 1);
    }
}
