//! Axes: views, permutations and other changes that move no value.

use super::call::Call;
use crate::description::MAX_VALUES;
use crate::import::graph::lower::lowering::{Known, Lowered, Lowering, refuse};
use crate::import::graph::lower::ops::View;
use crate::import::graph::lower::traced::Size;
use crate::import::graph::raw::{RawArgument, RawInt};

impl<'r, 'a> Lowering<'r, 'a> {
    /// Returns the sizes of a view's argument.
    pub(super) fn sizes(&self, call: &Call<'r, 'a>, name: &str) -> Lowered<Vec<Size>> {
        let of = |value: i64| match value {
            -1 => Ok(Size::Rest),
            value => {
                let size = usize::try_from(value).ok().filter(|size| *size <= MAX_VALUES);
                size.map_or_else(|| refuse(format!("a size of {value}")), |size| Ok(Size::Fixed(size)))
            }
        };
        match call.argument(name) {
            Some(RawArgument::Ints(values)) => values.iter().map(|value| of(*value)).collect(),
            Some(RawArgument::SymbolicInts(values)) => values
                .iter()
                .map(|value| match value {
                    RawInt::Constant(value) => of(*value),
                    RawInt::Value(name) => match self.named(name)? {
                        Known::Int(size) => Ok(size),
                        _ => refuse("a size that is no integer"),
                    },
                })
                .collect(),
            _ => refuse(format!("a call without `{name}`")),
        }
    }

    pub(super) fn change_axes(&mut self, call: &Call<'r, 'a>, op: &str) -> Lowered<Known> {
        let known = self.first(call)?;
        let view = match op {
            "view.default" | "_unsafe_view.default" => View::Reshape(self.sizes(call, "size")?),
            "reshape.default" => View::Reshape(self.sizes(call, "shape")?),
            "flatten.using_ints" => View::Flatten { first: call.int("start_dim", 0)?, last: call.int("end_dim", -1)? },
            "unflatten.int" => View::Unflatten { axis: call.int("dim", 0)?, sizes: self.sizes(call, "sizes")? },
            "permute.default" => View::Permute(call.ints("dims")?.unwrap_or_default()),
            "transpose.int" => View::Swap(call.int("dim0", 0)?, call.int("dim1", 1)?),
            "t.default" => View::Swap(0, 1),
            "unsqueeze.default" => View::Unsqueeze(call.int("dim", 0)?),
            "squeeze.dim" | "squeeze.dims" => View::Squeeze(call.ints("dim")?.unwrap_or_default()),
            _ => View::Expand(self.sizes(call, "size")?),
        };
        self.view(known, &view)
    }
}
