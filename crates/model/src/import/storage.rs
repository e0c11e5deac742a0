//! Tensors of a checkpoint, whatever file they came in: views into storages.

use super::CheckpointError;
use half::{bf16, f16};
use std::borrow::Cow;
use std::collections::HashMap;

/// What a storage holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    F16,
    Bf16,
    F32,
    F64,
    /// Not floating point: bookkeeping that is never read, of that many bytes a value.
    Other(&'static str, usize),
}

impl Element {
    /// By torch's class name.
    pub fn of_storage(class: &str) -> Option<Self> {
        Some(match class {
            "HalfStorage" => Self::F16,
            "BFloat16Storage" => Self::Bf16,
            "FloatStorage" => Self::F32,
            "DoubleStorage" => Self::F64,
            "LongStorage" => Self::Other("int64", 8),
            "IntStorage" => Self::Other("int32", 4),
            "ShortStorage" => Self::Other("int16", 2),
            "CharStorage" => Self::Other("int8", 1),
            "ByteStorage" => Self::Other("uint8", 1),
            "BoolStorage" => Self::Other("bool", 1),
            _ => return None,
        })
    }

    /// Bytes a value.
    pub const fn size(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
            Self::Other(_, size) => size,
        }
    }

    /// The name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
            Self::F32 => "float32",
            Self::F64 => "float64",
            Self::Other(name, _) => name,
        }
    }
}

/// A storage's position in [`StateDict::storages`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StorageId(pub usize);

/// Little-endian values that tensors are views of.
#[derive(Debug)]
pub(crate) struct Storage<'a> {
    pub element: Element,
    pub bytes: Cow<'a, [u8]>,
}

/// A named view of a storage, in values. Made by [`StateDict::insert`], which checks that it stays inside.
#[derive(Debug)]
pub(crate) struct Entry {
    pub shape: Vec<usize>,
    strides: Vec<usize>,
    offset: usize,
    storage: StorageId,
}

/// Every tensor of a checkpoint by name.
#[derive(Debug, Default)]
pub(crate) struct StateDict<'a> {
    /// The checkpoint's entry that held it, beside others.
    pub wrapper: Option<&'static str>,
    storages: Vec<Storage<'a>>,
    entries: HashMap<String, Entry>,
}

impl<'a> StateDict<'a> {
    pub fn new(storages: Vec<Storage<'a>>) -> Self {
        Self { wrapper: None, storages, entries: HashMap::new() }
    }

    /// Adds a tensor.
    ///
    /// # Errors
    /// If it reaches outside its storage, or the name stands twice.
    pub fn insert(
        &mut self,
        name: &str,
        storage: StorageId,
        offset: usize,
        shape: Vec<usize>,
        strides: Vec<usize>,
    ) -> Result<(), CheckpointError> {
        let Storage { element, bytes } = &self.storages[storage.0];
        let end = end(offset, &shape, &strides);
        if end.is_none_or(|end| end > bytes.len() / element.size()) {
            return Err(CheckpointError::Outside { name: name.to_owned(), shape, strides, offset });
        }
        let entry = Entry { shape, strides, offset, storage };
        match self.entries.insert(name.to_owned(), entry) {
            Some(_) => Err(CheckpointError::Twice { name: name.to_owned() }),
            None => Ok(()),
        }
    }

    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    pub fn element(&self, entry: &Entry) -> Element {
        self.storages[entry.storage.0].element
    }

    /// The tensor's values in row-major order; `None` if they aren't floating point.
    ///
    /// A value of an f64 that f32 can't hold becomes infinite.
    pub fn values(&self, entry: &Entry) -> Option<Vec<f32>> {
        let Storage { element, bytes } = &self.storages[entry.storage.0];
        Some(match element {
            Element::F16 => gather(entry, bytes, |bits| f16::from_le_bytes(bits).to_f32()),
            Element::Bf16 => gather(entry, bytes, |bits| bf16::from_le_bytes(bits).to_f32()),
            Element::F32 => gather(entry, bytes, f32::from_le_bytes),
            Element::F64 => gather(entry, bytes, |bits| f64::from_le_bytes(bits) as f32),
            Element::Other(..) => return None,
        })
    }
}

/// One past the last value that the view touches; `None` if that overflows or the strides don't match the shape.
fn end(offset: usize, shape: &[usize], strides: &[usize]) -> Option<usize> {
    if shape.len() != strides.len() {
        return None;
    }
    if shape.contains(&0) {
        return Some(offset);
    }
    let reach = |last: usize, (&size, &stride): (&usize, &usize)| last.checked_add((size - 1).checked_mul(stride)?);
    shape.iter().zip(strides).try_fold(offset, reach)?.checked_add(1)
}

/// Strides of a tensor whose values lie one after another.
pub(crate) fn contiguous(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = shape[axis].saturating_mul(strides[axis]);
    }
    strides
}

fn gather<const N: usize>(entry: &Entry, bytes: &[u8], read: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (values, _) = bytes.as_chunks::<N>();
    let Entry { shape, strides, offset, .. } = entry;
    let mut index = vec![0; shape.len()];
    (0..shape.iter().product())
        .map(|_| {
            let position: usize = index.iter().zip(strides).map(|(i, stride)| i * stride).sum();
            advance(&mut index, shape);
            read(values[offset + position])
        })
        .collect()
}

/// The next index in row-major order.
fn advance(index: &mut [usize], shape: &[usize]) {
    for (index, &size) in index.iter_mut().zip(shape).rev() {
        *index += 1;
        if *index < size {
            return;
        }
        *index = 0;
    }
}
