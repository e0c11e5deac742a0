//! Fixtures of the soak test: a tiny base, images of three colours, and a store, shared by all processes.

use crate::Error;
use fieldfit::data::{Dataset, FolderOptions};
use fieldfit::store::{Keep, TrialRules};
use fieldfit::train::Options;
use fieldfit::{Device, Runtime};
use fieldfit_tests::tiny;
use std::fs;
use std::path::{Path, PathBuf};

/// How much the store may hold.
pub const KEEP: Keep = Keep::ALL.with_versions(Some(8));

/// What computes, in every process.
pub const DEVICE: Device = Device::Cpu { threads: 1 };

/// A folder with everything in it.
pub struct Field {
    /// The folder.
    pub folder: PathBuf,
}

impl Field {
    /// Makes the folder.
    pub fn new(folder: PathBuf) -> Result<Self, Error> {
        fs::create_dir_all(&folder)?;
        tiny::base(&folder, 1);
        tiny::images(&folder.join("images"), 12, 5);
        let field = Self { folder };
        field.open()?;
        Ok(field)
    }

    /// The base.
    pub fn model(&self) -> PathBuf {
        self.folder.join("tiny-1")
    }

    /// The store's folder.
    pub fn store(&self) -> PathBuf {
        self.folder.join("store")
    }

    /// A runtime that looks on.
    pub fn open(&self) -> Result<Runtime, Error> {
        let builder = Runtime::builder(self.model()).device(DEVICE).store_or_new(self.store());
        Ok(builder.without_trials().open()?)
    }
}

/// A runtime that answers frames, whose predictions count.
pub fn robot(folder: &Path) -> Result<Runtime, Error> {
    let field = Field { folder: folder.to_owned() };
    Ok(Runtime::builder(field.model()).device(DEVICE).store(field.store()).trials(TrialRules::default()).open()?)
}

/// Adapts once, as `fieldfit adapt` does.
pub fn adapt(folder: &Path, resume: bool) -> Result<(), Error> {
    let field = Field { folder: folder.to_owned() };
    let builder = Runtime::builder(field.model()).device(DEVICE).store(field.store());
    let runtime = builder.keep(KEEP).without_trials().open()?;
    let images = Dataset::open(&folder.join("images"), &FolderOptions::default())?;
    let options = Options::default().with_epochs(10).with_device(DEVICE);
    runtime.adaptation(&images).options(options).resume(resume).run()?;
    Ok(())
}
