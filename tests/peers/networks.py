"""Network files as torch and onnx write them, for the tests of the import's readers.

    networks.py [OUT=tests/data/networks]

Writes OUT/NAME.pt2.gz and OUT/NAME.onnx.gz for each function below; values of tensors count from 0 in row-major order. What
names the machine that ran it (stack traces) and what no reader needs (sample inputs) is left out of the files. Needs torch,
onnx and onnxscript; torch 2.15.0 and onnx 1.23.2 made these.
"""

import gzip
import io
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.export import Dim
from torch.export.pt2_archive._package import PT2ArchiveReader, PT2ArchiveWriter

OUT = Path(__file__).parents[1] / "data/networks"


class Block(nn.Module):
    """A convolution with its norm, and an activation in place that is called twice."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.norm(self.conv(x)))


class Micro(nn.Module):
    """What a graph can hold beside plain ops: inner graphs, lists of tensors, constants and every kind of tensor."""

    def __init__(self):
        super().__init__()
        self.stages = nn.Sequential(Block())
        self.head = nn.Linear(4, 2)
        self.register_buffer("order", torch.tensor([3, 2, 1, 0]), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stages(x)
        with torch.no_grad():
            x = x.mean((2, 3)) * torch.tensor([1.0, 2.0, 3.0, 4.0])
        with torch.autocast("cpu", enabled=False):
            x = self.stages[0].act(x[:, self.order])
        first, second = x.chunk(2, 1)
        return self.head(torch.cat([second, first], 1))


class Sizes(nn.Module):
    """Inputs beside the image, and shapes that depend on its size."""

    def forward(self, image: torch.Tensor, mask: torch.Tensor, count: int, is_flat: bool):
        tokens = (image * mask).flatten(2)
        padded = nn.functional.pad(tokens, (0, image.shape[2]), value=float("-inf"))
        return {"tokens": padded.reshape(image.shape[0], -1, image.shape[3]) * count, "sum": tokens.sum()}


class Condition(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x - 1, (x,))


class Autocast(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.head(x)


def counted(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.copy_(torch.arange(tensor.numel()).reshape(tensor.shape))
    return model


def micro_model() -> nn.Module:
    model = counted(Micro()).eval()
    model.stages[0].conv.to(memory_format=torch.channels_last)
    return model


IMAGE = torch.ones(2, 3, 4, 4)


def exported(model: nn.Module, inputs: tuple, dynamic_shapes: object = None) -> bytes:
    """What torch.export.save writes, without stack traces and sample inputs."""
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(model, inputs, dynamic_shapes=dynamic_shapes), buffer)
    buffer.seek(0)
    reader, lean = PT2ArchiveReader(buffer), io.BytesIO()
    with PT2ArchiveWriter(lean) as writer:
        for name in reader.get_file_names():
            if name.startswith((".data/", "byteorder", "data/sample_inputs")):
                continue
            content = reader.read_bytes(name)
            if name.startswith("models/"):
                program = json.loads(content, object_hook=without_traces)
                content = json.dumps(program, separators=(",", ":"), allow_nan=False).encode()
            writer.write_bytes(name, content)
    return lean.getvalue()


def without_traces(member: dict) -> dict:
    return {key: value for key, value in member.items() if key != "stack_trace"}


def micro() -> bytes:
    return exported(micro_model(), (IMAGE,), ({0: Dim.DYNAMIC},))


def sizes() -> bytes:
    sides = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    return exported(Sizes(), (IMAGE, IMAGE.clone(), 3, True), (sides, sides, Dim.DYNAMIC, None))


def training() -> bytes:
    return exported(counted(Block()).train(), (IMAGE,))


def condition() -> bytes:
    return exported(Condition(), (IMAGE,))


def autocast() -> bytes:
    return exported(counted(Autocast()).eval(), (torch.ones(1, 4),))


def without_paths(model: onnx.ModelProto) -> bytes:
    for node in model.graph.node:
        node.doc_string = ""
        kept = [entry for entry in node.metadata_props if entry.key.endswith("name_scopes")]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    del model.graph.metadata_props[:]
    return model.SerializeToString()


def dynamo() -> bytes:
    """As torch.export's exporter of ONNX writes it without its optimiser."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "micro.onnx"
        shapes = ({0: "batch"},)
        torch.onnx.export(micro_model(), (IMAGE,), path, dynamo=True, optimize=False, external_data=False,
                          dynamic_shapes=shapes, verbose=False)
        return without_paths(onnx.load(path))


