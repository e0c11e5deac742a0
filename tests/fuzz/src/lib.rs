//! Fuzz targets: whatever the bytes are, no reader may panic, hang or allocate without bound, and
//! what is accepted keeps the reader's promises.

pub mod base;
pub mod checkpoint;
pub mod delta;
mod network;
pub mod onnx;
pub mod pt2;
pub mod recording;
pub mod resume;
pub mod safetensors;
mod scratch;
pub mod state;
pub mod transport;

/// The architecture that the seeds are of: the smallest that there is.
pub const ARCHITECTURE: &str = "efficientnet-tiny";
