//! Parameter list: one buffer a tensor, in a network's order.

use crate::MAX_TENSORS;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

/// The position of a tensor in its network, and in every list that is aligned with the network's tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TensorId(usize);

impl TensorId {
    /// Returns the identifier of the tensor at that position.
    pub const fn new(index: usize) -> Self {
        Self(index)
    }

    /// Returns the position in the network's list of tensors.
    pub const fn index(self) -> usize {
        self.0
    }
}

/// An ordered list of tensors of known lengths, such as a network's parameters.
pub trait TensorLayout {
    /// Returns the number of values of each tensor, in order.
    fn lengths(&self) -> impl Iterator<Item = usize>;
}

/// Parameter values by tensor: one buffer a tensor, aligned with a network's tensors. A tensor that a computation leaves out
/// has an empty buffer.
///
/// Holds weights, δ = θ − θ0, gradients or an optimiser's state.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Params<T> {
    #[serde(deserialize_with = "by_tensor", bound(deserialize = "T: Deserialize<'de>"))]
    tensors: Vec<Vec<T>>,
}

/// Deserializes a list with a value for each tensor of a network. An empty value may take a byte in a file and many in memory,
/// so a list of more than [`MAX_TENSORS`] values is rejected while it is read.
///
/// # Errors
/// If the list is longer, or is no list of such values.
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
    /// Returns zeros for every tensor of the layout.
    pub fn zeros(layout: &impl TensorLayout) -> Self {
        Self::zeros_where(layout, |_| true)
    }

    /// Returns zeros for the tensors that `keep` selects, and empty buffers for the others.
    pub fn zeros_where(layout: &impl TensorLayout, keep: impl Fn(TensorId) -> bool) -> Self {
        let buffer = |(index, length)| if keep(TensorId(index)) { vec![T::default(); length] } else { Vec::new() };
        Self { tensors: layout.lengths().enumerate().map(buffer).collect() }
    }
}

impl<T> Params<T> {
    /// Returns whether the tensor has values.
    pub fn contains(&self, id: TensorId) -> bool {
        !self.tensors[id.index()].is_empty()
    }

    /// Returns the number of values of all tensors.
    pub fn len(&self) -> usize {
        self.tensors.iter().map(Vec::len).sum()
    }

    /// Returns whether no tensor has values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Replaces the values of one tensor, of any number.
    pub fn replace(&mut self, id: TensorId, values: Vec<T>) {
        self.tensors[id.index()] = values;
    }

    /// Returns the values of every tensor, in the network's order.
    pub fn buffers(&self) -> &[Vec<T>] {
        &self.tensors
    }

    /// Returns the values of every tensor, mutably.
    pub fn buffers_mut(&mut self) -> &mut [Vec<T>] {
        &mut self.tensors
    }
}

impl<T: Default + PartialEq> Params<T> {
    /// Returns whether any value of the tensor differs from zero.
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
