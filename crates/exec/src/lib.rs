//! Runs a network forward and backward.

mod error;
mod executor;

pub use error::ExecError;
pub use executor::{Device, Executor, Loss, Matrix, Prepared};
