//! Checks of the numbers of an op, and of the values of its tensors.

use super::check::MAX_SIDE;
use super::{DescriptionError, NetworkDescription};
use fieldfit_nets::{
    BatchNorm, ConvTranspose, Embed, Function, LayerNorm, Node, Op, Padding, Prologue, Rearrange, ResizeTo, Role,
    Shape, SpatialAxis, ValueId, Window,
};
use fieldfit_tensor::TensorId;

/// The most dimensions of a rearrangement.
const MAX_DIMENSIONS: usize = 16;

/// The first number of a node's op that it cannot have; no arithmetic is done on numbers before this check.
pub(super) fn problem(description: &NetworkDescription, node: &Node) -> Option<&'static str> {
    if sizes(&node.op).iter().any(|size| *size > MAX_SIDE) {
        return Some("a size is greater than 1048576");
    }
    // The kernels compute in f32.
    if reals(&node.op).iter().any(|real| !(*real as f32).is_finite()) {
        return Some("a number is not finite");
    }
    let role = |id: TensorId| description.tensors[id.index()].role;
    let is_frozen = |norm: &BatchNorm| !role(norm.mean).is_trainable() && role(norm.variance) == Role::RunningVariance;
    let unfrozen = "its statistics are not running statistics";
    match &node.op {
        Op::Conv(conv) => groups(conv.groups, &[conv.input, conv.output])
            .or_else(|| conv.norm.filter(|norm| !is_frozen(norm)).map(|_| unfrozen)),
        Op::ConvTranspose(conv) => {
            groups(conv.groups, &[conv.input, conv.output]).or_else(|| transposed(&conv.window, conv.output_padding))
        }
        Op::Attention(attention) => groups(attention.heads, &[attention.width]),
        Op::Embed(embed) => embedding(embed, &node.inputs),
        Op::BatchNorm(norm) => (!is_frozen(norm)).then_some(unfrozen),
        Op::GroupNorm { groups: 0, .. } => Some("expected at least one group"),
        Op::Slice { length: 0, .. } | Op::Slice { step: 0, .. } => Some("expected a length and a step of at least 1"),
        Op::Rearrange(Rearrange { dimensions, order, .. }) => {
            (dimensions.is_empty() || dimensions.len() > MAX_DIMENSIONS || order.len() != dimensions.len())
                .then_some("expected 1 to 16 dimensions and as many axes")
        }
        Op::Gather { indices, .. } => {
            (indices.is_empty() || indices.len() > MAX_SIDE).then_some("expected 1 to 1048576 positions")
        }
        Op::MaxPool(window) => pool(window),
        Op::AdaptiveAveragePool(size) => size.contains(&0).then_some("expected an output of at least 1×1 pixels"),
        Op::Activate(Function::Clamp { low, high }) => (low > high).then_some("the bounds are in the wrong order"),
        Op::Activate(Function::Softplus { beta }) => (*beta as f32 == 0.0).then_some("expected a factor other than 0"),
        Op::Linear(_)
        | Op::MatMul { .. }
        | Op::ClassToken(_)
        | Op::Parameter { .. }
        | Op::Activate(_)
        | Op::Prelu { .. }
        | Op::Arithmetic(_)
        | Op::Affine { .. }
        | Op::Scalar { .. }
        | Op::LayerNorm(_)
        | Op::GroupNorm { .. }
        | Op::L2Norm { .. }
        | Op::Softmax(_)
        | Op::Concat(_)
        | Op::Slice { .. }
        | Op::Pad(_)
        | Op::Resize { .. }
        | Op::AveragePool { .. }
        | Op::GlobalAveragePool
        | Op::Mean(_) => None,
    }
}

fn groups(groups: usize, divided: &[usize]) -> Option<&'static str> {
    let fits = groups > 0 && divided.iter().all(|size| *size > 0 && size.is_multiple_of(groups));
    (!fits).then_some("expected channels that are multiples of the groups or heads, and at least one of each")
}

