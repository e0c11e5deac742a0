//! Failure: why a call did not succeed, with its status.

use crate::status::fieldfit_status::{self, *};
use fieldfit::collect::CollectError;
use fieldfit::train::AdaptError;
use fieldfit::{Error, error_messages, escape};
use std::any::Any;
use std::sync::Arc;
use thiserror::Error;

/// Failure of a call.
#[derive(Debug, Error)]
pub enum Failure {
    /// A pointer that is NULL and must not be.
    #[error("`{argument}` is NULL: expected {expected}")]
    Null { argument: &'static str, expected: &'static str },
    /// A structure whose size is not one of this interface.
    #[error(
        "`{argument}` has the struct_size {found}, expected {least} to {most}: initialise it by its function fieldfit_…_init()"
    )]
    StructSize { argument: &'static str, found: usize, least: usize, most: usize },
    /// An element of an array whose size is not that of the others.
    #[error("`{argument}` has the struct_size {found} at index {index}, expected {expected} as of the first")]
    Element { argument: &'static str, index: usize, found: usize, expected: usize },
    /// A structure of a later release that sets what this library does not know.
    #[error("`{argument}` sets byte {offset}, which this library does not know: it is older than the program's header")]
    UnknownMember { argument: &'static str, offset: usize },
    /// A string that is not UTF-8.
    #[error("`{argument}` is not UTF-8, from byte {offset} on")]
    Utf8 { argument: &'static str, offset: usize },
    /// A number out of its range.
    #[error("`{argument}` is {found}, expected {expected}")]
    Value { argument: &'static str, found: u64, expected: &'static str },
    /// A text that is none of those that are known.
    #[error("`{argument}` is `{found}`: {expected}")]
    Text { argument: &'static str, found: String, expected: String },
    /// A number that is no time.
    #[error("`{argument}` is {found}, expected a time in seconds from 0 on")]
    Seconds { argument: &'static str, found: f64 },
    /// Options of a collector that are not the JSON object that is expected.
    #[error("`options_json` is not an object of a collector's options: {0}")]
    CollectorOptions(#[source] serde_json::Error),
    /// Options that are not the JSON object that is expected.
    #[error("`options_json` is not an object of an adaptation's options: {0}")]
    Options(#[source] serde_json::Error),
    /// A handle that is closed, or never was one.
    #[error("`{argument}` is no open {what}: it was closed, or never opened")]
    Closed { argument: &'static str, what: &'static str },
    /// A runtime that panicked while it was changed.
    #[error(
        "a call that changed this runtime panicked: frames are still answered; close it and open it again to change it"
    )]
    Poisoned,
    /// A panic inside the call.
    #[error("the call panicked: {message}; please report this")]
    Panicked { message: String },
    /// A call that waits for the thread that makes it.
    #[error("{call} was called by the adaptation's own callback, which it waits for: call it from another thread")]
    OwnThread { call: &'static str },
    /// An adaptation that has not ended yet.
    #[error("the adaptation is still running")]
    Running,
    /// A thread that the system does not give.
    #[error("cannot start the adaptation's thread")]
    Thread(#[source] std::io::Error),
    /// Text for C that holds a NUL.
    #[error("{what} holds a NUL character, which C strings cannot: found at byte {offset}")]
    Nul { what: &'static str, offset: usize },
    /// Figures that cannot be written as JSON: a path in them is not UTF-8.
    #[error("cannot write {what} as JSON")]
    Json { what: &'static str, source: serde_json::Error },
    /// What an adaptation failed at, told to each call that waits for it.
    #[error(transparent)]
    Ended(Arc<Failure>),
    /// A failure of the runtime.
    #[error(transparent)]
    Runtime(#[from] Error),
}

impl Failure {
    /// Returns the failure of a caught panic.
    pub fn of_panic(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let message = text.or_else(|| payload.downcast_ref::<String>().cloned());
        Self::Panicked { message: message.unwrap_or_else(|| "without a message".to_owned()) }
    }

    /// Returns the status of the failure.
    pub fn status(&self) -> fieldfit_status {
        match self {
            Self::Null { .. }
            | Self::StructSize { .. }
            | Self::Element { .. }
            | Self::UnknownMember { .. }
            | Self::Utf8 { .. }
            | Self::Value { .. }
            | Self::Text { .. }
            | Self::Seconds { .. }
            | Self::CollectorOptions(_)
            | Self::Options(_) => FIELDFIT_INVALID_ARGUMENT,
            Self::Closed { .. } => FIELDFIT_CLOSED,
            Self::Poisoned => FIELDFIT_POISONED,
            Self::Panicked { .. } => FIELDFIT_PANICKED,
            Self::OwnThread { .. } => FIELDFIT_OWN_THREAD,
            Self::Running => FIELDFIT_RUNNING,
            Self::Thread(_) | Self::Nul { .. } | Self::Json { .. } => FIELDFIT_FAILED,
            Self::Ended(failure) => failure.status(),
            Self::Runtime(error) => status_of(error),
        }
    }
}

/// Returns the status of a failure of the runtime.
fn status_of(error: &Error) -> fieldfit_status {
    match error {
        Error::Model(_) | Error::Delta { .. } | Error::Transport { .. } | Error::TooLong { .. } => FIELDFIT_MODEL,
        Error::Input { .. } | Error::Unknown { .. } | Error::Made { .. } => FIELDFIT_MODEL,
        Error::Data(_) | Error::Classes { .. } | Error::BatchFrame { .. } => FIELDFIT_IMAGE,
        Error::Exec(_) => FIELDFIT_DEVICE,
        Error::Store(_) | Error::NoStore { .. } => FIELDFIT_STORE,
        Error::Adapt(AdaptError::Interrupted { .. }) => FIELDFIT_STOPPED,
        Error::Adapt(AdaptError::Data(_)) => FIELDFIT_IMAGE,
        Error::Adapt(_) => FIELDFIT_ADAPTATION,
        Error::Headless { .. } | Error::NoBaseAnswers { .. } | Error::NoNovelty { .. } => FIELDFIT_VERSION,
        Error::OtherTask { .. } | Error::ImagesOfTask { .. } | Error::SetOfTask { .. } => FIELDFIT_VERSION,
        Error::MemoryBudget { .. } | Error::FailedHere { .. } => FIELDFIT_VERSION,
        Error::Logit { .. } | Error::Feature { .. } => FIELDFIT_VERSION,
        Error::BufferLength { .. } => FIELDFIT_INVALID_ARGUMENT,
        Error::Read { .. } | Error::File(_) | Error::Durable(_) => FIELDFIT_FILE,
        Error::Collect(error) => status_of_collection(error),
        Error::Key { .. } | Error::OpenKey { .. } => FIELDFIT_FILE,
        // What no function of this interface does (data sets of other tools, exports, merges, run logs, scratch
        // folders), and what later releases add.
        _ => FIELDFIT_FAILED,
    }
}

/// Returns the status of a failure of a collection.
fn status_of_collection(error: &CollectError) -> fieldfit_status {
    match error {
        CollectError::Frame(_) | CollectError::NotAnImage { .. } => FIELDFIT_IMAGE,
        CollectError::Option { .. } | CollectError::Class { .. } | CollectError::NoFrames { .. } => {
            FIELDFIT_INVALID_ARGUMENT
        }
        // Files, and what later releases add.
        _ => FIELDFIT_FILE,
    }
}

/// Returns the messages of a failure and its causes in one line, escaped, without a cause that its effect's message ends with.
pub fn message(failure: &Failure) -> String {
    escape(&error_messages(failure).join(": ")).to_string()
}
