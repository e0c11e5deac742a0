//! Delta files: signing, compression, verification, comparison, export, and the keys that sign them.

mod diff;
mod export;
pub(crate) mod file;
mod key;
mod transfer;

pub use crate::info::{DeltaInfo, TensorInfo};
pub use diff::{DeltaDiff, TensorDiff, diff};
pub use export::{Exported, RIVAL, Rival, beside, export_differences, export_merged};
pub use fieldfit_delta::{
    Codec, Constraint, DeltaError, Fidelity, HeadDescription, HeadOrigin, NoveltyThreshold, PublicKey, SecretKey,
    Signature, TensorKind,
};
pub use key::{new_key, read_key};
pub use transfer::{Packed, Verified, pack, sign, unpack, verify};
