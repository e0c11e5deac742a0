//! Subcommands: publish, sync, watch, recall, status.

use crate::{
    CommandError,
    args::{
        AgentArgs, Arguments, Command, OfferArgs, PolicyArgs, PublishArgs, RecallArgs, StatusArgs, SyncArgs, WatchArgs,
    },
    carrier,
    output::{report, show},
};
use fieldfit::{
    Device, all_cores,
    data::{FolderOptions, Fractions, Purpose, open_dataset},
    delta::read_key,
    model::Base,
    store::{Keep, Store, unix_time},
};
use fieldfit_fleet::{
    Activate, Agent, Carrier, FleetStatus, Judge, LocalGate, Offer, OfferedDelta, Policy, Published, RobotStatus,
    SyncReport,
};

pub fn run(arguments: &Arguments) -> Result<(), CommandError> {
    let is_json = arguments.json;
    match &arguments.command {
        Command::Publish(args) => publish(args, is_json),
        Command::Sync(args) => sync(args, is_json),
        Command::Watch(args) => watch(args, is_json),
        Command::Recall(args) => recall(args, is_json),
        Command::Status(args) => status(args, is_json),
    }
}

/// Store and carrier of an agent.
struct Opened {
    store: Store,
    carrier: Box<dyn Carrier>,
}

impl Opened {
    fn new(args: &AgentArgs) -> Result<Self, CommandError> {
        let store = match &args.model {
            Some(model) => {
                let base = Base::open(model).map_err(fieldfit::Error::from)?;
                let store = Store::create_or_open(&args.store)?;
                store.fix_base(&base.id().0)?;
                store
            }
            None => Store::open(&args.store)?,
        };
        Ok(Self { store, carrier: carrier::open(&args.carrier)? })
    }

    fn agent(&self, args: &AgentArgs) -> Result<Agent<'_>, CommandError> {
        Ok(Agent::new(&self.store, &*self.carrier, args.robot.clone())?)
    }
}

impl From<&OfferArgs> for Offer {
    fn from(args: &OfferArgs) -> Self {
        let expires_at = args.expires.map(|time| unix_time() as u64 + time.as_secs());
        Self { share: args.share, expires_at }
    }
}

fn publish(args: &PublishArgs, is_json: bool) -> Result<(), CommandError> {
    let opened = Opened::new(&args.agent)?;
    let no_version = || CommandError::NoActiveVersion { store: args.agent.store.clone() };
    let version = args.version.map_or_else(|| opened.store.active()?.ok_or_else(no_version), Ok)?;
    let key = read_key(&args.key)?;
    let published = opened.agent(&args.agent)?.publish(version, &key, &Offer::from(&args.offer))?;
    Ok(show(is_json, &published, |published| vec![published_line(published)])?)
}

fn published_line(published: &Published) -> String {
    let Published { version, delta, packed, sent, .. } = published;
    let what = if *sent { "published" } else { "was there already" };
    format!("version {version} {what}: {delta}, {packed} bytes")
}

/// Gate of a robot with its policy.
fn gate(args: &PolicyArgs, agent: &AgentArgs) -> Result<(Option<LocalGate>, Policy), CommandError> {
    let mut policy = Policy::default();
    policy.activate = if args.never_activate { Activate::Never } else { Activate::IfGatePasses };
    policy.merge = args.merge;
    policy.share = args.share;
    policy.max_bytes = args.max_bytes;
    policy.max_total_bytes = args.max_total_bytes;
    policy.max_deltas = args.max_deltas;
    policy.keep = Keep::ALL.with_versions(args.keep);
    let (Some(images), Some(model)) = (&args.gate, &agent.model) else { return Ok((None, policy)) };
    let options = FolderOptions::new(Purpose::Adapt).with_group(args.group.clone());
    let images = open_dataset(images, &options, &mut |_| ())?;
    let device = args.threads.map_or_else(all_cores, |threads| Device::Cpu { threads: threads as usize });
    let gate = LocalGate::new(model, images, &Fractions::default(), device)?;
    if !args.merge {
        policy.classes = gate.classes().to_vec();
    }
    Ok((Some(gate), policy))
}

fn sync(args: &SyncArgs, is_json: bool) -> Result<(), CommandError> {
    let opened = Opened::new(&args.agent)?;
    let (gate, policy) = gate(&args.policy, &args.agent)?;
    let report = opened.agent(&args.agent)?.sync(&policy, gate.as_ref().map(|gate| gate as &dyn Judge))?;
    Ok(show(is_json, &report, report_lines)?)
}

