//! Model-based test: random operations and power cuts, against a simple model of the store.

use crate::common::{delta, store};
use fieldfit_durable::testing::{Fault, Simulated};
use fieldfit_store::{Finding, Keep, Problem, Store, StoreError, TrialRules, VersionState};
use proptest::{prelude::*, sample::Index};
use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy)]
enum Operation {
    Add {
        base: u8,
    },
    Activate(u32),
    Confirm(u32),
    Refuse(u32),
    RollBack,
    /// A process starts, in the system's first or second start.
    Start {
        boot: bool,
    },
    /// The active version completes predictions.
    Complete(u32),
    Quarantine(u32),
    Prune {
        keep: u32,
    },
}

const RULES: TrialRules = TrialRules::new(4, 2);

/// What a version is, the simple way.
#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Candidate,
    /// Predictions, and open starts in the system's second start or its first.
    Trial(u32, u32, bool),
    Confirmed,
    Retired,
    Barred,
}

/// What a store should be, the simple way: versions count from 1.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    /// The base that the first activation fixed.
    base: Option<u8>,
    /// What each version is made for.
    bases: BTreeMap<u32, u8>,
    next: u32,
    versions: BTreeMap<u32, Kind>,
    /// What ran, the active version last.
    ran: Vec<u32>,
    generation: u64,
}

impl Model {
    fn of(store: &Store) -> Self {
        let is_foreign = |finding: &Finding| matches!(finding.problem, Problem::OtherBase { .. });
        assert!(store.verify().unwrap().iter().all(is_foreign));
        let kind = |state| match state {
            VersionState::Candidate => Kind::Candidate,
            VersionState::Trial(trial) => Kind::Trial(trial.predictions, trial.starts, trial.boot == Some(boot(true))),
            VersionState::Confirmed => Kind::Confirmed,
            VersionState::Retired => Kind::Retired,
            _ => Kind::Barred,
        };
        let versions = store.versions().unwrap();
        Self {
            base: store.base().unwrap().map(|base| base[0]),
            bases: BTreeMap::new(),
            next: 0,
            versions: versions.into_iter().map(|entry| (entry.version, kind(entry.state))).collect(),
            ran: store.active().unwrap().into_iter().collect(),
            generation: store.generation().unwrap(),
        }
    }

    /// All of it that a reader sees.
    fn seen(&self) -> Self {
        let bases = BTreeMap::new();
        Self { next: 0, bases, ran: self.ran.last().copied().into_iter().collect(), ..self.clone() }
    }

    /// Whether a version is made for another base than the fixed one.
    fn is_foreign(&self, version: u32) -> bool {
        self.base.is_some_and(|base| self.bases.get(&version).is_some_and(|its| *its != base))
    }

    fn kind(&self, version: u32) -> Option<&Kind> {
        self.versions.get(&version)
    }

    fn run(&mut self) {
        self.generation += 1;
        if let Some(active) = self.ran.last()
            && self.versions[active] != Kind::Confirmed
        {
            self.versions.insert(*active, Kind::Trial(0, 0, false));
        }
    }

    fn fall_back(&mut self, version: u32) {
        self.ran.pop();
        self.versions.insert(version, Kind::Barred);
        while self.ran.last().is_some_and(|last| self.versions[last] != Kind::Confirmed) {
            self.ran.pop();
        }
        self.run();
    }

    /// Does what the store should do; `false` if it should refuse.
    fn does(&mut self, operation: Operation) -> bool {
        let active = self.ran.last().copied();
        match operation {
            Operation::Add { base } => {
                let fits = self.base.is_none_or(|fixed| fixed == base);
                if fits {
                    self.next += 1;
                    self.bases.insert(self.next, base);
                    self.versions.insert(self.next, Kind::Candidate);
                }
                fits
            }
            Operation::Activate(version) => match self.kind(version) {
                _ if active == Some(version) => true,
                _ if self.is_foreign(version) => false,
                Some(Kind::Candidate | Kind::Retired | Kind::Confirmed) => {
                    if let Some(active) = active
                        && self.versions[&active] != Kind::Confirmed
                    {
                        self.versions.insert(active, Kind::Retired);
                    }
                    self.base = self.base.or(self.bases.get(&version).copied());
                    self.ran.retain(|other| *other != version);
                    self.ran.push(version);
                    self.run();
                    true
                }
                _ => false,
            },
            Operation::Confirm(version) => match self.kind(version) {
                Some(Kind::Trial(..) | Kind::Confirmed) => {
                    self.versions.insert(version, Kind::Confirmed);
                    true
                }
                _ => false,
            },
            Operation::Refuse(version) => match self.kind(version) {
                Some(Kind::Candidate | Kind::Retired | Kind::Confirmed) if active != Some(version) => {
                    self.versions.insert(version, Kind::Barred);
                    self.ran.retain(|other| *other != version);
                    true
                }
                _ => false,
            },
            Operation::RollBack => match self.ran.pop() {
                Some(from) => {
                    self.versions.insert(from, Kind::Retired);
                    self.run();
                    true
                }
                None => false,
            },
            Operation::Quarantine(version) => {
                if active == Some(version) {
                    self.fall_back(version);
                }
                true
            }
            Operation::Start { boot } => {
                let Some(active) = active else { return true };
                if let Kind::Trial(predictions, starts, of) = self.versions[&active] {
                    let starts = if of == boot { starts } else { 0 };
                    if starts >= RULES.starts {
                        self.fall_back(active);
                    } else {
                        self.versions.insert(active, Kind::Trial(predictions, starts + 1, boot));
                    }
                }
                true
            }
            Operation::Complete(count) => {
                if let Some(active) = active
                    && let Kind::Trial(predictions, _, boot) = self.versions[&active]
                {
                    let predictions = predictions + count;
                    let is_confirmed = predictions >= RULES.predictions;
                    let kind = if is_confirmed { Kind::Confirmed } else { Kind::Trial(predictions, 0, boot) };
                    self.versions.insert(active, kind);
                }
                true
            }
            Operation::Prune { keep } => {
                self.prune(keep);
                true
            }
        }
    }

