//! Target profiles: what Fieldfit knows of a board, i.e. triple, cargo features, system, memory, priority of the adaptation.
//!
//! A [`TargetProfile`] is one TOML file. Those of `targets/` are compiled in ([`names`]), so that a robot needs no file for
//! them; others are read from a path. The command applies a profile's memory and priority to the memory plan and to the
//! adaptation's threads, `fieldfit doctor` reports which target a machine is, and `cargo xtask bundle` builds for its triple
//! and checks the binary against its system.
//!
//! Rejects an unknown key, a missing key, and values that no board has.

mod error;
mod profile;
mod software_version;

pub use error::TargetError;
pub use profile::{DtypePolicy, Duty, Feature, Float, Gpu, Memory, PowerMode, System, TargetProfile};
pub use software_version::SoftwareVersion;

include!(concat!(env!("OUT_DIR"), "/profiles.rs"));

/// Returns the names that [`TargetProfile::named`] accepts, in alphabetical order.
pub fn names() -> impl Iterator<Item = &'static str> {
    PROFILES.iter().map(|&(name, _)| name)
}