fn report_lines(report: &SyncReport) -> Vec<String> {
    let mut lines = Vec::new();
    for stopped in &report.recalled {
        let then = stopped.now_active.map_or("the base".to_owned(), |version| format!("version {version}"));
        let ran = if stopped.was_active { format!("; {then} is active now") } else { String::new() };
        lines.push(format!("version {}: {}{ran}", stopped.version, stopped.reason));
    }
    for received in &report.received {
        let (version, signer, delta) = (received.version, &received.signer, received.delta);
        lines.push(format!("received version {version} from {signer}: {delta}, {} bytes", received.packed));
    }
    lines.extend(
        report.deferred.iter().map(|deferred| format!("left for later {}: {}", deferred.delta, deferred.reason)),
    );
    lines.extend(report.problems.iter().map(|problem| format!("not believed {}: {}", problem.key, problem.reason)));
    for judged in &report.judged {
        let what = judged.version.map_or("the mean".to_owned(), |version| format!("version {version}"));
        let verdict = if judged.accepted { "accepted" } else { "refused" };
        lines.push(format!("{what} {verdict}: {}", judged.reason));
    }
    lines.extend(
        report.waits_for.map(|version| format!("version {version} is on trial: nothing else is judged until then")),
    );
    lines.extend(report.activated.map(|version| format!("version {version} is active, on trial")));
    if lines.is_empty() {
        lines.push("nothing new".to_owned());
    }
    lines
}

fn watch(args: &WatchArgs, is_json: bool) -> Result<(), CommandError> {
    let opened = Opened::new(&args.agent)?;
    let (gate, policy) = gate(&args.policy, &args.agent)?;
    let agent = opened.agent(&args.agent)?;
    if let Some(key) = &args.key {
        for published in agent.publish_again(&read_key(key)?)? {
            show(is_json, &published, |published| vec![published_line(published)])?;
        }
    }
    loop {
        // What cannot be reached now may be later: a robot's agent does not give up.
        match agent.sync(&policy, gate.as_ref().map(|gate| gate as &dyn Judge)) {
            Ok(report) if report == quiet(&report) => {}
            Ok(report) => show(is_json, &report, report_lines)?,
            Err(error) => report(&error),
        }
        if let Err(error) = agent.report_status() {
            report(&error);
        }
        opened.carrier.wait(agent.base(), args.every);
    }
}

/// A report of a sync in which nothing happened.
fn quiet(report: &SyncReport) -> SyncReport {
    let mut quiet = SyncReport::default();
    quiet.deferred.clone_from(&report.deferred);
    quiet.problems.clone_from(&report.problems);
    quiet.waits_for = report.waits_for;
    quiet.active = report.active;
    quiet
}

fn recall(args: &RecallArgs, is_json: bool) -> Result<(), CommandError> {
    let opened = Opened::new(&args.agent)?;
    let key = read_key(&args.key)?;
    let recall = opened.agent(&args.agent)?.recall(&args.delta, &args.reason, &key)?;
    Ok(show(is_json, &recall, |recall| vec![format!("recalled {}: {}", recall.delta, recall.reason)])?)
}

fn status(args: &StatusArgs, is_json: bool) -> Result<(), CommandError> {
    let opened = Opened::new(&args.agent)?;
    let status = opened.agent(&args.agent)?.status()?;
    Ok(show(is_json, &status, status_lines)?)
}

fn status_lines(status: &FleetStatus) -> Vec<String> {
    let mut lines = Vec::new();
    for OfferedDelta { card, by, expired, .. } in &status.deltas {
        let (before, after) = (100.0 * card.before, 100.0 * card.after);
        let expired = if *expired { ", expired" } else { "" };
        lines.push(format!(
            "delta {} by {by}: {}, {} classes, {} images, gate {before:.1} % to {after:.1} % on {}, share {}{expired}",
            card.delta,
            card.method,
            card.classes.len(),
            card.images.train,
            card.images.gate,
            card.share
        ));
    }
    lines.extend(status.recalls.iter().map(|recall| format!("recall {}: {}", recall.delta, recall.reason)));
    for RobotStatus { robot, version, state, predictions, at, .. } in &status.robots {
        let runs = version.map_or("the base".to_owned(), |version| format!("version {version}, {state}"));
        let trial = predictions.map_or(String::new(), |count| format!(", {count} predictions"));
        lines.push(format!("robot {robot} (not signed): {runs}{trial}, at {at}"));
    }
    lines.extend(status.problems.iter().map(|problem| format!("not believed {}: {}", problem.key, problem.reason)));
    if lines.is_empty() {
        lines.push("the carrier has nothing of this base".to_owned());
    }
    lines
}
