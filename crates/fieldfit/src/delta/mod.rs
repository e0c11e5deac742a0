//! Delta files: signing, compression, verification, comparison, export, merge, and the keys that sign them.

mod diff;
mod export;
pub(crate) mod file;
mod key;
mod merge;
mod transfer;

pub use crate::info::{DeltaInfo, TensorInfo};
pub use diff::{DeltaDiff, TensorDiff, diff};
pub use export::{Exported, RIVAL, Rival, beside, export_differences, export_merged};
pub use fieldfit_delta::{
    Codec, Constraint, DeltaError, Fidelity, HeadDescription, HeadOrigin, NoveltyThreshold, PublicKey, SecretKey,
    Signature, TensorKind,
};
pub use key::{new_key, read_key};
pub use merge::{MAX_MERGED_DELTAS, MergeError, MergeParent, Merged, MergedClass, merge};
pub use transfer::{Packed, Verified, pack, sign, unpack, verify};
