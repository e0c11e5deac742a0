//! State dict finder: picks the dictionary of weights out of what a checkpoint holds beside it.
//!
//! Training programs save the weights under an entry of their own, beside an epoch, arguments and an optimiser's state,
//! and often a second time as a moving average (EMA), which is what they evaluate.

use super::CheckpointError;
use super::error::Program;
use super::globals::Unusable;
use super::pickle::{Object, Pickled, Value};
use super::storage::{NonTensor, StateDict, Storage, View};

/// Choice between the weights and their moving average, where a checkpoint has both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Averages {
    /// The average if there is one, else the weights.
    #[default]
    Prefer,
    /// The average; a checkpoint without one is refused.
    Require,
    /// The weights themselves.
    Ignore,
}

/// Entries with a moving average of the weights, by preference: timm's, DeiT's, others', and DINO's teacher.
const AVERAGES: &[&str] = &[
    "state_dict_ema",
    "model_ema",
    "model_ema_state_dict",
    "ema_state_dict",
    "ema_model_state_dict",
    "ema_model",
    "ema",
    "params_ema",
    "teacher",
];
/// Entries with the weights, by preference.
const WEIGHTS: &[&str] = &[
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "module",
    "params",
    "weights",
    "student",
    "backbone",
    "encoder",
];
/// The entry in which timm keeps the network's name.
const ARCHITECTURE: &str = "arch";
/// Maximum number of nested dictionaries around the weights.
const DEPTH: usize = 3;
/// Suffix of the entries that a module keeps beside its tensors.
const EXTRA_STATE: &str = "_extra_state";

/// What to do about an entry that is no tensor.
const STATE_DICT_ALONE: &str =
    "leave it out with `--drop`, or save the state dict alone, with torch.save(model.state_dict(), …)";

type Items<'p, 'b> = &'p [(Value<'b>, Value<'b>)];

/// A dictionary of tensors, and the entries that lead to it.
#[derive(Debug, Clone)]
struct Found<'p, 'b> {
    path: Vec<&'b str>,
    items: Items<'p, 'b>,
}

/// The tensors of the dictionary that a checkpoint holds, or of the entry of it that has the weights.
///
/// # Errors
/// If there is no such dictionary, none of the kind that `averages` asks for, or a tensor is not inside its storage.
pub(super) fn state_dict<'a>(
    pickled: &Pickled<'_>,
    storages: Vec<Storage<'a>>,
    averages: Averages,
) -> Result<StateDict<'a>, CheckpointError> {
    let finder = Finder { pickled };
    let Some(root) = finder.items(pickled.root) else { return Err(finder.not_a_state()) };
    let average = finder.among(root, AVERAGES, DEPTH);
    let weights = finder.weights(root, DEPTH);
    let path = |found: &Found<'_, '_>| found.path.join(".");
    let (taken, left, is_average) = match (averages, average, weights) {
        (Averages::Require, None, _) => return Err(CheckpointError::NoAverage),
        (Averages::Ignore, Some(average), None) => {
            return Err(CheckpointError::OnlyAverage { entry: path(&average) });
        }
        (Averages::Prefer | Averages::Require, Some(average), weights) => (average, weights, true),
        (_, average, Some(weights)) => (weights, average, false),
        (_, None, None) => return Err(finder.no_weights(root)),
    };
    let mut state = StateDict::new(storages);
    state.entry = Some(path(&taken)).filter(|path| !path.is_empty());
    state.alternative = left.as_ref().map(path).filter(|path| !path.is_empty());
    state.is_average = is_average;
    state.architecture = finder.text(root, ARCHITECTURE).map(str::to_owned);
    for &(key, value) in taken.items {
        let Value::Text(name) = key else { return Err(CheckpointError::NotAState) };
        finder.insert(&mut state, name, value)?;
    }
    Ok(state)
}

struct Finder<'p, 'b> {
    pickled: &'p Pickled<'b>,
}

impl<'p, 'b> Finder<'p, 'b> {
    fn object(&self, value: Value<'b>) -> Option<&'p Object<'b>> {
        match value {
            Value::Object(index) => self.pickled.objects.get(index),
            _ => None,
        }
    }

    /// The items of a dictionary, or of an object of a class that extends it.
    fn items(&self, value: Value<'b>) -> Option<Items<'p, 'b>> {
        match self.object(value)? {
            Object::Dict(items) => Some(items),
            Object::Instance(_, items) if !items.is_empty() => Some(items),
            _ => None,
        }
    }

    fn is_tensor(&self, value: Value<'b>) -> bool {
        matches!(self.object(value), Some(Object::Tensor(_) | Object::Unusable(_)))
    }

