//! Checks of a network description: what a file states must be a network that the executors can compute.

use super::{DescribedTensor, DescriptionError, MAX_NODES, NetworkDescription, op};
use fieldfit_delta::limits::{MAX_CLASSES, MAX_NAME_BYTES, MAX_RANK};
use fieldfit_nets::{MAX_INPUTS, Node, Op, Shape};
use fieldfit_tensor::text::is_unprintable;
use fieldfit_tensor::{MAX_TENSORS, TensorId};
use std::collections::HashSet;

/// The greatest side of a value, kernel, stride, … : products of three of them are far from an overflow.
pub(super) const MAX_SIDE: usize = 1 << 20;
/// The most values of one image's activation, and of a tensor: 1 GiB as f32.
pub(crate) const MAX_VALUES: usize = 1 << 28;
/// Channels of an image.
const CHANNELS: usize = 3;

pub(super) fn check(description: &NetworkDescription) -> Result<(), DescriptionError> {
    let NetworkDescription { channels, size, tensors, graph, .. } = description;
    limit("nodes", MAX_NODES, graph.nodes.len())?;
    limit("tensors", MAX_TENSORS, tensors.len())?;
    limit("pixels of a side", MAX_SIDE, size[0].max(size[1]))?;
    if *channels != CHANNELS {
        return Err(DescriptionError::Channels { found: *channels });
    }
    check_tensors(description)?;
    for (index, node) in graph.nodes.iter().enumerate() {
        check_node(description, index, node)?;
    }
    check_use(description)?;
    check_sections(description)?;
    let shapes = shapes(description, *size)?;
    op::check_lengths(description, &shapes)?;
    check_head(description, shapes[shapes.len() - 1])
}

fn limit(what: &'static str, limit: usize, found: usize) -> Result<(), DescriptionError> {
    if found > limit { Err(DescriptionError::Limit { what, limit, found }) } else { Ok(()) }
}

fn check_tensors(description: &NetworkDescription) -> Result<(), DescriptionError> {
    let head = [description.head.weight, description.head.bias];
    let mut names = HashSet::new();
    for (index, tensor) in description.tensors.iter().enumerate() {
        let is_head = head.contains(&TensorId::new(index));
        let problem = tensor_problem(tensor, is_head).or_else(|| {
            let is_new = names.insert(tensor.name.as_str());
            (!is_new).then_some("there are two of this name")
        });
        if let Some(problem) = problem {
            return Err(DescriptionError::Tensor { name: tensor.name.clone(), problem });
        }
    }
    Ok(())
}

fn tensor_problem(
    DescribedTensor { name, shape, role, source }: &DescribedTensor,
    is_head: bool,
) -> Option<&'static str> {
    let values = shape.iter().try_fold(1_usize, |values, side| values.checked_mul(*side));
    let checks = [
        (name.is_empty() || name.len() > MAX_NAME_BYTES, "expected a name of 1 to 128 bytes"),
        (
            name.chars().any(is_unprintable),
            "the name has a control character or one that changes the direction of text",
        ),
        (shape.is_empty() || shape.len() > MAX_RANK, "expected 1 to 6 dimensions"),
        (values.is_none_or(|values| values > MAX_VALUES), "expected at most 268435456 values"),
        (values == Some(0) && !is_head, "expected at least one value"),
        (role.is_head() != is_head, "only the head's tensors, and they alone, have the head's roles"),
        (
            source.as_ref().is_some_and(|source| !source.fits(shape)),
            "its layout in the imported file does not fit its shape",
        ),
    ];
    checks.into_iter().find(|(is_bad, _)| *is_bad).map(|(_, problem)| problem)
}

fn check_node(description: &NetworkDescription, index: usize, node: &Node) -> Result<(), DescriptionError> {
    let failed = |problem| Err(DescriptionError::Node { node: index, op: node.op.name(), problem });
    if node.inputs.len() > MAX_INPUTS {
        return failed("more inputs than any op has");
    }
    // Value 0 is the image, so that node `index` may read values up to `index`.
    if node.inputs.iter().any(|value| value.index() > index) {
        return failed("it reads a value that is not computed before it");
    }
    let tensors = node.op.tensors();
    if tensors.iter().any(|id| id.index() >= description.tensors.len()) {
        return failed("it reads a tensor that there is not");
    }
    let is_head = description.head.node == Some(index);
    if !is_head && tensors.iter().any(|id| description.tensors[id.index()].role.is_head()) {
        return failed("it reads a tensor of the head");
    }
    match op::problem(description, node) {
        Some(problem) => failed(problem),
        None => Ok(()),
    }
}

