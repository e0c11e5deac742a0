//! Networks as data: graphs of ops with shapes and tensor names.
//!
//! A [`Network`] is a [`Graph`] over tensors that are named and shaped exactly as its checkpoint names and shapes them: a
//! list of [`Node`]s, each one [`Op`] of earlier values, grouped in [`Section`]s. The [architectures](ARCHITECTURES) of
//! this crate emit such graphs; importers read others from files. Executors interpret a network, importers check a file
//! against it, the memory plan is computed from it.
//!
//! The crate has no weights, and no arithmetic except on shapes.
//!
//! ```
//! let network = fieldfit_nets::by_name("efficientnet-lite0")?;
//! assert_eq!(network.head.classes, 1000);
//! assert_eq!(network.parameter_count(), 4_652_008);
//! # Ok::<(), fieldfit_nets::UnknownArchitecture>(())
//! ```

mod activation;
mod builder;
mod conv;
mod cost;
mod efficientnet_lite;
mod graph;
mod mobilenet_v2;
mod network;
mod op;
mod registry;
mod resnet;
mod shape;
mod token;
mod vit;
mod window;

pub use activation::{Activation, Function};
pub use conv::{BatchNorm, Conv, ConvTranspose};
pub use cost::SectionCost;
pub use graph::{CutError, Graph, Node, Section, ValueId};
pub use network::{Head, Network, Role, TensorSpec};
pub use op::{Arithmetic, Axis, Interpolation, MAX_INPUTS, Op, Rearrange, ResizeTo};
pub use registry::{ARCHITECTURES, TEST_ARCHITECTURES, UnknownArchitecture, by_name};
pub use shape::{Shape, ShapeError};
pub use token::{Attention, ClassToken, Embed, LayerNorm, Linear, Prologue};
pub use window::{Padding, SpatialAxis, Window};
