//! Candle device: opens the CPU, CUDA or Metal device that candle computes on.

use crate::{Device, ExecError};

/// Opens the device that candle computes on. On a CPU, candle chooses the number of threads itself.
///
/// # Errors
/// If this build lacks the device's feature, or the machine lacks the device.
pub fn device(device: Device) -> Result<candle_core::Device, ExecError> {
    match device {
        Device::Cpu { .. } | Device::Candle => Ok(candle_core::Device::Cpu),
        Device::Cuda { ordinal } => cuda(ordinal),
        Device::Metal => metal(),
    }
}

#[cfg(feature = "cuda")]
fn cuda(ordinal: usize) -> Result<candle_core::Device, ExecError> {
    let missing = |error| ExecError::Device {
        device: "cuda",
        reason: format!(
            "device {ordinal} cannot be opened ({error}): check that the driver is loaded and lists the device"
        ),
    };
    candle_core::Device::new_cuda(ordinal).map_err(missing)
}

#[cfg(not(feature = "cuda"))]
fn cuda(_ordinal: usize) -> Result<candle_core::Device, ExecError> {
    Err(ExecError::Device { device: "cuda", reason: "this build has no CUDA: build with `--features cuda`".into() })
}

#[cfg(feature = "metal")]
fn metal() -> Result<candle_core::Device, ExecError> {
    let missing = |reason: String| ExecError::Device { device: "metal", reason };
    // candle indexes its list of Metal devices unchecked, and panics if it is empty.
    std::panic::catch_unwind(|| candle_core::Device::new_metal(0))
        .map_err(|_| missing("this machine has no Metal device".into()))?
        .map_err(|error| missing(format!("the device cannot be opened ({error})")))
}

#[cfg(not(feature = "metal"))]
fn metal() -> Result<candle_core::Device, ExecError> {
    Err(ExecError::Device {
        device: "metal",
        reason: "this build has no Metal: build with `--features metal` on macOS".into(),
    })
}
