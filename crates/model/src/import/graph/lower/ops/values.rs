//! Values: looks up what a name of the file stands for, and brings a value into the order that an op needs.

use crate::import::graph::lower::lowering::{Known, Lowered, Lowering, refuse};
use crate::import::graph::lower::traced::{Factor, Traced};
use crate::import::graph::name::Name;
use crate::import::graph::raw::{RawArgument, RawDtype};
use crate::import::graph::tensor::RawTensorKind;
use fieldfit_nets::{Op, Role, ValueId};
use fieldfit_tensor::TensorId;

impl<'r, 'a> Lowering<'r, 'a> {
    pub fn named(&self, name: &Name<'a>) -> Lowered<Known> {
        match self.known.get(name) {
            Some(Known::Unread) | None => refuse(format!("value `{name}`, which no supported op computes")),
            Some(known) => Ok(known.clone()),
        }
    }

    pub fn known_argument(&self, argument: &RawArgument<'a>) -> Lowered<Known> {
        match argument {
            RawArgument::Value(name) => self.named(name),
            RawArgument::Tensor(index) => {
                Ok(Known::Tensor { index: *index, shape: self.raw.tensors[*index].shape.clone() })
            }
            _ => refuse("an argument that is no tensor"),
        }
    }

    /// Returns the raw tensor that a known value is, as the file has it; `name` is its slot in messages.
    pub fn whole_tensor(&self, known: Known, name: &str) -> Lowered<usize> {
        match known {
            Known::Tensor { index, shape } if shape == self.raw.tensors[index].shape => Ok(index),
            Known::Tensor { .. } => refuse(format!("`{name}` that is a view of a tensor")),
            Known::Turned { .. } | Known::Constant(_) | Known::Traced(_) | Known::Int(_) | Known::Unread => {
                refuse(format!("`{name}` that is computed"))
            }
        }
    }

    /// Returns the network's tensor of a raw one, seen in a shape; `is_turned` if its first two axes are exchanged.
    pub fn tensor(&mut self, index: usize, (shape, role): (Vec<usize>, Role), is_turned: bool) -> Lowered<TensorId> {
        let is_trained = !matches!(self.raw.tensors[index].kind, RawTensorKind::Buffer | RawTensorKind::Constant);
        let role = if is_trained || !role.is_trainable() { role } else { Role::Constant };
        let tensor = self.sketch.tensor(self.raw, index, (shape, role), is_turned);
        tensor.map_or_else(|| refuse(format!("tensor `{}` in two layouts", self.raw.tensors[index].name)), Ok)
    }

    pub fn vector(&mut self, index: usize, len: usize, role: Role) -> Lowered<TensorId> {
        let shape = self.raw.tensors[index].shape.clone();
        if shape != [len] {
            return refuse(format!("a tensor of shape {shape:?} where [{len}] is expected"));
        }
        self.tensor(index, (shape, role), false)
    }

    /// Whether a tensor of the file has floating-point numbers.
    pub fn is_float(&self, index: usize) -> bool {
        matches!(self.raw.tensors[index].dtype, RawDtype::F16 | RawDtype::Bf16 | RawDtype::F32 | RawDtype::F64)
    }

