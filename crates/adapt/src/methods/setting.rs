//! Setting: a hyper-parameter of one method.

use crate::options::Options;
use std::fmt;
use std::ops::RangeInclusive;

/// Hyper-parameter of a method, given in [`Options::settings`] under its name.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Name in [`Options::settings`].
    pub name: &'static str,
    /// Default value; `None` where the method finds one by itself, and for a switch that is off.
    pub default: Option<f64>,
    /// Allowed range; up to [`f64::MAX`] where nothing limits it.
    pub range: RangeInclusive<f64>,
    /// One line for help texts.
    pub about: &'static str,
}

impl Setting {
    /// Returns the given value, if there is one.
    pub fn given(&self, options: &Options) -> Option<f64> {
        options.settings.get(self.name).copied()
    }

    /// Returns the given value, or the default; 0 where there is neither.
    pub fn of(&self, options: &Options) -> f64 {
        self.given(options).or(self.default).unwrap_or_default()
    }

    /// Returns the range in words.
    pub fn expected(&self) -> String {
        let (least, most) = (self.range.start(), self.range.end());
        if *most == f64::MAX { format!("{least} or more") } else { format!("{least} to {most}") }
    }
}

/// Formats name, range, default and description.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.name, self.expected())?;
        if let Some(default) = self.default {
            write!(f, ", by default {default}")?;
        }
        write!(f, "): {}", self.about)
    }
}
