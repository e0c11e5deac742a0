//! `fieldfit store`.

use crate::args::{StoreAddArgs, StoreArgs, StoreCommand, StorePruneArgs, StoreVersionArgs};
use crate::error::CliError;
use crate::output::{Output, bytes, table};
use comfy_table::Table;
use fieldfit::store::{Finding, HistoryEntry, Keep, Store, VersionInfo};
use jiff::Timestamp;
use serde::Serialize;
use std::path::PathBuf;

/// What runs after a change.
#[derive(Serialize)]
struct Active {
    active: Option<u32>,
}

/// A version whose trial has ended well.
#[derive(Serialize)]
struct Confirmed {
    confirmed: u32,
}

/// Versions that were removed.
#[derive(Serialize)]
struct Removed {
    removed: Vec<u32>,
    bytes: u64,
}

/// A version that was added.
#[derive(Serialize)]
struct Added {
    version: u32,
}

/// A version that can't be used.
#[derive(Serialize)]
struct Unusable {
    version: u32,
    delta: PathBuf,
    problem: String,
}

pub fn run(command: &StoreCommand) -> Result<(), CliError> {
    match command {
        StoreCommand::List(args) => list(args),
        StoreCommand::Log(args) => log(args),
        StoreCommand::Activate(args) => activate(args),
        StoreCommand::Confirm(args) => confirm(args),
        StoreCommand::Rollback(args) => rollback(args),
        StoreCommand::Verify(args) => verify(args),
        StoreCommand::Prune(args) => prune(args),
        StoreCommand::Add(args) => add(args),
    }
}

fn list(args: &StoreArgs) -> Result<(), CliError> {
    let output = Output::new(args.json);
    let store = fieldfit::store::store_info(&args.store)?;
    if output.is_json() {
        return store.versions.iter().try_for_each(|version| output.object(version));
    }
    output.text(versions_table(&store.versions))
}

/// One row a version.
pub fn versions_table(versions: &[VersionInfo]) -> Table {
    let mut table = table(&["version", "state", "", "size", "delta", "reason"], 6);
    for version in versions {
        table.add_row([
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

fn log(args: &StoreArgs) -> Result<(), CliError> {
    let output = Output::new(args.json);
    let events = open(args)?.history().map_err(fieldfit::Error::from)?;
    events.iter().try_for_each(|event| output.show(event, entry))
}

/// A line of the log. The clock is the writer's, and may have been anything.
fn entry(event: &HistoryEntry) -> String {
    let time = i64::try_from(event.time).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    let time = time.map_or_else(|| event.time.to_string(), |time| time.to_string());
    format!("{time}  {}", event.change)
}

fn activate(args: &StoreVersionArgs) -> Result<(), CliError> {
    let store = open(&args.store)?;
    store.activate(args.version).map_err(fieldfit::Error::from)?;
    show_active(&args.store, Some(args.version))
}

fn confirm(args: &StoreVersionArgs) -> Result<(), CliError> {
    let version = args.version;
    open(&args.store)?.confirm(version).map_err(fieldfit::Error::from)?;
    Output::new(args.store.json)
        .show(&Confirmed { confirmed: version }, |Confirmed { confirmed }| format!("version {confirmed} is confirmed"))
}

fn prune(args: &StorePruneArgs) -> Result<(), CliError> {
    let pruned = open(&args.store)?.prune(Keep::from(&args.keep)).map_err(fieldfit::Error::from)?;
    Output::new(args.store.json).show(
        &Removed { removed: pruned.versions, bytes: pruned.bytes },
        |Removed { removed, bytes: freed }| match removed.as_slice() {
            [] => "nothing is removed: see --keep and --keep-bytes".into(),
            removed => format!("removed {}, {}", versions(removed), bytes(*freed)),
        },
    )
}

/// Numbers of versions, as a sentence has them.
fn versions(numbers: &[u32]) -> String {
    let list = numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    format!("version{} {list}", if numbers.len() == 1 { "" } else { "s" })
}

fn rollback(args: &StoreArgs) -> Result<(), CliError> {
    let active = open(args)?.rollback().map_err(fieldfit::Error::from)?;
    show_active(args, active)
}

fn show_active(args: &StoreArgs, active: Option<u32>) -> Result<(), CliError> {
    Output::new(args.json).show(&Active { active }, |Active { active }| match active {
        Some(version) => format!("version {version} is active"),
        None => "the base is active".into(),
    })
}

fn verify(args: &StoreArgs) -> Result<(), CliError> {
    let output = Output::new(args.json);
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

fn add(args: &StoreAddArgs) -> Result<(), CliError> {
    let version = fieldfit::store::receive(&open(&args.store)?, &args.delta, args.replay)?;
    let store = args.store.store.display();
    Output::new(args.store.json).show(&Added { version }, |Added { version }| {
        format!("version {version} is a candidate; run it with\n  fieldfit store activate {store} {version}")
    })
}

fn open(args: &StoreArgs) -> Result<Store, CliError> {
    Ok(Store::open(&args.store).map_err(fieldfit::Error::from)?)
}
