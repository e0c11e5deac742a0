//! Test helpers: a tiny base, a small folder of images, and runs on them.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot prepare its files has failed")]

use fieldfit_adapt::{AdaptError, AdaptRequest, Checkpointing, Control, Event, Options, Outcome, adapt};
use fieldfit_data::{Augmentation, Dataset, FolderOptions, Fractions};
use fieldfit_exec::Device;
use fieldfit_model::Base;
use fieldfit_tests::tiny;
use std::path::Path;
use tempfile::TempDir;

/// A base and images that are gone when this is.
pub struct Field {
    pub folder: TempDir,
    pub base: Base,
    pub dataset: Dataset,
}

impl Field {
    /// The base and the images of that seed.
    pub fn new(seed: u64) -> Self {
        Self::of("efficientnet-tiny", 16, seed)
    }

    /// The same of another architecture, with that many images a class.
    pub fn of(architecture: &str, images: usize, seed: u64) -> Self {
        let folder = TempDir::new().unwrap();
        let base = Base::open(&tiny::base_of(folder.path(), architecture, seed)).unwrap();
        let path = folder.path().join("images");
        tiny::images(&path, images, seed);
        let dataset = Dataset::open(&path, &FolderOptions::default()).unwrap();
        Self { folder, base, dataset }
    }

    /// A run without checkpoint or active version, and what it told.
    pub fn adapt(&self, options: &Options) -> (Result<Outcome, AdaptError>, Vec<Event>) {
        let mut events = Vec::new();
        let outcome = adapt(&self.request(options), &Control::new(), &mut |event| events.push(event));
        (outcome, events)
    }

    /// A run that keeps a checkpoint, stopped once `stop` says so.
    pub fn adapt_until(
        &self,
        options: &Options,
        checkpoint: &Path,
        resume: bool,
        mut stop: impl FnMut(&Event) -> bool,
    ) -> Result<Outcome, AdaptError> {
        let checkpoint = Some(Checkpointing { path: checkpoint, resume });
        let control = Control::new();
        let mut listen = |event: Event| {
            if stop(&event) {
                control.stop();
            }
        };
        adapt(&AdaptRequest { checkpoint, ..self.request(options) }, &control, &mut listen)
    }

    pub fn request<'a>(&'a self, options: &'a Options) -> AdaptRequest<'a> {
        AdaptRequest {
            base: &self.base,
            dataset: &self.dataset,
            options,
            methods: &[],
            active: None,
            start: None,
            checkpoint: None,
        }
    }
}

/// Two short epochs of that method on small images.
pub fn options(method: &str) -> Options {
    Options::default()
        .with_method(method)
        .with_epochs(2)
        .with_size(Some(32))
        .with_batch(8)
        .with_augmentation(Augmentation::Basic)
        .with_fractions(Fractions::new(0.2, 0.2))
        .with_device(Device::Cpu { threads: 1 })
}
