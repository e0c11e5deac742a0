//! Convolution op: folds the norm into the kernel, and chooses among the kernels for pointwise, depthwise, grouped, dense and 3×3
//! convolutions.
//!
//! With W the kernel, b the bias, s = γ/√(σ²+ε) the norm's scale and G the gradient of the unscaled kernel: ∂L/∂W = s·G,
//! ∂L/∂b = s·Σdz, ∂L/∂β = Σdz, ∂L/∂γ = (⟨W,G⟩ + (b−μ)·Σdz)/√(σ²+ε). Without a norm s is 1.

use super::checkpoint_weight::CheckpointWeight;
use super::dense::Dense;
use super::depthwise::Depthwise;
use super::epilogue::ForwardEpilogue;
use super::folded_weights::{FoldPurpose, FoldedWeights, add_products, dot, refill, write_gradient};
use super::grouped::{self, Grouped};
use super::matmul::{Accumulate, PackedMatrix};
use super::op::{Backward, CpuOp, Forward, Kernel, Needs, Scaled};
use super::partition::BackwardOperands;
use super::pointwise;
use super::thread_pool::ThreadPool;
use super::winograd::{self, Winograd};
use fieldfit_nets::{Activation, BatchNorm, Conv, Shape};
use fieldfit_tensor::{Params, TensorId};

/// Convolution at any image size.
pub(super) struct ConvOp(pub Conv);

impl CpuOp for ConvOp {
    fn folded_len(&self, purpose: FoldPurpose) -> usize {
        let conv = &self.0;
        let affine = conv.output * if conv.norm.is_some() { 2 } else { 1 };
        let both =
            |forward: usize, backward: usize| forward + if purpose == FoldPurpose::Training { backward } else { 0 };
        let weight = if conv.is_depthwise() {
            conv.weight_len()
        } else if conv.groups > 1 {
            both(conv.weight_len(), conv.weight_len())
        } else if winograd::supports(conv) {
            both(winograd::packed_len(conv.input, conv.output), winograd::packed_len(conv.output, conv.input))
        } else {
            let depth = conv.weight_len() / conv.output;
            both(PackedMatrix::size(depth, conv.output), PackedMatrix::size(conv.output, depth))
        };
        weight + affine
    }

    fn fold(&self, params: &Params<f32>, purpose: FoldPurpose, folded: &mut FoldedWeights) {
        fold(&self.0, params, purpose, folded);
    }

    fn kernel(&self, inputs: &[Shape], output: Shape) -> Box<dyn Kernel> {
        Box::new(ConvKernel::new(self.0, inputs[0], output))
    }
}

/// Folds a convolution's norm and bias, and packs its kernel.
pub(super) fn fold(conv: &Conv, params: &Params<f32>, purpose: FoldPurpose, folded: &mut FoldedWeights) {
    fold_affine(conv, params, folded);
    let weight = &params[conv.weight];
    if conv.is_depthwise() {
        let taps = conv.window.taps();
        folded.taps.resize(weight.len(), 0.0);
        for (tap, values) in folded.taps.chunks_exact_mut(conv.output).enumerate() {
            let weights = weight.iter().skip(tap).step_by(taps);
            values.iter_mut().zip(weights).for_each(|(value, weight)| *value = *weight);
            values.iter_mut().zip(&folded.scale).for_each(|(value, scale)| *value *= scale);
        }
        return;
    }
    if conv.groups > 1 {
        return grouped::pack(conv, weight, purpose, folded);
    }
    let weight =
        CheckpointWeight { values: weight, inputs: conv.input, taps: conv.window.taps(), scale: &folded.scale };
    let is_winograds = winograd::supports(conv);
    if is_winograds {
        weight.pack_winograd(&mut folded.forward)
    } else {
        weight.pack_forward(&mut folded.forward)
    }
    match purpose {
        FoldPurpose::Inference => {}
        FoldPurpose::Training if is_winograds => weight.pack_winograd_rotated(&mut folded.backward),
        FoldPurpose::Training => weight.pack_backward(&mut folded.backward),
    }
}

/// Folds norm and bias into a scale, empty without a norm, and a shift.
pub(super) fn fold_affine(conv: &Conv, params: &Params<f32>, folded: &mut FoldedWeights) {
    folded.scale.clear();
    folded.bias.clear();
    let Some(norm) = conv.norm else {
        match conv.bias {
            Some(bias) => refill(&mut folded.bias, &params[bias]),
            None => folded.bias.resize(conv.output, 0.0),
        }
        return;
    };
    let (gamma, beta) = (&params[norm.scale], &params[norm.shift]);
    let (mean, variance) = (&params[norm.mean], &params[norm.variance]);
    folded.scale.extend(gamma.iter().zip(variance).map(|(gamma, variance)| gamma * inverse_std(&norm, *variance)));
    folded.bias.extend(folded.scale.iter().zip(mean).zip(beta).map(|((scale, mean), beta)| beta - scale * mean));
    if let Some(bias) = conv.bias {
        let biases = folded.bias.iter_mut().zip(&folded.scale).zip(&params[bias]);
        biases.for_each(|((shift, scale), bias)| *shift += scale * bias);
    }
}

