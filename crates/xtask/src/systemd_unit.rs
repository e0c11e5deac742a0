//! systemd unit: the service that runs an adaptation on a board.

use fieldfit_target::TargetProfile;

const TEMPLATE: &str = include_str!("../../../targets/fieldfit-adapt.service");

/// Fills in the unit's template for a board; `model` is the name of the model folder.
pub fn systemd_unit(board: &TargetProfile, model: &str) -> String {
    TEMPLATE
        .replace("@BOARD@", &board.about)
        .replace("@MODEL@", model)
        .replace("@MEMORY_MIB@", &(board.memory.adaptation_mib + SLACK_MIB).to_string())
}

/// Memory above the plan at which systemd ends the process, in MiB: the plan does not include decoded images.
const SLACK_MIB: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a placeholder that is not filled in, which systemd takes for a path.
    #[test]
    fn nothing_is_left_to_fill_in() {
        for name in fieldfit_target::names() {
            let unit = systemd_unit(&TargetProfile::named(name).unwrap(), "efficientnet-lite0");
            assert!(!unit.contains('@'), "{unit}");
            assert!(unit.contains("--model /opt/fieldfit/models/efficientnet-lite0 "), "{unit}");
        }
    }
}
