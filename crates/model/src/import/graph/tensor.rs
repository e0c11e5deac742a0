//! Tensor of a network file: its name, type and shape, and where its values lie.

use super::error::TensorProblem;
use super::name::Name;
use super::raw::{ExternalFile, RawDtype};
use crate::import::storage::{advance, contiguous, end};
use std::borrow::Cow;
use std::ops::Range;

/// The most axes of a tensor, as in torch.
const MAX_RANK: usize = 64;

/// What a tensor is for the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RawTensorKind {
    /// A parameter: what training moves.
    Parameter,
    /// A buffer, such as running statistics.
    Buffer,
    /// A constant.
    Constant,
    /// An initialiser of ONNX, which doesn't tell parameters from buffers.
    Initialiser,
}

/// Tensor of a network file. Its values lie inside the file, which was checked.
#[derive(Debug, Clone, PartialEq)]
pub struct RawTensor<'a> {
    /// Its name in the checkpoint, such as `layer1.0.conv1.weight`; that of its value, where the file has no other.
    pub name: Name<'a>,
    /// The name by which nodes refer to it; empty, if one node has it as an argument.
    pub value: Name<'a>,
    /// What it is for the network.
    pub kind: RawTensorKind,
    /// Element type: one of those whose [size](RawDtype::size) is known.
    pub dtype: RawDtype,
    /// Shape.
    pub shape: Vec<usize>,
    /// Distance of neighbours along each axis, in values.
    strides: Vec<usize>,
    /// The values that lie between its first and its last one.
    data: RawData<'a>,
}

/// Place of a tensor's values.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum RawData<'a> {
    /// In the network's file, or decoded from it.
    Inline(Cow<'a, [u8]>),
    /// In one of the files beside it.
    External { file: usize, range: Range<usize> },
}

impl RawData<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Inline(bytes) => bytes.len(),
            Self::External { range, .. } => range.len(),
        }
    }
}

/// View of a storage, as a file states it: offset and strides are in values.
#[derive(Debug)]
pub(super) struct StorageView {
    pub dtype: RawDtype,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
    pub offset: usize,
}

/// See [`RawTensor::identity`].
pub(super) type TensorIdentity<'t> = ((usize, usize, usize), &'t [usize], &'t [usize], &'static str);

impl<'a> RawTensor<'a> {
    /// Tensor whose values lie in row-major order and fill `data`.
    pub(super) fn packed(
        (name, value): (Name<'a>, Name<'a>),
        kind: RawTensorKind,
        (dtype, shape): (RawDtype, Vec<usize>),
        data: RawData<'a>,
    ) -> Result<Self, TensorProblem> {
        match byte_count(dtype, &shape)? {
            expected if expected == data.len() => {
                Ok(Self { name, value, kind, dtype, strides: contiguous(&shape), shape, data })
            }
            expected => Err(TensorProblem::Length { expected, found: data.len() }),
        }
    }

    /// Tensor that is a view of a storage.
    pub(super) fn view(
        (name, value): (Name<'a>, Name<'a>),
        kind: RawTensorKind,
        view: StorageView,
        storage: &'a [u8],
    ) -> Result<Self, TensorProblem> {
        let StorageView { dtype, shape, strides, offset } = view;
        let size = dtype.size().ok_or(TensorProblem::Dtype { found: dtype.name() })?;
        let reach = if shape.len() == strides.len() { end(offset, &shape, &strides) } else { None };
        let bytes = reach.and_then(|end| storage.get(offset.checked_mul(size)?..end.checked_mul(size)?));
        let Some(bytes) = bytes else {
            return Err(TensorProblem::Outside { shape, strides, offset, storage: storage.len() / size });
        };
        if byte_count(dtype, &shape)? > bytes.len() {
            return Err(TensorProblem::Overlapping { shape, strides });
        }
        Ok(Self { name, value, kind, dtype, shape, strides, data: RawData::Inline(Cow::Borrowed(bytes)) })
    }

    /// Returns what two tensors have in common that are one: file, place and length of the values, shape, strides and type;
    /// `None` of a tensor whose values lie nowhere in a file.
    pub(super) fn identity(&self) -> Option<TensorIdentity<'_>> {
        let place = match &self.data {
            RawData::Inline(Cow::Borrowed(bytes)) => (usize::MAX, bytes.as_ptr() as usize, bytes.len()),
            RawData::External { file, range } => (*file, range.start, range.len()),
            RawData::Inline(Cow::Owned(_)) => return None,
        };
        Some((place, &self.shape, &self.strides, self.dtype.name()))
    }

    /// Returns the number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Returns whether it has no values.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// Returns whether the values lie in row-major order, one after another.
    pub fn is_contiguous(&self) -> bool {
        let mut expected = contiguous(&self.shape);
        for (axis, &size) in self.shape.iter().enumerate() {
            if size == 1 {
                expected[axis] = self.strides[axis];
            }
        }
        self.is_empty() || expected == self.strides
    }

    pub(super) fn row_major<'t>(&'t self, external: &'t [ExternalFile]) -> Cow<'t, [u8]> {
        let bytes = match &self.data {
            RawData::Inline(bytes) => bytes.as_ref(),
            RawData::External { file, range } => &external[*file].bytes[range.clone()],
        };
        match self.dtype.size() {
            Some(size) if !self.is_contiguous() => Cow::Owned(gather(bytes, size, &self.shape, &self.strides)),
            Some(_) | None => Cow::Borrowed(bytes),
        }
    }

    /// The bytes that its values take in row-major order.
    pub(super) fn byte_len(&self) -> usize {
        self.len() * self.dtype.size().unwrap_or(0)
    }
}

