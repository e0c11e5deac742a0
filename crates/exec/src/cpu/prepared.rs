//! Inference: norms folded once, nothing kept between layers.

use super::arena::Arena;
use super::fold::{Folded, Purpose};
use super::forward::Context;
use super::plan::{self, Plan};
use super::schedule::Schedule;
use super::threads::Threads;
use super::{Classifier, fold_all, head};
use crate::executor::{check_images, check_params};
use crate::memory::Size;
use crate::{ExecError, Prepared};
use fieldfit_nets::Network;
use fieldfit_tensor::{Images, Params};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A network with its weights folded for inference.
pub struct PreparedCpu {
    network: Network,
    threads: Threads,
    pub(super) folded: Vec<Folded>,
    pub(super) classifier: Classifier,
    pub(super) head_bias: Vec<f32>,
    /// What calls that have ended leave to the next ones: as many as threads have ever inferred at once.
    spare: Mutex<Vec<Workspace>>,
}

/// What one call works with: the network laid out for a size of batch, and the memory for it.
pub(super) struct Workspace {
    size: Size,
    plan: Plan,
    schedule: Schedule,
    pub(super) arena: Arena,
}

impl PreparedCpu {
    /// # Errors
    /// If the parameters don't fit the network, the threads can't be started, or an op has no kernel here.
    pub fn new(network: &Network, params: &Params<f32>, threads: usize) -> Result<Self, ExecError> {
        plan::check_supported(network)?;
        check_params(network, params)?;
        let mut folded = Vec::new();
        let threads = Threads::new(threads)?;
        fold_all(&threads, network, params, Purpose::Inference, &mut folded);
        let mut classifier = Classifier::default();
        classifier.refill(&network.head, &params[network.head.weight], Purpose::Inference);
        Ok(Self {
            network: network.clone(),
            threads,
            folded,
            classifier,
            head_bias: params[network.head.bias].to_vec(),
            spare: Mutex::default(),
        })
    }

    pub(super) fn spare(&self) -> MutexGuard<'_, Vec<Workspace>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Workspace {
    /// For images of that size, with the arena of an earlier one.
    fn new(network: &Network, size: Size, mut arena: Arena) -> Result<Self, ExecError> {
        let plan = Plan::new(network, size.height, size.width)?;
        let schedule = Schedule::inference(&plan, size.batch);
        arena.fit(schedule.len());
        Ok(Self { size, plan, schedule, arena })
    }
}

impl Prepared for PreparedCpu {
    fn classes(&self) -> usize {
        self.network.head.classes
    }

    fn logits_into(&self, images: &Images, logits: &mut Vec<f32>) -> Result<(), ExecError> {
        check_images(&self.network, images)?;
        let size = Size { batch: images.count, height: images.height, width: images.width };
        let spare = self.spare().pop();
        let mut workspace = match spare {
            Some(workspace) if workspace.size == size => workspace,
            other => Workspace::new(&self.network, size, other.map(|other| other.arena).unwrap_or_default())?,
        };
        let Workspace { plan, schedule, arena, .. } = &mut workspace;
        let context = Context {
            threads: &self.threads,
            plan,
            folded: &self.folded,
            schedule,
            images: &images.values,
            count: images.count,
        };
        self.threads.enter(|| context.infer(arena, |_, _| {}));
        logits.resize(images.count * self.classes(), 0.0);
        let features = arena.get(context.source(schedule.features));
        head::classify(features, &self.classifier.forward, &self.head_bias, logits);
        self.spare().push(workspace);
        Ok(())
    }
}
