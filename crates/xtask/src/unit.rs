//! The systemd unit of an adaptation, from the board's profile.

use fieldfit_target::TargetProfile;

const TEMPLATE: &str = include_str!("../../../targets/fieldfit-adapt.service");

/// The unit for that board, with that model's folder name.
pub fn unit(board: &TargetProfile, model: &str) -> String {
    TEMPLATE
        .replace("@BOARD@", &board.about)
        .replace("@MODEL@", model)
        .replace("@MEMORY_MIB@", &(board.memory.adaptation_mib + SLACK_MIB).to_string())
}

/// What the process may exceed its plan by before the system ends it: the plan is exact but for decoded images.
const SLACK_MIB: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    /// A placeholder that nobody filled in, which systemd would take for a path.
    #[test]
    fn nothing_is_left_to_fill_in() {
        for name in fieldfit_target::NAMES {
            let unit = unit(&TargetProfile::named(name).unwrap(), "efficientnet-lite0");
            assert!(!unit.contains('@'), "{unit}");
            assert!(unit.contains("--model /opt/fieldfit/models/efficientnet-lite0 "), "{unit}");
        }
    }
}
