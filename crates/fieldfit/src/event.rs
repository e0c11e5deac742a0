//! Runtime events: swaps, fallbacks, confirmations and drift, and the listener that they are delivered to.

use crate::{Drift, Version};
use serde::Serialize;
use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

/// Events that wait for a listener that is slower than the frames; more are logged and dropped.
const QUEUE: usize = 256;

/// An event that the runtime caused or observed by itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
// The tag is part of the output of released versions.
#[serde(tag = "notice", rename_all = "snake_case")]
#[non_exhaustive]
pub enum RuntimeEvent {
    /// Another version answers from the next frame on.
    Swapped {
        /// The version that answered before.
        from: Version,
        /// The version that answers now.
        to: Version,
    },
    /// A version failed and is quarantined; another one runs instead.
    FellBack {
        /// The version that failed.
        version: u32,
        /// The failure.
        reason: String,
    },
    /// The active version does not run, because its trial cannot be recorded, its file cannot be read now, or it exceeds the
    /// memory budget; the last confirmed version runs instead, and nothing is recorded.
    Unrecorded {
        /// The reason.
        reason: String,
    },
    /// The store's state is damaged or unreadable; the base runs until [`Runtime::poll`](crate::Runtime::poll) finds the
    /// store restored.
    StoreUnavailable {
        /// The defect of the store, and what to do.
        reason: String,
    },
    /// The base's weights have changed under their map, as the [rehash](crate::Builder::rehash) found. Frames are answered
    /// as before; every swap and adaptation returns the error, and so does the next start.
    BaseAltered {
        /// Which file has changed, and what to do.
        reason: String,
    },
    /// A version on trial has completed enough predictions and is confirmed.
    Confirmed {
        /// Its number.
        version: u32,
    },
    /// The drift figures, once every [`Builder::drift_every`](crate::Builder::drift_every) frames.
    Drift(Drift),
}

impl fmt::Display for RuntimeEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Swapped { from, to } => write!(f, "{to} runs now, in place of {from}"),
            Self::FellBack { version, reason } => write!(f, "version {version} is quarantined: {reason}"),
            Self::Unrecorded { reason } => {
                write!(f, "the last confirmed version runs, and nothing is recorded: {reason}")
            }
            Self::StoreUnavailable { reason } => write!(f, "the base runs, the store is unavailable: {reason}"),
            Self::BaseAltered { reason } => write!(f, "nothing is swapped any more, the base is damaged: {reason}"),
            Self::Confirmed { version } => write!(f, "version {version} is confirmed: it completed its trial"),
            Self::Drift(drift) => write!(f, "{drift}"),
        }
    }
}

impl RuntimeEvent {
    fn log_level(&self) -> log::Level {
        match self {
            Self::StoreUnavailable { .. } | Self::BaseAltered { .. } => log::Level::Error,
            Self::FellBack { .. } | Self::Unrecorded { .. } => log::Level::Warn,
            Self::Swapped { .. } | Self::Confirmed { .. } => log::Level::Info,
            Self::Drift(_) => log::Level::Debug,
        }
    }
}

/// Events of one operation, delivered once it has released its locks.
#[derive(Default)]
pub(crate) struct Outbox(RefCell<Vec<RuntimeEvent>>);

impl Outbox {
    pub fn push(&self, event: RuntimeEvent) {
        self.0.borrow_mut().push(event);
    }

    /// Delivers on this thread, which waits for the listener.
    pub fn deliver(self, listener: &Listener) {
        self.0.into_inner().into_iter().for_each(|event| listener.deliver(event));
    }

    /// Delivers on the listener's own thread.
    pub fn post(self, listener: &Listener) {
        self.0.into_inner().into_iter().for_each(|event| listener.post(event));
    }
}

/// A listener's function.
type Hear = dyn Fn(&RuntimeEvent) + Send + Sync;

/// Listener for runtime events. What it does, be it to panic, to block or to call the runtime, holds up no frame.
#[derive(Clone, Default)]
pub(crate) struct Listener {
    hear: Option<Arc<Hear>>,
    /// Queue to the thread that delivers what arises on threads that must not wait: those of frames and of a trial.
    queue: Option<SyncSender<RuntimeEvent>>,
}

impl Listener {
    pub fn new(hear: impl Fn(&RuntimeEvent) + Send + Sync + 'static) -> Self {
        Self { hear: Some(Arc::new(hear)), queue: None }
    }

    /// Starts the thread that delivers posted events; it ends with the last clone of this listener.
    pub fn started(mut self) -> Self {
        let Some(hear) = self.hear.clone() else { return self };
        let (sender, queue) = sync_channel(QUEUE);
        let started = thread::Builder::new().name("fieldfit-events".into()).spawn(move || {
            queue.iter().for_each(|event| call(&*hear, &event));
        });
        match started {
            Ok(_) => self.queue = Some(sender),
            Err(error) => log::warn!("events of frames and trials are logged, but not delivered: {error}"),
        }
        self
    }

    /// Logs an event and delivers it on this thread. The caller holds no lock.
    pub fn deliver(&self, event: RuntimeEvent) {
        log::log!(event.log_level(), "{event}");
        if let Some(hear) = &self.hear {
            call(&**hear, &event);
        }
    }

    /// Logs an event and hands it to the listener's thread, without waiting for it.
    pub fn post(&self, event: RuntimeEvent) {
        log::log!(event.log_level(), "{event}");
        if let Some(queue) = &self.queue
            && let Err(error) = queue.try_send(event)
        {
            log::warn!("an event is dropped: {error}");
        }
    }
}

/// Calls the listener. Its panic is its own: the runtime goes on.
fn call(hear: &Hear, event: &RuntimeEvent) {
    if catch_unwind(AssertUnwindSafe(|| hear(event))).is_err() {
        log::error!("the listener panicked at the event: {event}");
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listener").field(&self.hear.is_some()).finish()
    }
}
