//! Pace of answers: leaves out images that come sooner than the greatest rate allows.

use std::time::{Duration, Instant};

/// Pace of a stream of images.
#[derive(Debug, Default)]
pub struct Pace {
    /// Time from which on the next image is answered; `None` before the first.
    due: Option<Instant>,
}

impl Pace {
    /// Returns whether an image that arrives now is answered, at intervals of at least that length on average.
    pub fn admits(&mut self, now: Instant, interval: Duration) -> bool {
        let Some(due) = self.due else {
            self.due = Some(now + interval);
            return true;
        };
        if now < due {
            // A greater rate takes effect at once.
            let due = due.min(now + interval);
            self.due = Some(due);
            return now >= due;
        }
        let next = due + interval;
        self.due = Some(if now > next { now + interval } else { next });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(interval: u64, arrivals: impl Iterator<Item = u64>) -> usize {
        let (start, mut pace) = (Instant::now(), Pace::default());
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        arrivals.filter(|&arrival| pace.admits(at(arrival), Duration::from_millis(interval))).count()
    }

    /// Catches: a rate that falls to the next divisor of the camera's, or bursts after a pause.
    #[test]
    fn the_mean_rate_is_kept() {
        assert_eq!(admitted(0, (0..100).map(|image| 10 * image)), 100, "no limit");
        assert_eq!(admitted(100, (0..300).map(|image| image * 1000 / 30)), 100, "30 a second at most 10");
        assert_eq!(admitted(100, (0..10).chain(5000..5010)), 2, "no burst");
    }

    /// Catches: a rate that is raised and takes effect only after the interval of the old one.
    #[test]
    fn a_greater_rate_takes_effect_at_once() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        assert!(pace.admits(start, Duration::from_secs(3600)));
        assert!(!pace.admits(start + Duration::from_millis(1), Duration::from_millis(10)));
        assert!(pace.admits(start + Duration::from_millis(11), Duration::from_millis(10)));
    }
}
