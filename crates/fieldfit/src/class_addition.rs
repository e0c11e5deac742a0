//! Class addition: adds a class to the active version in seconds, by the mean of its features, or removes it again.

use crate::adaptation::Adapted;
use crate::delta::file::parse;
use crate::{Error, Runtime};
use fieldfit_adapt::{Outcome, TeachRequest, remove_taught, teach};
use fieldfit_data::{Dataset, Frame};
use fieldfit_delta::Delta;

/// Addition of a class by its images, without training: [`run`](Self::run) adds it.
#[must_use = "a class is taught when `run` is called"]
pub struct ClassAddition<'a> {
    runtime: &'a Runtime,
    class: &'a str,
    frames: &'a [Frame<'a>],
    known: Option<&'a Dataset>,
}

impl<'a> ClassAddition<'a> {
    /// Sets images of the active version's classes. Their gate slice judges what the new class costs the others; class means
    /// that the version does not record are computed from the rest.
    pub const fn known(mut self, images: &'a Dataset) -> Self {
        self.known = Some(images);
        self
    }

    /// Adds the class to the active version, stores the result with its verdict, and runs it, on trial, if it was accepted.
    ///
    /// # Errors
    /// If there is no store, or it cannot be written; [`TeachError`](crate::train::TeachError) if the class exists, there are
    /// no images, one is there twice or cannot be decoded, or the means of the active version's classes are unknown. Nothing
    /// is added to the store then, and what ran goes on.
    pub fn run(self) -> Result<Adapted, Error> {
        let Self { runtime, class, frames, known } = self;
        runtime.store_changed(|active| {
            let (base, device) = (runtime.base(), runtime.device());
            Ok(teach(&TeachRequest { base, active, class, frames, known, device })?)
        })
    }
}

impl Runtime {
    /// Begins to teach a class by its images, without training; [`ClassAddition::run`] runs it.
    ///
    /// The class is added to the active version's, as a row of weights made of the mean of its features. On the base it
    /// begins a head of its own, beside which [`Prediction::base`](crate::Prediction::base) still ranks the base's classes.
    pub const fn teach<'a>(&'a self, class: &'a str, frames: &'a [Frame<'a>]) -> ClassAddition<'a> {
        ClassAddition { runtime: self, class, frames, known: None }
    }

    /// Removes a class that was [taught](Self::teach) from the active version, and runs the result, on trial.
    ///
    /// # Errors
    /// If there is no store, or it cannot be written; [`TeachError`](crate::train::TeachError) if the class was not taught, or
    /// is the only one.
    pub fn remove_taught(&self, class: &str) -> Result<Adapted, Error> {
        self.store_changed(|active| Ok(remove_taught(self.base(), active, class)?))
    }

    /// Makes a version of the active one and stores it with its verdict; makes it again if another one has become active
    /// meanwhile.
    fn store_changed(
        &self,
        mut change: impl FnMut(Option<&Delta<'_>>) -> Result<Outcome, Error>,
    ) -> Result<Adapted, Error> {
        let store = self.store_to("keep a taught class in")?;
        self.check_base()?;
        loop {
            let compared_with = store.active_version()?;
            let active = store.read_active()?;
            let active =
                active.as_ref().map(|(version, bytes)| parse(&store.delta_path(*version), bytes)).transpose()?;
            let mut outcome = change(active.as_ref())?;
            if let Some(version) = self.store_judged(store, &mut outcome, &compared_with)? {
                return self.adapted(store, version, outcome);
            }
        }
    }
}
