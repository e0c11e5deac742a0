//! Middleware: publishers, subscriptions and services, whatever carries them.

#[cfg(feature = "dds")]
pub mod dds;
#[cfg(any(feature = "dds", feature = "zenoh"))]
mod listeners;
#[cfg(feature = "zenoh")]
pub mod zenoh;

use crate::gate::Gate;
use crate::msg::{Interface, Service};
use fieldfit::escape;
#[cfg(any(feature = "dds", feature = "zenoh"))]
use futures::{
    executor::block_on,
    future::{self, LocalBoxFuture},
};
#[cfg(any(feature = "dds", feature = "zenoh"))]
use std::pin::pin;
use std::sync::Arc;
use thiserror::Error;

/// Error of the middleware.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MiddlewareError {
    /// A network that cannot be joined.
    #[error("cannot join the network: {}", escape(reason))]
    Join {
        /// The middleware's reason.
        reason: String,
    },
    /// A topic or service that cannot be created.
    #[error("cannot create {}: {}", escape(name), escape(reason))]
    Create {
        /// Its name.
        name: String,
        /// The middleware's reason.
        reason: String,
    },
    /// A thread that cannot be started.
    #[error("no thread for {}: {source}", escape(name))]
    Thread {
        /// The topic that it is for.
        name: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// A value of the environment.
    #[error("the environment variable {name} is `{}`: expected {expected}", escape(found))]
    Environment {
        /// The variable.
        name: &'static str,
        /// What is expected.
        expected: &'static str,
        /// Its value.
        found: String,
    },
    /// A middleware that this build does not have.
    #[error("this build has no {wanted}: build it with --features {wanted}")]
    NotBuilt {
        /// The feature.
        wanted: &'static str,
    },
}

/// Quality of service of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qos {
    /// As cameras publish and their subscribers take: best effort, the last 5, no more for late joiners.
    SensorData,
    /// Reliable, the last 10, no more for late joiners.
    Reliable,
}

/// Publishes a message; a message that cannot be sent is logged and dropped.
pub type Publish<M> = Arc<dyn Fn(M) + Send + Sync>;

/// What a subscription hears: a message, or why one could not be read.
pub type Heard<M> = Result<M, String>;

/// Middleware that the node is wired to.
pub trait Middleware {
    /// Creates a publisher.
    ///
    /// # Errors
    /// [`MiddlewareError::Create`].
    fn publisher<M: Interface>(&self, topic: &str, qos: Qos) -> Result<Publish<M>, MiddlewareError>;

    /// Subscribes a topic whenever the gate is open, on a thread of its own, until the gate ends.
    ///
    /// # Errors
    /// [`MiddlewareError::Create`] or [`MiddlewareError::Thread`].
    fn listen<M: Interface>(
        &mut self,
        topic: &str,
        qos: Qos,
        gate: Gate,
        hear: impl Fn(Heard<M>) + Send + 'static,
    ) -> Result<(), MiddlewareError>;

    /// Offers a service.
    ///
    /// # Errors
    /// [`MiddlewareError::Create`].
    fn serve<S: Service>(
        &mut self,
        name: &str,
        answer: impl FnMut(S::Request) -> S::Response + 'static,
    ) -> Result<(), MiddlewareError>;

    /// Answers services on this thread, one request after another, until the gate ends; then waits for the subscriptions.
    fn run(&mut self, until: &Gate);
}

/// Answers requests on this thread until the gate ends.
#[cfg(any(feature = "dds", feature = "zenoh"))]
fn answer(services: Vec<LocalBoxFuture<'static, ()>>, until: &Gate) {
    let services = pin!(future::join_all(services));
    block_on(future::select(services, pin!(until.shut())));
}

/// Domain of the network, `ROS_DOMAIN_ID`, by default 0.
///
/// # Errors
/// [`MiddlewareError::Environment`] if it is no number of 0 to 232.
pub fn domain() -> Result<u16, MiddlewareError> {
    let name = "ROS_DOMAIN_ID";
    let Ok(found) = std::env::var(name) else { return Ok(0) };
    match found.parse() {
        _ if found.is_empty() => Ok(0),
        Ok(domain @ 0..=232) => Ok(domain),
        _ => Err(MiddlewareError::Environment { name, expected: "a number of 0 to 232", found }),
    }
}
