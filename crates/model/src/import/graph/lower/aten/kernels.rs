//! Kernels that a file computes from its parameters: weight normalisation, spectral normalisation, weight standardisation.
//!
//! They are computed while the file is imported. The kernel is then what is trained.

use super::call::Call;
use super::{Lowered, Lowering, refuse};
use crate::import::graph::lower::array::Array;
use crate::import::graph::name::Name;
use crate::import::graph::raw::{RawArgument, RawNode};
use std::collections::{HashMap, HashSet};

impl<'r, 'a> Lowering<'r, 'a> {
    /// Finds the names of what a convolution's kernel is computed from by the parameters alone; `kernel` is the name of a node's
    /// kernel, if the node is a convolution.
    pub fn find_kernels(&mut self, kernel: impl Fn(&'r RawNode<'a>) -> Option<&'r Name<'a>>) {
        let mut fixed: HashSet<&Name<'a>> = self.raw.tensors.iter().map(|tensor| &tensor.value).collect();
        let mut makers: HashMap<&Name<'a>, &RawNode<'a>> = HashMap::new();
        for node in &self.raw.nodes {
            if inputs(node).all(|name| fixed.contains(name)) {
                fixed.extend(node.outputs.iter().flatten());
                makers.extend(node.outputs.iter().flatten().map(|name| (name, node)));
            }
        }
        let mut open: Vec<&Name<'a>> = self.raw.nodes.iter().filter_map(kernel).collect();
        while let Some(name) = open.pop() {
            let Some(node) = makers.get(name) else { continue };
            if self.kernels.insert(name.clone(), 0).is_none() {
                open.extend(inputs(node));
            }
        }
        for name in self.raw.nodes.iter().flat_map(inputs) {
            self.kernels.entry(name.clone()).and_modify(|readers| *readers += 1);
        }
    }

    /// Returns what a call computes along axes of a constant; `None` if it is another op.
    pub(super) fn reduced(&self, call: &Call<'r, 'a>, op: &str, array: &Array) -> Lowered<Option<Array>> {
        let misfit = || refuse("a reduction of a constant over axes that are not there");
        let fits = |array: Option<Array>| array.map_or_else(misfit, |array| Ok(Some(array)));
        let other = |name: &str| self.array(call.argument(name));
        let axes = || -> Lowered<Vec<usize>> {
            let axes = call.ints("dim")?.filter(|axes| !axes.is_empty());
            let axes = axes.unwrap_or_else(|| (0..array.shape.len() as i64).collect());
            let axes: Option<Vec<usize>> = axes.into_iter().map(|axis| array.axis(axis)).collect();
            axes.map_or_else(|| refuse("an axis that is not there"), Ok)
        };
        let reduce = |of: &dyn Fn(&[f64]) -> f64| fits(array.reduce(&axes()?, call.flag("keepdim", false)?, of));
        match op.split('.').next().unwrap_or(op) {
            "mean" => reduce(&mean),
            "sum" => reduce(&|values| values.iter().sum()),
            "var" => {
                let correction = self.correction(call)?;
                reduce(&|values| variance(values, correction))
            }
            "std" => {
                let correction = self.correction(call)?;
                reduce(&|values| variance(values, correction).sqrt())
            }
            "linalg_vector_norm" if call.number("ord", 2.0)? == 2.0 => reduce(&length),
            "mv" | "dot" | "vdot" => {
                let vector = ["vec", "tensor", "other"].into_iter().find_map(other);
                let Some(vector) = vector else { return Ok(None) };
                let products = array.zip(&vector, |left, right| left * right);
                let last = array.shape.len().checked_sub(1);
                fits(products.zip(last).and_then(|(all, last)| all.reduce(&[last], false, |row| row.iter().sum())))
            }
            "_weight_norm" => {
                let (Some(direction), Some(size)) = (other("v"), other("g")) else { return Ok(None) };
                let axis = direction.axis(call.int("dim", 0)?);
                let others: Vec<usize> = (0..direction.shape.len()).filter(|other| Some(*other) != axis).collect();
                let lengths = direction.reduce(&others, true, length);
                let units = lengths.and_then(|lengths| direction.zip(&lengths, |value, length| value / length));
                fits(units.and_then(|units| units.zip(&size, |unit, size| unit * size)))
            }
            "batch_norm" if call.flag("training", false)? => self.standardised(call, array).and_then(fits),
            _ => Ok(None),
        }
    }

