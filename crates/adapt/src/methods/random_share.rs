//! Random share: steps at θ0 + r·δ, with r drawn anew for each, so that what lies between base and result works, too.

use fieldfit_data::Batch;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Odd multiplier that spreads the bits of a sample's index: the golden ratio's.
const MIXER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Share of δ that a training step is made at.
pub(super) struct RandomShare {
    /// The least share; 1 for all of δ at every step.
    least: f32,
    seed: u64,
}

impl RandomShare {
    pub const fn new(least: f32, seed: u64) -> Self {
        Self { least, seed }
    }

    /// Returns whether there is anything to draw.
    pub fn is_on(&self) -> bool {
        self.least < 1.0
    }

    /// Draws the share of a batch's step, by its images and their order: a run that resumes draws as one that never ended.
    pub fn draw(&self, batch: &Batch) -> f32 {
        if !self.is_on() {
            return 1.0;
        }
        let mix = |mixed: u64, &sample: &usize| (mixed ^ sample as u64).wrapping_mul(MIXER).rotate_left(29);
        let seed = batch.samples.iter().fold(self.seed, mix);
        ChaCha8Rng::seed_from_u64(seed).random_range(self.least..=1.0)
    }
}
