//! Method entry: a method's name, help and settings, and how to build it.

use crate::error::AdaptError;
use crate::methods::method::Method;
use crate::methods::setting::Setting;
use crate::options::Options;
use fieldfit_delta::Provenance;
use fieldfit_nets::Network;
use std::collections::BTreeSet;
use std::fmt;

/// Entry of the method list: a method's name, what it is, and how to build it.
#[derive(Clone, Copy)]
pub struct MethodEntry {
    /// Name in [`Options::method`].
    pub name: &'static str,
    /// Description, one line for help texts.
    pub about: &'static str,
    /// Settings that it reads from [`Options::settings`].
    pub settings: &'static [Setting],
    pub(crate) build: Build,
}

type Build = fn(&Options, &Network) -> Result<Box<dyn Method>, AdaptError>;

impl MethodEntry {
    /// Creates the entry of a method. The name has lower-case letters, digits and hyphens, begins with a letter, and fits
    /// the provenance of a delta: 32 bytes.
    ///
    /// `build` makes the method at the start of a run, for the network under the new head. It is a function and captures
    /// nothing: what a method depends on is in the options, whose text the checkpoint's identity and the delta's
    /// provenance hold. A method that computes something else than before needs another name, or a checkpoint of
    /// before is resumed by it.
    pub const fn new(name: &'static str, about: &'static str, settings: &'static [Setting], build: Build) -> Self {
        Self { name, about, settings, build }
    }

    /// Checks the names and the defaults.
    ///
    /// # Errors
    /// [`AdaptError::MethodEntry`] if a name is malformed, two settings have one name, or a default is out of its range.
    pub(crate) fn validate(&self) -> Result<(), AdaptError> {
        let invalid = |reason| Err(AdaptError::MethodEntry { name: self.name.to_owned(), reason });
        let most = Provenance::default().method.capacity();
        if !is_name(self.name) || self.name.len() > most {
            return invalid(format!(
                "expected 1 to {most} lower-case letters, digits and hyphens, the first a letter: rename it"
            ));
        }
        let mut names = BTreeSet::new();
        for setting in self.settings {
            if !is_name(setting.name) {
                return invalid(format!(
                    "its setting `{}` is not of lower-case letters, digits and hyphens, the first a letter: rename it",
                    setting.name
                ));
            }
            if !names.insert(setting.name) {
                return invalid(format!("it has two settings `{}`: rename one", setting.name));
            }
            if setting.default.is_some_and(|default| !setting.range.contains(&default)) {
                return invalid(format!("the default of its setting {setting} is out of range: change either"));
            }
        }
        Ok(())
    }

    /// Checks the settings that the options give: that the method has them, and that values are in range.
    pub(crate) fn check(&self, options: &Options) -> Result<(), AdaptError> {
        for (name, &value) in &options.settings {
            let (method, known) = (self.name, || self.settings.iter().map(Setting::to_string).collect());
            match self.settings.iter().find(|setting| setting.name == name) {
                None => return Err(AdaptError::UnknownSetting { method, name: name.clone(), known: known() }),
                Some(setting) if !setting.range.contains(&value) => {
                    let (name, expected) = (setting.name, setting.expected());
                    return Err(AdaptError::Setting { method, name, found: value, expected, known: known() });
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

impl fmt::Debug for MethodEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, about, settings, build: _ } = self;
        f.debug_struct("MethodEntry").field("name", name).field("about", about).field("settings", settings).finish()
    }
}

/// Whether a name can stand on a command line and in a text of settings without quotes.
fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|character| matches!(character, 'a'..='z' | '0'..='9' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::lp_ft;

    const RATE: Setting = Setting { name: "rate", default: Some(2.0), range: 0.0..=1.0, about: "a rate" };
    const FREE: Setting = Setting { name: "free", default: None, range: 0.0..=1.0, about: "a number" };
    const SPACED: Setting = Setting { name: "a rate", ..FREE };

    /// Catches: a name that a command line or a provenance text would split or cut off, and settings that nobody
    /// could give.
    #[test]
    fn malformed_entries_are_refused() {
        let entry = |name, settings| MethodEntry::new(name, "", settings, lp_ft::ENTRY.build);
        let refused = |entry: MethodEntry| entry.validate().map_err(|error| error.to_string()).expect_err("malformed");
        for name in ["", "L1", "1-sp", "l1 sp", "l1:sp", "λ", "a-name-that-is-longer-than-32-bytes"] {
            assert!(refused(entry(name, &[])).contains("expected 1 to 32"), "{name}");
        }
        assert!(refused(entry("own", &[SPACED])).contains("`a rate`"));
        assert!(refused(entry("own", &[FREE, FREE])).contains("two settings `free`"));
        assert!(refused(entry("own", &[RATE])).contains("out of range"));
        assert!(entry("own-2", &[FREE]).validate().is_ok());
    }
}
