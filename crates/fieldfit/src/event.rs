//! Runtime events: swaps, fallbacks, confirmations and drift, delivered to a listener.

use crate::{Drift, Version};
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// An event that the runtime caused or observed by itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
// The tag is part of the output of released versions.
#[serde(tag = "notice", rename_all = "snake_case")]
#[non_exhaustive]
pub enum RuntimeEvent {
    /// Other weights answer from the next frame on.
    Swapped {
        /// What answered before.
        from: Version,
        /// What answers now.
        to: Version,
    },
    /// A version failed and is quarantined; something else runs instead.
    FellBack {
        /// The version that failed.
        version: u32,
        /// How.
        reason: String,
    },
    /// The active version was not run, because its trial can't be recorded or its file can't be read now; the last confirmed
    /// version runs instead.
    Unrecorded {
        /// Why not.
        reason: String,
    },
    /// A version on trial has completed enough predictions.
    Confirmed {
        /// Its number.
        version: u32,
    },
    /// As many frames are answered as [`Builder::drift_every`](crate::Builder::drift_every) says.
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
            Self::Drift(drift) => write!(f, "{drift}"),
            Self::Confirmed { version } => write!(f, "version {version} has proved itself and is confirmed"),
        }
    }
}

/// A listener's function.
type Hear = dyn Fn(&RuntimeEvent) + Send + Sync;

/// Listener for runtime events, called on the thread where they arise.
#[derive(Clone, Default)]
pub(crate) struct Listener(Option<Arc<Hear>>);

impl Listener {
    pub fn new(hear: impl Fn(&RuntimeEvent) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hear)))
    }

    /// Logs an event and delivers it.
    pub fn tell(&self, event: RuntimeEvent) {
        match event {
            RuntimeEvent::FellBack { .. } | RuntimeEvent::Unrecorded { .. } => log::warn!("{event}"),
            RuntimeEvent::Drift(_) => log::debug!("{event}"),
            _ => log::info!("{event}"),
        }
        if let Self(Some(hear)) = self {
            hear(&event);
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listener").field(&self.0.is_some()).finish()
    }
}
