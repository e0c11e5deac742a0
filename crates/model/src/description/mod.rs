//! Network description, `network.json`: the graph, tensors and head of a network that was imported from a file.
//!
//! A model folder of a built-in architecture has none. A description may come from anywhere: it is read up to a limit and
//! checked before anything is computed from it, see [`NetworkDescription::check`].

mod check;
mod error;
mod layout;
mod op;

pub(crate) use check::MAX_VALUES;
pub use error::DescriptionError;
pub use layout::SourceLayout;

use crate::error::ModelError;
use crate::file;
use crate::import::graph::IMPORTED;
use crate::manifest::DescriptionFile;
use fieldfit_nets::{Axis, Function, Graph, Head, Network, Node, Op, Role, Shape, TensorSpec};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::Path;

/// Version of the format.
const VERSION: u32 = 1;
/// The most bytes of a description: those of the largest published networks have less than one MiB.
const LONGEST: u64 = 16 << 20;
/// The most nodes of a graph: the largest published networks have about two thousand.
const MAX_NODES: usize = 16_384;

/// Network description: a graph, its tensors and its head, and the image that the network was exported for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkDescription {
    /// Version of the format, 1.
    pub version: u32,
    /// Channels of the input image.
    pub channels: usize,
    /// Rows and columns of the image that the network was exported for. It may accept others.
    pub size: [usize; 2],
    /// Every tensor, those of the head last.
    pub tensors: Vec<DescribedTensor>,
    /// The backbone.
    pub graph: Graph,
    /// The classifier; of 0 classes if there is none.
    pub head: Head,
}

/// Tensor of a described network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribedTensor {
    /// Name, in the model folder and in the file that the network was imported from.
    pub name: String,
    /// Shape, outermost dimension first.
    pub shape: Vec<usize>,
    /// Role in the network.
    pub role: Role,
    /// Layout in the imported file; `None` of a tensor that the import added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceLayout>,
}

impl NetworkDescription {
    /// Describes a network that was exported for images of `size`. `sources` are the layouts of its tensors in the file.
    ///
    /// # Errors
    /// As [`NetworkDescription::check`].
    pub fn new(
        network: &Network,
        size: [usize; 2],
        sources: Vec<Option<SourceLayout>>,
    ) -> Result<Self, DescriptionError> {
        let tensors = network.tensors.iter().zip(sources).map(|(spec, source)| {
            let TensorSpec { name, shape, role } = spec.clone();
            DescribedTensor { name, shape, role, source }
        });
        let mut graph = network.graph.clone();
        graph.nodes.iter_mut().for_each(|node| make_finite(&mut node.op));
        let description = Self {
            version: VERSION,
            channels: network.channels,
            size,
            tensors: tensors.collect(),
            graph,
            head: network.head,
        };
        description.check()?;
        Ok(description)
    }

    /// Reads the description in a model folder.
    ///
    /// # Errors
    /// If the file cannot be read, is not the one that the manifest states, or fails [`NetworkDescription::check`].
    pub fn read(folder: &Path, file: &DescriptionFile) -> Result<Self, ModelError> {
        let path = folder.join(&file.file);
        let bytes = file::read(&path, LONGEST).map_err(|source| ModelError::read(&path, source))?;
        let (expected, found) = (file.sha256, Sha256::digest(&bytes).into());
        if found != expected {
            return Err(ModelError::Altered { path, expected, found });
        }
        Self::parse(&bytes).map_err(|source| ModelError::Description { path, source: Box::new(source) })
    }

    /// Reads a description from a file's bytes.
    ///
    /// # Errors
    /// If they are no JSON of this version, or fail [`NetworkDescription::check`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DescriptionError> {
        let Version { version } = serde_json::from_slice(bytes)?;
        if version != VERSION {
            return Err(DescriptionError::Version { expected: VERSION, found: version });
        }
        let description: Self = serde_json::from_slice(bytes)?;
        description.check()?;
        Ok(description)
    }

    /// Encodes the description as the JSON that [`NetworkDescription::parse`] reads.
    ///
    /// # Errors
    /// If it is longer than any that is read.
    pub fn to_json(&self) -> Result<Vec<u8>, DescriptionError> {
        let json = serde_json::to_vec(self)?;
        let limit = LONGEST as usize;
        if json.len() > limit {
            return Err(DescriptionError::Limit { what: "bytes", limit, found: json.len() });
        }
        Ok(json)
    }

    /// Checks that the network can be computed: that a node reads earlier values, every value and tensor is read, tensors
    /// have the values that their ops read, sections cover the nodes, shapes resolve at [`NetworkDescription::size`] and
    /// the head fits the backbone's output; and that all numbers are within limits, so that nothing overflows.
    ///
    /// # Errors
    /// The first fault, with the node, tensor or section that has it.
    pub fn check(&self) -> Result<(), DescriptionError> {
        check::check(self)
    }

    /// Computes the shape of each value for an image of that size, the image's first.
    ///
    /// # Errors
    /// If the network does not accept such an image, or a value has more values than any that is supported.
    pub fn shapes(&self, size: [usize; 2]) -> Result<Vec<Shape>, DescriptionError> {
        check::shapes(self, size)
    }

    /// Returns whether the network accepts an image of that size: its shapes resolve, the head fits, and rows and columns are
    /// taken by their positions from values of the exported size alone.
    pub fn accepts(&self, size: [usize; 2]) -> bool {
        let (Ok(own), Ok(shapes)) = (self.shapes(self.size), self.shapes(size)) else { return false };
        let takes_positions =
            |op: &Op| matches!(op, Op::Gather { .. } | Op::Slice { axis: Axis::Rows | Axis::Columns, .. });
        let fits = |node: &Node| {
            !takes_positions(&node.op) || node.inputs.iter().all(|value| own[value.index()] == shapes[value.index()])
        };
        self.graph.nodes.iter().all(fits) && shapes.last().is_some_and(|output| self.fits_head(*output))
    }

    const fn fits_head(&self, output: Shape) -> bool {
        match self.head.is_dense() {
            true => output.channels == self.head.classes,
            false => output.len() == self.head.features,
        }
    }

    /// Returns the network.
    pub fn network(&self) -> Network {
        let spec = |tensor: &DescribedTensor| TensorSpec {
            name: tensor.name.clone(),
            shape: tensor.shape.clone(),
            role: tensor.role,
        };
        Network {
            architecture: IMPORTED,
            channels: self.channels,
            tensors: self.tensors.iter().map(spec).collect(),
            graph: self.graph.clone(),
            head: self.head,
        }
    }
}

/// The version alone, which is read first: another one may have other fields.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// Replaces bounds that are infinite in f32, in which kernels compute and for which JSON has no numbers, by the greatest finite
/// ones, which clamp no finite value.
fn make_finite(op: &mut Op) {
    if let Op::Activate(Function::Clamp { low, high }) = op {
        for bound in [low, high].into_iter().filter(|bound| (**bound as f32).is_infinite()) {
            *bound = f64::from(f32::MAX).copysign(*bound);
        }
    }
}
