//! Values of a network's tensors, in the network's order.

use fieldfit_delta::limits::MAX_TENSORS;
use fieldfit_nets::{Network, TensorId};
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

/// One buffer a tensor, aligned with [`Network::tensors`]; a tensor that a computation leaves out has an empty one.
///
/// Serves for weights, for δ = θ − θ0, for gradients and for an optimiser's state alike.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Params<T> {
    #[serde(deserialize_with = "by_tensor", bound(deserialize = "T: Deserialize<'de>"))]
    tensors: Vec<Vec<T>>,
}

/// Reads a list with a value for each tensor of a network. An empty value may take a byte in a file and many in memory: a list
/// of more than [`MAX_TENSORS`] is refused on the way.
///
/// # Errors
/// If it is longer, or no list of such values.
pub fn by_tensor<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_seq(ByTensor(PhantomData))
}

struct ByTensor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ByTensor<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value for each of at most {MAX_TENSORS} tensors")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<T>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = sequence.next_element()? {
            if values.len() == MAX_TENSORS {
                return Err(A::Error::invalid_length(MAX_TENSORS + 1, &self));
            }
            values.push(value);
        }
        Ok(values)
    }
}

impl<T: Clone + Default> Params<T> {
    /// Zeros for every tensor of the network.
    pub fn zeros(network: &Network) -> Self {
        Self::zeros_where(network, |_| true)
    }

    /// Zeros for the tensors that `keep` names, nothing for the others.
    pub fn zeros_where(network: &Network, keep: impl Fn(TensorId) -> bool) -> Self {
        let buffer = |(id, spec): (TensorId, &fieldfit_nets::TensorSpec)| {
            if keep(id) { vec![T::default(); spec.len()] } else { Vec::new() }
        };
        Self { tensors: network.tensors().map(buffer).collect() }
    }
}

impl<T> Params<T> {
    /// Whether the tensor has values here.
    pub fn contains(&self, id: TensorId) -> bool {
        !self.tensors[id.index()].is_empty()
    }

    /// How many values there are in all.
    pub fn len(&self) -> usize {
        self.tensors.iter().map(Vec::len).sum()
    }

    /// Whether no tensor has values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Replaces one tensor's values, whatever their number: the network says what fits.
    pub fn replace(&mut self, id: TensorId, values: Vec<T>) {
        self.tensors[id.index()] = values;
    }

    /// Every tensor's values, aligned with [`Network::tensors`].
    pub fn buffers(&self) -> &[Vec<T>] {
        &self.tensors
    }

    /// Every tensor's values, to be written in place.
    pub fn buffers_mut(&mut self) -> &mut [Vec<T>] {
        &mut self.tensors
    }
}

impl<T: Default + PartialEq> Params<T> {
    /// Whether any of the tensor's values isn't zero.
    pub fn has_moved(&self, id: TensorId) -> bool {
        self.tensors[id.index()].iter().any(|value| *value != T::default())
    }
}

impl<T> Index<TensorId> for Params<T> {
    type Output = [T];

    fn index(&self, id: TensorId) -> &[T] {
        &self.tensors[id.index()]
    }
}

impl<T> IndexMut<TensorId> for Params<T> {
    fn index_mut(&mut self, id: TensorId) -> &mut [T] {
        &mut self.tensors[id.index()]
    }
}
