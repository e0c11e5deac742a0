//! Arguments of the command.

use clap::{Args, Parser, Subcommand};
use fieldfit_fleet::{Digest, RobotId};
use std::{path::PathBuf, time::Duration};

/// Share signed deltas between robots of one base.
#[derive(Debug, Parser)]
#[command(name = "fieldfit-fleet", version)]
pub struct Arguments {
    /// Print JSON, one object a line
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

/// Subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Publish a version that this robot's gate accepted
    Publish(PublishArgs),
    /// Obey recalls, receive deltas, judge them, and activate the best, on trial
    Sync(SyncArgs),
    /// Sync again and again, when something changes and at intervals, and report this robot's status
    Watch(WatchArgs),
    /// Take a delta back on every robot that trusts the key
    Recall(RecallArgs),
    /// List deltas, recalls and robots of the carrier
    Status(StatusArgs),
}

/// Store, carrier and robot.
#[derive(Debug, Args)]
pub struct AgentArgs {
    /// Path of the store
    #[arg(value_name = "STORE")]
    pub store: PathBuf,
    /// Carrier: a folder, s3://BUCKET/PREFIX, zenoh:ROUTER:PORT, or zenoh-peer:LISTEN:PORT[,PEER:PORT…]
    #[arg(long, value_name = "ADDRESS")]
    pub carrier: String,
    /// Name of this robot in the fleet
    #[arg(long, value_name = "ID")]
    pub robot: RobotId,
    /// Model folder; needed before a runtime has opened the store, and by --gate
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
}

/// Arguments of `publish`.
#[derive(Debug, Args)]
pub struct PublishArgs {
    #[command(flatten)]
    pub agent: AgentArgs,
    /// Secret key that signs the card, listed in the trust file of every robot
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Number of the version [default: the active one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub version: Option<u32>,
    #[command(flatten)]
    pub offer: OfferArgs,
}

/// Terms of an offer.
#[derive(Debug, Args)]
pub struct OfferArgs {
    /// Share of the robots that take the delta, 0 to 1; publish again to widen it
    #[arg(long, value_name = "SHARE", value_parser = share, default_value = "1")]
    pub share: f64,
    /// Time after which no robot takes the delta, e.g. 30d [default: never]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub expires: Option<Duration>,
}

/// Arguments of `sync`.
#[derive(Debug, Args)]
pub struct SyncArgs {
    #[command(flatten)]
    pub agent: AgentArgs,
    #[command(flatten)]
    pub policy: PolicyArgs,
}

/// Policy of this robot.
#[derive(Debug, Args)]
pub struct PolicyArgs {
    /// Labelled images of this robot, whose gate slice judges what was received; without, nothing is activated
    #[arg(long, value_name = "DIR", requires = "model")]
    pub gate: Option<PathBuf>,
    /// Regular expression whose first group names the group of an image, as `adapt --group`
    #[arg(long, value_name = "REGEX", requires = "gate")]
    pub group: Option<String>,
    /// Threads of the gate [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// Judge received deltas without activating any
    #[arg(long)]
    pub never_activate: bool,
    /// Also judge the mean of the active version and the new candidates
    #[arg(long, requires = "gate")]
    pub merge: bool,
    /// Upper limit of the canary share of this robot, 0 to 1
    #[arg(long, value_name = "SHARE", value_parser = share, default_value = "1")]
    pub share: f64,
    /// Maximum size of a delta, e.g. 4MB
    #[arg(long, value_name = "SIZE", value_parser = bytes, default_value = "16MiB")]
    pub max_bytes: u64,
    /// Maximum bytes that a sync downloads
    #[arg(long, value_name = "SIZE", value_parser = bytes, default_value = "64MiB")]
    pub max_total_bytes: u64,
    /// Maximum number of deltas that a sync receives
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub max_deltas: u32,
    /// Keep at most this many versions in the store [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub keep: Option<u32>,
}

/// Arguments of `watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    #[command(flatten)]
    pub agent: AgentArgs,
    #[command(flatten)]
    pub policy: PolicyArgs,
    /// Longest time between two syncs
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
    pub every: Duration,
    /// Secret key with which a peer publishes again, after its start, what it has published before
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
}

/// Arguments of `recall`.
#[derive(Debug, Args)]
pub struct RecallArgs {
    #[command(flatten)]
    pub agent: AgentArgs,
    /// SHA-256 of the delta file, as `publish` and `status` print it
    #[arg(value_name = "SHA256")]
    pub delta: Digest,
    /// Secret key that signs the recall, listed in the trust file of every robot
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Reason, for people
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pub agent: AgentArgs,
}

/// Parses a share.
fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

/// Parses a number of bytes with its unit.
fn bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, f64); 5] =
        [("KiB", 1024.0), ("MiB", 1_048_576.0), ("GiB", 1_073_741_824.0), ("kB", 1e3), ("MB", 1e6)];
    let parsed = UNITS.iter().find_map(|(unit, factor)| {
        let number: f64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
        Some(number * factor).filter(|bytes| (1.0..1e12).contains(bytes))
    });
    parsed.map(|bytes| bytes as u64).ok_or_else(|| "expected a number and its unit, such as 512KiB or 4MB".to_owned())
}

/// Parses a duration with its unit.
fn duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, f64); 5] = [("d", 86_400.0), ("h", 3600.0), ("m", 60.0), ("ms", 1e-3), ("s", 1.0)];
    let parsed = UNITS.iter().find_map(|(unit, factor)| {
        let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
        Duration::try_from_secs_f64(number * factor).ok().filter(|duration| !duration.is_zero())
    });
    parsed.ok_or_else(|| "expected a number and its unit, such as 30d, 12h, 90m or 45s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// Catches: flags that contradict each other, and units that are read as others.
    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
        assert_eq!(bytes("16MiB"), Ok(16 << 20));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(bytes("16").is_err() && duration("0s").is_err() && share("1.5").is_err() && share("nan").is_err());
    }
}
