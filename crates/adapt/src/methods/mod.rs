//! The methods that there are. A new one is a file here and a line in [`METHODS`].

mod full;
mod linear_probe;
mod lp_ft;
mod tpgm;

use crate::{AdaptError, Method, Options};
use fieldfit_nets::Network;

/// A method's name, what it is, and how to make one.
pub struct Entry {
    /// What [`Options::method`] calls it.
    pub name: &'static str,
    /// One line for help texts.
    pub about: &'static str,
    build: Build,
}

type Build = fn(&Options, &Network) -> Result<Box<dyn Method>, AdaptError>;

/// Every method, in the order in which help texts list them.
pub const METHODS: &[Entry] = &[linear_probe::ENTRY, full::ENTRY, lp_ft::ENTRY, tpgm::ENTRY];

/// The method that the options name, for a network under the new head.
///
/// # Errors
/// If there is no such method, or it can't go by the options.
pub fn method(options: &Options, network: &Network) -> Result<Box<dyn Method>, AdaptError> {
    let entry = METHODS.iter().find(|entry| entry.name == options.method).ok_or_else(|| AdaptError::Method {
        name: options.method.clone(),
        known: METHODS.iter().map(|entry| entry.name).collect(),
    })?;
    (entry.build)(options, network)
}