/// Returns `1 / √(σ² + ε)`.
pub(super) fn inverse_std(norm: &BatchNorm, variance: f32) -> f32 {
    (1.0 / (f64::from(variance) + norm.epsilon).sqrt()) as f32
}

/// Convolution at one image size.
pub(super) struct ConvKernel {
    conv: Conv,
    input: Shape,
    variant: Variant,
}

/// Kernel of a convolution.
enum Variant {
    Pointwise,
    Depthwise(Depthwise),
    Grouped(Grouped),
    Dense(Dense),
    Winograd(Winograd),
}

impl ConvKernel {
    pub fn new(conv: Conv, input: Shape, output: Shape) -> Self {
        let variant = if conv.is_depthwise() {
            Variant::Depthwise(Depthwise::new(&conv, input, output))
        } else if conv.groups > 1 {
            Variant::Grouped(Grouped::new(conv, input, output))
        } else if conv.is_pointwise() {
            Variant::Pointwise
        } else if winograd::supports(&conv) {
            Variant::Winograd(Winograd::new(conv, input))
        } else {
            Variant::Dense(Dense { conv, input, output })
        };
        Self { conv, input, variant }
    }

    /// Computes the gradients of the unscaled kernel and of the input.
    pub fn products(&self, pass: BackwardOperands<'_>, operands: Products<'_>) -> Vec<f64> {
        let Products { threads, folded, scratch } = operands;
        match &self.variant {
            Variant::Pointwise => pointwise::backward(threads, folded, pass, scratch),
            Variant::Depthwise(kernel) => kernel.backward(threads, folded, pass, scratch),
            Variant::Grouped(kernel) => kernel.backward(threads, folded, pass, scratch),
            Variant::Dense(kernel) => kernel.backward(threads, folded, pass, scratch),
            Variant::Winograd(kernel) => kernel.backward(threads, folded, pass, scratch),
        }
    }

    /// Whether the kernel's gradient is needed: for the kernel, or for the norm's scale.
    fn needs_kernel(&self, trains: &dyn Fn(TensorId) -> bool) -> bool {
        trains(self.conv.weight) || self.conv.norm.is_some_and(|norm| trains(norm.scale))
    }
}

/// What the products of a backward pass need beside their operands.
pub(super) struct Products<'a> {
    pub threads: &'a ThreadPool,
    pub folded: &'a FoldedWeights,
    pub scratch: &'a mut Vec<f32>,
}

impl Kernel for ConvKernel {
    fn activation(&self) -> Activation {
        self.conv.activation
    }

    fn forward(&self, pass: Forward<'_>) {
        let Forward { threads, folded, inputs, output, function, .. } = pass;
        let (activation, shortcut) = (self.conv.activation, inputs.get(1).copied());
        let epilogue = ForwardEpilogue { bias: &folded.bias, activation, shortcut, function };
        let input = inputs[0];
        match &self.variant {
            Variant::Pointwise => pointwise::forward(threads, folded, input, epilogue, output),
            Variant::Depthwise(kernel) => kernel.forward(threads, folded, input, epilogue, output),
            Variant::Grouped(kernel) => kernel.forward(threads, folded, input, epilogue, output),
            Variant::Dense(kernel) => kernel.forward(threads, folded, input, epilogue, output),
            Variant::Winograd(kernel) => kernel.forward(threads, folded, input, epilogue, output),
        }
    }

    fn can_end_with_function(&self) -> bool {
        true
    }

    fn passes_gradient(&self, input: usize) -> bool {
        input == 1
    }

    fn needs(&self, trains: &dyn Fn(TensorId) -> bool) -> Needs {
        let is_scale_alone = self.needs_kernel(trains) && !trains(self.conv.weight);
        Needs { kernel: if is_scale_alone { self.conv.weight_len() } else { 0 }, input: true, ..Needs::default() }
    }

