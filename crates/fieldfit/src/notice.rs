//! What a runtime tells whoever listens.

use crate::Version;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// Something that a runtime did or saw by itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "notice", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Notice {
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
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Swapped { from, to } => write!(f, "{to} runs now, in place of {from}"),
            Self::FellBack { version, reason } => write!(f, "version {version} is quarantined: {reason}"),
            Self::Unrecorded { reason } => {
                write!(f, "the last confirmed version runs, and nothing is recorded: {reason}")
            }
            Self::Confirmed { version } => write!(f, "version {version} has proved itself and is confirmed"),
        }
    }
}

/// What is done with a notice.
type Hear = dyn Fn(&Notice) + Send + Sync;

/// Whoever is to hear notices, called on the thread where they arise.
#[derive(Clone, Default)]
pub(crate) struct Listener(Option<Arc<Hear>>);

impl Listener {
    pub fn new(hear: impl Fn(&Notice) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hear)))
    }

    /// Logs it, and passes it on.
    pub fn tell(&self, notice: Notice) {
        match notice {
            Notice::FellBack { .. } | Notice::Unrecorded { .. } => log::warn!("{notice}"),
            _ => log::info!("{notice}"),
        }
        if let Self(Some(hear)) = self {
            hear(&notice);
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listener").field(&self.0.is_some()).finish()
    }
}