    fn prune(&mut self, keep: u32) {
        let confirmed = self.ran.iter().rev().find(|version| self.versions[version] == Kind::Confirmed);
        let newest = self.versions.keys().rev().find(|version| !self.is_foreign(**version));
        let stay = [self.ran.last(), confirmed, newest].map(|version| version.copied());
        for worth in 0..3 {
            for (version, kind) in self.versions.clone() {
                let its_worth = match kind {
                    _ if self.is_foreign(version) => 0,
                    Kind::Barred => 0,
                    Kind::Retired if !self.ran.contains(&version) => 1,
                    _ => 2,
                };
                if its_worth == worth && !stay.contains(&Some(version)) && self.versions.len() > keep as usize {
                    self.versions.remove(&version);
                    self.ran.retain(|other| *other != version);
                }
            }
        }
    }
}

fn boot(second: bool) -> String {
    if second { "second".into() } else { "first".into() }
}

fn perform(store: &Store, operation: Operation) -> Result<(), StoreError> {
    match operation {
        Operation::Add { base } => store.add(&delta(base, 1)).map(drop),
        Operation::Activate(version) => store.activate(version),
        Operation::Confirm(version) => store.confirm(version),
        Operation::Refuse(version) => store.refuse(version, "random"),
        Operation::RollBack => store.rollback().map(drop),
        Operation::Start { boot: second } => store.start(RULES, Some(&boot(second))).map(drop),
        Operation::Complete(predictions) => match store.active()? {
            Some(version) => store.completed(version, predictions, RULES).map(drop),
            None => Ok(()),
        },
        Operation::Quarantine(version) => store.quarantine(version, "random").map(drop),
        Operation::Prune { keep } => store.prune(Keep::ALL.with_versions(Some(keep))).map(drop),
    }
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => prop_oneof![9 => Just(0), 1 => Just(1)].prop_map(|base| Operation::Add { base }),
        8 => (0..9_u32).prop_map(Operation::Activate),
        2 => (0..9_u32).prop_map(Operation::Confirm),
        2 => (0..9_u32).prop_map(Operation::Refuse),
        4 => Just(Operation::RollBack),
        6 => any::<bool>().prop_map(|boot| Operation::Start { boot }),
        3 => (1..4_u32).prop_map(Operation::Complete),
        1 => (0..9_u32).prop_map(Operation::Quarantine),
        2 => (1..5_u32).prop_map(|keep| Operation::Prune { keep }),
    ]
}

/// When the power goes in an operation, if it does, and which of the disks that may be found is found.
fn power_cut() -> impl Strategy<Value = Option<(u64, Index)>> {
    proptest::option::weighted(0.3, (0..25_u64, any::<Index>()))
}

proptest! {
    /// Catches: a store that differs from the model after some sequence, or is neither old nor new after a power cut in one.
    #[test]
    fn a_store_is_what_was_done_to_it(steps in proptest::collection::vec((operation(), power_cut()), 1..40)) {
        let mut disk = Simulated::new();
        let mut opened = store(&disk).unwrap();
        let mut model = Model::default();
        for (operation, cut) in steps {
            let mut next = model.clone();
            let allowed = next.does(operation);
            let next = if allowed { next } else { model.clone() };
            let Some((skipped, index)) = cut else {
                prop_assert_eq!(perform(&opened, operation).is_ok(), allowed, "{:?}", operation);
                model = next;
                prop_assert_eq!(Model::of(&opened), model.seen());
                continue;
            };
            disk.fail_after(skipped, Fault::Stop);
            let done = perform(&opened, operation).is_ok();
            disk = index.get(&disk.after_power_cut()).clone();
            opened = store(&disk).unwrap();
            let found = Model::of(&opened);
            prop_assert!(found == next.seen() || (!done && found == model.seen()), "{:?}: {:?}", operation, found);
            if found == next.seen() {
                model = next;
            }
        }
    }
}
