//! Arithmetic: of two values, of a value and a tensor, and of a value and a number.

use super::call::Call;
use crate::import::graph::lower::lowering::{Known, Lowered, Lowering, refuse};
use crate::import::graph::lower::traced::Traced;
use crate::import::graph::raw::RawArgument;
use fieldfit_nets::Arithmetic;

impl<'r, 'a> Lowering<'r, 'a> {
    pub(super) fn arithmetic(&mut self, call: &Call<'r, 'a>, arithmetic: Arithmetic) -> Lowered<Traced> {
        if call.number("alpha", 1.0)? != 1.0 {
            return refuse("a factor `alpha`");
        }
        let number = match call.argument("other") {
            Some(RawArgument::Float(value)) => Some(*value),
            Some(RawArgument::Int(value)) => Some(*value as f64),
            _ => None,
        };
        let Some(left) = call.argument("self").map(|argument| self.known_argument(argument)).transpose()? else {
            return refuse("a call without `self`");
        };
        if let Some(number) = number {
            let Known::Traced(value) = left else { return refuse("arithmetic of tensors alone") };
            return self.append_scalar(arithmetic, &value, number);
        }
        let Some(right) = call.argument("other").map(|argument| self.known_argument(argument)).transpose()? else {
            return refuse("a call without `other`");
        };
        self.append_arithmetic(arithmetic, left, right)
    }
}
