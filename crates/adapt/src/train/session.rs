//! Training session: what a method computes with at each step.
//!
//! Tensors live either in the program's memory or on a device. A [`Session`] works with both and exposes no tensor; a
//! [`HostSession`] exposes them, and is only given to methods whose steps ask for it, and to every method after training.

use crate::error::AdaptError;
use crate::heads::add_base_head;
use crate::train::base_answers::BaseAnswers;
use crate::train::batch_source::{Batches, Cycle};
use crate::train::host_params::HostParams;
use crate::train::optimiser::{Clip, Optimiser};
use crate::train::target_scaling::TargetScaling;
use crate::train::training_state::TrainingState;
use fieldfit_data::Batch;
use fieldfit_exec::{
    Device, DeviceParams, ExecError, Executor, Objective, ParamStore, Passes, StateTensor, executor, softmax,
};
use fieldfit_model::Base;
use fieldfit_nets::Network;
use fieldfit_tensor::{Images, Matrix, Params};

/// Training session whose tensors live wherever the run keeps them: in the program's memory or on a device.
pub struct Session<'a> {
    /// Host session, where training runs in memory. While tensors are on a device, δ, weights and gradients here are
    /// those of the last [`Session::fetch`].
    pub(in crate::train) host: HostSession<'a>,
    /// The tensors on a device; `None` where training goes on in memory.
    pub(in crate::train) device: Option<Box<dyn DeviceParams<f32>>>,
}

/// Training session whose tensors live in the program's memory.
pub struct HostSession<'a> {
    /// δ and its start.
    pub state: TrainingState<'a, f32>,
    /// Executor of the network.
    pub executor: Box<dyn Executor<f32>>,
    /// θ, materialised. The trainable tensors are written anew before each training step.
    pub weights: Params<f32>,
    /// Gradients of the trainable tensors, as long as each one's δ.
    pub gradients: Params<f32>,
    /// Validation images, which never train weights: for radii and the like.
    pub validation: Cycle<'a>,
    /// The base's own answers to the training images as they are, where the method [asks](crate::Requirements::clean_predictions).
    pub(crate) clean_answers: Option<BaseAnswers>,
    /// Retained images, unlabelled, on which the base's predictions should stay as they are, if the options name some.
    pub retained: Option<Cycle<'a>>,
    /// Number of images that training processes in all, each as often as it is processed.
    pub trained_images: u64,
    /// Factor of each class, and scale of each value, in every loss over targets.
    pub target_scaling: TargetScaling,
    /// Number of the network's first stages that are frozen: batches hold their activations, and the executor computes
    /// the rest.
    pub(in crate::train) frozen: usize,
    pub(in crate::train) device: Device,
    pub(in crate::train) passes: Passes,
}

impl<'a> Session<'a> {
    /// Returns the network, under the new head.
    pub const fn network(&self) -> &Network {
        self.host.state.network()
    }

    /// Returns the base, θ0.
    pub const fn base(&self) -> &'a Base {
        self.host.state.base()
    }

    /// Returns the factor of each class, and the scale of each value, in every loss over targets.
    pub const fn target_scaling(&self) -> &TargetScaling {
        &self.host.target_scaling
    }

    /// Returns the next batch of validation images.
    ///
    /// # Errors
    /// If an image can't be loaded any more.
    pub fn next_validation_batch(&mut self) -> Result<Batch, AdaptError> {
        self.host.validation.next_batch()
    }

    /// Calls `act` with the store that δ and gradients live in.
    pub fn in_place<R>(&mut self, act: impl FnOnce(&mut dyn ParamStore<f32>) -> R) -> R {
        match &mut self.device {
            Some(device) => act(device.as_mut()),
            None => self.host.in_place(act),
        }
    }

    /// Computes the loss of a batch's targets at θ0 + δ, in nats, and its gradients, wherever δ lives.
    ///
    /// # Errors
    /// As [`HostSession::descend`].
    pub fn descend_labels(&mut self, batch: &Batch) -> Result<f64, AdaptError> {
        let Some(device) = &mut self.device else { return self.host.descend_labels(batch) };
        let objective = self.host.target_scaling.objective(&batch.targets);
        Ok(f64::from(device.gradient(&[], &batch.images, &objective)?))
    }

    /// One optimiser step by the gradients at hand.
    pub(in crate::train) fn step(
        &mut self,
        optimiser: &mut Optimiser<f32>,
        clip: Clip,
        rate: f64,
    ) -> Result<(), ExecError> {
        let HostSession { state, weights, gradients, .. } = &mut self.host;
        match &mut self.device {
            Some(device) => optimiser.step_on(device.as_mut(), clip.scale, rate)?,
            None => optimiser.step_scaled(&mut state.delta, weights, (gradients, clip.scale), rate),
        }
        Ok(())
    }

    /// Copies δ and the optimiser's state home from the device, where they live on one.
    pub(in crate::train) fn fetch(&mut self, optimiser: &mut Optimiser<f32>) -> Result<(), ExecError> {
        let Some(device) = &self.device else { return Ok(()) };
        device.fetch(StateTensor::Delta, &mut self.host.state.delta)?;
        optimiser.fetch(device.as_ref())
    }

    /// Copies δ and the optimiser's state to the device, where they are to live on one.
    pub(in crate::train) fn put(&mut self, optimiser: &Optimiser<f32>) -> Result<(), ExecError> {
        let Some(device) = &mut self.device else { return Ok(()) };
        device.put(StateTensor::Delta, &self.host.state.delta)?;
        optimiser.put(device.as_mut())
    }
}

