//! As much of the pickle format as a checkpoint needs, interpreted without executing anything.
//!
//! A pickle is a program for a stack machine that may call any function it can name. Here it can name those in
//! [`Global`] and no other; what they would return is represented as data ([`Object`]). Strings stay in the input.

use super::error::{CheckpointError, PickleProblem as Problem};
use super::storage::{Element, StorageId};
use std::collections::HashMap;

/// The deepest stack, the most marks, memo entries and objects that a pickle may ask for, and the most values in objects.
const LIMIT: usize = 1 << 20;
/// The most arguments of a call and the most dimensions of a tensor, so that calling again and again stays cheap.
const LONGEST_TUPLE: usize = 8;

/// What a pickle may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Element),
}

impl Global {
    fn named(module: &str, name: &str) -> Option<Self> {
        match (module, name) {
            ("collections", "OrderedDict") => Some(Self::OrderedDict),
            ("torch._utils", "_rebuild_tensor_v2") => Some(Self::RebuildTensor),
            ("torch._utils", "_rebuild_parameter") => Some(Self::RebuildParameter),
            ("torch", storage) => Element::of_storage(storage).map(Self::Storage),
            _ => None,
        }
    }
}

/// A value on the stack: small and copied, whatever is mutable or long is an object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
    None,
    Bool(bool),
    Int(i128),
    Float,
    Text(&'a str),
    Global(Global),
    Storage(StorageId),
    Object(usize),
}

/// What a [`Value::Object`] refers to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Object<'a> {
    Tuple(Vec<Value<'a>>),
    List(Vec<Value<'a>>),
    Dict(Vec<(Value<'a>, Value<'a>)>),
    Tensor(Tensor),
}

/// What `_rebuild_tensor_v2` was asked for; nothing is checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tensor {
    pub storage: StorageId,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

/// A storage that a pickle refers to; its bytes are elsewhere in the checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StorageReference<'a> {
    pub key: &'a str,
    pub element: Element,
    pub count: usize,
}

/// What a pickle described.
#[derive(Debug)]
pub(crate) struct Pickled<'a> {
    pub root: Value<'a>,
    pub objects: Vec<Object<'a>>,
    pub storages: Vec<StorageReference<'a>>,
    /// Bytes that the pickle took.
    pub length: usize,
}

/// Interprets the pickle at the start of `bytes`.
pub(crate) fn read(bytes: &[u8]) -> Result<Pickled<'_>, CheckpointError> {
    let mut machine = Machine { bytes, ..Machine::default() };
    let root = machine.run().map_err(|problem| problem.at(machine.position))?;
    Ok(Pickled { root, objects: machine.objects, storages: machine.storages, length: machine.position })
}