/// Checks that nothing is left over: values and tensors that are not read, or an image that is not.
fn check_use(description: &NetworkDescription) -> Result<(), DescriptionError> {
    let NetworkDescription { tensors, graph, head, .. } = description;
    if graph.nodes.is_empty() {
        return Err(DescriptionError::Graph("expected at least one node, found none"));
    }
    let mut is_read = vec![false; graph.values()];
    let mut is_used = vec![false; tensors.len()];
    for node in &graph.nodes {
        node.inputs.iter().for_each(|value| is_read[value.index()] = true);
        node.op.tensors().iter().for_each(|id| is_used[id.index()] = true);
    }
    is_read[graph.output().index()] = true;
    match is_read.iter().position(|is_read| !is_read) {
        Some(0) => return Err(DescriptionError::Graph("no node reads the image")),
        Some(value) => {
            let (node, problem) = (value - 1, "nothing reads its value");
            return Err(DescriptionError::Node { node, op: graph.nodes[node].op.name(), problem });
        }
        None => (),
    }
    let is_head = |index| [head.weight, head.bias].contains(&TensorId::new(index));
    match (0..tensors.len()).find(|index| !is_used[*index] && !is_head(*index)) {
        Some(index) => Err(DescriptionError::Tensor { name: tensors[index].name.clone(), problem: "no node reads it" }),
        None => Ok(()),
    }
}

fn check_sections(description: &NetworkDescription) -> Result<(), DescriptionError> {
    let graph = &description.graph;
    let (mut names, mut end) = (HashSet::new(), 0);
    for section in &graph.sections {
        let name = section.name.as_str();
        let checks = [
            (name.is_empty() || name.len() > MAX_NAME_BYTES, "expected a name of 1 to 128 bytes"),
            (
                name.chars().any(is_unprintable),
                "the name has a control character or one that changes the direction of text",
            ),
            (!names.insert(name), "there are two of this name"),
            (section.nodes.start != end, "it does not begin where the one before it ends"),
            (section.nodes.end <= section.nodes.start, "expected at least one node"),
            (section.nodes.end > graph.nodes.len(), "it ends behind the last node"),
        ];
        if let Some((_, problem)) = checks.into_iter().find(|(is_bad, _)| *is_bad) {
            return Err(DescriptionError::Section { name: name.to_owned(), problem });
        }
        end = section.nodes.end;
    }
    if end == graph.nodes.len() { Ok(()) } else { Err(DescriptionError::Graph("the last nodes are in no section")) }
}

/// Shapes of all values for an image of that size. Every side is checked before the next op multiplies it.
pub(super) fn shapes(description: &NetworkDescription, size: [usize; 2]) -> Result<Vec<Shape>, DescriptionError> {
    let [height, width] = size;
    let mut shapes = vec![Shape { height, width, channels: description.channels }];
    let mut inputs = Vec::new();
    for (index, node) in description.graph.nodes.iter().enumerate() {
        inputs.clear();
        inputs.extend(node.inputs.iter().map(|value| shapes[value.index()]));
        let output = node.op.output_shape(&inputs).map_err(|source| {
            let op = node.op.name();
            DescriptionError::Shape { node: index, op, size, source }
        })?;
        if !is_supported(output) {
            let problem = "its value has no values, or more than any that is supported";
            return Err(DescriptionError::Node { node: index, op: node.op.name(), problem });
        }
        shapes.push(output);
    }
    Ok(shapes)
}

fn is_supported(shape: Shape) -> bool {
    let values = shape.sides().iter().try_fold(1_usize, |values, side| values.checked_mul(*side));
    shape.sides().iter().all(|side| *side <= MAX_SIDE)
        && values.is_some_and(|values| (1..=MAX_VALUES).contains(&values))
}

fn check_head(description: &NetworkDescription, output: Shape) -> Result<(), DescriptionError> {
    let NetworkDescription { tensors, head, .. } = description;
    let last = tensors.len().checked_sub(2);
    if last != Some(head.weight.index()) || head.bias.index() != head.weight.index() + 1 {
        return Err(DescriptionError::Head("expected its weight and its bias as the last two tensors"));
    }
    if head.features > MAX_VALUES || head.classes > MAX_CLASSES {
        return Err(DescriptionError::Head("expected at most 268435456 features and 65536 classes"));
    }
    let (weight, bias) = (&tensors[head.weight.index()], &tensors[head.bias.index()]);
    let (expected, problem) = match head.is_dense() {
        true => (&[head.classes, head.features, 1, 1][..], "expected a weight of shape [classes, features, 1, 1]"),
        false => (&[head.classes, head.features][..], "expected a weight of shape [classes, features]"),
    };
    if weight.shape != expected || bias.shape != [head.classes] {
        return Err(DescriptionError::Head(problem));
    }
    if head.is_dense() {
        return check_dense_head(description);
    }
    if !description.fits_head(output) {
        return Err(DescriptionError::Features { expected: output.len(), found: head.features });
    }
    Ok(())
}

/// Checks that the node of a dense head is one: see [`Graph::dense_head`](fieldfit_nets::Graph::dense_head).
fn check_dense_head(description: &NetworkDescription) -> Result<(), DescriptionError> {
    let NetworkDescription { graph, head, .. } = description;
    let node = head.node.filter(|node| graph.dense_head() == Some(*node));
    let Some(Op::Conv(conv)) = node.map(|node| &graph.nodes[node].op) else {
        return Err(DescriptionError::Head("expected its node to be a 1×1 convolution before resizes alone"));
    };
    if (conv.weight, conv.bias) != (head.weight, Some(head.bias)) || conv.output == 0 {
        return Err(DescriptionError::Head("expected its node to read its weight and its bias"));
    }
    Ok(())
}
