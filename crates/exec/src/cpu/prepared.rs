//! Inference: norms folded once, nothing kept between layers.

use super::arena::Arena;
use super::fold::{Folded, Purpose};
use super::forward::Context;
use super::plan::{self, Plan};
use super::schedule::Schedule;
use super::threads::Threads;
use super::{Classifier, fold_all, head};
use crate::executor::{check_images, check_params};
use crate::{ExecError, Matrix, Prepared};
use fieldfit_model::{Images, Params};
use fieldfit_nets::Network;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A network with its weights folded for inference.
pub struct PreparedCpu {
    network: Network,
    threads: Threads,
    pub(super) folded: Vec<Folded>,
    pub(super) classifier: Classifier,
    pub(super) head_bias: Vec<f32>,
    /// What calls that have ended leave to the next ones: as many as threads have ever inferred at once.
    rooms: Mutex<Vec<Room>>,
}

/// All that a call needs beside the weights, for one size of batch.
struct Room {
    plan: Plan,
    schedule: Schedule,
    arena: Arena,
}

impl Room {
    fn new(network: &Network, images: &Images) -> Result<Self, ExecError> {
        let plan = Plan::new(network, images.height, images.width)?;
        let schedule = Schedule::inference(&plan, images.count);
        let mut arena = Arena::default();
        arena.fit(schedule.len());
        Ok(Self { plan, schedule, arena })
    }

    fn is_for(&self, images: &Images) -> bool {
        self.plan.is_for(images.height, images.width) && self.schedule.images() == images.count
    }
}

impl PreparedCpu {
    /// # Errors
    /// If the parameters don't fit the network, the threads can't be started, or an op has no kernel here.
    pub fn new(network: &Network, params: &Params<f32>, threads: usize) -> Result<Self, ExecError> {
        plan::check_supported(network)?;
        check_params(network, params)?;
        let mut folded = Vec::new();
        let threads = Threads::new(threads)?;
        fold_all(&threads, &Plan::new(network, 1, 1)?, params, Purpose::Inference, &mut folded);
        let mut classifier = Classifier::default();
        classifier.refill(&network.head, &params[network.head.weight], Purpose::Inference);
        Ok(Self {
            network: network.clone(),
            threads,
            folded,
            classifier,
            head_bias: params[network.head.bias].to_vec(),
            rooms: Mutex::default(),
        })
    }

    /// Bytes of activations that it holds.
    pub(super) fn arenas(&self) -> usize {
        self.rooms().iter().map(|room| room.arena.bytes()).sum()
    }

    fn rooms(&self) -> MutexGuard<'_, Vec<Room>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Prepared for PreparedCpu {
    fn logits(&self, images: &Images) -> Result<Matrix<f32>, ExecError> {
        check_images(images)?;
        let left = self.rooms().pop().filter(|room| room.is_for(images));
        let mut room = left.map_or_else(|| Room::new(&self.network, images), Ok)?;
        let Room { plan, schedule, arena } = &mut room;
        let context = Context {
            threads: &self.threads,
            plan,
            folded: &self.folded,
            schedule,
            images: &images.values,
            count: images.count,
        };
        self.threads.enter(|| context.infer(arena, |_, _| {}));
        let classes = self.network.head.classes;
        let mut values = vec![0.0; images.count * classes];
        let features = arena.get(context.source(schedule.features));
        head::classify(features, &self.classifier.forward, &self.head_bias, &mut values);
        self.rooms().push(room);
        Ok(Matrix { rows: images.count, columns: classes, values })
    }
}
