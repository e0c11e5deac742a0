//! Pickle interpreter: reads as much of the format as a checkpoint needs, and executes nothing.
//!
//! A pickle is a program for a stack machine that may call any function it can name. Here a name is data too
//! ([`globals`]), and what a call would return is represented as an [`Object`]: tensors and dictionaries as what they are,
//! anything else as an [`Object::Instance`], whose class is all that is known of it. Strings stay in the input.

use super::error::{CheckpointError, PickleProblem as Problem};
use super::globals::{self, Global, Unusable};
use super::storage::{Element, StorageId};
use std::collections::HashMap;

/// The deepest stack, the most marks, memo entries and objects that a pickle may ask for, and the most values in objects.
const LIMIT: usize = 1 << 20;
/// The most arguments of a call and the most dimensions of a tensor, so that calling again and again stays cheap.
const LONGEST_TUPLE: usize = 8;
/// The function that makes tensors, in messages.
const REBUILD: &str = "_rebuild_tensor_v2";

/// Value on the stack: small and copied; whatever is mutable or long is an object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
    None,
    Bool(bool),
    Int(i128),
    Float,
    /// Bytes, or text in another encoding than UTF-8.
    Bytes,
    Text(&'a str),
    Global(Global),
    /// A name that is [`Global::Data`] or [`Global::Foreign`]: its position in [`Pickled::names`].
    Named(usize),
    Storage(StorageId),
    Object(usize),
}

/// Object of a pickle, which a [`Value::Object`] refers to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Object<'a> {
    Tuple(Vec<Value<'a>>),
    /// A list or a set.
    List(Vec<Value<'a>>),
    Dict(Vec<(Value<'a>, Value<'a>)>),
    /// Boxed, since an abusive file has a million objects of any other kind.
    Tensor(Box<Tensor>),
    /// A tensor that cannot be read.
    Unusable(Unusable),
    /// An object of the class at that position in [`Pickled::names`], and what was put into it as into a dictionary.
    Instance(usize, Vec<(Value<'a>, Value<'a>)>),
}

/// Tensor arguments of `_rebuild_tensor_v2`, unchecked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tensor {
    pub storage: StorageId,
    /// The type of its values, where it is another than the storage's.
    pub element: Option<Element>,
    /// Offset in values, as the strides.
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

/// A class or function that a pickle names and that is not one of torch's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name<'a> {
    module: &'a str,
    name: &'a str,
    /// Whether it is known to be plain data.
    pub is_data: bool,
}

impl Name<'_> {
    /// `module.name`.
    pub fn full(&self) -> String {
        format!("{}.{}", self.module, self.name)
    }
}

/// Result of interpreting a pickle.
#[derive(Debug)]
pub(crate) struct Pickled<'a> {
    pub root: Value<'a>,
    pub objects: Vec<Object<'a>>,
    pub names: Vec<Name<'a>>,
    pub storages: Vec<StorageReference<'a>>,
    /// Bytes that the pickle took.
    pub length: usize,
}

/// Interprets the pickle at the start of `bytes`.
pub(crate) fn read(bytes: &[u8]) -> Result<Pickled<'_>, CheckpointError> {
    let mut machine = Machine { bytes, ..Machine::default() };
    let root = machine.run().map_err(|problem| problem.at(machine.position))?;
    let Machine { objects, names, storages, position: length, .. } = machine;
    Ok(Pickled { root, objects, names, storages, length })
}

