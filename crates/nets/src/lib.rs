//! Network architectures as data: stages of ops with shapes and tensor names.
//!
//! A [`Network`] is a list of [`Stage`]s, each a list of [`Op`]s over tensors that are named and shaped exactly as the
//! checkpoints of timm or torchvision name and shape them. Executors interpret it, importers check a file against it,
//! the memory plan is computed from it.
//!
//! The crate has no weights, and no arithmetic except on shapes.
//!
//! ```
//! let network = fieldfit_nets::by_name("efficientnet-lite0")?;
//! assert_eq!(network.head.classes, 1000);
//! assert_eq!(network.parameter_count(), 4_652_008);
//! # Ok::<(), fieldfit_nets::UnknownArchitecture>(())
//! ```

mod cost;
mod efficientnet_lite;
mod mobilenet_v2;
mod network;
mod registry;
mod resnet;
mod shape;
mod token;
mod vit;

pub use cost::StageCost;
pub use network::{
    Activation, BatchNorm, Conv, Head, MaxPool, Network, Op, Padding, Role, Shortcut, Stage, TensorSpec,
};
pub use registry::{ARCHITECTURES, TEST_ARCHITECTURES, UnknownArchitecture, by_name};
pub use shape::{Shape, ShapeError};
pub use token::{Attention, ClassToken, Embed, LayerNorm, Linear, Prologue};
