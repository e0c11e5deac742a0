//! Inference: norms folded once, nothing kept between layers.

use super::arena::Arena;
use super::fold::Folded;
use super::forward::Context;
use super::plan::{self, Plan};
use super::schedule::Schedule;
use super::threads::Threads;
use super::{fold_all, head};
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
    pub(super) head_weight: Vec<f32>,
    pub(super) head_bias: Vec<f32>,
    /// The memory of calls that have ended, for the next ones: as many as threads have ever inferred at once.
    arenas: Mutex<Vec<Arena>>,
}

impl PreparedCpu {
    /// # Errors
    /// If the parameters don't fit the network, the threads can't be started, or an op has no kernel here.
    pub fn new(network: &Network, params: &Params<f32>, threads: usize) -> Result<Self, ExecError> {
        plan::check_supported(network)?;
        check_params(network, params)?;
        let mut folded = Vec::new();
        fold_all(&Plan::new(network, 1, 1)?, params, &mut folded);
        Ok(Self {
            network: network.clone(),
            threads: Threads::new(threads)?,
            folded,
            head_weight: params[network.head.weight].to_vec(),
            head_bias: params[network.head.bias].to_vec(),
            arenas: Mutex::default(),
        })
    }

    pub(super) fn arenas(&self) -> MutexGuard<'_, Vec<Arena>> {
        self.arenas.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Prepared for PreparedCpu {
    fn logits(&self, images: &Images) -> Result<Matrix<f32>, ExecError> {
        check_images(images)?;
        let plan = Plan::new(&self.network, images.height, images.width)?;
        let schedule = Schedule::inference(&plan, images.count);
        let mut arena = self.arenas().pop().unwrap_or_default();
        arena.fit(schedule.len());
        let context = Context {
            threads: &self.threads,
            plan: &plan,
            folded: &self.folded,
            schedule: &schedule,
            images: &images.values,
            count: images.count,
        };
        context.infer(&mut arena, |_, _| {});
        let classes = self.network.head.classes;
        let mut values = vec![0.0; images.count * classes];
        let features = arena.get(context.source(schedule.features));
        head::classify(features, &self.head_weight, &self.head_bias, &mut values);
        self.arenas().push(arena);
        Ok(Matrix { rows: images.count, columns: classes, values })
    }
}
