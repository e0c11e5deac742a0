//! Subcommands of `store`: list, log, activate, confirm, roll back, verify, prune, add.

use crate::args::{StoreAddArgs, StoreArgs, StoreCommand, StorePruneArgs, StoreVersionArgs};
use crate::error::CliError;
use crate::output::{Output, Table, Text, bytes};
use fieldfit::store::{Finding, HistoryEntry, Keep, Store, VersionInfo};
use jiff::Timestamp;
use serde::Serialize;
use std::path::PathBuf;

/// Active version after a change.
#[derive(Serialize)]
struct Active {
    active: Option<u32>,
}

/// Result of `store confirm`.
#[derive(Serialize)]
struct Confirmed {
    confirmed: u32,
}

/// Result of `store prune`.
#[derive(Serialize)]
struct Removed {
    removed: Vec<u32>,
    bytes: u64,
}

/// Result of `store add`.
#[derive(Serialize)]
struct Added {
    version: u32,
}

/// Damaged version, as `store verify` prints it.
#[derive(Serialize)]
struct Unusable {
    version: u32,
    delta: PathBuf,
    problem: String,
}

pub fn run(command: &StoreCommand, output: &Output) -> Result<(), CliError> {
    match command {
        StoreCommand::List(args) => list(args, output),
        StoreCommand::Log(args) => log(args, output),
        StoreCommand::Activate(args) => activate(args, output),
        StoreCommand::Confirm(args) => confirm(args, output),
        StoreCommand::Rollback(args) => rollback(args, output),
        StoreCommand::Verify(args) => verify(args, output),
        StoreCommand::Prune(args) => prune(args, output),
        StoreCommand::Add(args) => add(args, output),
    }
}

fn list(args: &StoreArgs, output: &Output) -> Result<(), CliError> {
    let store = fieldfit::store::store_info(&args.store)?;
    if output.is_json() {
        return store.versions.iter().try_for_each(|version| output.object(version));
    }
    let mut text = Text::default();
    text.table(&versions_table(&store.versions));
    output.text(text)
}

/// Returns a table with one row per version.
pub fn versions_table(versions: &[VersionInfo]) -> Table {
    let mut table = Table::new(&["version", "state", "", "size", "delta", "reason"], 6);
    for version in versions {
        table.row([
            version.version.to_string(),
            version.state.to_owned(),
            if version.active { "active".into() } else { String::new() },
            bytes(version.bytes),
            version.delta.display().to_string(),
            version.reason.clone().unwrap_or_default(),
        ]);
    }
    table
}

fn log(args: &StoreArgs, output: &Output) -> Result<(), CliError> {
    let events = open(args)?.history().map_err(fieldfit::Error::from)?;
    events.iter().try_for_each(|event| output.show(event, entry))
}

/// Formats a history entry. Its time is the writer's clock, which may be wrong.
fn entry(event: &HistoryEntry) -> String {
    let time = i64::try_from(event.time).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    let time = time.map_or_else(|| event.time.to_string(), |time| time.to_string());
    format!("{time}  {}", event.change)
}

fn activate(args: &StoreVersionArgs, output: &Output) -> Result<(), CliError> {
    let store = open(&args.store)?;
    store.activate(args.version).map_err(fieldfit::Error::from)?;
    show_active(Some(args.version), output)
}

fn confirm(args: &StoreVersionArgs, output: &Output) -> Result<(), CliError> {
    let version = args.version;
    open(&args.store)?.confirm(version).map_err(fieldfit::Error::from)?;
    output
        .show(&Confirmed { confirmed: version }, |Confirmed { confirmed }| format!("version {confirmed} is confirmed"))
}

fn prune(args: &StorePruneArgs, output: &Output) -> Result<(), CliError> {
    let pruned = open(&args.store)?.prune(Keep::from(&args.keep)).map_err(fieldfit::Error::from)?;
    output.show(&Removed { removed: pruned.versions, bytes: pruned.bytes }, |Removed { removed, bytes: freed }| {
        match removed.as_slice() {
            [] => "nothing is removed: see --keep and --keep-bytes".to_owned(),
            removed => format!("removed {}, {}", versions(removed), bytes(*freed)),
        }
    })
}

/// Formats a list of version numbers.
fn versions(numbers: &[u32]) -> String {
    let list = numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    format!("version{} {list}", if numbers.len() == 1 { "" } else { "s" })
}

fn rollback(args: &StoreArgs, output: &Output) -> Result<(), CliError> {
    let active = open(args)?.rollback().map_err(fieldfit::Error::from)?;
    show_active(active, output)
}

fn show_active(active: Option<u32>, output: &Output) -> Result<(), CliError> {
    output.show(&Active { active }, |Active { active }| match active {
        Some(version) => format!("version {version} is active"),
        None => "the base is active".to_owned(),
    })
}

fn verify(args: &StoreArgs, output: &Output) -> Result<(), CliError> {
    let findings = open(args)?.verify().map_err(fieldfit::Error::from)?;
    for Finding { version, path, problem, .. } in &findings {
        let unusable = Unusable { version: *version, delta: path.clone(), problem: problem.to_string() };
        output.show(&unusable, |Unusable { version, delta, problem }| {
            format!("version {version}, {}: {problem}", delta.display())
        })?;
    }
    match findings.len() {
        0 if output.is_json() => Ok(()),
        0 => output.text("every version is whole"),
        findings => Err(CliError::Damaged { findings }),
    }
}

fn add(args: &StoreAddArgs, output: &Output) -> Result<(), CliError> {
    let version = fieldfit::store::receive(&open(&args.store)?, &args.delta, args.replay)?;
    output.show(&Added { version }, |Added { version }| {
        let mut text = Text::from(format!("version {version} is a candidate; run it with"));
        text.line(format!("  fieldfit store activate {} {version}", args.store.store.display()));
        text
    })
}

fn open(args: &StoreArgs) -> Result<Store, CliError> {
    Ok(Store::open(&args.store).map_err(fieldfit::Error::from)?)
}
