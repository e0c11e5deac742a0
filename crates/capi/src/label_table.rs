//! Label table: class names as NUL-terminated strings, which live as long as their runtime.
//!
//! A frame looks up the table of the version that answered and allocates nothing. The first frame after a swap to other names
//! makes their table. Each distinct name is kept once until the runtime is closed, so that a prediction owns nothing and its
//! labels stay right after a swap.

use crate::failure::Failure;
use arc_swap::ArcSwapOption;
use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::sync::{Arc, Mutex, PoisonError};

/// Class names of one runtime.
#[derive(Debug, Default)]
pub struct LabelTable {
    /// Names of the version that answered last.
    own: ArcSwapOption<CLabels>,
    /// Names of the base, where predictions rank them, too.
    base: ArcSwapOption<CLabels>,
    /// Every name that was handed out.
    names: Mutex<BTreeSet<Arc<CStr>>>,
}

/// Class names of one version.
#[derive(Debug)]
pub struct CLabels {
    /// The list that they were made from, by whose address it is recognised: it is kept, so that no other takes its place.
    source: Arc<[String]>,
    names: Box<[Arc<CStr>]>,
}

impl CLabels {
    /// Returns the names in the order of the head's outputs. They live as long as the table.
    pub const fn names(&self) -> &[Arc<CStr>] {
        &self.names
    }
}

impl LabelTable {
    /// Returns the names of the version that has these labels.
    pub fn own(&self, labels: &Arc<[String]>) -> Result<Arc<CLabels>, Failure> {
        self.cached(&self.own, labels)
    }

    /// Returns the names of the base that has these labels.
    pub fn base(&self, labels: &Arc<[String]>) -> Result<Arc<CLabels>, Failure> {
        self.cached(&self.base, labels)
    }

    fn cached(&self, cache: &ArcSwapOption<CLabels>, labels: &Arc<[String]>) -> Result<Arc<CLabels>, Failure> {
        match cache.load_full() {
            Some(cached) if Arc::ptr_eq(&cached.source, labels) => Ok(cached),
            Some(_) | None => {
                let made = Arc::new(self.make(labels)?);
                cache.store(Some(made.clone()));
                Ok(made)
            }
        }
    }

    fn make(&self, labels: &Arc<[String]>) -> Result<CLabels, Failure> {
        let mut known = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let mut name = |label: &String| {
            let label = CString::new(label.as_str())
                .map_err(|nul| Failure::Nul { what: "a class name", offset: nul.nul_position() })?;
            if let Some(name) = known.get(label.as_c_str()) {
                return Ok(name.clone());
            }
            let name: Arc<CStr> = label.into();
            known.insert(name.clone());
            Ok(name)
        };
        Ok(CLabels { source: labels.clone(), names: labels.iter().map(&mut name).collect::<Result<_, Failure>>()? })
    }
}