def torchscript() -> bytes:
    """As TorchScript's exporter writes it without constant folding."""
    buffer = io.BytesIO()
    torch.onnx.export(micro_model(), (IMAGE,), buffer, dynamo=False, do_constant_folding=False, opset_version=17,
                      input_names=["image"], output_names=["logits"], dynamic_axes={"image": {0: "batch"}})
    return without_paths(onnx.load_model_from_string(buffer.getvalue()))


def kinds() -> bytes:
    """Every field that values can be in, every attribute, and inputs and outputs that are left out."""
    floats = [0.0, 0.5, -1.5]
    tensors = [
        helper.make_tensor("float", TensorProto.FLOAT, [3], floats),
        numpy_helper.from_array(numpy.array(floats, numpy.float32), "float-raw"),
        helper.make_tensor("double", TensorProto.DOUBLE, [3], floats),
        helper.make_tensor("half", TensorProto.FLOAT16, [3], floats),
        helper.make_tensor("bfloat", TensorProto.BFLOAT16, [3], floats),
        helper.make_tensor("int8", TensorProto.INT8, [3], [0, -1, 127]),
        helper.make_tensor("uint8", TensorProto.UINT8, [3], [0, 1, 255]),
        helper.make_tensor("bool", TensorProto.BOOL, [3], [True, False, True]),
        helper.make_tensor("int32", TensorProto.INT32, [3], [0, -1, 2**31 - 1]),
        helper.make_tensor("int64", TensorProto.INT64, [3], [0, -1, 2**63 - 1]),
        helper.make_tensor("uint64", TensorProto.UINT64, [3], [0, 1, 2**64 - 1]),
        helper.make_tensor("scalar", TensorProto.INT64, [], [7]),
        helper.make_tensor("empty", TensorProto.FLOAT, [0, 3], []),
    ]
    branch = helper.make_graph([], "branch", [], [])
    constants = {"value_float": 0.5, "value_floats": floats, "value_int": 7, "value_ints": [1, 2]}
    nodes = [helper.make_node("Constant", [], [name], **{name: value}) for name, value in constants.items()]
    nodes += [
        helper.make_node("Constant", [], ["value"], value=helper.make_tensor("", TensorProto.FLOAT, [1], [0.25])),
        helper.make_node("Resize", ["image", "", "scalar"], ["resized"], mode="nearest", axes=[2, 3], antialias=0),
        helper.make_node("Dropout", ["image"], ["", "mask"], name="dropout"),
        helper.make_node("ConstantOfShape", ["int64"], ["filled"], value=numpy_helper.from_array(numpy.ones(1, "f4"))),
        helper.make_node("If", ["bool"], ["chosen"], then_branch=branch, else_branch=branch),
        helper.make_node("FusedConv", ["image", "float"], ["fused"], domain="com.microsoft", alpha=0.5),
    ]
    nodes[-1].attribute.append(onnx.AttributeProto(name="empty", type=onnx.AttributeProto.INTS))
    inputs = [
        helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, None, 8]),
        helper.make_tensor_value_info("float", TensorProto.FLOAT, [3]),
    ]
    outputs = [helper.make_tensor_value_info("fused", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "kinds", inputs, outputs, tensors)
    opsets = [helper.make_opsetid("ai.onnx", 18), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, producer_name="fieldfit", ir_version=3).SerializeToString()


FILES: dict[str, Callable[[], bytes]] = {
    "micro.pt2": micro,
    "sizes.pt2": sizes,
    "training.pt2": training,
    "condition.pt2": condition,
    "autocast.pt2": autocast,
    "dynamo.onnx": dynamo,
    "torchscript.onnx": torchscript,
    "kinds.onnx": kinds,
}


def main() -> None:
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for name, make in FILES.items():
        (out / f"{name}.gz").write_bytes(gzip.compress(make(), mtime=0))


if __name__ == "__main__":
    main()
