//! Runs a network forward and backward.

#[cfg(feature = "candle")]
pub mod candle;
mod error;
mod executor;

pub use error::ExecError;
pub use executor::{Device, Executor, Loss, Matrix, Prepared};
