//! Values: looks up what the arguments of a call name, and brings a value into the order that an op needs.

use super::arithmetic::Operand;
use super::call::Call;
use super::{Known, Lowered, Lowering, refuse};
use crate::import::graph::lower::final_op::FinalOp;
use crate::import::graph::lower::traced::{Factor, Traced};
use crate::import::graph::name::Name;
use crate::import::graph::raw::RawArgument;
use crate::import::graph::tensor::RawTensorKind;
use fieldfit_nets::{Function, Op, Role, ValueId};
use fieldfit_tensor::TensorId;

impl<'r, 'a> Lowering<'r, 'a> {
    pub fn named(&self, name: &Name<'a>) -> Lowered<Known> {
        match self.known.get(self.array_name(name)) {
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

    pub(super) fn first(&self, call: &Call<'r, 'a>) -> Lowered<Known> {
        match call.node.arguments.first() {
            Some(argument) => self.known_argument(&argument.value),
            None => refuse("a call without arguments"),
        }
    }

    /// Returns an argument as a value of the network; a tensor or a constant becomes one.
    pub(super) fn value(&mut self, call: &Call<'r, 'a>, name: &str) -> Lowered<Traced> {
        match call.argument(name).map(|argument| self.known_argument(argument)).transpose()? {
            Some(known) => self.traced(known),
            None => refuse(format!("a call without `{name}`")),
        }
    }

    /// Returns what is known as a value of the network.
    pub fn traced(&mut self, known: Known) -> Lowered<Traced> {
        match known {
            Known::Traced(value) => Ok(value),
            Known::Expanded { value, lengths } => self.repeated(&value, &lengths),
            Known::Tensor { index, shape } => self.operand_value(&Operand::Tensor(index), &shape),
            Known::Turned { index } => {
                let mut value = self.operand_value(&Operand::Tensor(index), &self.raw.tensors[index].shape.clone())?;
                value.axes.reverse();
                Ok(value)
            }
            Known::Constant(array) => {
                let shape = array.shape.clone();
                self.operand_value(&Operand::Constant(array), &shape)
            }
            Known::Int(_) | Known::Unread => refuse("a number where an array is expected"),
        }
    }

    /// Returns the raw tensor of an argument, as the file has it; `None` if it is left out.
    pub(super) fn parameter(&self, call: &Call<'r, 'a>, name: &str) -> Lowered<Option<usize>> {
        match call.argument(name) {
            None | Some(RawArgument::None) => Ok(None),
            Some(argument) => match self.known_argument(argument)? {
                Known::Tensor { index, shape } if shape == self.raw.tensors[index].shape => Ok(Some(index)),
                Known::Tensor { .. } | Known::Turned { .. } => refuse(format!("`{name}` that is a view of a tensor")),
                Known::Traced(_) | Known::Expanded { .. } | Known::Constant(_) | Known::Int(_) | Known::Unread => {
                    refuse(format!("`{name}` that is computed"))
                }
            },
        }
    }

    /// Whether an argument is there, and is no tensor as the file has it.
    pub(super) fn is_computed(&self, call: &Call<'r, 'a>, name: &str) -> bool {
        call.argument(name).is_some_and(|argument| !matches!(argument, RawArgument::None))
            && self.parameter(call, name).is_err()
    }

    pub fn tensor(&mut self, index: usize, shape: Vec<usize>, role: Role) -> TensorId {
        let is_trained = !matches!(self.raw.tensors[index].kind, RawTensorKind::Buffer | RawTensorKind::Constant);
        let role = if is_trained || !role.is_trainable() { role } else { Role::Constant };
        self.sketch.tensor(self.raw, index, (shape, role), false)
    }

    /// Returns the network's tensor of a raw one whose first two axes may be exchanged; one tensor has one order.
    pub fn tensor_in(&mut self, index: usize, (shape, role): (Vec<usize>, Role), is_turned: bool) -> Lowered<TensorId> {
        let role = if self.is_frozen(index) && role.is_trainable() { Role::Constant } else { role };
        let tensor = self.sketch.tensor(self.raw, index, (shape, role), is_turned);
        if self.sketch.sources[tensor.index()].is_turned != is_turned {
            return refuse(format!("tensor `{}` in two orders of its axes", self.raw.tensors[index].name));
        }
        Ok(tensor)
    }

    pub fn vector(&mut self, index: usize, len: usize, role: Role) -> Lowered<TensorId> {
        let shape = self.raw.tensors[index].shape.clone();
        if shape.iter().product::<usize>() != len {
            return refuse(format!("a tensor of shape {shape:?} where [{len}] is expected"));
        }
        Ok(self.tensor(index, vec![len], role))
    }

    /// Appends a node of one input that keeps its shape and axes.
    pub fn unary(&mut self, value: &Traced, op: Op) -> Lowered<Traced> {
        let final_op = FinalOp::of(&op);
        let (result, shape) = self.sketch.node(op, &[value.value])?;
        if let Some(op) = final_op {
            self.final_ops.insert(result, (value.value, op));
        }
        Ok(Traced { value: result, shape, ..value.clone() })
    }

    pub(super) fn activate(&mut self, call: &Call<'r, 'a>, function: Function) -> Lowered<Traced> {
        let value = match call.argument("self") {
            Some(_) => self.value(call, "self")?,
            None => self.value(call, "input")?,
        };
        self.unary(&value, Op::Activate(function))
    }

    /// Brings `[N, C, H, W]` into the order of an image in memory.
    pub fn image(&mut self, value: &Traced) -> Lowered<Traced> {
        let mut value = value.clone();
        if value.rank() == 4 && !value.has_batch() && value.length(0) == 1 {
            value.axes[0].insert(0, Factor::Batch);
            value.drop_units(0);
        }
        let value = &value;
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
