//! Full fine-tuning: everything trains, under a head that starts at random.

use crate::methods::entry::MethodEntry;
use crate::methods::method::{HeadStart, Method};

pub(super) const ENTRY: MethodEntry = MethodEntry {
    name: "full",
    about: "everything trains, the head from random values",
    settings: &[],
    build: |_, _| Ok(Box::new(Full)),
};

struct Full;

impl Method for Full {
    fn head(&self) -> HeadStart {
        HeadStart::Random
    }
}
