//! Call: arguments of a node by the names of its op's schema.

use super::{Lowered, MAX_SIDE, refuse};
use crate::import::graph::raw::{RawArgument, RawNode};

/// Arguments of a call, by the names of its schema.
pub(super) struct Call<'n, 'a> {
    pub node: &'n RawNode<'a>,
}

impl<'n, 'a> Call<'n, 'a> {
    pub fn argument(&self, name: &str) -> Option<&'n RawArgument<'a>> {
        self.node.arguments.iter().find(|argument| argument.name.as_str() == name).map(|argument| &argument.value)
    }

    pub fn int(&self, name: &str, default: i64) -> Lowered<i64> {
        match self.argument(name) {
            None => Ok(default),
            Some(RawArgument::Int(value)) => Ok(*value),
            Some(_) => refuse(format!("`{name}` that is no constant")),
        }
    }

    pub fn number(&self, name: &str, default: f64) -> Lowered<f64> {
        match self.argument(name) {
            None => Ok(default),
            Some(RawArgument::Float(value)) => Ok(*value),
            Some(RawArgument::Int(value)) => Ok(*value as f64),
            Some(_) => refuse(format!("`{name}` that is no constant")),
        }
    }

    pub fn flag(&self, name: &str, default: bool) -> Lowered<bool> {
        match self.argument(name) {
            None => Ok(default),
            Some(RawArgument::Bool(value)) => Ok(*value),
            Some(_) => refuse(format!("`{name}` that is no constant")),
        }
    }

    pub fn ints(&self, name: &str) -> Lowered<Option<Vec<i64>>> {
        match self.argument(name) {
            None | Some(RawArgument::None) => Ok(None),
            Some(RawArgument::Ints(values)) => Ok(Some(values.clone())),
            Some(RawArgument::Int(value)) => Ok(Some(vec![*value])),
            Some(_) => refuse(format!("`{name}` that is no constant")),
        }
    }

    /// Returns a pair of rows and columns.
    pub fn pair(&self, name: &str, default: usize) -> Lowered<[usize; 2]> {
        let values = self.ints(name)?.unwrap_or_default();
        let of = |value: i64| {
            let size = usize::try_from(value).ok().filter(|size| *size <= MAX_SIDE);
            size.map_or_else(|| refuse(format!("`{name}` of {value}")), Ok)
        };
        match values[..] {
            [] => Ok([default; 2]),
            [both] => Ok([of(both)?; 2]),
            [rows, columns] => Ok([of(rows)?, of(columns)?]),
            _ => refuse(format!("`{name}` of {} axes", values.len())),
        }
    }
}