fn transposed(window: &Window, output_padding: [usize; 2]) -> Option<&'static str> {
    let sizes = [window.kernel, window.stride, window.dilation];
    if sizes.as_flattened().contains(&0) {
        return Some("expected a kernel, a stride and a dilation of at least 1");
    }
    let axes = SpatialAxis::BOTH.map(SpatialAxis::index);
    let is_short = axes.iter().all(|axis| output_padding[*axis] < window.stride[*axis].max(window.dilation[*axis]));
    let fixed = matches!(window.padding, Padding::Fixed(_));
    (!is_short || !fixed || window.rounds_up).then_some("its padding is none that a transposed convolution has")
}

fn pool(window: &Window) -> Option<&'static str> {
    if window.kernel.contains(&0) {
        return Some("expected a kernel of at least 1");
    }
    let Padding::Fixed(amounts) = window.padding else { return None };
    let reaches = |axis: SpatialAxis| amounts[axis.index()].iter().all(|amount| *amount < window.extent(axis));
    (!SpatialAxis::BOTH.into_iter().all(reaches)).then_some("its padding is not less than its kernel")
}

fn embedding(embed: &Embed, inputs: &[ValueId]) -> Option<&'static str> {
    let Embed { registers, patch, prefix, prefix_positions, grid, .. } = *embed;
    let checks = [
        (inputs != [ValueId::IMAGE], "it does not read the image"),
        (patch == 0 || grid == 0 || prefix == 0, "expected a patch, a grid and a class token"),
        (
            registers.is_some() != (prefix > 1),
            "the tokens before the patches are not the class token and the registers",
        ),
        (
            prefix_positions != 0 && prefix_positions != prefix,
            "expected positions for all tokens before the patches or none",
        ),
    ];
    checks.into_iter().find(|(is_bad, _)| *is_bad).map(|(_, problem)| problem)
}

/// Every size that an op states.
fn sizes(op: &Op) -> Vec<usize> {
    match op {
        Op::Conv(conv) => [vec![conv.input, conv.output, conv.groups], window(&conv.window)].concat(),
        Op::ConvTranspose(ConvTranspose {
            input, output, groups, output_padding: [below, right], window: of, ..
        }) => [vec![*input, *output, *groups, *below, *right], window(of)].concat(),
        Op::Linear(linear) => vec![linear.input, linear.output],
        Op::Attention(attention) => vec![attention.heads, attention.width],
        Op::Embed(embed) => {
            let Embed { channels, width, patch, prefix, prefix_positions, grid, .. } = *embed;
            vec![channels, width, patch, prefix, prefix_positions, grid]
        }
        Op::ClassToken(token) => vec![token.width],
        Op::Parameter { shape, .. } => shape.sides().to_vec(),
        Op::GroupNorm { groups, .. } => vec![*groups],
        Op::Slice { start, length, step, .. } => vec![*start, *length, *step],
        Op::Gather { indices, .. } => indices.clone(),
        Op::Rearrange(Rearrange { dimensions, order, output }) => {
            let output = output.map(Shape::sides).unwrap_or_default();
            [dimensions.as_slice(), order.as_slice(), &output].concat()
        }
        Op::AdaptiveAveragePool(size) => size.to_vec(),
        Op::Pad(amounts) => amounts.as_flattened().to_vec(),
        Op::Resize { to: ResizeTo::Times(size) | ResizeTo::Fixed(size), .. } => size.to_vec(),
        Op::MaxPool(of) | Op::AveragePool { window: of, .. } => window(of),
        Op::MatMul { .. }
        | Op::Activate(_)
        | Op::Prelu { .. }
        | Op::Arithmetic(_)
        | Op::Affine { .. }
        | Op::Scalar { .. }
        | Op::BatchNorm(_)
        | Op::LayerNorm(_)
        | Op::L2Norm { .. }
        | Op::Softmax(_)
        | Op::Concat(_)
        | Op::GlobalAveragePool
        | Op::Mean(_) => Vec::new(),
    }
}

