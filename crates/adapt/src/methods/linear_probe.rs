//! Linear probe: a new head on the untouched base, what every other method has to beat.

use crate::methods::entry::MethodEntry;
use crate::methods::method::{HeadStart, Method};
use fieldfit_nets::TensorSpec;

pub(super) const ENTRY: MethodEntry = MethodEntry {
    name: "linear-probe",
    about: "a new head on the untouched base",
    settings: &[],
    build: |_, _| Ok(Box::new(LinearProbe)),
};

struct LinearProbe;

impl Method for LinearProbe {
    fn head(&self) -> HeadStart {
        HeadStart::Probe
    }

    fn trains(&self, _: &TensorSpec) -> bool {
        false
    }
}
