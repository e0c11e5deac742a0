//! What a method works with while it trains.

use crate::AdaptError;
use crate::evaluate::add_base_head;
use crate::feed::Cycle;
use crate::host::HostParams;
use crate::state::TrainingState;
use crate::{Clip, Optimiser};
use fieldfit_data::Batch;
use fieldfit_exec::{
    Device, DeviceParams, ExecError, Executor, Objective, ParamStore, Passes, StateTensor, executor, softmax,
};
use fieldfit_tensor::{Images, Matrix, Params};

/// The moving parts of a run.
pub struct Session<'a> {
    /// δ and where it starts.
    pub state: TrainingState<'a, f32>,
    /// Computes the network.
    pub executor: Box<dyn Executor<f32>>,
    /// Where θ is materialised. The trainable tensors are written anew before each training step.
    pub weights: Params<f32>,
    /// Gradients of the trainable tensors, as long as each one's δ.
    pub gradients: Params<f32>,
    /// Images that never train weights: for radii and the like.
    pub validation: Cycle<'a>,
    /// Images without labels, on which the base's predictions are to stay what they are, if the options name some.
    pub retained: Option<Cycle<'a>>,
    /// How many images training looks at in all, each as often as it is looked at.
    pub trained_images: u64,
    /// The place on a device where training goes on; nothing where it goes on in `state` itself. While there is one, what
    /// `state`, `weights` and `gradients` hold is of the last [`Session::fetch`].
    pub(crate) resident: Option<Box<dyn DeviceParams<f32>>>,
    /// How many of the network's first stages are frozen: batches hold what those made of the images, and the executor
    /// computes the rest.
    pub(crate) frozen: usize,
    pub(crate) device: Device,
    pub(crate) passes: Passes,
}

impl Session<'_> {
    /// Where δ lives and gradients are taken.
    pub fn in_place<R>(&mut self, act: impl FnOnce(&mut dyn ParamStore<f32>) -> R) -> R {
        let Self { state, executor, weights, gradients, resident, .. } = self;
        match resident {
            Some(resident) => act(resident.as_mut()),
            None => act(&mut HostParams { state, executor: executor.as_mut(), weights, gradients }),
        }
    }

    /// One optimiser step by the gradients at hand.
    pub(crate) fn step(&mut self, optimiser: &mut Optimiser<f32>, clip: Clip, rate: f64) -> Result<(), ExecError> {
        let Self { state, weights, gradients, resident, .. } = self;
        match resident {
            Some(resident) => optimiser.step_on(resident.as_mut(), clip.scale, rate)?,
            None => optimiser.step_scaled(&mut state.delta, weights, (gradients, clip.scale), rate),
        }
        Ok(())
    }

    /// Takes δ and the optimiser's state home from the device, where they live on one.
    pub(crate) fn fetch(&mut self, optimiser: &mut Optimiser<f32>) -> Result<(), ExecError> {
        let Some(resident) = &self.resident else { return Ok(()) };
        resident.fetch(StateTensor::Delta, &mut self.state.delta)?;
        optimiser.fetch(resident.as_ref())
    }

    /// Takes δ and the optimiser's state to the device, where they are to live on one.
    pub(crate) fn put(&mut self, optimiser: &Optimiser<f32>) -> Result<(), ExecError> {
        let Some(resident) = &mut self.resident else { return Ok(()) };
        resident.put(StateTensor::Delta, &self.state.delta)?;
        optimiser.put(resident.as_mut())
    }

    /// The objective's mean over the images at `weights`, in nats. Its gradients are in `gradients`: of each trainable tensor
    /// and nothing else, however many heads there are.
    ///
    /// # Errors
    /// If the images don't fit the network, or the device fails.
    pub fn descend(&mut self, images: &Images, objective: &dyn Objective<f32>) -> Result<f64, AdaptError> {
        let Self { state, executor, weights, gradients, .. } = self;
        let head = state.network().head;
        let trained = [head.weight, head.bias].into_iter().filter(|&id| state.delta.contains(id));
        // What a buffer has had room for is not allocated again.
        for id in trained.clone() {
            gradients.buffers_mut()[id.index()].resize(executor.network().tensor(id).len(), 0.0);
        }
        let loss = executor.gradient(weights, images, objective, gradients)?;
        trained.for_each(|id| gradients.buffers_mut()[id.index()].truncate(state.delta[id].len()));
        Ok(f64::from(loss))
    }

    /// The cross-entropy of a batch's labels at θ0 + δ, and its gradients, wherever δ lives.
    ///
    /// # Errors
    /// As [`Session::descend`].
    pub fn descend_labels(&mut self, batch: &Batch) -> Result<f64, AdaptError> {
        if let Some(resident) = &mut self.resident {
            return Ok(f64::from(resident.gradient(&[], &batch.images, &batch.labels)?));
        }
        self.state.merge_into(&mut self.weights);
        self.descend(&batch.images, &batch.labels)
    }

    /// The logits of each image under the new head at `weights`, however many heads there are.
    ///
    /// # Errors
    /// As [`Session::descend`].
    pub fn logits(&mut self, images: &Images) -> Result<Matrix<f32>, ExecError> {
        let (logits, classes) = (self.executor.logits(&self.weights, images)?, self.state.network().head.classes);
        if logits.columns == classes {
            return Ok(logits);
        }
        let values = (0..logits.rows).flat_map(|row| &logits.row(row)[..classes]).copied().collect();
        Ok(Matrix { rows: logits.rows, columns: classes, values })
    }

    /// Puts the base's own head behind the new one, if it isn't there yet: from here on, the executor answers under both,
    /// the new classes first, and `weights` holds both.
    ///
    /// # Errors
    /// If the device can't.
    pub(crate) fn add_base_head(&mut self) -> Result<(), AdaptError> {
        let network = self.state.network();
        if self.executor.network().head.classes > network.head.classes {
            return Ok(());
        }
        let both = add_base_head(network, &mut self.weights, self.state.base());
        self.executor = executor(self.device, &both.after(self.frozen), self.passes)?;
        Ok(())
    }

    /// The base's probabilities of its own classes, image after image, under the head that [`Session::add_base_head`] put
    /// there. Leaves `weights` at θ0.
    ///
    /// # Errors
    /// As [`Session::descend`].
    pub(crate) fn base_answers(&mut self, images: &Images) -> Result<Vec<f32>, AdaptError> {
        let Self { state, executor, weights, .. } = self;
        state.merge_projected_into(weights, |_, ratios| ratios.push(0.0));
        let (logits, classes) = (executor.logits(weights, images)?, state.network().head.classes);
        let mut answers = Vec::with_capacity(logits.rows * (logits.columns - classes));
        for row in 0..logits.rows {
            let start = answers.len();
            answers.extend_from_slice(&logits.row(row)[classes..]);
            softmax(&mut answers[start..]);
        }
        Ok(answers)
    }
}
