//! Calibration: finds the ranges of a network's activations on images.

use crate::cpu::Cpu;
use crate::{ExecError, Passes};
use fieldfit_nets::Network;
use fieldfit_tensor::{ActivationRanges, Images, Params};

/// Calibrator: computes a network in f32 and records between which values its activations lie.
///
/// The range of a value is the mean over the images of each image's least and greatest: one bright pixel of one image
/// would else widen every step.
pub struct Calibrator {
    cpu: Cpu,
    /// Sums of the least and the greatest values.
    sums: Vec<[f64; 2]>,
    images: usize,
}

impl Calibrator {
    /// Creates a calibrator of a network.
    ///
    /// # Errors
    /// As [`Cpu::new`].
    pub fn new(network: &Network, threads: usize) -> Result<Self, ExecError> {
        let sums = vec![[0.0; 2]; network.graph.values()];
        Ok(Self { cpu: Cpu::new(network, threads, Passes::of(1))?, sums, images: 0 })
    }

    /// Adds the images of a batch.
    ///
    /// # Errors
    /// If images or parameters do not fit the network.
    pub fn add(&mut self, params: &Params<f32>, images: &Images) -> Result<(), ExecError> {
        for image in (0..images.count).map(|index| images.image(index)) {
            add(&mut self.sums[0], image);
        }
        let sums = &mut self.sums;
        self.cpu.infer(params, images, |_, step, output| add(&mut sums[step + 1], output))?;
        self.images += images.count;
        Ok(())
    }

    /// Number of images so far.
    pub const fn images(&self) -> usize {
        self.images
    }

    /// Returns the ranges.
    ///
    /// # Errors
    /// If an activation is not finite, or there were no images.
    pub fn finish(self) -> Result<ActivationRanges, ExecError> {
        if self.images == 0 {
            return Err(ExecError::NoCalibration);
        }
        let mean = |sum: f64| (sum / self.images as f64) as f32;
        let ranges = self.sums.into_iter().map(|range| range.map(mean)).collect();
        ActivationRanges::new(ranges).map_err(|error| ExecError::ActivationNotFinite { value: error.value })
    }
}

/// Adds the least and the greatest of values, and 0, to the sums.
fn add(sums: &mut [f64; 2], values: &[f32]) {
    let (mut low, mut high) = (0.0_f32, 0.0_f32);
    for value in values {
        // A NaN stays one, and is found when the calibration ends.
        low = if *value < low || value.is_nan() { *value } else { low };
        high = if *value > high { *value } else { high };
    }
    sums[0] += f64::from(low);
    sums[1] += f64::from(high);
}
