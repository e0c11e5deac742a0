//! Node: inputs and attributes of an ONNX node.

use crate::import::graph::lower::aten::{Lowered, MAX_SIDE, refuse};
use crate::import::graph::name::Name;
use crate::import::graph::raw::{RawArgument, RawNode};

/// Node of an ONNX graph.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<'r, 'a> {
    pub raw: &'r RawNode<'a>,
}

impl<'r, 'a> Node<'r, 'a> {
    /// Returns the op's name.
    pub fn op(&self) -> &'r str {
        self.raw.op.as_str()
    }

    /// Returns the inputs in order; `None` for one that is left out.
    pub fn inputs(&self) -> impl Iterator<Item = Option<&'r Name<'a>>> + use<'r, 'a> {
        self.raw.arguments.iter().filter(|argument| argument.name.is_empty()).map(|argument| match &argument.value {
            RawArgument::Value(name) => Some(name),
            _ => None,
        })
    }

    /// Returns an input; `None` if it is left out.
    pub fn input(&self, position: usize) -> Option<&'r Name<'a>> {
        self.inputs().nth(position).flatten()
    }

    /// Returns the first output.
    pub fn output(&self) -> Option<&'r Name<'a>> {
        self.raw.outputs.first().and_then(Option::as_ref)
    }

    /// Returns an attribute.
    pub fn attribute(&self, name: &str) -> Option<&'r RawArgument<'a>> {
        self.raw.named(name)
    }

    pub fn int(&self, name: &str, default: i64) -> Lowered<i64> {
        match self.attribute(name) {
            None => Ok(default),
            Some(RawArgument::Int(value)) => Ok(*value),
            Some(_) => refuse(format!("attribute `{name}` that is no integer")),
        }
    }

    pub fn flag(&self, name: &str, default: bool) -> Lowered<bool> {
        Ok(self.int(name, default.into())? != 0)
    }

    pub fn number(&self, name: &str, default: f64) -> Lowered<f64> {
        match self.attribute(name) {
            None => Ok(default),
            Some(RawArgument::Float(value)) => Ok(*value),
            Some(_) => refuse(format!("attribute `{name}` that is no number")),
        }
    }

    pub fn ints(&self, name: &str) -> Lowered<Option<&'r [i64]>> {
        match self.attribute(name) {
            None => Ok(None),
            Some(RawArgument::Ints(values)) => Ok(Some(values)),
            Some(_) => refuse(format!("attribute `{name}` that is no list of integers")),
        }
    }

    pub fn text(&self, name: &str, default: &'static str) -> Lowered<&'r str> {
        match self.attribute(name) {
            None => Ok(default),
            Some(RawArgument::Text(text)) => Ok(text.as_str()),
            Some(_) => refuse(format!("attribute `{name}` that is no text")),
        }
    }

    /// Returns an attribute's pair of rows and columns.
    pub fn pair(&self, name: &str, default: usize) -> Lowered<[usize; 2]> {
        match self.ints(name)? {
            None => Ok([default; 2]),
            Some([rows, columns]) => Ok([side(name, *rows)?, side(name, *columns)?]),
            Some(values) => refuse(format!("attribute `{name}` of {} axes", values.len())),
        }
    }
}

/// Returns a kernel's side, a stride, a dilation or an amount of padding.
pub(super) fn side(name: &str, value: i64) -> Lowered<usize> {
    let side = usize::try_from(value).ok().filter(|side| *side <= MAX_SIDE);
    side.map_or_else(|| refuse(format!("`{name}` of {value}")), Ok)
}
