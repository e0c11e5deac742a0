//! Coverage of int8 inference: how much of a network it computes, and which ops stay f32.

use super::kernels::Isa;
use super::lowering::{Lowered, Lowering};
use fieldfit_nets::{Network, ShapeError};
use std::collections::BTreeMap;
use std::fmt;

/// Coverage of int8 inference for one image size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Int8Coverage {
    /// Ops that are computed in int8.
    pub int8: usize,
    /// Names of the ops that stay f32, and how many there are of each.
    pub float: BTreeMap<&'static str, usize>,
    /// Multiplications that are computed in int8, and all.
    pub multiplications: [usize; 2],
}

/// Returns the name of the instruction set that int8 inference uses on this CPU.
pub fn int8_instructions() -> &'static str {
    Isa::detect().name()
}

/// Returns what int8 inference of a network computes in int8.
///
/// # Errors
/// If the network does not accept images of that size.
pub fn int8_coverage(network: &Network, height: usize, width: usize) -> Result<Int8Coverage, ShapeError> {
    let (lowering, shapes) = (Lowering::new(network), network.shapes(height, width)?);
    let mut coverage = Int8Coverage { int8: 0, float: BTreeMap::new(), multiplications: [0; 2] };
    for (index, (node, lowered)) in network.graph.nodes.iter().zip(&lowering.nodes).enumerate() {
        let input = node.inputs.first().map_or(shapes[0], |input| shapes[input.index()]);
        let multiplications = node.op.multiplications(input, shapes[index + 1]);
        coverage.multiplications[1] += multiplications;
        if *lowered == Lowered::Float {
            *coverage.float.entry(node.op.name()).or_default() += 1;
        } else {
            coverage.int8 += 1;
            coverage.multiplications[0] += multiplications;
        }
    }
    Ok(coverage)
}

impl fmt::Display for Int8Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [int8, all] = self.multiplications.map(|count| count as f64);
        write!(
            f,
            "{} ops and {:.1} % of the multiplications in int8; in f32: the head",
            self.int8,
            100.0 * int8 / all.max(1.0)
        )?;
        self.float.iter().try_for_each(|(name, count)| write!(f, ", {count} × {name}"))
    }
}
