//! Selection: `where` and `masked_fill` by a mask of constants.

use super::call::Call;
use super::{HIDDEN, Known, Lowered, Lowering, refuse};
use crate::import::graph::lower::array::Array;
use crate::import::graph::lower::traced::Traced;
use fieldfit_nets::Arithmetic;
use std::rc::Rc;

impl<'r, 'a> Lowering<'r, 'a> {
    /// Lowers `where(mask, x, y)`, or `masked_fill(y, mask, x)`.
    pub(super) fn choose(&mut self, call: &Call<'r, 'a>, name: &str) -> Lowered<Traced> {
        let [mask, chosen, other] = match name {
            "where" => ["condition", "self", "other"],
            _ => ["mask", "value", "self"],
        };
        let Some(mask) = self.array(call.argument(mask)) else { return refuse("a mask that depends on the image") };
        let [chosen, other] = [chosen, other].map(|name| match call.argument(name) {
            Some(argument) => self.operand(argument),
            None => refuse(format!("a call without `{name}`")),
        });
        self.chosen(&mask, chosen?, other?)
    }

    /// Appends `chosen` where a mask is set, and `other` elsewhere.
    pub fn chosen(&mut self, mask: &Rc<Array>, chosen: Known, other: Known) -> Lowered<Traced> {
        let chosen = self.where_mask_is(chosen, mask, true)?;
        let other = self.where_mask_is(other, mask, false)?;
        self.compute(Arithmetic::Add, other, chosen)
    }

    /// Returns an operand where the mask is set, or not, and zeros elsewhere.
    fn where_mask_is(&mut self, operand: Known, mask: &Rc<Array>, wanted: bool) -> Lowered<Known> {
        let is_kept = |flag: f64| (flag != 0.0) == wanted;
        if let Known::Constant(array) = &operand {
            // What hides a score is finite, also in half precision.
            let kept = array.zip(mask, |value, flag| if is_kept(flag) { hidden(value) } else { 0.0 });
            return kept.map_or_else(|| refuse("a mask of another shape"), |kept| Ok(Known::Constant(Rc::new(kept))));
        }
        let factors = mask.map(|flag| f64::from(u8::from(is_kept(flag))));
        Ok(Known::Traced(self.compute(Arithmetic::Multiply, operand, Known::Constant(Rc::new(factors)))?))
    }
}

/// Returns a value that is finite in half precision: a very negative one hides a score.
fn hidden(value: f64) -> f64 {
    const LEAST: f64 = -65_504.0;
    if value < LEAST { HIDDEN } else { value }
}
