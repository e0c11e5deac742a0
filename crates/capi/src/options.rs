//! Options of a runtime: which base runs, with which store, and how.

use crate::argument::{optional_path, path};
use crate::failure::Failure;
use crate::sized::SizedStruct;
use fieldfit::delta::read_key;
use fieldfit::store::{Keep, TrialRules};
use fieldfit::{Builder, Device, Precision, Runtime, all_cores};
use std::ffi::c_char;
use std::num::NonZeroU32;

/// Device that computes.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum fieldfit_device {
    /// The processor.
    FIELDFIT_CPU = 0,
    /// An NVIDIA GPU, of a library that was built for it.
    FIELDFIT_CUDA = 1,
    /// Apple's GPU, of a library that was built for it.
    FIELDFIT_METAL = 2,
}

/// Flag of `fieldfit_options`: the store is created if it is missing.
pub const FIELDFIT_CREATE_STORE: u32 = 1;
/// Flag of `fieldfit_options`: a store whose state is damaged or unreadable is an error, and the base does not run in its place.
pub const FIELDFIT_REQUIRE_STORE: u32 = 2;
/// Flag of `fieldfit_options`: neither starts nor predictions of a version on trial are counted, for programs that answer none of
/// the robot's frames.
pub const FIELDFIT_WITHOUT_TRIALS: u32 = 4;
/// Flag of `fieldfit_options`: predictions also rank the base's own classes.
pub const FIELDFIT_BASE_ANSWERS: u32 = 8;
/// Flag of `fieldfit_options`: predictions have the novelty of their frames, where the version records a threshold.
pub const FIELDFIT_NOVELTY: u32 = 16;
/// Flag of `fieldfit_options`: the base's weights are read to memory instead of mapped.
pub const FIELDFIT_COPY_BASE: u32 = 32;
/// Flag of `fieldfit_options`: versions are inferred in int8, on the processor, with the scales of activations that an adaptation for
/// int8 recorded, else with those that `fieldfit calibrate` wrote beside the base.
pub const FIELDFIT_INT8: u32 = 64;

/// Every flag.
const FLAGS: u32 = FIELDFIT_CREATE_STORE
    | FIELDFIT_REQUIRE_STORE
    | FIELDFIT_WITHOUT_TRIALS
    | FIELDFIT_BASE_ANSWERS
    | FIELDFIT_NOVELTY
    | FIELDFIT_COPY_BASE
    | FIELDFIT_INT8;

/// Options of a runtime. Begin with `fieldfit_options_init()` and set `model`; every member that is 0 or NULL is at its default.
/// The library copies the strings.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct fieldfit_options {
    /// `sizeof(fieldfit_options)`.
    pub struct_size: u32,
    /// Threads of `FIELDFIT_CPU`; 0 for one per core.
    pub threads: u32,
    /// Path of the base's model folder. Required.
    pub model: *const c_char,
    /// Path of the store, whose active version runs and which keeps adaptations; NULL for none.
    pub store: *const c_char,
    /// Path of a delta file that runs until the first swap; NULL for none.
    pub delta: *const c_char,
    /// Path of the secret key that signs adaptations; NULL for none.
    pub key: *const c_char,
    /// A `fieldfit_device`.
    pub device: u32,
    /// Index of the device `FIELDFIT_CUDA`.
    pub device_ordinal: u32,
    /// The flags, added up: `FIELDFIT_CREATE_STORE` and so on.
    pub flags: u32,
    /// Number of frames between two notices of drift; 0 for none.
    pub drift_every: u32,
    /// Number of failures in a row after which a version is left; 0 for 3.
    pub max_failures: u32,
    /// Maximum number of versions that the store keeps; 0 for all.
    pub keep_versions: u32,
    /// Maximum bytes of delta files that the store keeps; 0 for all.
    pub keep_bytes: u64,
    /// Maximum bytes that a version may take to run; 0 for any.
    pub memory_budget: u64,
    /// Number of completed predictions after which a version on trial is confirmed; 0 for 100.
    pub trial_predictions: u32,
    /// Number of starts in a row without a completed prediction after which a version on trial has failed; 0 for 3.
    pub trial_starts: u32,
}

