//! Registry of live handles: a handle is a number that is never given twice, so that a closed one is found out soundly.
//!
//! A handle is no address. A call looks it up and keeps what it finds until it returns: a handle that another thread closes
//! meanwhile ends with that call. Nothing is read through a pointer that C passes as a handle, whatever it is.

use crate::failure::Failure;
use std::collections::BTreeMap;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Next handle, of any registry: none is taken for one of another kind. Spaced, so that they look like aligned addresses.
static NEXT: AtomicUsize = AtomicUsize::new(SPACING);
const SPACING: usize = 16;

/// Live objects of one kind by their handles; `H` is the opaque type of C.
pub struct Registry<H, T> {
    /// The kind, for messages.
    what: &'static str,
    live: RwLock<BTreeMap<usize, Arc<T>>>,
    handle: std::marker::PhantomData<fn(H)>,
}

impl<H, T> Registry<H, T> {
    /// Creates an empty registry of that kind of object.
    pub const fn new(what: &'static str) -> Self {
        Self { what, live: RwLock::new(BTreeMap::new()), handle: std::marker::PhantomData }
    }

    /// Adds an object and returns its handle.
    pub fn add(&self, object: Arc<T>) -> *mut H {
        let number = NEXT.fetch_add(SPACING, Ordering::Relaxed);
        self.live.write().unwrap_or_else(PoisonError::into_inner).insert(number, object);
        ptr::without_provenance_mut(number)
    }

    /// Returns the object of a handle, which is the argument of that name.
    pub fn get(&self, handle: *const H, argument: &'static str) -> Result<Arc<T>, Failure> {
        self.require(handle, argument)?;
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.get(&handle.addr()).cloned().ok_or(Failure::Closed { argument, what: self.what })
    }

    /// Removes a handle and returns its object.
    pub fn remove(&self, handle: *const H, argument: &'static str) -> Result<Arc<T>, Failure> {
        self.require(handle, argument)?;
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        live.remove(&handle.addr()).ok_or(Failure::Closed { argument, what: self.what })
    }

    fn require(&self, handle: *const H, argument: &'static str) -> Result<(), Failure> {
        match handle.is_null() {
            true => Err(Failure::Null { argument, expected: self.what }),
            false => Ok(()),
        }
    }
}
