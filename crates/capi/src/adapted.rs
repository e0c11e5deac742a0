//! Result of an adaptation or a class addition.

use crate::failure::Failure;
use crate::sized::{self, SizedStruct};
use crate::text::json;
use fieldfit::train::{Adapted, Event};
use std::ffi::c_char;

/// Result of an adaptation or a class addition: a version in the store, whatever the gate decided. Begin with
/// `fieldfit_adapted_init()`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct fieldfit_adapted {
    /// `sizeof(fieldfit_adapted)`.
    pub struct_size: u32,
    /// Its number in the store.
    pub version: u32,
    /// 1 if the gate accepted it, so that it runs now.
    pub active: u32,
    /// Number of images in the gate slice.
    pub gate_images: u32,
    /// Accuracy on the gate slice of what ran before, 0..1.
    pub gate_before: f64,
    /// Accuracy on the gate slice of this version, 0..1.
    pub gate_after: f64,
    /// Size of its delta file, in bytes.
    pub delta_bytes: u64,
    /// Wall time, in seconds.
    pub seconds: f64,
    /// Peak resident memory of the process, in bytes; 0 where the system does not report it.
    pub peak_bytes: u64,
}

// SAFETY: `repr(C)`, begins with its size, and has numbers alone.
unsafe impl SizedStruct for fieldfit_adapted {
    const LEAST: usize = size_of::<Self>();
}

impl From<&Adapted> for fieldfit_adapted {
    fn from(adapted: &Adapted) -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            version: adapted.version,
            active: adapted.active.into(),
            gate_images: u32::try_from(adapted.gate.images).unwrap_or(u32::MAX),
            gate_before: adapted.gate.before,
            gate_after: adapted.gate.after,
            delta_bytes: adapted.delta_bytes,
            seconds: adapted.seconds,
            peak_bytes: adapted.peak.unwrap_or(0),
        }
    }
}

/// Places for a result, checked before the work begins.
#[derive(Debug, Clone, Copy)]
pub struct AdaptedOut {
    out: Option<(*mut fieldfit_adapted, usize)>,
    text: *mut *mut c_char,
}

impl AdaptedOut {
    /// Checks the places.
    ///
    /// # Safety
    /// `out` is NULL or points to a structure that begins with its size; `text` is NULL or writable. Both stay so until
    /// [`put`](Self::put).
    pub unsafe fn new(out: *mut fieldfit_adapted, text: *mut *mut c_char) -> Result<Self, Failure> {
        // SAFETY: the caller's promise.
        let size = || unsafe { sized::check(out, "out") };
        Ok(Self { out: if out.is_null() { None } else { Some((out, size()?)) }, text })
    }

    /// Writes the figures to the structure and, as the event `done`, to the text.
    pub fn put(self, adapted: Adapted) -> Result<(), Failure> {
        if let Some((out, size)) = self.out {
            // SAFETY: the promise to `new`; `size` is of `out`.
            unsafe { sized::write(out, size, &fieldfit_adapted::from(&adapted)) };
        }
        if !self.text.is_null() {
            let text = json(&Event::from(adapted), "the result")?;
            // SAFETY: the promise to `new`.
            unsafe { self.text.write(text.into_raw()) };
        }
        Ok(())
    }
}
