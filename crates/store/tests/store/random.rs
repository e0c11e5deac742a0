//! Random operations and power cuts against a simple model: guards against a sequence of operations that nobody thought of.

use crate::common::{delta, store};
use fieldfit_durable::testing::{Fault, Simulated};
use fieldfit_store::{State, Store, StoreError};
use proptest::{prelude::*, sample::Index};

#[derive(Debug, Clone, Copy)]
enum Operation {
    Add { base: u8 },
    Activate(u32),
    Refuse(u32),
    RollBack,
}

/// What a store should be, the simple way: versions count from 1.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    base: Option<u8>,
    versions: Vec<State>,
    /// What ran, the active version last.
    ran: Vec<u32>,
    generation: u64,
}

impl Model {
    fn of(store: &Store) -> Self {
        assert!(store.verify().unwrap().is_empty());
        Self {
            base: store.base().unwrap().map(|base| base[0]),
            versions: store.versions().unwrap().into_iter().map(|entry| entry.state).collect(),
            ran: store.active().unwrap().into_iter().collect(),
            generation: store.generation().unwrap(),
        }
    }

    /// All of it that a reader sees.
    fn seen(&self) -> Self {
        Self { ran: self.ran.last().copied().into_iter().collect(), ..self.clone() }
    }

    fn state(&mut self, version: u32) -> Option<&mut State> {
        self.versions.get_mut(version.checked_sub(1)? as usize)
    }

    fn retire(&mut self) {
        if let Some(active) = self.ran.last().copied() {
            *self.state(active).unwrap() = State::Retired;
        }
    }

    /// Does what the store should do; `false` if it should refuse.
    fn does(&mut self, operation: Operation) -> bool {
        match operation {
            Operation::Add { base } => {
                let fits = *self.base.get_or_insert(base) == base;
                self.versions.extend(fits.then_some(State::Candidate));
                fits
            }
            Operation::Activate(version) => match self.state(version) {
                Some(State::Active) => true,
                Some(State::Candidate | State::Retired) => {
                    self.retire();
                    self.ran.retain(|other| *other != version);
                    self.ran.push(version);
                    *self.state(version).unwrap() = State::Active;
                    self.generation += 1;
                    true
                }
                _ => false,
            },
            Operation::Refuse(version) => match self.state(version) {
                Some(state @ (State::Candidate | State::Retired)) => {
                    *state = State::Refused { reason: "random".into() };
                    self.ran.retain(|other| *other != version);
                    true
                }
                _ => false,
            },
            Operation::RollBack => {
                self.retire();
                let ran = self.ran.pop().is_some();
                if let Some(active) = self.ran.last().copied() {
                    *self.state(active).unwrap() = State::Active;
                }
                self.generation += u64::from(ran);
                ran
            }
        }
    }
}

fn perform(store: &Store, operation: Operation) -> Result<(), StoreError> {
    match operation {
        Operation::Add { base } => store.add(&delta(base, 1)).map(drop),
        Operation::Activate(version) => store.activate(version),
        Operation::Refuse(version) => store.refuse(version, "random"),
        Operation::RollBack => store.rollback().map(drop),
    }
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        3 => prop_oneof![9 => Just(0), 1 => Just(1)].prop_map(|base| Operation::Add { base }),
        5 => (0..9_u32).prop_map(Operation::Activate),
        1 => (0..9_u32).prop_map(Operation::Refuse),
        3 => Just(Operation::RollBack),
    ]
}

/// When the power goes in an operation, if it does, and which of the disks that may be found is found.
fn power_cut() -> impl Strategy<Value = Option<(u64, Index)>> {
    proptest::option::weighted(0.3, (0..25_u64, any::<Index>()))
}

proptest! {
    /// A store that differs from the model after some sequence, or is neither old nor new after a power cut in one.
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
