"""Exports of a network and the reference values that go with them.

The reference is the exported program itself with every f32 read as f64, so that constants which it computes are f64, too."""

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import onnx
import torch
from safetensors.torch import save_file
from torch.export import Dim, ExportedProgram
from torch.nn import functional

from coverage.weights import uniform_tensor

# Batch of the example input and of the reference: two sizes, so that a batch baked into the file shows.
EXAMPLE_BATCH, BATCH = 3, 2
# Metadata of nodes that holds paths of the exporting machine, or repeats what the module path says.
TRACES = ("stack_trace", "from_node", "source_fn_stack", "torch_fn", "original_aten")


def images(shape: tuple[int, ...], batch: int) -> torch.Tensor:
    """Uniform noise in [−2, 2), `[N, ...]`, f64; every value is exact in f32."""
    return 2.0 * uniform_tensor("images", (batch, *shape))


DYNAMIC_BATCH = {0: Dim.DYNAMIC}


def program(module: torch.nn.Module, shape: tuple[int, ...], dynamic: dict | None = DYNAMIC_BATCH) -> ExportedProgram:
    """An f32 program in evaluation mode, by default with a dynamic batch, else with one image; without traces of the
    source code."""
    example = images(shape, EXAMPLE_BATCH if dynamic else 1).float()
    exported = torch.export.export(module.float().eval(), (example,), dynamic_shapes=(dynamic,))
    drop_traces(exported)
    return exported


def drop_traces(exported: ExportedProgram) -> None:
    for graph in (m.graph for m in exported.graph_module.modules() if isinstance(m, torch.fx.GraphModule)):
        for node in graph.nodes:
            for key in TRACES:
                node.meta.pop(key, None)


def onnx_model(exported: ExportedProgram, folded: bool = False) -> onnx.ModelProto:
    """An ONNX model; unless `folded`, batch norms and parameter names are kept."""
    model = torch.onnx.export(exported, dynamo=True, optimize=folded, verbose=False).model_proto
    strip(model)
    return model


def opset(model: onnx.ModelProto) -> int:
    return next(entry.version for entry in model.opset_import if not entry.domain)


def strip(model: onnx.ModelProto) -> None:
    """Drops the exporter's notes, which hold stack traces; module paths stay."""
    for node in model.graph.node:
        kept = [entry for entry in node.metadata_props if entry.key in ("namespace", "pkg.torch.onnx.name_scopes")]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer]:
        del value.metadata_props[:]


def double(exported: ExportedProgram) -> torch.nn.Module:
    """The program as a module in which every f32 is f64: parameters, buffers, constants and dtype arguments."""
    module = copy.deepcopy(exported.module(check_guards=False)).double()
    for part in module.modules():
        for name, tensor in list(vars(part).items()):
            if isinstance(tensor, torch.Tensor) and tensor.dtype == torch.float32:
                setattr(part, name, tensor.double())
        if isinstance(part, torch.fx.GraphModule):
            for node in part.graph.nodes:
                node.args = torch.fx.node.map_aggregate(node.args, widen)
                node.kwargs = torch.fx.node.map_aggregate(node.kwargs, widen)
            part.recompile()
    return module


def widen(argument: object) -> object:
    return torch.float64 if argument is torch.float32 else argument


@dataclass
class Reference:
    """What a network computes: outputs, a scalar loss and its gradients."""

    outputs: list[torch.Tensor]
    loss: torch.Tensor
    gradients: dict[str, torch.Tensor]
    # Parameters that the loss does not depend on.
    unused: list[str] = field(default_factory=list)


def outputs_of(result: object) -> list[torch.Tensor]:
    """The tensors of a result, in order."""
    return [leaf for leaf in torch.utils._pytree.tree_leaves(result) if isinstance(leaf, torch.Tensor)]


def loss_inputs(outputs: list[torch.Tensor], classifier: bool) -> dict[str, torch.Tensor]:
    """Labels of the cross entropy, or a weight of every output value for a loss that is their weighted sum."""
    if classifier:
        return {"labels": torch.arange(1, len(outputs[0]) + 1) * 7 % outputs[0].shape[1]}
    return {
        f"weight.{index}": (uniform_tensor(f"weight.{index}", tuple(output.shape)) / output[0].numel() ** 0.5).float()
        for index, output in enumerate(outputs)
    }


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """The dtype of constants and quotients of integers that state none."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    yield
    torch.set_default_dtype(before)


def reference(module: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> Reference:
    """Runs forward and backward in the dtype of the module. `inputs` holds `images` and those of the loss."""
    dtype = next((parameter.dtype for parameter in module.parameters()), torch.float64)
    with default_dtype(dtype):
        outputs = outputs_of(module(inputs["images"].to(dtype)))
    if "labels" in inputs:
        loss = functional.cross_entropy(outputs[0], inputs["labels"])
    else:
        loss = sum((inputs[f"weight.{index}"].to(dtype) * output).sum() for index, output in enumerate(outputs))
    parameters = dict(module.named_parameters())
    found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    gradients = {name: gradient for name, gradient in zip(parameters, found) if gradient is not None}
    unused = [name for name in parameters if name not in gradients]
    return Reference([output.detach() for output in outputs], loss.detach(), gradients, unused)


def gaps(found: Reference, expected: Reference) -> tuple[float, dict[str, float]]:
    """Relative differences: of the outputs, to the largest value of each; of every gradient, to its l2 norm."""
    outputs = max(((f - e).abs().max() / e.abs().max()).item() for f, e in zip(found.outputs, expected.outputs))
    floor = gradient_floor(expected.gradients)
    gradients = {
        name: ((found.gradients[name] - gradient).norm() / max(gradient.norm(), floor)).item()
        for name, gradient in expected.gradients.items()
    }
    return outputs, gradients


# A gradient below this part of the l2 norm of all gradients together is compared with that part: a key's bias has gradient
# zero in exact arithmetic, and rounding alone decides what is found.
FLOOR = 1e-5


def gradient_floor(gradients: dict[str, torch.Tensor]) -> float:
    return FLOOR * sum(gradient.square().sum().item() for gradient in gradients.values()) ** 0.5


def save_tensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    save_file(contiguous(tensors), path)


def contiguous(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def input_tensors(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors of `inputs.safetensors`: images and weights are exact in f32."""
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in inputs.items()}


def expected_tensors(expected: Reference) -> dict[str, torch.Tensor]:
    """Tensors of `expected.safetensors`."""
    outputs = {f"output.{index}": output for index, output in enumerate(expected.outputs)}
    return outputs | {"loss": expected.loss} | {f"gradient.{n}": gradient for n, gradient in expected.gradients.items()}


def save_json(value: object, path: Path) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n")