    /// Returns what is subtracted from the count of values in a variance.
    pub(super) fn correction(&self, call: &Call<'r, 'a>) -> Lowered<f64> {
        match call.argument("correction") {
            None | Some(RawArgument::None) => Ok(f64::from(u8::from(call.flag("unbiased", true)?))),
            Some(_) => call.number("correction", 1.0),
        }
    }

    /// Returns `[1, C, n]` standardised by the statistics of each row, times a scale and plus a shift.
    fn standardised(&self, call: &Call<'r, 'a>, array: &Array) -> Lowered<Option<Array>> {
        let mut factors = [None, None];
        for (name, factors) in ["weight", "bias"].into_iter().zip(&mut factors) {
            let argument = call.argument(name).filter(|argument| !matches!(argument, RawArgument::None));
            *factors = argument.map(|argument| self.array(Some(argument))).unwrap_or_default();
        }
        let [scale, shift] = &factors;
        Ok(standardised(array, [scale.as_deref(), shift.as_deref()], call.number("eps", 1e-5)?))
    }

    /// Returns the names of what kernels were computed from that no node behind this one reads.
    pub fn last_read(&mut self, node: &RawNode<'a>) -> Vec<Name<'a>> {
        let mut last = Vec::new();
        for name in inputs(node) {
            let Some(readers) = self.kernels.get_mut(name) else { continue };
            *readers = readers.saturating_sub(1);
            if *readers == 0 {
                last.push(name.clone());
            }
        }
        last
    }
}

/// Returns the names of a node's arguments that are values.
fn inputs<'n, 'a>(node: &'n RawNode<'a>) -> impl Iterator<Item = &'n Name<'a>> {
    node.arguments.iter().flat_map(|argument| super::in_place::all_named(&argument.value))
}

/// Returns the name of a convolution's kernel; `None` of another op.
pub(in super::super) fn kernel_name<'n, 'a>(node: &'n RawNode<'a>) -> Option<&'n Name<'a>> {
    const CONVOLUTIONS: [&str; 2] = ["torch.ops.aten.conv2d.", "torch.ops.aten.convolution."];
    let is_convolution = CONVOLUTIONS.iter().any(|op| node.op.as_str().starts_with(op));
    match node.named("weight") {
        Some(RawArgument::Value(name)) if is_convolution => Some(name),
        _ => None,
    }
}

/// Returns `[1, C, n]` standardised by the statistics of each row, times a scale and plus a shift of each row.
pub(in super::super) fn standardised(
    array: &Array,
    [scale, shift]: [Option<&Array>; 2],
    epsilon: f64,
) -> Option<Array> {
    let [1, channels, _] = array.shape[..] else { return None };
    let means = array.reduce(&[2], true, mean)?;
    let variances = array.reduce(&[2], true, |values| variance(values, 0.0))?;
    let centred = array.zip(&means, |value, mean| value - mean)?;
    let mut result = centred.zip(&variances, |value, variance| value / (variance + epsilon).sqrt())?;
    if let Some(scale) = scale {
        result = result.zip(&scale.reshape(vec![1, channels, 1])?, |value, factor| value * factor)?;
    }
    match shift {
        Some(shift) => result.zip(&shift.reshape(vec![1, channels, 1])?, |value, shift| value + shift),
        None => Some(result),
    }
}

pub(in super::super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn variance(values: &[f64], correction: f64) -> f64 {
    let mean = mean(values);
    values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / (values.len() as f64 - correction)
}

pub(in super::super) fn length(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}
