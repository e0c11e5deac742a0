//! Doctor: examines a machine, i.e. hardware, devices, disk and target, and tests the parts of an adaptation on it.

mod machine;
mod self_test;

pub use machine::{DiskInfo, Machine, MemoryNow};
pub use self_test::Check;

use crate::Error;
use fieldfit_exec::{Device, Passes, executor};
use fieldfit_nets::by_name;
use fieldfit_target::{TargetProfile, names};
use serde::Serialize;
use std::fmt;
use std::path::Path;

/// Result of [`examine`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Diagnosis {
    /// The machine.
    pub machine: Machine,
    /// Every device that there is code for, and whether it is available.
    pub devices: Vec<DeviceState>,
    /// The folder's disk.
    pub disk: DiskInfo,
    /// Names of the targets that match this machine.
    pub boards: Vec<String>,
    /// Results of the self-test, in order.
    pub checks: Vec<Check>,
}

impl Diagnosis {
    /// Returns whether every check passed.
    pub fn is_healthy(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }
}

/// State of a device.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DeviceState {
    /// Its name on the command line.
    pub device: &'static str,
    /// Whether this build has code for it.
    pub is_compiled: bool,
    /// Why it is unavailable; `None` if it is available.
    pub problem: Option<String>,
}

/// Formats the state as a line of text, every field.
impl fmt::Display for DeviceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, is_compiled, problem } = self;
        write!(f, "{device:<13} ")?;
        match (is_compiled, problem) {
            (false, _) => f.write_str("not in this build"),
            (true, None) => f.write_str("usable"),
            (true, Some(problem)) => write!(f, "NOT USABLE: {problem}"),
        }
    }
}

/// Examines the machine, and tests everything that an adaptation needs: logits, a gradient, a projected step, and a
/// commit to a store in a new folder in `scratch`, which is removed again.
///
/// A check that fails is part of the result.
///
/// # Errors
/// If nothing can be written to `scratch`.
pub fn examine(scratch: impl AsRef<Path>) -> Result<Diagnosis, Error> {
    let scratch = scratch.as_ref();
    let unwritable = |source| Error::Scratch { path: scratch.to_owned(), source };
    let folder = tempfile::Builder::new().prefix("fieldfit-doctor-").tempdir_in(scratch).map_err(unwritable)?;
    let machine = Machine::look();
    Ok(Diagnosis {
        devices: devices(),
        disk: DiskInfo::measure(folder.path())?,
        boards: boards(&machine),
        checks: self_test::run(folder.path()),
        machine,
    })
}

/// The boards whose triple and model are the machine's.
fn boards(machine: &Machine) -> Vec<String> {
    let boards = names().filter_map(|name| TargetProfile::named(name).ok());
    let fitting = boards.filter(|board| {
        let is_model = match (&board.model, &machine.board) {
            (Some(part), Some(model)) => model.contains(part.as_str()),
            (expected, found) => expected.is_none() && found.is_none(),
        };
        is_model && board.is_built_for(&machine.architecture, &machine.system)
    });
    fitting.map(|board| board.name).collect()
}

/// Opens each device once.
fn devices() -> Vec<DeviceState> {
    let compiled = [
        (Device::Cpu { threads: 1 }, true),
        (Device::Cuda { ordinal: 0 }, cfg!(feature = "cuda")),
        (Device::Metal, cfg!(feature = "metal")),
    ];
    let state = |(device, is_compiled): (Device, bool)| {
        let network = by_name(self_test::NETWORK).map_err(|error| error.to_string());
        let opened = network.and_then(|network| {
            executor(device, &network, Passes::default()).map(drop).map_err(|error| error.to_string())
        });
        DeviceState { device: device.name(), is_compiled, problem: opened.err() }
    };
    compiled.map(state).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a healthy machine that is called ill, a disk that isn't measured, and a scratch folder that is left behind.
    #[test]
    fn this_machine_is_examined_and_left_as_it_was() {
        let scratch = tempfile::tempdir().unwrap();
        let found = examine(scratch.path()).unwrap();
        assert!(found.is_healthy(), "{:#?}", found.checks);
        assert_eq!(found.checks.len(), 4);
        assert_eq!(found.devices[0], DeviceState { device: "cpu", is_compiled: true, problem: None });
        assert!(found.disk.commit_ms > 0.0 && found.machine.cores > 0);
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
        assert!(examine(scratch.path().join("nowhere")).is_err());
    }

    /// Catches: a Jetson that is taken for a Raspberry Pi, or for no board.
    #[test]
    fn a_board_is_known_by_its_model() {
        let machine = |architecture: &str, board: Option<&str>| Machine {
            architecture: architecture.into(),
            system: "linux".into(),
            board: board.map(str::to_owned),
            ..Machine::look()
        };
        assert_eq!(boards(&machine("aarch64", Some("NVIDIA Jetson Orin Nano Developer Kit"))), ["jetson-orin-nano"]);
        assert_eq!(boards(&machine("aarch64", Some("Raspberry Pi 5 Model B Rev 1.0"))), ["raspberry-pi-5"]);
        assert_eq!(boards(&machine("x86_64", None)), ["host"]);
        assert_eq!(boards(&machine("aarch64", Some("Raspberry Pi 4 Model B"))), [""; 0]);
        assert_eq!(boards(&machine("aarch64", None)), [""; 0]);
    }
}
