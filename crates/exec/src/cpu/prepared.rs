//! Inference: norms folded once, nothing kept between layers.

use super::buffers::Buffers;
use super::fold::{Folded, Purpose};
use super::product::Packed;
use super::forward::{self, Keep};
use super::plan::{self, Plan};
use super::threads::Threads;
use super::{fold_all, head, pack_head};
use crate::executor::{check_images, check_params};
use crate::{ExecError, Matrix, Prepared};
use fieldfit_model::{Images, Params};
use fieldfit_nets::Network;
use std::sync::{Mutex, PoisonError};

/// A network with its weights folded for inference.
pub struct PreparedCpu {
    network: Network,
    threads: Threads,
    folded: Vec<Folded>,
    head_weight: Packed,
    head_bias: Vec<f32>,
    /// Buffers of calls that have ended, for the next ones.
    buffers: Mutex<Buffers>,
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
        Ok(Self {
            network: network.clone(),
            threads,
            folded,
            head_weight: pack_head(&network.head, &params[network.head.weight]),
            head_bias: params[network.head.bias].to_vec(),
            buffers: Mutex::default(),
        })
    }
}

impl Prepared for PreparedCpu {
    fn logits(&self, images: &Images) -> Result<Matrix<f32>, ExecError> {
        check_images(images)?;
        let plan = Plan::new(&self.network, images.height, images.width)?;
        let mut buffers = std::mem::take(&mut *self.buffers.lock().unwrap_or_else(PoisonError::into_inner));
        let activations = forward::run(&self.threads, &plan, &self.folded, images, Keep::Last, &mut buffers);
        let features = activations.last().map(Vec::as_slice).unwrap_or_default();
        let classes = self.network.head.classes;
        let mut values = vec![0.0; images.count * classes];
        head::classify(features, &self.head_weight, &self.head_bias, &mut values);
        activations.into_iter().for_each(|buffer| buffers.give(buffer));
        *self.buffers.lock().unwrap_or_else(PoisonError::into_inner) = buffers;
        Ok(Matrix { rows: images.count, columns: classes, values })
    }
}