    /// Returns the values of a tensor of the file; `None` if its type has none that can be read.
    pub fn tensor_values(&self, index: usize) -> Option<Vec<f64>> {
        fn each<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f64) -> Vec<f64> {
            bytes.as_chunks().0.iter().map(|bits| read(*bits)).collect()
        }
        let tensor = &self.raw.tensors[index];
        let bytes = self.raw.values(tensor);
        Some(match tensor.dtype {
            RawDtype::F16 => each(&bytes, |bits| half::f16::from_le_bytes(bits).to_f64()),
            RawDtype::Bf16 => each(&bytes, |bits| half::bf16::from_le_bytes(bits).to_f64()),
            RawDtype::F32 => each(&bytes, |bits| f64::from(f32::from_le_bytes(bits))),
            RawDtype::F64 => each(&bytes, f64::from_le_bytes),
            RawDtype::I8 => each(&bytes, |bits| f64::from(i8::from_le_bytes(bits))),
            RawDtype::I16 => each(&bytes, |bits| f64::from(i16::from_le_bytes(bits))),
            RawDtype::I32 => each(&bytes, |bits| f64::from(i32::from_le_bytes(bits))),
            RawDtype::I64 => each(&bytes, |bits| i64::from_le_bytes(bits) as f64),
            RawDtype::U8 | RawDtype::Bool => each(&bytes, |bits| f64::from(u8::from_le_bytes(bits))),
            RawDtype::U16 => each(&bytes, |bits| f64::from(u16::from_le_bytes(bits))),
            RawDtype::U32 => each(&bytes, |bits| f64::from(u32::from_le_bytes(bits))),
            RawDtype::U64 => each(&bytes, |bits| u64::from_le_bytes(bits) as f64),
            RawDtype::Other(_) => return None,
        })
    }

    /// Appends a node of one input that keeps its shape and axes.
    pub fn unary(&mut self, value: &Traced, op: Op) -> Lowered<Traced> {
        let (result, shape) = self.sketch.node(op, &[value.value])?;
        Ok(Traced { value: result, shape, ..value.clone() })
    }

    /// Brings `[N, C, H, W]` into the order of an image in memory.
    pub fn image(&mut self, value: &Traced) -> Lowered<Traced> {
        if value.rank() != 4 || !value.is_batch(0) {
            return refuse(format!("an array of {} axes where [N, C, H, W] is expected", value.rank()));
        }
        let [Some(channels), Some(rows), Some(columns)] = [1, 2, 3].map(|axis| value.pieces(axis)) else {
            return refuse("an image with the batch among its axes");
        };
        let units = self.units(value, &[&channels, &rows, &columns]);
        let rows = [units, rows].concat();
        Ok(self.sketch.arrange(value, [&rows, &columns, &channels])?)
    }

    /// Returns the pieces of one position that no list has.
    pub fn units(&self, value: &Traced, lists: &[&[usize]]) -> Vec<usize> {
        (0..value.sides.len()).filter(|piece| !lists.iter().any(|list| list.contains(piece))).collect()
    }

    /// Appends a node of an image.
    pub fn on_image(&mut self, value: &Traced, op: Op) -> Lowered<Traced> {
        let image = self.image(value)?;
        let (result, shape) = self.sketch.node(op, &[image.value])?;
        Ok(Traced::image(result, shape))
    }

    /// Brings an axis to the end of memory: the channels; the others stay in their order.
    pub fn channels_last(&mut self, value: &Traced, axis: usize) -> Lowered<Traced> {
        let Some(channels) = value.pieces(axis) else { return refuse("channels with the batch among them") };
        let others: Vec<usize> = (0..value.sides.len()).filter(|piece| !channels.contains(piece)).collect();
        let order: Vec<usize> = others.iter().chain(&channels).copied().collect();
        let len: usize = channels.iter().map(|piece| value.sides[*piece]).product();
        if order.iter().copied().eq(0..value.sides.len()) && value.shape.channels == len {
            return Ok(value.clone());
        }
        Ok(self.sketch.arrange(value, [&[], &others, &channels])?)
    }

    /// Appends a node that replaces the channels, which are the last in memory, by `len` others.
    pub fn on_channels(&mut self, value: &Traced, axis: usize, op: Op, extra: &[ValueId]) -> Lowered<Traced> {
        let inputs: Vec<ValueId> = [value.value].into_iter().chain(extra.iter().copied()).collect();
        let (result, shape) = self.sketch.node(op, &inputs)?;
        let Some(pieces) = value.pieces(axis) else { return refuse("channels with the batch among them") };
        let kept = value.sides.len() - pieces.len();
        let mut sides = value.sides[..kept].to_vec();
        sides.push(shape.channels);
        let mut axes = value.axes.clone();
        axes[axis] = vec![Factor::Piece(kept)];
        Ok(Traced { value: result, shape, sides, axes })
    }
}
