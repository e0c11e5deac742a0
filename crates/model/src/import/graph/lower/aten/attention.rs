//! Attention and matrix products.

use super::call::Call;
use crate::import::graph::lower::lowering::{Lowered, Lowering, refuse};
use crate::import::graph::lower::traced::Traced;
use crate::import::graph::raw::RawArgument;

impl<'r, 'a> Lowering<'r, 'a> {
    pub(super) fn attention(&mut self, call: &Call<'r, 'a>) -> Lowered<Traced> {
        let [query, key, value] = ["query", "key", "value"].map(|name| self.value(call, name));
        let (query, key, value) = (query?, key?, value?);
        let has_mask = !matches!(call.argument("attn_mask"), None | Some(RawArgument::None));
        if call.flag("is_causal", false)? || call.number("dropout_p", 0.0)? != 0.0 || has_mask {
            return refuse("attention with a mask or dropout");
        }
        let scale = match call.argument("scale") {
            None | Some(RawArgument::None) => None,
            Some(_) => Some(call.number("scale", 1.0)?),
        };
        self.append_attention(&query, &key, &value, scale)
    }
}

/// Returns the name of a product's second argument.
pub(super) fn call_other(call: &Call<'_, '_>) -> &'static str {
    if call.argument("mat2").is_some() { "mat2" } else { "other" }
}
