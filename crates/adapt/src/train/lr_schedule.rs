//! Learning-rate schedule: linear warm-up, then cosine decay.

use crate::options::ScheduleOptions;
use std::f64::consts::PI;

/// Learning-rate schedule over the steps of a run: a line up to the largest, then half a cosine down to 0
/// (Loshchilov and Hutter, ICLR 2017).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LrSchedule {
    largest: f64,
    warm_up: u64,
    steps: u64,
}

impl LrSchedule {
    /// A schedule over that many steps. The warm-up takes a tenth of them at most.
    pub fn new(options: &ScheduleOptions, largest: f64, steps: u64) -> Self {
        Self { largest, warm_up: options.warm_up.min(steps / 10), steps }
    }

    /// The rate of a step, counted from 0. The first is above 0 and so is the last.
    pub fn rate(&self, step: u64) -> f64 {
        if step < self.warm_up {
            return self.largest * (step + 1) as f64 / (self.warm_up + 1) as f64;
        }
        let part = (step - self.warm_up) as f64 / (self.steps - self.warm_up).max(1) as f64;
        self.largest * 0.5 * (1.0 + (PI * part.min(1.0)).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(warm_up: u64, steps: u64) -> Vec<f64> {
        let schedule = LrSchedule::new(&ScheduleOptions { warm_up }, 2.0, steps);
        (0..steps).map(|step| schedule.rate(step)).collect()
    }

    /// Catches: a warm-up that starts at 0 (a lost step) or jumps where the cosine begins.
    #[test]
    fn the_rate_rises_in_a_line_to_its_largest_and_falls_from_there() {
        let rates = rates(3, 40);
        assert_eq!(rates[..4], [0.5, 1.0, 1.5, 2.0]);
        assert!(rates[3..].windows(2).all(|pair| pair[1] < pair[0]));
        assert!(rates[39] > 0.0 && rates[39] < 0.01);
    }

    /// Catches: a cosine over the wrong number of steps: half way down it is half the largest.
    #[test]
    fn half_way_down_is_half_the_largest() {
        assert!((rates(0, 100)[50] - 1.0).abs() < 1e-12);
    }

    /// Catches: a short run that would end inside its warm-up, and a division by zero in a run of one step.
    #[test]
    fn short_runs_warm_up_for_a_tenth_at_most() {
        assert_eq!(rates(1000, 20).iter().copied().fold(0.0, f64::max), 2.0);
        assert_eq!(rates(1000, 1), [2.0]);
    }
}
