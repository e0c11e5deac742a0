//! Executors: compute the features, logits and gradients of a network.
//!
//! [`Executor`] is the interface: network, parameters and a batch in; features, logits or gradients out. [`cpu`] has
//! SIMD kernels for robots; [`candle`](https://docs.rs/candle-core) runs the same networks on CUDA and Metal, and in
//! f64 as the reference of the tests. [`Prepared`] is a network folded for inference. [`ParamStore`] and
//! [`DeviceParams`] keep a training run's tensors in host or device memory.
//!
//! The crate has no files, optimisers or training methods.

mod axis_map;
#[cfg(feature = "candle")]
pub mod candle;
pub mod cpu;
mod error;
mod executor;
pub mod memory;
mod objective;
mod param_store;
mod position_embedding;

pub use error::ExecError;
pub use executor::{Device, Executor, Prepared};
pub use fieldfit_tensor::Precision;
pub use memory::Passes;
pub use objective::{
    Objective, binary_cross_entropy, cross_entropy, huber, kl_divergence, logistic, pixel_cross_entropy, softmax,
};
pub use param_store::{DeviceParams, ParamStore, StateTensor, UpdateRule};

use fieldfit_nets::Network;
use fieldfit_tensor::{ActivationRanges, Params, TensorId, TensorView};

/// Creates an executor of the network on a device, for weights that may change between calls. The candle executor
/// ignores `passes`: it computes whole batches without recomputation.
///
/// # Errors
/// If the device is unavailable in this build or on this machine, an op of the network is unsupported, or the
/// micro-batch is 0.
pub fn executor(device: Device, network: &Network, passes: Passes) -> Result<Box<dyn Executor<f32>>, ExecError> {
    match device {
        Device::Cpu { threads } => Ok(Box::new(cpu::Cpu::new(network, threads, passes)?)),
        #[cfg(feature = "candle")]
        _ => Ok(Box::new(candle::Candle::<f32>::new(network, candle::device(device)?))),
        #[cfg(not(feature = "candle"))]
        _ => Err(missing(device)),
    }
}

/// Prepares the network with these weights for inference on a device.
///
/// # Errors
/// As [`executor`], or if the parameters do not fit the network.
pub fn prepare(device: Device, network: &Network, params: &Params<f32>) -> Result<Box<dyn Prepared>, ExecError> {
    match device {
        Device::Cpu { threads } => Ok(Box::new(cpu::PreparedCpu::new(network, params, threads)?)),
        #[cfg(feature = "candle")]
        _ => Ok(Box::new(candle::PreparedCandle::new(network, params, candle::device(device)?)?)),
        #[cfg(not(feature = "candle"))]
        _ => Err(missing(device)),
    }
}

/// Prepares the network with these weights for int8 inference: weights are quantised per output, activations by their
/// ranges, see [`Calibrator`](cpu::Calibrator).
///
/// # Errors
/// As [`prepare`]; if the device is not the CPU, a parameter is not finite, or the ranges are another network's.
pub fn prepare_int8(
    device: Device,
    network: &Network,
    params: &Params<f32>,
    ranges: &ActivationRanges,
) -> Result<Box<dyn Prepared>, ExecError> {
    match device {
        Device::Cpu { threads } => Ok(Box::new(cpu::PreparedCpu::int8(network, params, ranges, threads)?)),
        Device::Cuda { .. } | Device::Metal | Device::Candle => Err(ExecError::Device {
            device: device.name(),
            reason: "int8 inference runs on the CPU: use `--device cpu` or `--precision f32`".into(),
        }),
    }
}

/// Creates the parameter store of a run on a device, with θ0 from `base` and every δ 0; `None` on the CPU, where the
/// caller's memory is the store.
///
/// # Errors
/// As [`executor`], or if the device has insufficient memory.
#[cfg_attr(not(feature = "candle"), expect(unused_variables, reason = "this build has no device to fill"))]
pub fn device_params<'a>(
    device: Device,
    network: &Network,
    base: impl Fn(TensorId) -> TensorView<'a>,
    trains: impl Fn(TensorId) -> bool,
) -> Result<Option<Box<dyn DeviceParams<f32>>>, ExecError> {
    match device {
        Device::Cpu { .. } => Ok(None),
        #[cfg(feature = "candle")]
        _ => Ok(Some(Box::new(candle::CandleParams::new(network, candle::device(device)?, base, trains)?))),
        #[cfg(not(feature = "candle"))]
        _ => Err(missing(device)),
    }
}

/// Returns the accelerator of this build after opening it, for diagnosis and tests.
///
/// # Errors
/// If this build has no accelerator, or the machine lacks it.
pub fn accelerator() -> Result<Device, ExecError> {
    let device = if cfg!(feature = "metal") { Device::Metal } else { Device::Cuda { ordinal: 0 } };
    #[cfg(feature = "candle")]
    candle::device(device)?;
    #[cfg(not(feature = "candle"))]
    return Err(missing(device));
    #[cfg(feature = "candle")]
    Ok(device)
}

/// Returns the error of a device that this build does not support.
#[cfg(not(feature = "candle"))]
fn missing(device: Device) -> ExecError {
    let name = device.name();
    ExecError::Device {
        device: name,
        reason: format!("this build does not support {name}: build with `--features {name}`"),
    }
}