    fn text(&self, items: Items<'p, 'b>, key: &str) -> Option<&'b str> {
        items.iter().find_map(|item| match *item {
            (found, Value::Text(text)) if found == Value::Text(key) => Some(text),
            _ => None,
        })
    }

    /// The weights in a dictionary: under one of the usual entries, in the dictionary itself, or in the only one of its
    /// entries that has tensors alone.
    fn weights(&self, items: Items<'p, 'b>, depth: usize) -> Option<Found<'p, 'b>> {
        if let Some(found) = self.among(items, WEIGHTS, depth) {
            return Some(found);
        }
        if items.iter().any(|&(_, value)| self.is_tensor(value)) {
            return Some(Found { path: Vec::new(), items });
        }
        let mut others = items.iter().filter_map(|&(key, value)| {
            let (Value::Text(key), inner) = (key, self.items(value)?) else { return None };
            let is_state = inner.iter().all(|&(_, value)| self.is_tensor(value)) && !AVERAGES.contains(&key);
            (is_state && !inner.is_empty()).then(|| Found { path: vec![key], items: inner })
        });
        others.next().filter(|_| others.next().is_none())
    }

    /// The weights under the first of these entries that has any.
    fn among(&self, items: Items<'p, 'b>, entries: &[&str], depth: usize) -> Option<Found<'p, 'b>> {
        let depth = depth.checked_sub(1)?;
        entries.iter().find_map(|&entry| {
            let &(key, value) = items.iter().find(|(key, _)| *key == Value::Text(entry))?;
            let mut found = self.weights(self.items(value)?, depth)?;
            if let Value::Text(key) = key {
                found.path.insert(0, key);
            }
            Some(found)
        })
    }

    fn insert(&self, state: &mut StateDict<'_>, name: &str, value: Value<'b>) -> Result<(), CheckpointError> {
        match self.object(value) {
            Some(Object::Tensor(tensor)) => {
                let (shape, strides) = (tensor.shape.clone(), tensor.strides.clone());
                let view = View { element: tensor.element, offset: tensor.offset, shape, strides };
                state.insert(name, tensor.storage, view)
            }
            Some(Object::Unusable(Unusable { what, advice })) => {
                state.insert_other(name, NonTensor { found: (*what).to_owned(), advice })
            }
            _ if name.ends_with(EXTRA_STATE) => {
                state.left_out.push(name.to_owned());
                Ok(())
            }
            _ => state.insert_other(name, self.non_tensor(value)),
        }
    }

    /// What an entry in place of a tensor is.
    fn non_tensor(&self, value: Value<'b>) -> NonTensor {
        let found = self.kind(value);
        let is_array = found.starts_with("numpy") && found.ends_with("._reconstruct");
        match is_array {
            true => NonTensor { found: "an array of numpy".to_owned(), advice: "save torch.from_numpy(array)" },
            false => NonTensor { found, advice: STATE_DICT_ALONE },
        }
    }

    /// Returns the kind of a value for a message.
    fn kind(&self, value: Value<'b>) -> String {
        match (value, self.object(value)) {
            (_, Some(Object::Instance(class, _))) => self.class(*class),
            (_, Some(Object::Dict(_))) => "a dictionary".to_owned(),
            (_, Some(Object::Tuple(_) | Object::List(_))) => "a list".to_owned(),
            (_, Some(Object::Tensor(_))) => "a tensor".to_owned(),
            (_, Some(Object::Unusable(unusable))) => unusable.what.to_owned(),
            (Value::Named(name), _) => self.class(name),
            (Value::None, _) => "`None`".to_owned(),
            (Value::Bool(_) | Value::Int(_) | Value::Float, _) => "a number".to_owned(),
            (Value::Text(_) | Value::Bytes, _) => "text".to_owned(),
            (Value::Global(_) | Value::Storage(_) | Value::Object(_), _) => "something else".to_owned(),
        }
    }

    fn class(&self, name: usize) -> String {
        self.pickled.names.get(name).map_or_else(String::new, |name| name.full())
    }

    /// Returns the error of a root that is not a dictionary: it may be a module with its code.
    fn not_a_state(&self) -> CheckpointError {
        let module = match (self.pickled.root, self.object(self.pickled.root)) {
            (Value::Named(name), _) | (_, Some(&Object::Instance(name, _))) => Some(name),
            _ => None,
        };
        module.and_then(|name| self.module(name, None)).unwrap_or(CheckpointError::NotAState)
    }

    /// Returns the error of a dictionary without weights: one of its entries may be a module with its code.
    fn no_weights(&self, root: Items<'p, 'b>) -> CheckpointError {
        let modules = AVERAGES.iter().chain(WEIGHTS).find_map(|&entry| {
            let (_, value) = root.iter().find(|(key, _)| *key == Value::Text(entry))?;
            match self.object(*value)? {
                Object::Instance(name, _) => self.module(*name, Some(entry)),
                _ => None,
            }
        });
        let first = root.iter().find_map(|&(key, value)| match key {
            Value::Text(name) => {
                let NonTensor { found, advice } = self.non_tensor(value);
                Some(CheckpointError::NotATensor { name: name.to_owned(), found, advice })
            }
            _ => None,
        });
        modules.or(first).unwrap_or(CheckpointError::NotAState)
    }

    fn module(&self, name: usize, entry: Option<&'static str>) -> Option<CheckpointError> {
        let name = self.pickled.names.get(name).filter(|name| !name.is_data)?;
        Some(CheckpointError::Program(Program::Module { class: name.full(), entry }))
    }
}
