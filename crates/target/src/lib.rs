//! What a board is: triple, features, versions of its system, memory, duty.
//!
//! A [`TargetProfile`] is one file of `targets/`. Those in the repository are part of the program ([`NAMES`]), so that a robot
//! needs no file for them; others are read from a path. The command feeds a board's memory and duty to the memory plan
//! and to the adaptation's threads, `fieldfit doctor` says which board a machine is, and the bundler builds for its
//! triple and holds the binary against its system.
//!
//! What this crate refuses: an unknown key, a missing one, and numbers that no board has.

mod error;
mod profile;
mod software_version;

pub use error::TargetError;
pub use profile::{DtypePolicy, Duty, Feature, Float, Gpu, Memory, PowerMode, System, TargetProfile};
pub use software_version::SoftwareVersion;

/// The boards of `targets/`, by name, with their profiles.
const PROFILES: [(&str, &str); 5] = [
    ("jetson-orin-nano", include_str!("../../../targets/jetson-orin-nano.toml")),
    ("jetson-agx-orin", include_str!("../../../targets/jetson-agx-orin.toml")),
    ("apple-silicon", include_str!("../../../targets/apple-silicon.toml")),
    ("raspberry-pi-5", include_str!("../../../targets/raspberry-pi-5.toml")),
    ("host", include_str!("../../../targets/host.toml")),
];

/// The boards that [`TargetProfile::named`] knows.
pub const NAMES: [&str; PROFILES.len()] = {
    let mut names = [""; PROFILES.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = PROFILES[index].0;
        index += 1;
    }
    names
};