// SAFETY: `repr(C)`, begins with its size, and has integers and pointers alone.
unsafe impl SizedStruct for fieldfit_options {
    const LEAST: usize = size_of::<Self>();
}

impl fieldfit_options {
    /// Returns a builder of the runtime that the options describe.
    ///
    /// # Safety
    /// Each string is NULL or NUL-terminated, and stays as it is until this returns.
    pub unsafe fn builder(&self) -> Result<Builder, Failure> {
        // SAFETY: the caller's promise.
        let [store, delta, key] = unsafe {
            [
                optional_path(self.store, "options.store")?,
                optional_path(self.delta, "options.delta")?,
                optional_path(self.key, "options.key")?,
            ]
        };
        // SAFETY: the caller's promise.
        let mut builder = Runtime::builder(unsafe { path(self.model, "options.model")? }).device(self.device()?);
        if let Some(store) = store {
            let create = self.has(FIELDFIT_CREATE_STORE);
            builder = if create { builder.store_or_new(store) } else { builder.store(store) };
        }
        if let Some(delta) = delta {
            builder = builder.delta(delta);
        }
        if let Some(key) = key {
            builder = builder.key(read_key(&key)?);
        }
        Ok(self.set_limits(self.set_flags(builder)?))
    }

    fn device(&self) -> Result<Device, Failure> {
        const CPU: u32 = fieldfit_device::FIELDFIT_CPU as u32;
        const CUDA: u32 = fieldfit_device::FIELDFIT_CUDA as u32;
        const METAL: u32 = fieldfit_device::FIELDFIT_METAL as u32;
        match self.device {
            CPU if self.threads == 0 => Ok(all_cores()),
            CPU => Ok(Device::Cpu { threads: self.threads as usize }),
            CUDA => Ok(Device::Cuda { ordinal: self.device_ordinal as usize }),
            METAL => Ok(Device::Metal),
            found => {
                Err(Failure::Value { argument: "options.device", found: found.into(), expected: "a fieldfit_device" })
            }
        }
    }

    const fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    fn set_flags(&self, mut builder: Builder) -> Result<Builder, Failure> {
        if self.flags & !FLAGS != 0 {
            let expected = "a sum of flags that this library knows";
            return Err(Failure::Value { argument: "options.flags", found: self.flags.into(), expected });
        }
        if self.has(FIELDFIT_REQUIRE_STORE) {
            builder = builder.require_store();
        }
        builder = builder.trials(self.trials());
        if self.has(FIELDFIT_WITHOUT_TRIALS) {
            builder = builder.without_trials();
        }
        let precision = if self.has(FIELDFIT_INT8) { Precision::Int8 } else { Precision::F32 };
        Ok(builder
            .precision(precision)
            .base_answers(self.has(FIELDFIT_BASE_ANSWERS))
            .novelty(self.has(FIELDFIT_NOVELTY))
            .copy_base(self.has(FIELDFIT_COPY_BASE)))
    }

    fn trials(&self) -> TrialRules {
        let TrialRules { predictions, starts, .. } = TrialRules::default();
        let given = |number: u32, default| if number == 0 { default } else { number };
        TrialRules::new(given(self.trial_predictions, predictions), given(self.trial_starts, starts))
    }

    fn set_limits(&self, mut builder: Builder) -> Builder {
        if let Some(frames) = NonZeroU32::new(self.drift_every) {
            builder = builder.drift_every(frames);
        }
        if let Some(failures) = NonZeroU32::new(self.max_failures) {
            builder = builder.max_failures(failures);
        }
        if self.memory_budget > 0 {
            builder = builder.memory_budget(self.memory_budget);
        }
        let versions = (self.keep_versions > 0).then_some(self.keep_versions);
        let bytes = (self.keep_bytes > 0).then_some(self.keep_bytes);
        builder.keep(Keep::ALL.with_versions(versions).with_bytes(bytes))
    }
}