impl HostSession<'_> {
    /// Calls `act` with δ and gradients as a store.
    pub fn in_place<R>(&mut self, act: impl FnOnce(&mut dyn ParamStore<f32>) -> R) -> R {
        let Self { state, executor, weights, gradients, .. } = self;
        act(&mut HostParams { state, executor: executor.as_mut(), weights, gradients })
    }

    /// Computes the objective's mean over the images at `weights`, in nats. Its gradients are in `gradients`: of each
    /// trainable tensor and nothing else, however many heads there are.
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

    /// Computes the loss of a batch's targets at θ0 + δ, in nats, and its gradients.
    ///
    /// # Errors
    /// As [`HostSession::descend`].
    pub fn descend_labels(&mut self, batch: &Batch) -> Result<f64, AdaptError> {
        self.descend_labels_at(1.0, batch)
    }

    /// The same at θ0 + `share`·δ, with the gradients of δ.
    pub(crate) fn descend_labels_at(&mut self, share: f32, batch: &Batch) -> Result<f64, AdaptError> {
        self.merge_at(share);
        let scaling = self.target_scaling.clone();
        self.descend_at(share, &batch.images, &scaling.objective(&batch.targets))
    }

    /// Writes θ0 + `share`·δ to `weights`.
    pub(crate) fn merge_at(&mut self, share: f32) {
        self.state.merge_projected_into(&mut self.weights, |_, ratios| ratios.push(share));
    }

    /// As [`HostSession::descend`] at weights that [`HostSession::merge_at`] wrote, with the gradients of δ.
    pub(crate) fn descend_at(
        &mut self,
        share: f32,
        images: &Images,
        objective: &dyn Objective<f32>,
    ) -> Result<f64, AdaptError> {
        let loss = self.descend(images, objective)?;
        if share < 1.0 {
            self.gradients.buffers_mut().iter_mut().flatten().for_each(|slope| *slope *= share);
        }
        Ok(loss)
    }

    /// Computes the logits of each image, or pixel of a dense network, under the new head at `weights`, however many heads there
    /// are.
    ///
    /// # Errors
    /// As [`HostSession::descend`].
    pub fn logits(&mut self, images: &Images) -> Result<Matrix<f32>, ExecError> {
        let (logits, classes) = (self.executor.logits(&self.weights, images)?, self.state.network().head.classes);
        if logits.columns == classes {
            return Ok(logits);
        }
        let values = (0..logits.rows).flat_map(|row| &logits.row(row)[..classes]).copied().collect();
        Ok(Matrix { rows: logits.rows, columns: classes, values })
    }

    /// Appends the base's own head to the new one, if it isn't there yet: from here on, the executor answers under both,
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
        self.executor = executor(self.device, &both.after(self.frozen).map_err(ExecError::from)?, self.passes)?;
        Ok(())
    }

    /// Asks the base about the images of these batches, whose head is beside the new one. Leaves `weights` at θ0.
    ///
    /// # Errors
    /// If images cannot be loaded, or the device fails.
    pub(crate) fn ask_base(&mut self, batches: Batches) -> Result<BaseAnswers, AdaptError> {
        let mut answers = BaseAnswers::default();
        for batch in batches {
            let Batch { images, samples, .. } = batch?;
            let rows = self.base_answers(&images)?;
            answers.extend(samples, &rows);
        }
        Ok(answers)
    }

    /// Computes the base's probabilities of its own classes, image after image and pixel after pixel, under the head that
    /// [`HostSession::add_base_head`] put there. Leaves `weights` at θ0.
    ///
    /// # Errors
    /// As [`HostSession::descend`].
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
