//! The profile, typed.

use crate::{PROFILES, SoftwareVersion, TargetError};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// The least niceness that there is on Linux, and the most that a profile may ask for.
const MOST_NICE: u8 = 19;

/// A board: `targets/NAME.toml`. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetProfile {
    /// Its name, that of the file.
    pub name: String,
    /// What it is, for people.
    pub about: String,
    /// The Rust target that is built for it.
    pub triple: String,
    /// What `/proc/device-tree/model` has in it on that board, where Linux tells.
    pub model: Option<String>,
    /// Processor cores.
    pub cores: usize,
    /// The CPU that QEMU is to emulate in its place, where it can.
    pub emulated_as: Option<String>,
    /// Cargo features of the build that uses its GPU; the build without them runs on the CPU.
    pub features: Vec<Feature>,
    /// What one should know.
    pub notes: Vec<String>,
    /// Where the facts come from.
    pub sources: Vec<String>,
    /// The GPU that we compute on, if any.
    pub gpu: Option<Gpu>,
    /// What is installed there.
    pub system: System,
    /// How much memory there is, and for what.
    pub memory: Memory,
    /// Which type is used for what.
    pub dtype: DtypePolicy,
    /// How adaptation yields to inference.
    pub duty: Duty,
    /// Power modes that change what adaptation can have.
    #[serde(default)]
    pub power: Vec<PowerMode>,
}

/// A cargo feature that brings in a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Feature {
    /// NVIDIA's.
    Cuda,
    /// Apple's.
    Metal,
}

impl Feature {
    /// Its name for cargo.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cuda => "cuda",
            Self::Metal => "metal",
        }
    }
}

/// A GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Gpu {
    /// NVIDIA's.
    Cuda {
        /// What nvcc compiles for: 87 is sm_87, compute capability 8.7.
        compute_capability: u32,
    },
    /// Apple's.
    Metal,
}

/// The system that the binary has to run on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct System {
    /// Its name and release.
    pub name: String,
    /// The C library's version: the binary may need no later one. Nothing where it is not glibc.
    pub glibc: Option<SoftwareVersion>,
    /// The version of CUDA, where there is one.
    pub cuda: Option<SoftwareVersion>,
    /// The shared libraries that the build without GPU may need; the system has them without further installation.
    #[serde(default)]
    pub libraries: Vec<String>,
}

/// Memory in MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// What the board has.
    pub total_mib: u64,
    /// What a process that adapts may take of it at its peak, inference included.
    pub adaptation_mib: u64,
}

impl Memory {
    /// What a process that adapts may take, in bytes.
    pub const fn adaptation_bytes(self) -> u64 {
        self.adaptation_mib << 20
    }
}

/// Which type is used for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DtypePolicy {
    /// Kernels of the base on disk and, on a GPU, in its memory.
    pub stored: Float,
    /// Merged weights, activations, gradients, δ and the optimiser's state.
    pub compute: Float,
    /// Sums over a whole tensor: norms, distances, losses.
    pub sums: Float,
}

/// A type of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Float {
    /// Half precision.
    F16,
    /// Brain float.
    Bf16,
    /// Single precision.
    F32,
    /// Double precision.
    F64,
}

/// How adaptation yields to inference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Duty {
    /// Threads that adaptation computes on.
    pub threads: usize,
    /// By how much its threads yield to others, 0 to 19, as `nice -n` counts.
    pub nice: u8,
}

/// A mode that the board's power management knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PowerMode {
    /// Its name.
    pub name: String,
    /// Its budget in watts.
    pub watts: u32,
    /// Cores that are on line in it.
    pub cores: usize,
}

impl TargetProfile {
    /// The board of `targets/` with that name.
    ///
    /// # Errors
    /// [`TargetError::Unknown`] if there is none.
    pub fn named(name: &str) -> Result<Self, TargetError> {
        match PROFILES.iter().find(|(known, _)| *known == name) {
            Some((name, text)) => Self::parse(name, text),
            None => Err(TargetError::Unknown { name: name.to_owned() }),
        }
    }

    /// The profile in that file.
    ///
    /// # Errors
    /// If the file can't be read, is no profile, or says something that no board is.
    pub fn read(path: &Path) -> Result<Self, TargetError> {
        let text = fs::read_to_string(path).map_err(|source| TargetError::Read { path: path.to_owned(), source })?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// The board of that name or, if it isn't one, the profile at that path.
    ///
    /// # Errors
    /// As [`named`](Self::named) and [`read`](Self::read).
    pub fn find(name_or_path: &str) -> Result<Self, TargetError> {
        match Self::named(name_or_path) {
            Err(TargetError::Unknown { .. }) if Path::new(name_or_path).exists() => Self::read(Path::new(name_or_path)),
            other => other,
        }
    }

    /// The profile in that text; errors call it by its origin.
    ///
    /// # Errors
    /// If it is no profile, or says something that no board is.
    pub fn parse(origin: &str, text: &str) -> Result<Self, TargetError> {
        let board: Self = toml::from_str(text)
            .map_err(|source| TargetError::Parse { origin: origin.to_owned(), source: source.into() })?;
        match board.problem() {
            Some((field, found, expected)) => {
                Err(TargetError::Value { origin: origin.to_owned(), field, found, expected })
            }
            None => Ok(board),
        }
    }

    /// Whether it is built for that architecture and operating system, as [`std::env::consts`] names them.
    pub fn is_built_for(&self, architecture: &str, system: &str) -> bool {
        let mut parts = self.triple.split('-');
        let built_for = parts.next() == Some(architecture);
        // Rust's triples call macOS by its kernel's name.
        let name = if system == "macos" { "darwin" } else { system };
        built_for && parts.any(|part| part == name)
    }

    /// The first value that no board has: its key, the value, and what it may be.
    fn problem(&self) -> Option<(&'static str, String, String)> {
        let Self { cores, memory, dtype, duty, .. } = self;
        let gpu = match self.gpu {
            None => vec![],
            Some(Gpu::Cuda { .. }) => vec![Feature::Cuda],
            Some(Gpu::Metal) => vec![Feature::Metal],
        };
        let most = memory.total_mib / 2;
        let is_short = |mode: &&PowerMode| !(1..=*cores).contains(&mode.cores);
        let checks = [
            (*cores == 0, "cores", cores.to_string(), "at least 1".to_owned()),
            (self.triple.split('-').count() < 3, "triple", self.triple.clone(), "a Rust target".into()),
            (self.features != gpu, "features", format!("{:?}", self.features), format!("{gpu:?}, as `gpu` says")),
            (
                !(1..=most).contains(&memory.adaptation_mib),
                "memory.adaptation_mib",
                memory.adaptation_mib.to_string(),
                format!("1 to {most}, half of the memory"),
            ),
            (dtype.compute != Float::F32, "dtype.compute", format!("{:?}", dtype.compute), "f32".into()),
            (
                !(1..=*cores).contains(&duty.threads),
                "duty.threads",
                duty.threads.to_string(),
                format!("1 to {cores}, the cores"),
            ),
            (duty.nice > MOST_NICE, "duty.nice", duty.nice.to_string(), format!("0 to {MOST_NICE}")),
        ];
        let short = self.power.iter().find(is_short);
        let short = short.map(|mode| ("power.cores", mode.cores.to_string(), format!("1 to {cores}, the cores")));
        let bad = checks.into_iter().find(|(is_bad, ..)| *is_bad);
        bad.map(|(_, field, found, expected)| (field, found, expected)).or(short)
    }
}
