//! What this machine is, which board it is, and whether Fieldfit works on it.

mod machine;
mod self_test;

pub use machine::{DiskInfo, Machine, MemoryNow};
pub use self_test::Check;

use crate::Error;
use fieldfit_exec::{Device, Passes, executor};
use fieldfit_nets::by_name;
use fieldfit_target::{TargetProfile, names};
use serde::Serialize;
use std::path::Path;

/// What [`examine`] found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diagnosis {
    /// The machine.
    pub machine: Machine,
    /// Every device that there is code for, and whether it computes here.
    pub devices: Vec<DeviceState>,
    /// The folder's disk.
    pub disk: DiskInfo,
    /// The boards of `targets/` that this machine may be.
    pub boards: Vec<String>,
    /// What was tried, in order.
    pub checks: Vec<Check>,
}

impl Diagnosis {
    /// Whether every check passed.
    pub fn is_healthy(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }
}

/// A device, and whether it can be computed on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeviceState {
    /// Its name on the command line.
    pub device: &'static str,
    /// Whether this build has code for it.
    pub is_compiled: bool,
    /// Why it can't be used; nothing if it can.
    pub problem: Option<String>,
}

/// Looks at the machine, and tries everything that an adaptation needs: the network's answers, a gradient, a projected step
/// and a commit to a store in a new folder in `scratch`, which is removed again.
///
/// A check that fails is part of what was found.
///
/// # Errors
/// If nothing can be written to `scratch`.
pub fn examine(scratch: &Path) -> Result<Diagnosis, Error> {
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

    /// A healthy machine that is called ill, a disk that isn't measured, and a scratch folder that is left behind.
    #[test]
    fn this_machine_is_examined_and_left_as_it_was() {
        let scratch = tempfile::tempdir().unwrap();
        let found = examine(scratch.path()).unwrap();
        assert!(found.is_healthy(), "{:#?}", found.checks);
        assert_eq!(found.checks.len(), 4);
        assert_eq!(found.devices[0], DeviceState { device: "cpu", is_compiled: true, problem: None });
        assert!(found.disk.commit_ms > 0.0 && found.machine.cores > 0);
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
        assert!(examine(&scratch.path().join("nowhere")).is_err());
    }

    /// A Jetson that is taken for a Raspberry Pi, or for no board.
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