/// The bytes of a tensor's values.
fn byte_count(dtype: RawDtype, shape: &[usize]) -> Result<usize, TensorProblem> {
    let size = dtype.size().ok_or(TensorProblem::Dtype { found: dtype.name() })?;
    if shape.len() > MAX_RANK {
        return Err(TensorProblem::Rank { found: shape.len(), limit: MAX_RANK });
    }
    // Without the zeros: a shape such as [2⁶³, 0, 2⁶³] must not overflow later on.
    let product = shape.iter().filter(|size| **size > 0).try_fold(size, |product, size| product.checked_mul(*size));
    match product {
        Some(_) if shape.contains(&0) => Ok(0),
        Some(bytes) => Ok(bytes),
        None => Err(TensorProblem::Shape { shape: shape.to_vec() }),
    }
}

/// Values of `size` bytes at those strides, in row-major order.
fn gather(bytes: &[u8], size: usize, shape: &[usize], strides: &[usize]) -> Vec<u8> {
    let count: usize = shape.iter().product();
    let mut values = Vec::with_capacity(count * size);
    let mut index = vec![0; shape.len()];
    for _ in 0..count {
        let position: usize = index.iter().zip(strides).map(|(index, stride)| index * stride).sum();
        values.extend_from_slice(&bytes[position * size..][..size]);
        advance(&mut index, shape);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(shape: &[usize], strides: &[usize], offset: usize, storage: &[u8]) -> Result<Vec<u8>, TensorProblem> {
        let view = StorageView { dtype: RawDtype::U8, shape: shape.to_vec(), strides: strides.to_vec(), offset };
        let names = (Name::from("weight"), Name::from("p_weight"));
        RawTensor::view(names, RawTensorKind::Parameter, view, storage).map(|tensor| tensor.row_major(&[]).into_owned())
    }

    /// Catches: a weight in channels-last order, or one that begins within its storage, whose values are taken as they lie.
    #[test]
    fn views_are_gathered_in_row_major_order() {
        let storage: Vec<u8> = (0..12).collect();
        assert_eq!(view(&[2, 3], &[3, 1], 0, &storage).unwrap(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(view(&[2, 3], &[3, 1], 6, &storage).unwrap(), [6, 7, 8, 9, 10, 11]);
        assert_eq!(view(&[2, 3], &[1, 2], 0, &storage).unwrap(), [0, 2, 4, 1, 3, 5]);
        assert_eq!(view(&[1, 3], &[99, 1], 0, &storage).unwrap(), [0, 1, 2]);
        assert_eq!(view(&[], &[], 3, &storage).unwrap(), [3]);
        assert!(view(&[0, 3], &[3, 1], 0, &storage).unwrap().is_empty());
    }

    /// Catches: a view that reads beyond its storage, or that makes more values than its storage has.
    #[test]
    fn views_stay_inside_their_storage() {
        let outside = |shape: &[usize], strides: &[usize], offset| {
            matches!(view(shape, strides, offset, &[0; 12]), Err(TensorProblem::Outside { .. }))
        };
        assert!(outside(&[2, 3], &[3, 1], 7));
        assert!(outside(&[2, 3], &[3], 0));
        assert!(outside(&[usize::MAX, 2], &[usize::MAX, 1], 0));
        assert!(outside(&[2], &[1], usize::MAX));
        assert!(matches!(view(&[1000, 12], &[0, 1], 0, &[0; 12]), Err(TensorProblem::Overlapping { .. })));
        assert!(matches!(view(&[usize::MAX, 2], &[0, 0], 0, &[0; 12]), Err(TensorProblem::Shape { .. })));
        assert!(matches!(view(&[1; 65], &[1; 65], 0, &[0; 12]), Err(TensorProblem::Rank { .. })));
    }

    /// Catches: a shape whose product overflows although one of its axes is empty.
    #[test]
    fn empty_shapes_do_not_overflow() {
        assert!(matches!(view(&[usize::MAX, 0, usize::MAX], &[0, 0, 0], 0, &[]), Err(TensorProblem::Shape { .. })));
    }
}
