//! Target profile: the typed form of `targets/NAME.toml`.

use crate::{PROFILES, SoftwareVersion, TargetError};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// The greatest niceness of Linux, and of a profile.
const MAX_NICE: u8 = 19;

/// A board that Fieldfit is built for, as `targets/NAME.toml` describes it. Unknown keys are rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetProfile {
    /// Name, equal to the file's stem.
    pub name: String,
    /// Description for people.
    pub about: String,
    /// Rust target triple.
    pub triple: String,
    /// Substring of `/proc/device-tree/model` that identifies the board under Linux.
    pub model: Option<String>,
    /// Number of processor cores.
    pub cores: usize,
    /// CPU model that QEMU emulates in its place.
    pub emulated_as: Option<String>,
    /// Cargo features of a build that uses the GPU; a build without them runs on the CPU.
    pub features: Vec<Feature>,
    /// Notes for people.
    pub notes: Vec<String>,
    /// Sources of the facts.
    pub sources: Vec<String>,
    /// GPU that Fieldfit computes on, if any.
    pub gpu: Option<Gpu>,
    /// Installed system.
    pub system: System,
    /// Memory and its budget.
    pub memory: Memory,
    /// Scalar types by use.
    pub dtype: DtypePolicy,
    /// Threads and priority of an adaptation.
    pub duty: Duty,
    /// Power modes that change the cores available to an adaptation.
    #[serde(default)]
    pub power: Vec<PowerMode>,
}

/// A cargo feature that adds a GPU backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Feature {
    /// NVIDIA GPUs.
    Cuda,
    /// Apple GPUs.
    Metal,
}

impl Feature {
    /// Returns the feature's name for cargo.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cuda => "cuda",
            Self::Metal => "metal",
        }
    }
}

/// A GPU model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Gpu {
    /// An NVIDIA GPU.
    Cuda {
        /// Compute capability that nvcc compiles for: 87 is sm_87, capability 8.7.
        compute_capability: u32,
    },
    /// An Apple GPU.
    Metal,
}

/// The operating system that the binary must run on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct System {
    /// Name and release.
    pub name: String,
    /// Version of glibc, the latest that the binary may need; `None` for other C libraries.
    pub glibc: Option<SoftwareVersion>,
    /// Version of CUDA, if installed.
    pub cuda: Option<SoftwareVersion>,
    /// Shared libraries that the build without GPU may need, present in the system as installed.
    #[serde(default)]
    pub libraries: Vec<String>,
}

/// Memory of the board and the budget of an adaptation, in MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Total memory.
    pub total_mib: u64,
    /// Peak memory of a process that adapts, inference included.
    pub adaptation_mib: u64,
}

impl Memory {
    /// Returns the budget of an adapting process, in bytes.
    pub const fn adaptation_bytes(self) -> u64 {
        self.adaptation_mib << 20
    }
}

/// Scalar types by use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DtypePolicy {
    /// Type of the base's kernels on disk and in GPU memory.
    pub stored: Float,
    /// Type of merged weights, activations, gradients, δ and the optimiser's state.
    pub compute: Float,
    /// Type of sums over a whole tensor: norms, distances, losses.
    pub sums: Float,
}

/// A floating-point type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Float {
    /// IEEE 754 half precision.
    F16,
    /// bfloat16.
    Bf16,
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 double precision.
    F64,
}

/// Threads and priority of an adaptation beside inference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Duty {
    /// Number of threads of an adaptation.
    pub threads: usize,
    /// Niceness of its threads, 0 to 19, as `nice -n` counts.
    pub nice: u8,
}

/// A power mode of the board.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PowerMode {
    /// Name.
    pub name: String,
    /// Power budget in watts.
    pub watts: u32,
    /// Number of cores online.
    pub cores: usize,
}

impl TargetProfile {
    /// Returns the profile of `targets/` with that name.
    ///
    /// # Errors
    /// [`TargetError::Unknown`] if there is no such profile.
    pub fn named(name: &str) -> Result<Self, TargetError> {
        match PROFILES.iter().find(|(known, _)| *known == name) {
            Some((name, text)) => Self::parse(name, text),
            None => Err(TargetError::Unknown { name: name.to_owned() }),
        }
    }

    /// Reads the profile in that file.
    ///
    /// # Errors
    /// If the file is unreadable, is not a profile, or holds a value out of range.
    pub fn read(path: &Path) -> Result<Self, TargetError> {
        let text = read_text(path).map_err(|source| TargetError::Read { path: path.to_owned(), source })?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Returns the profile of that name or else the profile at that path.
    ///
    /// # Errors
    /// As [`named`](Self::named) and [`read`](Self::read).
    pub fn find(name_or_path: &str) -> Result<Self, TargetError> {
        match Self::named(name_or_path) {
            Err(TargetError::Unknown { .. }) if Path::new(name_or_path).exists() => Self::read(Path::new(name_or_path)),
            other => other,
        }
    }

    /// Parses a profile; `origin` names it in errors.
    ///
    /// # Errors
    /// If the text is not a profile, or holds a value out of range.
    pub fn parse(origin: &str, text: &str) -> Result<Self, TargetError> {
        let profile: Self = toml::from_str(text)
            .map_err(|source| TargetError::Parse { origin: origin.to_owned(), source: source.into() })?;
        match profile.problem() {
            Some((field, found, expected)) => {
                Err(TargetError::Value { origin: origin.to_owned(), field, found, expected })
            }
            None => Ok(profile),
        }
    }

    /// Returns whether the triple is of that architecture and operating system, as [`std::env::consts`] names them.
    pub fn is_built_for(&self, architecture: &str, system: &str) -> bool {
        let mut parts = self.triple.split('-');
        let built_for = parts.next() == Some(architecture);
        // Rust's triples name macOS by its kernel.
        let name = if system == "macos" { "darwin" } else { system };
        built_for && parts.any(|part| part == name)
    }

    /// Returns the first value out of range: its key, the value found and the values allowed.
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
            (duty.nice > MAX_NICE, "duty.nice", duty.nice.to_string(), format!("0 to {MAX_NICE}")),
        ];
        let short = self.power.iter().find(is_short);
        let short = short.map(|mode| ("power.cores", mode.cores.to_string(), format!("1 to {cores}, the cores")));
        let bad = checks.into_iter().find(|(is_bad, ..)| *is_bad);
        bad.map(|(_, field, found, expected)| (field, found, expected)).or(short)
    }
}

/// Maximum bytes of a profile.
const LONGEST: u64 = 1 << 20;

/// Reads the text of a regular file: a pipe would be waited for, and a device has no end.
fn read_text(path: &Path) -> io::Result<String> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut text = String::new();
    File::open(path)?.take(LONGEST + 1).read_to_string(&mut text)?;
    match text.len() as u64 {
        0..=LONGEST => Ok(text),
        _ => Err(io::Error::other(format!("it has more than {LONGEST} bytes"))),
    }
}
