//! Estimate: the values that a version answers about a frame, each with its unit.

use crate::{Error, Version};
use std::sync::Arc;

/// Estimate of one frame: a value for each target, and the version that answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    version: Version,
    targets: Arc<[String]>,
    values: Vec<f32>,
}

/// Value of one target.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct EstimatedValue<'a> {
    /// Name of the target, without its unit unless another one has the same.
    pub name: &'a str,
    /// Its unit, where the name ends in one, as in `tilt [deg]`.
    pub unit: Option<&'a str>,
    /// The value, in that unit.
    pub value: f32,
}

impl Estimate {
    /// Takes the values of the targets from the outputs of one image.
    pub(crate) fn new(version: Version, targets: &Arc<[String]>, values: &[f32]) -> Result<Self, Error> {
        match values.iter().position(|value| !value.is_finite()) {
            Some(index) => Err(Error::Logit { version, class: index, value: values[index] }),
            None => Ok(Self { version, targets: targets.clone(), values: values.to_vec() }),
        }
    }

    /// Returns the version that answered.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Returns the names of the targets with their units, in the order of the values.
    pub const fn targets(&self) -> &Arc<[String]> {
        &self.targets
    }

    /// Iterates over the values, in the order of the targets.
    pub fn values(&self) -> impl ExactSizeIterator<Item = EstimatedValue<'_>> {
        self.targets.iter().zip(&self.values).map(|(target, &value)| {
            let (name, unit) = name_and_unit(target);
            let is_shared = self.targets.iter().filter(|other| name_and_unit(other).0 == name).count() > 1;
            EstimatedValue { name: if is_shared { target } else { name }, unit, value }
        })
    }
}

/// Divides the name of a target from its unit in square brackets at the end.
fn name_and_unit(target: &str) -> (&str, Option<&str>) {
    let with_unit = target.strip_suffix(']').and_then(|target| target.rsplit_once('['));
    match with_unit.map(|(name, unit)| (name.trim_end(), unit.trim())) {
        Some((name, unit)) if !name.is_empty() && !unit.is_empty() => (name, Some(unit)),
        Some(_) | None => (target, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a unit that stays in the name, a name that is taken for one, values of other targets.
    #[test]
    fn names_are_told_from_units() {
        assert_eq!(name_and_unit("tilt [deg]"), ("tilt", Some("deg")));
        assert_eq!(name_and_unit("speed[m/s]"), ("speed", Some("m/s")));
        for name in ["steering", "[deg]", "fill []", "x[0] raw"] {
            assert_eq!(name_and_unit(name), (name, None));
        }
        let targets = ["tilt [deg]".to_owned(), "fill".to_owned()].into();
        let estimate = Estimate::new(Version::Base, &targets, &[1.5, -2.0]).unwrap();
        let values: Vec<_> = estimate.values().map(|value| (value.name, value.value)).collect();
        assert_eq!(values, [("tilt", 1.5), ("fill", -2.0)]);
        assert!(Estimate::new(Version::Base, &targets, &[1.5, f32::NAN]).is_err());
        let targets = ["at [m]".to_owned(), "at [deg]".to_owned()].into();
        let estimate = Estimate::new(Version::Base, &targets, &[1.5, -2.0]).unwrap();
        assert!(estimate.values().map(|value| value.name).eq(["at [m]", "at [deg]"]));
    }
}
