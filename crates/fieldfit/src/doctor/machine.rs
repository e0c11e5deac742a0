//! Machine: hardware, memory and disk as the operating system reports them.

use crate::Error;
use crate::runtime::cores;
use fieldfit_durable::{Disk as FileSystem, commit};
use serde::Serialize;
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Instant;

/// Number of commits whose median time is reported.
const COMMITS: usize = 7;

/// Description of a machine. What only Linux reports is `None` elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Machine {
    /// The operating system, as Rust names it: `linux`, `macos`.
    pub system: String,
    /// The kernel's release.
    pub kernel: Option<String>,
    /// The instruction set: `x86_64`, `aarch64`.
    pub architecture: String,
    /// The board's model, where the kernel was given one (ARM).
    pub board: Option<String>,
    /// The processor's name.
    pub processor: Option<String>,
    /// Cores that this process may use.
    pub cores: usize,
    /// Instruction set extensions that the kernels use and the processor has.
    pub features: Vec<&'static str>,
    /// Memory at the time of the examination.
    pub memory: Option<MemoryNow>,
}

/// Memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MemoryNow {
    /// Total memory.
    pub total: u64,
    /// Memory that a new process can have without swapping.
    pub available: u64,
}

impl Machine {
    /// Describes this machine.
    pub fn look() -> Self {
        Self {
            system: std::env::consts::OS.into(),
            kernel: first_line("/proc/sys/kernel/osrelease"),
            architecture: std::env::consts::ARCH.into(),
            board: first_line("/proc/device-tree/model").map(|model| model.trim_end_matches('\0').to_owned()),
            processor: field("/proc/cpuinfo", "model name").or_else(|| field("/proc/cpuinfo", "CPU part")),
            cores: cores(),
            features: features(),
            memory: MemoryNow::look(),
        }
    }
}

impl MemoryNow {
    fn look() -> Option<Self> {
        let bytes = |name| {
            let kibibytes: u64 = field("/proc/meminfo", name)?.strip_suffix("kB")?.trim().parse().ok()?;
            Some(kibibytes * 1024)
        };
        Some(Self { total: bytes("MemTotal")?, available: bytes("MemAvailable")? })
    }
}

/// Description of a folder's disk.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DiskInfo {
    /// The file system's kind, where Linux reports it.
    pub file_system: Option<String>,
    /// Median time in milliseconds until a small file is written, synced, renamed and its folder synced.
    pub commit_ms: f64,
    /// Whether it keeps its content across a power cut; `None` where its kind is unknown.
    pub survives_power_cut: Option<bool>,
}

/// Formats the disk as a line of text, every field.
impl fmt::Display for DiskInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file_system, commit_ms, survives_power_cut } = self;
        let kind = file_system.as_deref().unwrap_or("unknown file system");
        let warning = if *survives_power_cut == Some(false) {
            "; what is written here may be gone after a power cut"
        } else {
            ""
        };
        write!(f, "{kind}, {commit_ms:.1} ms a commit{warning}")
    }
}

impl DiskInfo {
    /// Commits small files to that folder.
    ///
    /// # Errors
    /// If nothing can be written there.
    pub(crate) fn measure(folder: &Path) -> Result<Self, Error> {
        let mut times = Vec::new();
        for _ in 0..COMMITS {
            let started = Instant::now();
            commit(&FileSystem, &folder.join("commit"), &[0x5a; 4096])?;
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let file_system = file_system(folder);
        let survives_power_cut = file_system.as_deref().map(|kind| !matches!(kind, "tmpfs" | "ramfs" | "overlay"));
        Ok(Self { file_system, commit_ms: times[COMMITS / 2], survives_power_cut })
    }
}

/// The kind of the file system that the folder is on: that of the longest mount point above it.
fn file_system(folder: &Path) -> Option<String> {
    let folder = folder.canonicalize().ok()?;
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let above = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (point, kind) = (words.nth(1)?, words.next()?);
        folder.starts_with(point).then_some((point.len(), kind))
    });
    // Of two mounts on one point, the later hides the earlier.
    above.max_by_key(|(length, _)| *length).map(|(_, kind)| kind.to_owned())
}

fn first_line(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()?.lines().next().map(|line| line.trim().to_owned())
}

/// The value of the first `name: value` in that file.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let value = |line: &str| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    };
    text.lines().find_map(value)
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<&'static str> {
    let present = [
        ("sse2", true),
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
    ];
    present.into_iter().filter_map(|(name, has)| has.then_some(name)).collect()
}

#[cfg(target_arch = "aarch64")]
fn features() -> Vec<&'static str> {
    if std::arch::is_aarch64_feature_detected!("neon") { vec!["neon"] } else { Vec::new() }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn features() -> Vec<&'static str> {
    Vec::new()
}
