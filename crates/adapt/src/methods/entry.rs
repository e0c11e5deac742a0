//! Method entry: a method's name, help and settings, and how to build it.

use crate::error::AdaptError;
use crate::methods::method::Method;
use crate::methods::setting::Setting;
use crate::options::Options;
use fieldfit_nets::Network;

/// Entry of the method list: a method's name, what it is, and how to build it.
pub struct MethodEntry {
    /// Its name in [`Options::method`].
    pub name: &'static str,
    /// One line for help texts.
    pub about: &'static str,
    /// What it reads from [`Options::settings`].
    pub settings: &'static [Setting],
    pub(crate) build: Build,
}

type Build = fn(&Options, &Network) -> Result<Box<dyn Method>, AdaptError>;

impl MethodEntry {
    /// Refuses settings that this method doesn't have, and values that they can't have.
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