#[derive(Debug, Default)]
struct Machine<'a> {
    bytes: &'a [u8],
    position: usize,
    stack: Vec<Value<'a>>,
    marks: Vec<usize>,
    memo: HashMap<usize, Value<'a>>,
    objects: Vec<Object<'a>>,
    /// How many values were put into objects: a list that is appended to again and again leaves the stack short.
    held: usize,
    storages: Vec<StorageReference<'a>>,
    storage_ids: HashMap<&'a str, StorageId>,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Value<'a>, Problem> {
        loop {
            let opcode = self.byte()?;
            if opcode == b'.' {
                return self.pop();
            }
            self.step(opcode)?;
            let asked = [self.stack.len(), self.marks.len(), self.memo.len(), self.objects.len(), self.held];
            if asked.iter().any(|&count| count > LIMIT) {
                return Err(Problem::TooLarge);
            }
        }
    }

    /// Opcodes as in CPython's `pickletools`, protocols 0 to 4, those that `torch.save` writes.
    fn step(&mut self, opcode: u8) -> Result<(), Problem> {
        match opcode {
            0x80 => self.take(1).map(drop),
            0x95 => self.take(8).map(drop),
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'J' => self.number::<4>().and_then(|bits| self.push(Value::Int(i128::from(bits as i32)))),
            b'K' => self.number::<1>().and_then(|value| self.push(Value::Int(i128::from(value)))),
            b'M' => self.number::<2>().and_then(|value| self.push(Value::Int(i128::from(value)))),
            0x8a => self.long(),
            b'G' => {
                self.take(8)?;
                self.push(Value::Float)
            }
            b'X' => self.text::<4>(),
            0x8c => self.text::<1>(),
            0x8d => self.text::<8>(),
            b'q' => self.number::<1>().and_then(|key| self.memoise(key as usize)),
            b'r' => self.number::<4>().and_then(|key| self.memoise(key as usize)),
            0x94 => self.memoise(self.memo.len()),
            b'h' => self.number::<1>().and_then(|key| self.recall(key as usize)),
            b'j' => self.number::<4>().and_then(|key| self.recall(key as usize)),
            b'0' => self.pop().map(drop),
            b']' => self.push_object(Object::List(Vec::new())),
            b'}' => self.push_object(Object::Dict(Vec::new())),
            b')' => self.push_object(Object::Tuple(Vec::new())),
            b't' => self.tuple(None),
            0x85 => self.tuple(Some(1)),
            0x86 => self.tuple(Some(2)),
            0x87 => self.tuple(Some(3)),
            b'a' => self.append(Some(1)),
            b'e' => self.append(None),
            b's' => self.set_items(Some(2)),
            b'u' => self.set_items(None),
            b'c' => self.global_by_line(),
            0x93 => self.global_by_stack(),
            b'Q' => self.persistent(),
            b'R' => self.reduce(),
            b'b' => self.build(),
            other => Err(Problem::Opcode(other)),
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Problem> {
        let bytes: &'a [u8] = self.bytes;
        let taken = bytes[self.position..].get(..length).ok_or(Problem::CutShort)?;
        self.position += length;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Problem> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// `N` bytes, little-endian, unsigned.
    fn number<const N: usize>(&mut self) -> Result<u64, Problem> {
        let mut wide = [0; 8];
        wide[..N].copy_from_slice(self.take(N)?);
        Ok(u64::from_le_bytes(wide))
    }

    /// A signed integer of up to 16 bytes.
    fn long(&mut self) -> Result<(), Problem> {
        let length = usize::from(self.byte()?);
        let bytes = self.take(length)?;
        if length > 16 {
            return Err(Problem::TooLarge);
        }
        let is_negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut wide = [if is_negative { 0xff } else { 0 }; 16];
        wide[..length].copy_from_slice(bytes);
        self.push(Value::Int(i128::from_le_bytes(wide)))
    }

    fn text<const N: usize>(&mut self) -> Result<(), Problem> {
        let length = usize::try_from(self.number::<N>()?).map_err(|_| Problem::CutShort)?;
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| Problem::Text)?;
        self.push(Value::Text(text))
    }

    fn line(&mut self) -> Result<&'a str, Problem> {
        let rest = &self.bytes[self.position..];
        let length = rest.iter().position(|&byte| byte == b'\n').ok_or(Problem::CutShort)?;
        let line = self.take(length + 1)?;
        std::str::from_utf8(&line[..length]).map_err(|_| Problem::Text)
    }

    fn push(&mut self, value: Value<'a>) -> Result<(), Problem> {
        self.stack.push(value);
        Ok(())
    }

    fn push_object(&mut self, object: Object<'a>) -> Result<(), Problem> {
        self.objects.push(object);
        self.push(Value::Object(self.objects.len() - 1))
    }

    /// The top of the stack, down to the last mark.
    fn pop(&mut self) -> Result<Value<'a>, Problem> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(Problem::Stack);
        }
        self.stack.pop().ok_or(Problem::Stack)
    }

    /// The top `count` values, or those above the last mark, which goes.
    fn pop_many(&mut self, count: Option<usize>) -> Result<Vec<Value<'a>>, Problem> {
        let start = match count {
            Some(count) => self.stack.len().checked_sub(count),
            None => self.marks.pop(),
        };
        let floor = self.marks.last().copied().unwrap_or(0);
        let start = start.filter(|start| (floor..=self.stack.len()).contains(start)).ok_or(Problem::Stack)?;
        self.held += self.stack.len() - start;
        Ok(self.stack.split_off(start))
    }

    fn memoise(&mut self, key: usize) -> Result<(), Problem> {
        let value = *self.stack.last().ok_or(Problem::Stack)?;
        self.memo.insert(key, value);
        Ok(())
    }

    fn recall(&mut self, key: usize) -> Result<(), Problem> {
        let value = *self.memo.get(&key).ok_or(Problem::Memo(key))?;
        self.push(value)
    }

    fn tuple(&mut self, count: Option<usize>) -> Result<(), Problem> {
        let items = self.pop_many(count)?;
        self.push_object(Object::Tuple(items))
    }

    /// The object below the values that were just popped.
    fn target(&mut self) -> Result<&mut Object<'a>, Problem> {
        match self.stack.last() {
            Some(&Value::Object(index)) => Ok(&mut self.objects[index]),
            _ => Err(Problem::Stack),
        }
    }

    fn append(&mut self, count: Option<usize>) -> Result<(), Problem> {
        let items = self.pop_many(count)?;
        match self.target()? {
            Object::List(list) => list.extend(items),
            _ => return Err(Problem::Stack),
        }
        Ok(())
    }

    fn set_items(&mut self, count: Option<usize>) -> Result<(), Problem> {
        let items = self.pop_many(count)?;
        let (pairs, rest) = items.as_chunks::<2>();
        match self.target()? {
            Object::Dict(dict) if rest.is_empty() => dict.extend(pairs.iter().map(|&[key, value]| (key, value))),
            _ => return Err(Problem::Stack),
        }
        Ok(())
    }

    fn global_by_line(&mut self) -> Result<(), Problem> {
        let (module, name) = (self.line()?, self.line()?);
        self.global(module, name)
    }

    fn global_by_stack(&mut self) -> Result<(), Problem> {
        match (self.pop()?, self.pop()?) {
            (Value::Text(name), Value::Text(module)) => self.global(module, name),
            _ => Err(Problem::Stack),
        }
    }

    fn global(&mut self, module: &'a str, name: &'a str) -> Result<(), Problem> {
        match Global::named(module, name) {
            Some(global) => self.push(Value::Global(global)),
            None => Err(Problem::Global(format!("{module}.{name}"))),
        }
    }

    fn pop_tuple(&mut self) -> Result<Vec<Value<'a>>, Problem> {
        match self.pop()? {
            Value::Object(index) => match &self.objects[index] {
                Object::Tuple(items) if items.len() <= LONGEST_TUPLE => Ok(items.clone()),
                _ => Err(Problem::Arguments("a call")),
            },
            _ => Err(Problem::Arguments("a call")),
        }
    }

    /// `('storage', type, key, location, count)`, in the legacy format with a view at the end, which must be `None`.
    fn persistent(&mut self) -> Result<(), Problem> {
        let items = self.pop_tuple()?;
        let (items, view) = items.split_at(items.len().min(5));
        let [Value::Text("storage"), Value::Global(Global::Storage(element)), Value::Text(key), _, Value::Int(count)] =
            *items
        else {
            return Err(Problem::Arguments("a storage"));
        };
        if !matches!(view, [] | [Value::None]) {
            return Err(Problem::Arguments("a storage that is a view of another"));
        }
        let count = usize::try_from(count).map_err(|_| Problem::Arguments("a storage"))?;
        let id = self.storage(StorageReference { key, element, count })?;
        self.push(Value::Storage(id))
    }

    fn storage(&mut self, reference: StorageReference<'a>) -> Result<StorageId, Problem> {
        if let Some(&id) = self.storage_ids.get(reference.key) {
            let is_same = self.storages[id.0] == reference;
            return if is_same { Ok(id) } else { Err(Problem::Arguments("a storage of two types or sizes")) };
        }
        let id = StorageId(self.storages.len());
        self.storages.push(reference);
        self.storage_ids.insert(reference.key, id);
        Ok(id)
    }

    fn reduce(&mut self) -> Result<(), Problem> {
        let arguments = self.pop_tuple()?;
        match (self.pop()?, arguments.as_slice()) {
            (Value::Global(Global::OrderedDict), []) => self.push_object(Object::Dict(Vec::new())),
            (
                Value::Global(Global::RebuildTensor),
                &[Value::Storage(storage), Value::Int(offset), shape, strides, ..],
            ) => {
                let offset = usize::try_from(offset).map_err(|_| Problem::Arguments("_rebuild_tensor_v2"))?;
                let (shape, strides) = (self.sizes(shape)?, self.sizes(strides)?);
                self.push_object(Object::Tensor(Tensor { storage, offset, shape, strides }))
            }
            (Value::Global(Global::RebuildParameter), &[tensor @ Value::Object(_), ..]) => self.push(tensor),
            (Value::Global(Global::OrderedDict), _) => Err(Problem::Arguments("OrderedDict")),
            (Value::Global(Global::RebuildTensor), _) => Err(Problem::Arguments("_rebuild_tensor_v2")),
            _ => Err(Problem::Arguments("a call")),
        }
    }

    /// A tuple of a few non-negative integers.
    fn sizes(&self, value: Value<'a>) -> Result<Vec<usize>, Problem> {
        let Value::Object(index) = value else { return Err(Problem::Arguments("_rebuild_tensor_v2")) };
        let items = match &self.objects[index] {
            Object::Tuple(items) if items.len() <= LONGEST_TUPLE => items,
            _ => return Err(Problem::Arguments("_rebuild_tensor_v2")),
        };
        let size = |item: &Value<'_>| match item {
            Value::Int(size) => usize::try_from(*size).ok(),
            _ => None,
        };
        items.iter().map(size).collect::<Option<_>>().ok_or(Problem::Arguments("_rebuild_tensor_v2"))
    }

    /// Attributes of a dictionary, such as a state's `_metadata`, change no tensor: they are dropped.
    fn build(&mut self) -> Result<(), Problem> {
        self.pop()?;
        match self.target()? {
            Object::Dict(_) => Ok(()),
            _ => Err(Problem::Arguments("BUILD")),
        }
    }
}
