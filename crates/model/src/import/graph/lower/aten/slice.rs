//! Slices and splits: ranges of an axis.

use super::call::Call;
use crate::import::graph::lower::lowering::{Known, Lowered, Lowering, refuse};
use crate::import::graph::lower::traced::{Factor, Traced};
use crate::import::graph::raw::RawArgument;

impl<'r, 'a> Lowering<'r, 'a> {
    /// Returns the range of an axis that a call selects: axis, start, length, step, and whether the axis goes.
    pub(super) fn slice(&mut self, call: &Call<'r, 'a>, op: &str) -> Lowered<Traced> {
        let value = self.value(call, "self")?;
        let Some(axis) = value.axis(call.int("dim", 0)?) else { return refuse("a slice of an axis that is not there") };
        let length = value.length(axis) as i64;
        let from_end = |position: i64| (if position < 0 { position + length } else { position }).clamp(0, length);
        let (start, end, step, goes) = match op {
            "select.int" => {
                let index = from_end(call.int("index", 0)?);
                (index, index + 1, 1, true)
            }
            "narrow.default" => {
                let start = from_end(call.int("start", 0)?);
                (start, start + call.int("length", 0)?, 1, false)
            }
            _ => {
                let end = match call.argument("end") {
                    None | Some(RawArgument::None) => i64::MAX,
                    Some(_) => call.int("end", i64::MAX)?,
                };
                let start = match call.argument("start") {
                    None | Some(RawArgument::None) => 0,
                    Some(_) => call.int("start", 0)?,
                };
                (from_end(start), from_end(end), call.int("step", 1)?, false)
            }
        };
        if value.axes[axis].contains(&Factor::Batch) {
            return if (start, end, step, goes) == (0, length, 1, false) || end == i64::MAX && start == 0 {
                Ok(value)
            } else {
                refuse("a slice of the batch")
            };
        }
        if step < 1 || end <= start {
            return refuse("an empty slice");
        }
        let (start, count) = (start as usize, ((end - start) as usize).div_ceil(step as usize));
        let mut result = self.append_range(&value, axis, (start, count, step as usize))?;
        if goes {
            result.axes.remove(axis);
        }
        Ok(result)
    }

    pub(super) fn split(&mut self, call: &Call<'r, 'a>, op: &str) -> Lowered<Vec<Known>> {
        let value = self.value(call, "self")?;
        let Some(axis) = value.axis(call.int("dim", 0)?) else { return refuse("a split of an axis that is not there") };
        let length = value.length(axis);
        let of = |value: i64| usize::try_from(value).or_else(|_| refuse("a split into parts of negative size"));
        let sizes: Vec<usize> = match op {
            "unbind.int" => vec![1; length],
            "split_with_sizes.default" => {
                call.ints("split_sizes")?.unwrap_or_default().into_iter().map(of).collect::<Lowered<_>>()?
            }
            _ => {
                let size = if op == "chunk.default" {
                    length.div_ceil(of(call.int("chunks", 1)?)?.max(1))
                } else {
                    of(call.int("split_size", 1)?)?
                };
                let size = size.max(1);
                (0..length.div_ceil(size)).map(|index| size.min(length - index * size)).collect()
            }
        };
        let mut parts = self.append_split(&value, axis, &sizes)?;
        if op == "unbind.int" {
            parts.iter_mut().for_each(|part| drop(part.axes.remove(axis)));
        }
        Ok(parts.into_iter().map(Known::Traced).collect())
    }
}