fn window(window: &Window) -> Vec<usize> {
    let mut sizes = [window.kernel, window.stride, window.dilation].as_flattened().to_vec();
    if let Padding::Fixed(amounts) = window.padding {
        sizes.extend(amounts.as_flattened());
    }
    sizes
}

/// Every number of an op that is no size.
fn reals(op: &Op) -> Vec<f64> {
    match op {
        Op::Conv(conv) => conv.norm.iter().map(|norm| norm.epsilon).collect(),
        Op::Linear(linear) => match linear.prologue {
            Prologue::LayerNorm(norm) => vec![norm.epsilon],
            Prologue::Identity | Prologue::Gelu => Vec::new(),
        },
        Op::MatMul { scale, .. } => vec![*scale],
        Op::ClassToken(token) => vec![token.norm.epsilon],
        Op::Activate(function) => match *function {
            Function::Clamp { low, high } => vec![low, high],
            Function::LeakyRelu { slope: number }
            | Function::Elu { alpha: number }
            | Function::Softplus { beta: number }
            | Function::Power { exponent: number } => vec![number],
            Function::Relu
            | Function::Sigmoid
            | Function::HardSigmoid
            | Function::Silu
            | Function::HardSwish
            | Function::Gelu
            | Function::GeluTanh
            | Function::Tanh
            | Function::Sqrt
            | Function::Exp
            | Function::Log
            | Function::Absolute
            | Function::Erf
            | Function::Mish
            | Function::Square => Vec::new(),
        },
        Op::Scalar { scale, shift } => vec![*scale, *shift],
        Op::BatchNorm(BatchNorm { epsilon, .. })
        | Op::LayerNorm(LayerNorm { epsilon, .. })
        | Op::GroupNorm { norm: LayerNorm { epsilon, .. }, .. } => vec![*epsilon],
        Op::L2Norm { floor, .. } => vec![*floor],
        Op::ConvTranspose(_)
        | Op::Attention(_)
        | Op::Embed(_)
        | Op::Parameter { .. }
        | Op::Prelu { .. }
        | Op::Arithmetic(_)
        | Op::Affine { .. }
        | Op::Softmax(_)
        | Op::Concat(_)
        | Op::Slice { .. }
        | Op::Gather { .. }
        | Op::Rearrange(_)
        | Op::Pad(_)
        | Op::Resize { .. }
        | Op::MaxPool(_)
        | Op::AveragePool { .. }
        | Op::AdaptiveAveragePool(_)
        | Op::GlobalAveragePool
        | Op::Mean(_) => Vec::new(),
    }
}

/// Checks that each tensor has as many values as its op reads, for values of these shapes.
pub(super) fn check_lengths(description: &NetworkDescription, shapes: &[Shape]) -> Result<(), DescriptionError> {
    for (index, node) in description.graph.nodes.iter().enumerate() {
        let input = node.inputs.first().map_or(shapes[index + 1], |value| shapes[value.index()]);
        if let Op::GroupNorm { groups, .. } = &node.op
            && !input.channels.is_multiple_of(*groups)
        {
            let problem = "expected channels that are a multiple of the groups";
            return Err(DescriptionError::Node { node: index, op: node.op.name(), problem });
        }
        for (id, expected) in lengths(&node.op, input) {
            let tensor = &description.tensors[id.index()];
            // A slope for each channel or one for all.
            let is_one_for_all = matches!(node.op, Op::Prelu { .. }) && tensor.shape.iter().all(|side| *side == 1);
            let found: usize = tensor.shape.iter().product();
            if expected != Some(found) && !is_one_for_all {
                return Err(DescriptionError::TensorLength {
                    node: index,
                    op: node.op.name(),
                    name: tensor.name.clone(),
                    shape: tensor.shape.clone(),
                    expected: expected.unwrap_or(usize::MAX),
                });
            }
        }
    }
    Ok(())
}

