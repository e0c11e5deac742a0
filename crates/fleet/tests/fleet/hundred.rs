//! Test of a hundred robots in one process, of two worlds, with hostile ones among them, on a carrier that fails now and then.

use crate::common::{Faulty, Robot, World, ground, key};
use fieldfit::{
    Error,
    store::{Store, VersionState},
};
use fieldfit_delta::{Delta, compression::compress};
use fieldfit_fleet::{Carrier, Digest, FleetError, Judge, Key, LocalGate, Measurement, Offer, Policy, Score};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

const ROBOTS: usize = 100;
const THREADS: usize = 4;
const ROUNDS: usize = 3;

/// Gate of a world that remembers what it measured: fifty robots have the same images.
struct SharedGate {
    gate: LocalGate,
    measured: Mutex<BTreeMap<Option<Digest>, Measurement>>,
}

impl SharedGate {
    fn new(world: World) -> Self {
        Self { gate: ground().gate(world), measured: Mutex::default() }
    }
}

impl Judge for SharedGate {
    fn measure(&self, delta: Option<&Path>) -> Result<Measurement, Error> {
        let content = delta.map(|path| Digest::of(&fs::read(path).unwrap()));
        if let Some(measured) = self.measured.lock().unwrap().get(&content) {
            return Ok(measured.clone());
        }
        let measured = self.gate.measure(delta)?;
        self.measured.lock().unwrap().insert(content, measured.clone());
        Ok(measured)
    }

    fn floor(&self) -> Score {
        self.gate.floor()
    }

    fn merge(&self, deltas: &[PathBuf], out: &Path) -> Result<(), Error> {
        self.gate.merge(deltas, out)
    }
}

struct Member {
    robot: Robot,
    world: World,
}

/// Which of the fixture's deltas a robot contributes, by its number.
fn contribute(index: usize, member: &Member, carrier: &Faulty) -> Result<Option<Digest>, FleetError> {
    let (seed, signer) = (index as u64, index as u8 + 1);
    let publish = |delta: &[u8]| {
        let version = member.robot.learned(delta, signer);
        let agent = member.robot.agent(carrier);
        agent.publish(version, &key(signer), &Offer::default()).map(|published| Some(published.delta))
    };
    match index % 10 {
        0 | 1 => publish(&ground().delta(member.world, seed)),
        2 => publish(&ground().wrong(seed)),
        3 => {
            // Unsigned, and signed by a stranger, put past every check of a publisher.
            let base = Digest(ground().base_id());
            for file in
                [ground().delta(member.world, seed), key(200).sign(&ground().delta(member.world, seed), 1).unwrap()]
            {
                carrier.put(&Key::Delta(base, Digest::of(&file)), &compress(&file))?;
                carrier.put(
                    &Key::Card(base, Digest::of(&file)),
                    b"{\"payload\":\"\",\"payloadType\":\"\",\"signatures\":[]}",
                )?;
            }
            Ok(None)
        }
        _ => Ok(None),
    }
}

fn sync_until_done(member: &Member, carrier: &Faulty, gate: &SharedGate, accepted: &AtomicUsize) {
    let mut policy = Policy::default();
    policy.max_deltas = 4;
    for _ in 0..ROUNDS {
        match member.robot.agent(carrier).sync(&policy, Some(gate)) {
            Ok(report) => drop(accepted.fetch_add(report.received.len(), Ordering::Relaxed)),
            Err(FleetError::Carrier(_)) => {}
            Err(error) => panic!("{}: {error}", member.robot.id),
        }
        // Its frames go well.
        if let Some(version) = member.robot.store.active().unwrap() {
            member.robot.store.confirm(version).unwrap();
        }
    }
}

/// Returns whether what a robot runs is a version that its own gate accepts.
fn runs_what_its_gate_passed(store: &Store, gate: &SharedGate) -> bool {
    let Some(version) = store.active().unwrap() else { return false };
    let measured = gate.measure(Some(&store.delta_path(version))).unwrap();
    matches!(measured, Measurement::Scored(score) if score.accuracy > gate.floor().accuracy)
}

/// Catches: an unsigned delta in any store, a robot that runs what its own gate refuses, a delta that is lost, deadlocks, and
/// robots that disturb each other.
#[test]
fn a_hundred_robots_end_on_what_their_own_gates_passed() {
    let (carrier, accepted) = (Faulty::new(), AtomicUsize::new(0));
    let gates = [SharedGate::new(World::Usual), SharedGate::new(World::Swapped)];
    let gate = |world: World| &gates[usize::from(world == World::Swapped)];
    let world = |index: usize| if index.is_multiple_of(2) { World::Usual } else { World::Swapped };
    let members: Vec<Member> =
        (0..ROBOTS).map(|index| Member { robot: Robot::new(&format!("robot-{index}")), world: world(index) }).collect();
    let started = Instant::now();
    let published: Vec<Digest> =
        members.iter().enumerate().filter_map(|(index, member)| contribute(index, member, &carrier).unwrap()).collect();
    thread::scope(|scope| {
        for part in members.chunks(ROBOTS / THREADS) {
            scope.spawn(|| {
                part.iter().for_each(|member| sync_until_done(member, &carrier, gate(member.world), &accepted))
            });
        }
        // The carrier is away for moments.
        scope.spawn(|| {
            for pause in [30, 300, 700] {
                thread::sleep(std::time::Duration::from_millis(pause));
                carrier.faults().fail_after = Some(0);
                thread::sleep(std::time::Duration::from_millis(20));
                carrier.faults().fail_after = None;
            }
        });
    });
    // Whoever was cut off in its last round has another.
    members.iter().for_each(|member| sync_until_done(member, &carrier, gate(member.world), &accepted));

    for member in &members {
        for entry in member.robot.store.versions().unwrap() {
            let file = member.robot.store.read(entry.version).unwrap();
            let signature = *Delta::parse(&file).unwrap().signature().expect("nothing unsigned is accepted");
            assert_ne!(signature.key, key(200).public(), "{} has a stranger's delta", member.robot.id);
            assert!(!matches!(entry.state, VersionState::Trial(_)), "{} was confirmed", member.robot.id);
        }
        assert!(
            runs_what_its_gate_passed(&member.robot.store, gate(member.world)),
            "{} runs {:?}: {:?}",
            member.robot.id,
            member.robot.store.active(),
            member.robot.store.versions(),
        );
    }
    let operations = carrier.faults().operations.clone();
    eprintln!(
        "{ROBOTS} robots, {} published, {} received, in {:.1} s: {operations:?}",
        published.len(),
        accepted.load(Ordering::Relaxed),
        started.elapsed().as_secs_f64()
    );
}
