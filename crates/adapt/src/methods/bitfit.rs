//! BitFit (Ben Zaken et al., ACL 2022, arXiv 2106.10199): only biases and norm affine train, and the new head, which
//! starts at the linear probe. Kernels stay the base's, to the bit.

use crate::methods::entry::MethodEntry;
use crate::methods::method::{HeadStart, Method};
use fieldfit_nets::TensorSpec;

pub(super) const ENTRY: MethodEntry = MethodEntry {
    name: "bitfit",
    about: "only biases and norm affine train, and the head from the linear probe",
    settings: &[],
    build: |_, _| Ok(Box::new(BitFit)),
};

struct BitFit;

impl Method for BitFit {
    fn head(&self) -> HeadStart {
        HeadStart::Probe
    }

    /// Returns whether a tensor trains: the head, biases, and norms' scales and shifts, which are the backbone's
    /// trainable vectors.
    fn trains(&self, spec: &TensorSpec) -> bool {
        spec.role.is_head() || (spec.role.is_trainable() && spec.shape.len() == 1)
    }
}
