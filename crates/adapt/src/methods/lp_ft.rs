//! LP-FT (Kumar et al., ICLR 2022, arXiv 2202.10054): a linear probe first, then everything, so that a random head distorts no features.

use crate::methods::entry::MethodEntry;
use crate::methods::method::{HeadStart, Method};

pub(super) const ENTRY: MethodEntry = MethodEntry {
    name: "lp-ft",
    about: "everything trains, the head from the linear probe",
    settings: &[],
    build: |_, _| Ok(Box::new(LpFt)),
};

struct LpFt;

impl Method for LpFt {
    fn head(&self) -> HeadStart {
        HeadStart::Probe
    }
}