/// The tensors of an op, and the values that it reads of each; `None` if they are more than can be counted.
fn lengths(op: &Op, input: Shape) -> Vec<(TensorId, Option<usize>)> {
    let product = |sides: &[usize]| sides.iter().try_fold(1_usize, |product, side| product.checked_mul(*side));
    let each = |ids: &[TensorId], length: usize| ids.iter().map(|id| (*id, Some(length))).collect::<Vec<_>>();
    let norm = |norm: &LayerNorm, width| each(&[norm.scale, norm.shift], width);
    match op {
        Op::Conv(conv) => {
            let [rows, columns] = conv.window.kernel;
            let weight = (conv.weight, product(&[conv.output, conv.input / conv.groups, rows, columns]));
            let norm = conv.norm.iter().flat_map(|norm| norm.tensors());
            let vectors: Vec<TensorId> = conv.bias.into_iter().chain(norm).collect();
            [vec![weight], each(&vectors, conv.output)].concat()
        }
        Op::ConvTranspose(conv) => {
            let [rows, columns] = conv.window.kernel;
            let weight = (conv.weight, product(&[conv.output, conv.input / conv.groups, rows, columns]));
            [vec![weight], each(conv.bias.as_slice(), conv.output)].concat()
        }
        Op::Linear(linear) => {
            let prologue = match &linear.prologue {
                Prologue::LayerNorm(of) => norm(of, linear.input),
                Prologue::Identity | Prologue::Gelu => Vec::new(),
            };
            let weight = (linear.weight, product(&[linear.output, linear.input]));
            let vectors: Vec<TensorId> = linear.bias.into_iter().chain(linear.scale).collect();
            [prologue, vec![weight], each(&vectors, linear.output)].concat()
        }
        Op::Embed(embed) => embedding_lengths(embed),
        Op::ClassToken(token) => norm(&token.norm, token.width),
        Op::Parameter { tensor, shape } => vec![(*tensor, product(&shape.sides()))],
        Op::Prelu { slope } => each(&[*slope], input.channels),
        Op::Affine { scale, shift } => {
            let vectors: Vec<TensorId> = scale.iter().chain(shift).copied().collect();
            each(&vectors, input.channels)
        }
        Op::BatchNorm(norm) => each(&norm.tensors(), input.channels),
        Op::LayerNorm(of) | Op::GroupNorm { norm: of, .. } => norm(of, input.channels),
        Op::Attention(_)
        | Op::MatMul { .. }
        | Op::Activate(_)
        | Op::Arithmetic(_)
        | Op::Scalar { .. }
        | Op::L2Norm { .. }
        | Op::Softmax(_)
        | Op::Concat(_)
        | Op::Slice { .. }
        | Op::Gather { .. }
        | Op::Rearrange(_)
        | Op::Pad(_)
        | Op::Resize { .. }
        | Op::MaxPool(_)
        | Op::AveragePool { .. }
        | Op::AdaptiveAveragePool(_)
        | Op::GlobalAveragePool
        | Op::Mean(_) => Vec::new(),
    }
}

fn embedding_lengths(embed: &Embed) -> Vec<(TensorId, Option<usize>)> {
    let Embed { width, channels, patch, prefix, prefix_positions, grid, .. } = *embed;
    let tokens = |tokens: Option<usize>| tokens.and_then(|tokens| tokens.checked_mul(width));
    let positions = grid.checked_mul(grid).and_then(|patches| patches.checked_add(prefix_positions));
    let weight = [channels, patch, patch].iter().try_fold(width, |product, side| product.checked_mul(*side));
    let mut lengths = vec![
        (embed.class_token, Some(width)),
        (embed.positions, tokens(positions)),
        (embed.weight, weight),
        (embed.bias, Some(width)),
    ];
    lengths.extend(embed.registers.map(|registers| (registers, tokens(Some(prefix - 1)))));
    lengths
}
