//! Stores: versions on disk, their trials and history, and whose deltas a store accepts.

pub use crate::adaptation::receive;
pub use crate::info::{StoreInfo, VersionInfo, store_info};
pub use fieldfit_store::*;
