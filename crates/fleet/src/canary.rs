//! Canaries: which robots take a delta while it is offered to a share of them.

use crate::key::{Digest, RobotId};
use sha2::{Digest as _, Sha256};

/// Context of the hash, so that it is no other protocol's.
const CONTEXT: &[u8] = b"fieldfit canary 1";

/// Returns whether a robot is among the share of robots, 0..1, that take a delta.
///
/// It depends on the robot and the delta alone, so that a robot answers the same at each call, different deltas have different
/// canaries, and whoever is a canary of a share is one of every larger share.
pub fn is_canary(robot: &RobotId, delta: &Digest, share: f64) -> bool {
    let hash = Sha256::new().chain_update(CONTEXT).chain_update(delta.0).chain_update(robot.as_str()).finalize();
    let [a, b, c, d, e, f, g, h, ..]: [u8; 32] = hash.into();
    let draw = u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 11;
    (draw as f64) < share * (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn robots(count: usize) -> impl Iterator<Item = RobotId> {
        (0..count).map(|index| format!("robot-{index}").parse().unwrap())
    }

    /// Catches: a share that is not the share of robots, or that depends on the delta's hash alone.
    #[test]
    fn the_share_of_robots_is_the_share() {
        for (seed, share) in [(1, 0.05), (2, 0.25), (3, 0.5), (4, 0.9)] {
            let delta = Digest([seed; 32]);
            let canaries = robots(20_000).filter(|robot| is_canary(robot, &delta, share)).count() as f64;
            // Five standard deviations of a binomial distribution.
            let tolerance = 5.0 * (20_000.0 * share * (1.0 - share)).sqrt();
            assert!((canaries - 20_000.0 * share).abs() < tolerance, "{canaries} of 20000 at {share}");
        }
        let delta = Digest([5; 32]);
        assert_eq!(robots(1000).filter(|robot| is_canary(robot, &delta, 0.0)).count(), 0);
        assert_eq!(robots(1000).filter(|robot| is_canary(robot, &delta, 1.0)).count(), 1000);
    }

    /// Catches: a wider share that leaves out an earlier canary, and the same canaries for every delta.
    #[test]
    fn a_wider_share_adds_robots_and_another_delta_has_others() {
        let (one, other) = (Digest([1; 32]), Digest([2; 32]));
        assert!(robots(1000).all(|robot| !is_canary(&robot, &one, 0.1) || is_canary(&robot, &one, 0.3)));
        let both = robots(1000).filter(|robot| is_canary(robot, &one, 0.1) && is_canary(robot, &other, 0.1)).count();
        assert!(both < 40, "{both} robots are canaries of both");
    }
}