#[derive(Debug, Default)]
struct Machine<'a> {
    bytes: &'a [u8],
    position: usize,
    stack: Vec<Value<'a>>,
    marks: Vec<usize>,
    memo: HashMap<usize, Value<'a>>,
    objects: Vec<Object<'a>>,
    names: Vec<Name<'a>>,
    /// Number of values that were put into objects: a list that is appended to again and again leaves the stack short.
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
            if self.counts().iter().any(|&count| count > LIMIT) {
                return Err(Problem::TooLarge);
            }
        }
    }

    /// Returns the number of values that the pickle has requested, by kind.
    fn counts(&self) -> [usize; 6] {
        let Self { stack, marks, memo, objects, names, held, .. } = self;
        [stack.len(), marks.len(), memo.len(), objects.len(), names.len(), *held]
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
            0x8a => self.long::<1>(),
            0x8b => self.long::<4>(),
            b'G' => {
                self.take(8)?;
                self.push(Value::Float)
            }
            b'X' => self.text::<4>(),
            0x8c => self.text::<1>(),
            0x8d => self.text::<8>(),
            b'U' => self.old_text::<1>(),
            b'T' => self.old_text::<4>(),
            b'C' => self.bytes::<1>(),
            b'B' => self.bytes::<4>(),
            0x8e | 0x96 => self.bytes::<8>(),
            b'q' => self.number::<1>().and_then(|key| self.memoise(key as usize)),
            b'r' => self.number::<4>().and_then(|key| self.memoise(key as usize)),
            0x94 => self.memoise(self.memo.len()),
            b'h' => self.number::<1>().and_then(|key| self.recall(key as usize)),
            b'j' => self.number::<4>().and_then(|key| self.recall(key as usize)),
            b'0' => self.pop().map(drop),
            b'1' => self.pop_many(None).map(drop),
            b'2' => self.stack.last().copied().ok_or(Problem::Stack).and_then(|top| self.push(top)),
            b']' | 0x8f => self.push_object(Object::List(Vec::new())),
            b'}' => self.push_object(Object::Dict(Vec::new())),
            b')' => self.push_object(Object::Tuple(Vec::new())),
            b't' => self.tuple(None),
            0x85 => self.tuple(Some(1)),
            0x86 => self.tuple(Some(2)),
            0x87 => self.tuple(Some(3)),
            0x91 => self.pop_many(None).and_then(|items| self.push_object(Object::List(items))),
            b'a' => self.append(Some(1)),
            b'e' | 0x90 => self.append(None),
            b's' => self.set_items(Some(2)),
            b'u' => self.set_items(None),
            b'c' => self.global_by_line(),
            0x93 => self.global_by_stack(),
            b'Q' => self.persistent(),
            b'R' => self.reduce(),
            0x81 => self.new_object(),
            0x92 => self.pop().and_then(|_keywords| self.new_object()),
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

    /// Takes the bytes whose number stands in `N` bytes before them.
    fn take_counted<const N: usize>(&mut self) -> Result<&'a [u8], Problem> {
        let length = usize::try_from(self.number::<N>()?).map_err(|_| Problem::CutShort)?;
        self.take(length)
    }

    /// A signed integer. One of more than 16 bytes is no size of a tensor, and kept as mere bytes.
    fn long<const N: usize>(&mut self) -> Result<(), Problem> {
        let bytes = self.take_counted::<N>()?;
        let length = bytes.len();
        if length > 16 {
            return self.push(Value::Bytes);
        }
        let is_negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut wide = [if is_negative { 0xff } else { 0 }; 16];
        wide[..length].copy_from_slice(bytes);
        self.push(Value::Int(i128::from_le_bytes(wide)))
    }

    fn text<const N: usize>(&mut self) -> Result<(), Problem> {
        let text = std::str::from_utf8(self.take_counted::<N>()?).map_err(|_| Problem::Text)?;
        self.push(Value::Text(text))
    }

    /// A string of Python 2, whose encoding nobody knows.
    fn old_text<const N: usize>(&mut self) -> Result<(), Problem> {
        let text = std::str::from_utf8(self.take_counted::<N>()?);
        self.push(text.map_or(Value::Bytes, Value::Text))
    }

    fn bytes<const N: usize>(&mut self) -> Result<(), Problem> {
        self.take_counted::<N>()?;
        self.push(Value::Bytes)
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
            Object::Instance(..) => {}
            _ => return Err(Problem::Stack),
        }
        Ok(())
    }

    fn set_items(&mut self, count: Option<usize>) -> Result<(), Problem> {
        let items = self.pop_many(count)?;
        let (pairs, rest) = items.as_chunks::<2>();
        match self.target()? {
            Object::Dict(dict) | Object::Instance(_, dict) if rest.is_empty() => {
                dict.extend(pairs.iter().map(|&[key, value]| (key, value)));
            }
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
        let global = globals::find(module, name);
        match global {
            Global::Refused => Err(Problem::Global(format!("{module}.{name}"))),
            Global::Data | Global::Foreign => {
                self.names.push(Name { module, name, is_data: global == Global::Data });
                self.push(Value::Named(self.names.len() - 1))
            }
            _ => self.push(Value::Global(global)),
        }
    }

    /// A call's arguments.
    fn pop_tuple(&mut self) -> Result<usize, Problem> {
        match self.pop()? {
            Value::Object(index) if matches!(self.objects[index], Object::Tuple(_)) => Ok(index),
            _ => Err(Problem::Arguments("a call")),
        }
    }

    /// A copy of a tuple that is short enough to be copied again and again.
    fn short_tuple(&self, index: usize) -> Result<Vec<Value<'a>>, Problem> {
        match &self.objects[index] {
            Object::Tuple(items) if items.len() <= LONGEST_TUPLE => Ok(items.clone()),
            _ => Err(Problem::Arguments("a call")),
        }
    }

    /// `('storage', type, key, location, count)`, in the legacy format with a view at the end, which must be `None`; or
    /// `('module', class, …)`, with the class's source, of a whole module in the legacy format.
    fn persistent(&mut self) -> Result<(), Problem> {
        let items = self.pop_tuple().and_then(|index| self.short_tuple(index))?;
        if let [Value::Text("module"), class @ Value::Named(_), ..] = *items {
            return self.push(class);
        }
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

    /// Replaces a call by the value that it would return, without calling.
    fn reduce(&mut self) -> Result<(), Problem> {
        let arguments = self.pop_tuple()?;
        match self.pop()? {
            Value::Named(index) if self.names[index].is_data => self.push_object(Object::Instance(index, Vec::new())),
            Value::Named(index) => Err(Problem::Call(self.names[index].full())),
            Value::Global(global) => {
                let arguments = self.short_tuple(arguments)?;
                self.call(global, &arguments)
            }
            _ => Err(Problem::Arguments("a call")),
        }
    }

    fn call(&mut self, global: Global, arguments: &[Value<'a>]) -> Result<(), Problem> {
        match (global, arguments) {
            (Global::Dict, arguments) => {
                let items = self.pairs(arguments)?;
                self.push_object(Object::Dict(items))
            }
            (Global::RebuildTensor, &[Value::Storage(storage), offset, shape, strides, ..]) => {
                self.tensor(storage, None, offset, shape, strides)
            }
            (
                Global::RebuildTypedTensor,
                &[Value::Storage(storage), offset, shape, strides, _, _, Value::Global(Global::Dtype(element)), ..],
            ) => self.tensor(storage, Some(element), offset, shape, strides),
            (Global::RebuildParameter, &[tensor @ Value::Object(_), ..]) => self.push(tensor),
            (Global::RebuildFromType, &[Value::Global(global), _, Value::Object(arguments), ..]) => {
                let arguments = self.short_tuple(arguments)?;
                let is_endless = global == Global::RebuildFromType;
                if is_endless {
                    Err(Problem::Arguments("_rebuild_from_type_v2"))
                } else {
                    self.call(global, &arguments)
                }
            }
            (Global::RebuildUnusable(why), _) => self.push_object(Object::Unusable(why)),
            (Global::RebuildTensor | Global::RebuildTypedTensor, _) => Err(Problem::Arguments(REBUILD)),
            _ => Err(Problem::Arguments("a call")),
        }
    }

    /// The items of a new dictionary: those of a list of pairs, as Python 2 pickles an ordered dictionary, or none.
    fn pairs(&mut self, arguments: &[Value<'a>]) -> Result<Vec<(Value<'a>, Value<'a>)>, Problem> {
        let [Value::Object(list)] = *arguments else { return Ok(Vec::new()) };
        let Object::List(list) = &self.objects[list] else { return Err(Problem::Arguments("OrderedDict")) };
        let pair = |item: &Value<'a>| match *item {
            Value::Object(index) => match &self.objects[index] {
                Object::Tuple(pair) | Object::List(pair) => Some((*pair.first()?, *pair.get(1)?)),
                _ => None,
            },
            _ => None,
        };
        let pairs: Option<Vec<_>> = list.iter().map(pair).collect();
        let pairs = pairs.ok_or(Problem::Arguments("OrderedDict"))?;
        self.held += pairs.len();
        Ok(pairs)
    }

    fn tensor(
        &mut self,
        storage: StorageId,
        element: Option<Element>,
        offset: Value<'a>,
        shape: Value<'a>,
        strides: Value<'a>,
    ) -> Result<(), Problem> {
        let offset = match offset {
            Value::Int(offset) => usize::try_from(offset).ok(),
            _ => None,
        };
        let offset = offset.ok_or(Problem::Arguments(REBUILD))?;
        let (shape, strides) = (self.sizes(shape)?, self.sizes(strides)?);
        self.push_object(Object::Tensor(Box::new(Tensor { storage, element, offset, shape, strides })))
    }

    /// An object of a class, made without calling it.
    fn new_object(&mut self) -> Result<(), Problem> {
        self.pop_tuple()?;
        match self.pop()? {
            Value::Named(index) => self.push_object(Object::Instance(index, Vec::new())),
            Value::Global(Global::Dict) => self.push_object(Object::Dict(Vec::new())),
            _ => Err(Problem::Stack),
        }
    }

    /// A tuple of a few non-negative integers.
    fn sizes(&self, value: Value<'a>) -> Result<Vec<usize>, Problem> {
        let Value::Object(index) = value else { return Err(Problem::Arguments(REBUILD)) };
        let items = match &self.objects[index] {
            Object::Tuple(items) if items.len() <= LONGEST_TUPLE => items,
            _ => return Err(Problem::Arguments(REBUILD)),
        };
        let size = |item: &Value<'_>| match item {
            Value::Int(size) => usize::try_from(*size).ok(),
            _ => None,
        };
        items.iter().map(size).collect::<Option<_>>().ok_or(Problem::Arguments(REBUILD))
    }

    /// Attributes of a dictionary, such as a state's `_metadata`, or of any other object change no tensor: they are
    /// dropped. So are those of a class that a whole module of the legacy format is an object of.
    fn build(&mut self) -> Result<(), Problem> {
        self.pop()?;
        match self.target()? {
            Object::Dict(_) | Object::Instance(..) | Object::Tensor(_) | Object::Unusable(_) => Ok(()),
            Object::Tuple(_) | Object::List(_) => Err(Problem::Arguments("BUILD")),
        }
    }
}
