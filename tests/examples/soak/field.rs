//! What all processes of the soak share: a tiny base, images of three colours, a store.

use crate::Error;
use fieldfit::{
    Base, Codec, Control, Dataset, Device, FolderOptions, Keep, Norm, Options, Runtime, TrialRules,
};
use fieldfit_delta::Provenance;
use fieldfit_model::{Change, Params, encode_delta};
use fieldfit_tests::tiny;
use std::fs;
use std::path::{Path, PathBuf};

/// How much the store may hold.
pub const KEEP: Keep = Keep { versions: Some(8), bytes: None };

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
    let options = Options { epochs: 3, device: DEVICE, ..Options::default() };
    runtime.adapt_with(&images, &options, resume, &Control::new(), &mut |_| ())?;
    Ok(())
}

/// A delta that is whole and fits the base, and whose logits are infinite on every frame.
pub fn poison(base: &Base) -> Result<Vec<u8>, Error> {
    let head = base.network().head;
    let change = Change {
        delta: &Params::zeros(base.network()),
        radii: &vec![None; base.network().tensors.len()],
        norm: Norm::Mars,
        head_weight: &vec![f32::MAX; 3 * head.features],
        head_bias: &[f32::MAX, 0.0, 1.0],
        labels: &tiny::CLASSES.map(str::to_owned),
        input_size: 32,
        crop: 0.875,
        codecs: &vec![Codec::F32; base.network().tensors.len()],
    };
    Ok(encode_delta(base, &change, Provenance::default(), None)?)
}
