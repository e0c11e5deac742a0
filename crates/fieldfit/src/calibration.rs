//! Calibration of a base for int8 inference, and what of it runs in int8.

use crate::image_set::ImageSet;
use crate::{Error, Runtime};
use fieldfit_adapt::{Classifier, calibrate};
use fieldfit_exec::Precision;
use fieldfit_exec::cpu::{Int8Coverage, int8_coverage};
use fieldfit_model::Weights;

impl Runtime {
    /// Finds between which values the base's activations lie on images, and writes them beside its weights: int8 inference
    /// takes the scales of activations from there, of the base and of versions that were adapted for f32. Labels are not
    /// used. Some hundred images of the place where the robot works are enough.
    ///
    /// `progress` is called with the number of images done and their total. Returns the number of images.
    ///
    /// # Errors
    /// If there are no images, one cannot be read any more, an activation is not finite, or the model's folder cannot be
    /// written.
    pub fn calibrate(&self, set: &ImageSet, progress: &mut dyn FnMut(usize, usize)) -> Result<usize, Error> {
        let (base, total) = (self.base(), set.order.len());
        let classifier = Classifier::new(base, Weights::of_base(base), self.device())?;
        let mut done = 0;
        let batches = set.classified_by(&classifier)?.map(|batch| {
            let (batch, _) = batch?;
            done += batch.samples.len();
            progress(done, total);
            Ok::<_, Error>(batch)
        });
        let ranges = calibrate(&Weights::of_base(base), self.device(), batches)?;
        base.write_activation_ranges(&ranges, done)?;
        Ok(done)
    }

    /// Returns what of the running version's network is computed in int8, and what stays f32; `None` for f32.
    pub fn int8_coverage(&self) -> Option<Int8Coverage> {
        let running = self.running();
        if running.precision() == Precision::F32 {
            return None;
        }
        let [height, width] = running.classifier().preprocessor().input();
        // The version runs, so its network accepts images of that size.
        int8_coverage(self.base().network(), height, width).ok()
    }
}
