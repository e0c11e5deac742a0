//! Tensors of a checkpoint, whatever file they came in: named views of storages.

use super::CheckpointError;
use half::{bf16, f16};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

/// Element type of a storage.
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
    /// Returns the element type of a storage, by torch's class name.
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
            "UntypedStorage" => Self::Other("untyped bytes", 1),
            "ComplexFloatStorage" => Self::Other("complex64", 8),
            "ComplexDoubleStorage" => Self::Other("complex128", 16),
            "QInt8Storage" | "QUInt8Storage" | "QUInt4x2Storage" | "QUInt2x4Storage" => {
                Self::Other("a quantised integer", 1)
            }
            "QInt32Storage" => Self::Other("a quantised integer", 4),
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

/// A view of a storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    /// The type of its values, where it is another than the storage's.
    pub element: Option<Element>,
    /// Offset in values, as the strides.
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

/// A tensor: a view that stays inside its storage, which [`StateDict::insert`] checks.
#[derive(Debug)]
pub(crate) struct Entry {
    pub shape: Vec<usize>,
    pub element: Element,
    strides: Vec<usize>,
    offset: usize,
    storage: StorageId,
}

/// An entry that is no tensor, or none that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NonTensor {
    /// What it is.
    pub found: String,
    /// What to do about it.
    pub advice: &'static str,
}

/// Every tensor of a checkpoint by name, and how they were found in it.
#[derive(Debug, Default)]
pub(crate) struct StateDict<'a> {
    /// The checkpoint's entry that holds them, beside others: names joined by dots.
    pub entry: Option<String>,
    /// Whether they are a moving average.
    pub is_average: bool,
    /// The entry that holds the average if these are the weights, and the weights if these are the average.
    pub alternative: Option<String>,
    /// The network's name, where the checkpoint has it.
    pub architecture: Option<String>,
    /// Entries that no inference needs.
    pub left_out: Vec<String>,
    /// Entries that are no tensor, or none that can be read, and what they are.
    pub others: BTreeMap<String, NonTensor>,
    storages: Vec<Storage<'a>>,
    entries: HashMap<String, Entry>,
}

impl<'a> StateDict<'a> {
    pub fn new(storages: Vec<Storage<'a>>) -> Self {
        Self { storages, ..Self::default() }
    }

    /// Adds a tensor.
    ///
    /// # Errors
    /// If it reaches outside its storage, or there are two of that name.
    pub fn insert(&mut self, name: &str, storage: StorageId, view: View) -> Result<(), CheckpointError> {
        let View { element, offset, shape, strides } = view;
        let stored = &self.storages[storage.0];
        let element = element.unwrap_or(stored.element);
        let end = end(offset, &shape, &strides);
        if end.is_none_or(|end| end > stored.bytes.len() / element.size()) {
            return Err(CheckpointError::Outside { name: name.to_owned(), shape, strides, offset });
        }
        let entry = Entry { shape, element, strides, offset, storage };
        match self.entries.insert(name.to_owned(), entry) {
            Some(_) => Err(CheckpointError::Twice { name: name.to_owned() }),
            None => Ok(()),
        }
    }

    /// Gives a tensor another shape and other values.
    ///
    /// # Errors
    /// If there is another number of values than the shape has.
    pub fn replace(&mut self, name: &str, shape: Vec<usize>, values: Vec<f32>) -> Result<(), CheckpointError> {
        let bytes = Cow::Owned(values.iter().flat_map(|value| value.to_le_bytes()).collect());
        self.storages.push(Storage { element: Element::F32, bytes });
        self.entries.remove(name);
        let view = View { element: None, offset: 0, strides: contiguous(&shape), shape };
        self.insert(name, StorageId(self.storages.len() - 1), view)
    }

    /// Returns the values of the tensor of that name; `None` if there is none, or its values are not floating point.
    pub fn floats(&self, name: &str) -> Option<Vec<f32>> {
        self.values(self.get(name)?)
    }

    /// Adds an entry that is no tensor, or none that can be read.
    ///
    /// # Errors
    /// If there are two of that name.
    pub fn insert_other(&mut self, name: &str, kind: NonTensor) -> Result<(), CheckpointError> {
        match self.others.insert(name.to_owned(), kind) {
            Some(_) => Err(CheckpointError::Twice { name: name.to_owned() }),
            None => Ok(()),
        }
    }

    /// Adds the tensors of another file of the same checkpoint.
    ///
    /// # Errors
    /// If both have a tensor of the same name.
    pub fn merge(&mut self, other: Self) -> Result<(), CheckpointError> {
        let first = self.storages.len();
        self.storages.extend(other.storages);
        for (name, mut entry) in other.entries {
            entry.storage.0 += first;
            if self.entries.insert(name.clone(), entry).is_some() {
                return Err(CheckpointError::Twice { name });
            }
        }
        self.left_out.extend(other.left_out);
        other.others.into_iter().try_for_each(|(name, kind)| self.insert_other(&name, kind))
    }

    /// Removes the entries for whose names `is_dropped` holds, and returns these names, sorted.
    pub fn remove(&mut self, is_dropped: impl Fn(&str) -> bool) -> Vec<String> {
        let names = self.entries.keys().chain(self.others.keys());
        let mut dropped: Vec<String> = names.filter(|name| is_dropped(name)).cloned().collect();
        self.entries.retain(|name, _| !is_dropped(name));
        self.others.retain(|name, _| !is_dropped(name));
        dropped.sort();
        dropped
    }

    /// The same, with values of its own.
    pub fn into_owned(self) -> StateDict<'static> {
        let owned = |Storage { element, bytes }| Storage { element, bytes: Cow::Owned(bytes.into_owned()) };
        let Self { entry, is_average, alternative, architecture, left_out, others, storages, entries } = self;
        let storages = storages.into_iter().map(owned).collect();
        StateDict { entry, is_average, alternative, architecture, left_out, others, storages, entries }
    }

    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// The tensor's values in row-major order; `None` if they aren't floating point.
    ///
    /// A value of an f64 that f32 can't hold becomes infinite.
    pub fn values(&self, entry: &Entry) -> Option<Vec<f32>> {
        let bytes = &self.storages[entry.storage.0].bytes;
        Some(match entry.element {
            Element::F16 => gather(entry, bytes, |bits| f16::from_le_bytes(bits).to_f32()),
            Element::Bf16 => gather(entry, bytes, |bits| bf16::from_le_bytes(bits).to_f32()),
            Element::F32 => gather(entry, bytes, f32::from_le_bytes),
            Element::F64 => gather(entry, bytes, |bits| f64::from_le_bytes(bits) as f32),
            Element::Other(..) => return None,
        })
    }
}

/// One past the last value that the view touches; `None` if that overflows or the strides don't match the shape.
pub(crate) fn end(offset: usize, shape: &[usize], strides: &[usize]) -> Option<usize> {
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
pub(crate) fn advance(index: &mut [usize], shape: &[usize]) {
    for (index, &size) in index.iter_mut().zip(shape).rev() {
        *index += 1;
        if *index < size {
            return;
        }
        *index = 0;
    }
}
