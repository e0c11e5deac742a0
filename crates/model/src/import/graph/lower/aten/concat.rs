//! Concatenation: values and tensors one after the other along an axis.

use super::call::Call;
use crate::import::graph::lower::lowering::{Lowered, Lowering, refuse};
use crate::import::graph::lower::traced::Traced;
use crate::import::graph::raw::RawArgument;

impl<'r, 'a> Lowering<'r, 'a> {
    pub(super) fn concat(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let Some(RawArgument::Values(names)) = call.argument("tensors") else {
            return refuse("a list that is computed");
        };
        let parts = names.iter().flatten().map(|name| self.named(name)).collect::<Lowered<_>>()?;
        self.append_concat(parts, call.int("dim", 0)?)
    }
}
