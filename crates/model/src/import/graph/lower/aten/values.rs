//! Values: looks up what the arguments of a call name.

use super::call::Call;
use crate::import::graph::lower::lowering::{Known, Lowered, Lowering, refuse};
use crate::import::graph::lower::traced::Traced;
use crate::import::graph::raw::RawArgument;
use fieldfit_nets::{Function, Op};

impl<'r, 'a> Lowering<'r, 'a> {
    pub(super) fn first(&self, call: &Call<'r, 'a>) -> Lowered<Known> {
        match call.node.arguments.first() {
            Some(argument) => self.known_argument(&argument.value),
            None => refuse("a call without arguments"),
        }
    }

    pub(super) fn value(&self, call: &Call<'r, 'a>, name: &str) -> Lowered<Traced> {
        match call.argument(name).map(|argument| self.known_argument(argument)).transpose()? {
            Some(Known::Traced(traced)) => Ok(traced),
            Some(_) => refuse(format!("`{name}` that does not depend on the image")),
            None => refuse(format!("a call without `{name}`")),
        }
    }

    /// Returns the raw tensor of an argument, as the file has it; `None` if it is left out.
    pub(super) fn parameter(&self, call: &Call<'r, 'a>, name: &str) -> Lowered<Option<usize>> {
        match call.argument(name) {
            None | Some(RawArgument::None) => Ok(None),
            Some(argument) => self.whole_tensor(self.known_argument(argument)?, name).map(Some),
        }
    }

    pub(super) fn activate(&mut self, call: &Call<'r, 'a>, function: Function) -> Lowered<Traced> {
        let value = match call.argument("self") {
            Some(_) => self.value(call, "self")?,
            None => self.value(call, "input")?,
        };
        self.unary(&value, Op::Activate(function))
    }
}