    fn scratch_len(&self, trains: &dyn Fn(TensorId) -> bool, threads: usize, images: usize) -> usize {
        let kernel = self.conv.weight_len();
        let is_whole = || pointwise::is_partitioned_by_rows(kernel, images * self.input.len());
        match &self.variant {
            _ if !self.needs_kernel(trains) => 0,
            Variant::Winograd(_) => winograd::scratch_len(&self.conv),
            Variant::Pointwise | Variant::Dense(_) if is_whole() => 0,
            Variant::Pointwise | Variant::Dense(_) | Variant::Depthwise(_) | Variant::Grouped(_) => threads * kernel,
        }
    }

    fn backward(&self, pass: Backward<'_>) -> Vec<f64> {
        let Backward { threads, folded, params, gradients, accumulate, gradient, sums, input, terms, .. } = pass;
        let Backward { target, kernel, scratch, .. } = pass;
        let trains = gradients.contains(self.conv.weight);
        let below = {
            // A trained kernel's gradient is accumulated in place; a frozen one's is needed for its scale's gradient.
            let (kernel, accumulate) = if trains {
                (&mut gradients[self.conv.weight], accumulate)
            } else {
                (&mut *kernel, Accumulate::Overwrite)
            };
            let kernel = (!kernel.is_empty()).then_some((kernel, accumulate));
            let pass = BackwardOperands { gradient, input, kernel, input_gradient: target };
            self.products(pass, Products { threads, folded, scratch })
        };
        if let Some(norm) = self.conv.norm {
            add_scaled(terms, &params[norm.mean], sums, -1.0);
            if let Some(bias) = self.conv.bias {
                add_scaled(terms, &params[bias], sums, 1.0);
            }
            if gradients.contains(norm.shift) {
                write_gradient(&mut gradients[norm.shift], sums.iter().map(|sum| *sum as f32), accumulate);
            }
        }
        if !trains {
            to_checkpoint_layout(&self.conv, kernel);
            add_products(terms, &params[self.conv.weight], kernel);
        }
        if let Some(bias) = self.conv.bias.filter(|bias| gradients.contains(*bias)) {
            let scaled = sums.iter().enumerate().map(|(unit, sum)| (sum * folded.scale_of(unit)) as f32);
            write_gradient(&mut gradients[bias], scaled, accumulate);
        }
        below
    }

    fn scaled(&self) -> Option<Scaled> {
        Some(Scaled { weight: self.conv.weight, scale: self.conv.norm.map(|norm| norm.scale) })
    }

    fn complete(&self, folded: &FoldedWeights, params: &Params<f32>, terms: &mut [f64], gradients: [&mut [f32]; 2]) {
        let (conv, [kernel, scale]) = (&self.conv, gradients);
        if conv.is_depthwise() {
            to_checkpoint_layout(conv, kernel);
        }
        // Row by row, while the row is in the cache.
        let len = kernel.len() / conv.output;
        let rows = kernel.chunks_exact_mut(len.max(1)).zip(params[conv.weight].chunks_exact(len.max(1)));
        for (unit, (row, weight)) in rows.enumerate() {
            if !conv.is_depthwise() {
                to_checkpoint_layout(conv, row);
            }
            if let Some(term) = terms.get_mut(unit) {
                *term += dot(weight, row);
            }
            if let Some(scale) = folded.scale.get(unit) {
                row.iter_mut().for_each(|value| *value *= scale);
            }
        }
        let Some(norm) = &conv.norm else { return };
        for ((scale, term), variance) in scale.iter_mut().zip(terms).zip(&params[norm.variance]) {
            *scale = (*term * f64::from(inverse_std(norm, *variance))) as f32;
        }
    }
}

/// Adds `sign · value · sum` of each channel to its term.
fn add_scaled(terms: &mut [f64], values: &[f32], sums: &[f64], sign: f64) {
    terms.iter_mut().zip(values).zip(sums).for_each(|((term, value), sum)| *term += sign * f64::from(*value) * sum);
}

/// Permutes a kernel's gradient, in place, from the kernels' layout (`[taps, C]` for a depthwise convolution, else
/// `[out, taps, in]`) to the checkpoint's, `[out, in / groups, taps]`.
fn to_checkpoint_layout(conv: &Conv, values: &mut [f32]) {
    let taps = conv.window.taps();
    if taps == 1 {
        return;
    }
    let inputs = conv.input / conv.groups;
    let (block, inner) = if conv.is_depthwise() { (values.len(), conv.output) } else { (taps * inputs, inputs) };
    let mut ours = vec![0.0; block.min(values.len())];
    for checkpoint in values.chunks_exact_mut(block.max(1)) {
        ours.copy_from_slice(checkpoint);
        for (channel, values) in checkpoint.chunks_exact_mut(taps).enumerate() {
            values.iter_mut().enumerate().for_each(|(tap, value)| *value = ours[tap * inner + channel]);
        }
    }
}
