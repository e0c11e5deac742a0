//! Runs a network forward and backward.
//!
//! [`Executor`] is the seam: a network as data, parameters, a batch in; features, logits or gradients out. [`cpu`] is
//! our own kernels, which a robot runs; [`candle`](https://docs.rs/candle-core) composes the same network for CUDA and
//! Metal, and in f64 as the oracle that the tests hold both against. [`Prepared`] is a network folded for inference.
//!
//! What this crate is not: it knows no files, no optimiser, no method. Its README holds the experiment that decided
//! for networks as data.

#[cfg(feature = "candle")]
pub mod candle;
pub mod cpu;
mod error;
mod executor;
pub mod memory;
mod objective;
mod param_store;
mod positions;

pub use error::ExecError;
pub use executor::{Device, Executor, Prepared};
pub use memory::Passes;
pub use objective::{Objective, cross_entropy, divergence, softmax};
pub use param_store::{DeviceParams, ParamStore, Rule, StateTensor};

use fieldfit_nets::Network;
use fieldfit_tensor::{Params, TensorId, TensorView};

/// What runs the network on that device, with weights that may change between calls. candle computes whole batches and
/// nothing twice, whatever `passes` says.
///
/// # Errors
/// If this build or this machine lacks the device, the network has an op that it can't run, or a pass has no images.
pub fn executor(device: Device, network: &Network, passes: Passes) -> Result<Box<dyn Executor<f32>>, ExecError> {
    match device {
        Device::Cpu { threads } => Ok(Box::new(cpu::Cpu::new(network, threads, passes)?)),
        #[cfg(feature = "candle")]
        _ => Ok(Box::new(candle::Candle::<f32>::new(network, candle::device(device)?))),
        #[cfg(not(feature = "candle"))]
        _ => Err(missing(device)),
    }
}

/// The network with these weights, made ready to infer on that device.
///
/// # Errors
/// As [`executor`], or if the parameters don't fit the network.
pub fn prepare(device: Device, network: &Network, params: &Params<f32>) -> Result<Box<dyn Prepared>, ExecError> {
    match device {
        Device::Cpu { threads } => Ok(Box::new(cpu::PreparedCpu::new(network, params, threads)?)),
        #[cfg(feature = "candle")]
        _ => Ok(Box::new(candle::PreparedCandle::new(network, params, candle::device(device)?)?)),
        #[cfg(not(feature = "candle"))]
        _ => Err(missing(device)),
    }
}

/// A place on the device for a run that starts at the θ0 that `start` lends, with every δ 0; none on the CPU, where the
/// program's own memory is as near as any.
///
/// # Errors
/// As [`executor`], or if the device has no room.
#[cfg_attr(not(feature = "candle"), expect(unused_variables, reason = "this build has no device to fill"))]
pub fn device_params<'a>(
    device: Device,
    network: &Network,
    start: impl Fn(TensorId) -> TensorView<'a>,
    trains: impl Fn(TensorId) -> bool,
) -> Result<Option<Box<dyn DeviceParams<f32>>>, ExecError> {
    match device {
        Device::Cpu { .. } => Ok(None),
        #[cfg(feature = "candle")]
        _ => Ok(Some(Box::new(candle::OnDevice::new(network, candle::device(device)?, start, trains)?))),
        #[cfg(not(feature = "candle"))]
        _ => Err(missing(device)),
    }
}

/// The accelerator that this build was made for, if it opens here: for a look at the machine, and for tests.
///
/// # Errors
/// If this build has none, or the machine lacks it.
pub fn accelerator() -> Result<Device, ExecError> {
    let device = if cfg!(feature = "metal") { Device::Metal } else { Device::Cuda { ordinal: 0 } };
    #[cfg(feature = "candle")]
    candle::device(device)?;
    #[cfg(not(feature = "candle"))]
    return Err(missing(device));
    #[cfg(feature = "candle")]
    Ok(device)
}

#[cfg(not(feature = "candle"))]
fn missing(device: Device) -> ExecError {
    let name = device.name();
    ExecError::Device { device: name, reason: format!("this build has no {name}: build with `--features {name}`") }
}
