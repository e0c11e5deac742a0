//! Activation ranges: between which values a network's activations lie, from which int8 inference takes its scales.

/// Range of each value of a network's graph: the image, then the output of each node.
///
/// Calibration finds them on images of the place where the network runs; see `fieldfit_exec::Calibrator`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ActivationRanges {
    /// `[least, greatest]` of each value; `[0, 0]` of a value that was not observed.
    ranges: Vec<[f32; 2]>,
}

/// Range that is none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InvalidRange {
    /// Position of the value.
    pub value: usize,
    /// What was found.
    pub found: [f32; 2],
}

impl ActivationRanges {
    /// Creates ranges, one a value.
    ///
    /// # Errors
    /// If a bound is not finite, or the least value is above the greatest.
    pub fn new(ranges: Vec<[f32; 2]>) -> Result<Self, InvalidRange> {
        let is_range = |[low, high]: &[f32; 2]| low.is_finite() && high.is_finite() && low <= high;
        match ranges.iter().enumerate().find(|(_, range)| !is_range(range)) {
            Some((value, found)) => Err(InvalidRange { value, found: *found }),
            None => Ok(Self { ranges }),
        }
    }

    /// Returns the ranges, one a value.
    pub fn as_slice(&self) -> &[[f32; 2]] {
        &self.ranges
    }

    /// Returns the range of a value; `None` if it was not observed.
    pub fn get(&self, value: usize) -> Option<[f32; 2]> {
        self.ranges.get(value).copied().filter(|range| *range != [0.0; 2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a range that would make a scale infinite or negative.
    #[test]
    fn ranges_are_finite_and_ordered() {
        assert!(ActivationRanges::new(vec![[0.0, 0.0], [-1.0, 2.0]]).is_ok());
        for found in [[1.0, 0.0], [f32::NEG_INFINITY, 0.0], [0.0, f32::NAN]] {
            let error = ActivationRanges::new(vec![[0.0, 1.0], found]);
            assert_eq!(error.map_err(|error| error.value), Err(1));
        }
    }
}
