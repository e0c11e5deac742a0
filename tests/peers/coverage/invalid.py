"""Writes model files that an importer must reject, each with one fault.

    cd tests/peers && python -m coverage.invalid [OUT=tests/data/networks/invalid]

Writes OUT/FAULT.pt2.gz or OUT/FAULT.onnx.gz. `FAULTS` states what the message must say."""

import io
import json
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from coverage import fixture
from coverage.micro import SHAPE, compressed, pt2
from coverage.micro_networks import Apply, after, normed, point

OUT = Path(__file__).parents[2] / "data/networks/invalid"


def images(batch: int = 2) -> Tensor:
    return fixture.images(SHAPE, batch).float()


def exported(module: nn.Module, *inputs: Tensor, dynamic: bool = True) -> bytes:
    """The archive of a module as it is, training mode and dtypes included."""
    inputs = inputs or (images(),)
    shapes = tuple({0: torch.export.Dim.DYNAMIC} for _ in inputs) if dynamic else None
    with torch.no_grad():
        program = torch.export.export(module, inputs, dynamic_shapes=shapes)
    fixture.drop_traces(program)
    return pt2(program)


def valid() -> nn.Module:
    return nn.Sequential(normed(point()), nn.ReLU()).eval()


class Branch(nn.Module):
    """Control flow in the graph."""

    def __init__(self):
        super().__init__()
        self.stem = point()

    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(x.sum() > 0, lambda x: x.relu(), lambda x: x.sigmoid(), (self.stem(x),))


class Two(nn.Module):
    """Two images in."""

    def __init__(self):
        super().__init__()
        self.left, self.right = point(), point()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.left(x) + self.right(y)


class Spectral(nn.Module):
    """A complex weight."""

    def __init__(self):
        super().__init__()
        self.filter = nn.Parameter(torch.ones(3, 5, 3, dtype=torch.complex64))

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(x) * self.filter, s=(5, 4))


class Warp(nn.Module):
    """An operation without an implementation, twice."""

    def __init__(self):
        super().__init__()
        self.stem, self.warp = point(), Apply(lambda x: nn.functional.grid_sample(x, x[:, :2].permute(0, 2, 3, 1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.warp(self.warp(self.stem(x)))


class Counter(nn.Module):
    """A buffer that inference changes."""

    def __init__(self):
        super().__init__()
        self.stem = point()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.seen.add_(1.0)
        return self.stem(x) * self.seen


@torch.library.custom_op("acme::invert", mutates_args=())
def invert(x: Tensor) -> Tensor:
    return -x


@invert.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


def of_dtype(dtype: torch.dtype) -> bytes:
    return exported(valid().to(dtype), images().to(dtype))


def repacked(change: Callable[[dict[str, bytes]], None], deflate: bool = False) -> bytes:
    """A valid archive with changed entries. Its payloads are no longer aligned."""
    with zipfile.ZipFile(io.BytesIO(exported(valid()))) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED) as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED)
    return buffer.getvalue()


def edited(suffix: str, change: Callable[[dict], None]) -> bytes:
    """A valid archive with a changed JSON entry."""
    def apply(entries: dict[str, bytes]) -> None:
        name = next(name for name in entries if name.endswith(suffix))
        document = json.loads(entries[name])
        change(document)
        entries[name] = json.dumps(document).encode()

    return repacked(apply)


def program(change: Callable[[dict], None]) -> bytes:
    return edited("models/model.json", lambda document: change(document["graph_module"]["graph"]))


def first_weight(change: Callable[[dict], None]) -> bytes:
    return edited("weights_config.json", lambda document: change(document["config"]["0.0.weight"]))


def big_endian(entries: dict[str, bytes]) -> None:
    entries[next(name for name in entries if name.endswith("byteorder"))] = b"big"


def missing_payload(entries: dict[str, bytes]) -> None:
    del entries[next(name for name in entries if name.endswith("weights/weight_0"))]


def cycle(graph: dict) -> None:
    graph["nodes"][0]["inputs"][0]["arg"]["as_tensor"]["name"] = graph["nodes"][-1]["outputs"][0]["as_tensor"]["name"]


def legacy() -> bytes:
    """Entries of the archive form before 2025, with pickled state."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("serialized_exported_program.json", "serialized_state_dict.pt", "serialized_constants.pt", "version"):
            archive.writestr(zipfile.ZipInfo(name), b"5.1" if name == "version" else b"{}")
    return buffer.getvalue()


def onnx_graph(nodes: list, initialisers: list | None = None, version: int = 17, inputs: tuple = (("images", 1),)) -> onnx.ModelProto:
    """A model from `images` to `out`. `w` is `[4, 3, 1, 1]`."""
    weight = numpy_helper.from_array(torch.linspace(-1, 1, 12).reshape(4, 3, 1, 1).numpy(), "w")
    graph = helper.make_graph(
        nodes, "main",
        [helper.make_tensor_value_info(name, kind, ["batch", *SHAPE]) for name, kind in inputs],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [weight] if initialisers is None else initialisers,
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", version)])


def conv(output: str = "out", weight: str = "w") -> onnx.NodeProto:
    return helper.make_node("Conv", ["images", weight], [output], name="/stem/Conv")


def then(kind: str, *more: str, domain: str = "", **attributes: object) -> list[onnx.NodeProto]:
    return [conv("a"), helper.make_node(kind, ["a", *more], ["out"], name=f"/last/{kind}", domain=domain, **attributes)]


def onnx_training_norm() -> onnx.ModelProto:
    ones = numpy_helper.from_array(torch.ones(4).numpy(), "ones")
    model = onnx_graph([conv("a"), helper.make_node("BatchNormalization", ["a", "ones", "ones", "ones", "ones"],
                                                    ["out", "mean", "var"], name="/norm", training_mode=1)])
    model.graph.initializer.append(ones)
    return model


def onnx_branch() -> onnx.ModelProto:
    def branch(kind: str) -> onnx.GraphProto:
        value = helper.make_tensor_value_info("b", TensorProto.FLOAT, None)
        return helper.make_graph([helper.make_node(kind, ["a"], ["b"])], kind, [], [value])

    condition = numpy_helper.from_array(torch.tensor(True).numpy(), "c")
    model = onnx_graph([conv("a"), helper.make_node("If", ["c"], ["out"], name="/if", then_branch=branch("Relu"),
                                                    else_branch=branch("Sigmoid"))])
    model.graph.initializer.append(condition)
    return model


def onnx_dropout() -> onnx.ModelProto:
    model = onnx_graph(then("Dropout", "ratio", "training"))
    model.graph.initializer.extend([numpy_helper.from_array(torch.tensor(0.5).numpy(), "ratio"),
                                    numpy_helper.from_array(torch.tensor(True).numpy(), "training")])
    return model


def onnx_weight(**fields: object) -> onnx.ModelProto:
    """A model whose weight has these fields instead."""
    weight = numpy_helper.from_array(torch.linspace(-1, 1, 12).reshape(4, 3, 1, 1).numpy(), "w")
    for name, value in fields.items():
        weight.ClearField(name)
        if isinstance(value, list):
            getattr(weight, name).extend(value)
        else:
            setattr(weight, name, value)
    return onnx_graph([conv()], [weight])


def onnx_external(location: str) -> onnx.ModelProto:
    entry = onnx.StringStringEntryProto(key="location", value=location)
    return onnx_weight(raw_data=b"", data_location=TensorProto.EXTERNAL, external_data=[entry])


def onnx_half() -> onnx.ModelProto:
    weight = numpy_helper.from_array(torch.linspace(-1, 1, 12).reshape(4, 3, 1, 1).half().numpy(), "w")
    return onnx_graph([conv()], [weight], inputs=(("images", TensorProto.FLOAT16),))


def onnx_quantised() -> onnx.ModelProto:
    weight = numpy_helper.from_array(torch.ones(4, 3, 1, 1, dtype=torch.int8).numpy(), "q")
    scale = numpy_helper.from_array(torch.tensor(0.1).numpy(), "scale")
    return onnx_graph([helper.make_node("DequantizeLinear", ["q", "scale"], ["w"], name="/dequantize"), conv()], [weight, scale])


# Fault to how it is made and what the message must name.
FAULTS: dict[str, tuple[Callable[[], bytes | onnx.ModelProto], str]] = {
    "training_norm.pt2": (lambda: exported(valid().train()), "`0.1`: batch norm in training mode; `model.eval()`"),
    "training_dropout.pt2": (lambda: exported(after(nn.Dropout(0.5)).train()), "`1`: dropout in training mode; `model.eval()`"),
    "control_flow.pt2": (lambda: exported(Branch()), "`cond`: control flow"),
    "custom_op.pt2": (lambda: exported(after(invert)), "`acme::invert` at `1`: a custom operation"),
    "unsupported_op.pt2": (lambda: exported(Warp()), "`grid_sampler` at `warp`, twice"),
    "two_inputs.pt2": (lambda: exported(Two(), images(), images()), "inputs `x` and `y`: 2 inputs, 1 is supported"),
    "integer_input.pt2": (lambda: exported(nn.Embedding(8, 4), torch.ones(2, 5, dtype=torch.long)), "input of dtype i64"),
    "video_input.pt2": (lambda: exported(nn.Conv3d(3, 4, 1), torch.ones(2, 3, 4, 5, 4)), "input of rank 5"),
    "data_dependent.pt2": (lambda: exported(after(lambda x: x.flatten().nonzero()), dynamic=False), "`nonzero`: a shape that depends on values"),
    "batch_mixing.pt2": (lambda: exported(after(lambda x: x - x.mean())), "`mean` over the batch"),
    "batch_baked.pt2": (lambda: exported(after(lambda x: x.reshape(1, 8, 5, 4)), dynamic=False), "a batch of 2 is baked into the shapes"),
    "random.pt2": (lambda: exported(after(lambda x: x + torch.rand_like(x))), "`rand_like`: a random value"),
    "mutated_buffer.pt2": (lambda: exported(Counter()), "buffer `seen` changes during inference"),
    "no_parameters.pt2": (lambda: exported(nn.Sequential(nn.ReLU(), nn.AvgPool2d(2))), "no trainable parameter"),
    "integer_output.pt2": (lambda: exported(after(lambda x: x.argmax(1))), "output of dtype i64"),
    "complex_weight.pt2": (lambda: exported(Spectral()), "`filter`: complex64"),
    "bf16_weights.pt2": (lambda: of_dtype(torch.bfloat16), "`0.0.weight`: bf16; `model.float()`"),
    "f16_weights.pt2": (lambda: of_dtype(torch.float16), "`0.0.weight`: f16; `model.float()`"),
    "f64_weights.pt2": (lambda: of_dtype(torch.float64), "`0.0.weight`: f64; `model.float()`"),
    "big_endian.pt2": (lambda: repacked(big_endian), "byte order `big`"),
    "deflated.pt2": (lambda: repacked(lambda entries: None, deflate=True), "a compressed entry"),
    "truncated.pt2": (lambda: exported(valid())[:-100], "the archive has no end record"),
    "legacy.pt2": (legacy, "an archive of torch before 2.8; export again"),
    "newer_schema.pt2": (lambda: edited("models/model.json", lambda d: d["schema_version"].update(major=9)), "schema 9, 8 is supported"),
    "missing_payload.pt2": (lambda: repacked(missing_payload), "`weight_0` is missing"),
    "escaping_payload.pt2": (lambda: first_weight(lambda w: w.update(path_name="../../secret")), "`../../secret` is missing"),
    "pickled_weight.pt2": (lambda: first_weight(lambda w: w.update(use_pickle=True)), "`0.0.weight` is pickled"),
    "large_weight.pt2": (
        lambda: first_weight(lambda w: w["tensor_meta"]["sizes"][0].update(as_int=1 << 40)), "`0.0.weight`: 48 bytes, more expected"),
    "negative_size.pt2": (
        lambda: first_weight(lambda w: w["tensor_meta"]["sizes"][0].update(as_int=-4)), "`0.0.weight`: size −4"),
    "strides_outside.pt2": (
        lambda: first_weight(lambda w: w["tensor_meta"]["strides"][0].update(as_int=1 << 40)), "`0.0.weight`: strides outside the payload"),
    "cycle.pt2": (lambda: program(cycle), "a value used ahead of the node that computes it"),
    "duplicate_value.pt2": (lambda: program(lambda graph: graph["nodes"].append(graph["nodes"][0])), "a value computed twice"),
    "unknown_value.pt2": (
        lambda: program(lambda graph: graph["nodes"][1]["inputs"][0]["arg"]["as_tensor"].update(name="nowhere")), "value `nowhere` is unknown"),
    "opset10.onnx": (lambda: onnx_graph([conv()], version=10), "opset 10; 11 to the newest are supported"),
    "opset99.onnx": (lambda: onnx_graph([conv()], version=99), "opset 99"),
    "training_norm.onnx": (onnx_training_norm, "`/norm`: training mode"),
    "training_dropout.onnx": (onnx_dropout, "`/last/Dropout`: training mode"),
    "control_flow.onnx": (onnx_branch, "`If` at `/if`: control flow"),
    "custom_op.onnx": (lambda: onnx_graph(then("Invert", domain="acme")), "`acme.Invert` at `/last/Invert`"),
    "unsupported_op.onnx": (lambda: onnx_graph(then("Det")), "`Det` at `/last/Det`, once"),
    "data_dependent.onnx": (lambda: onnx_graph(then("NonZero")), "`NonZero`: a shape that depends on values"),
    "two_inputs.onnx": (
        lambda: onnx_graph([helper.make_node("Add", ["images", "more"], ["out"])], inputs=(("images", 1), ("more", 1))), "2 inputs"),
    "integer_input.onnx": (
        lambda: onnx_graph([helper.make_node("Cast", ["images"], ["out"], to=1)], inputs=(("images", TensorProto.INT64),)), "input of dtype i64"),
    "cycle.onnx": (
        lambda: onnx_graph([helper.make_node("Add", ["b", "images"], ["a"]), helper.make_node("Relu", ["a"], ["b"]),
                            helper.make_node("Identity", ["b"], ["out"])]), "a cycle, or nodes out of order"),
    "duplicate_value.onnx": (lambda: onnx_graph([conv(), conv()]), "value `out` is computed twice"),
    "unknown_value.onnx": (lambda: onnx_graph([conv(weight="nowhere")]), "value `nowhere` is unknown"),
    "half_weights.onnx": (onnx_half, "`w`: f16"),
    "quantised.onnx": (onnx_quantised, "`DequantizeLinear` at `/dequantize`"),
    "short_weight.onnx": (lambda: onnx_weight(raw_data=b"\0" * 8), "`w`: 8 bytes, 48 expected"),
    "large_weight.onnx": (lambda: onnx_weight(dims=[1 << 40, 3, 1, 1]), "`w`: 48 bytes, more expected"),
    "negative_size.onnx": (lambda: onnx_weight(dims=[-4, 3, 1, 1]), "`w`: size −4"),
    "external_missing.onnx": (lambda: onnx_external("weights.bin"), "`weights.bin` is missing"),
    "external_escaping.onnx": (lambda: onnx_external("../../../etc/passwd"), "`../../../etc/passwd` is outside the folder"),
    "truncated.onnx": (lambda: onnx_graph([conv()]).SerializeToString()[:-20], "ends within a field"),
}


def main() -> None:
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    warnings.filterwarnings("ignore")
    for name, (make, _) in FAULTS.items():
        file = make()
        compressed(file if isinstance(file, bytes) else file.SerializeToString(), out / f"{name}.gz")
    lines = [f"| `{name}` | {message} |" for name, (_, message) in FAULTS.items()]
    (out / "README.md").write_text("\n".join([
        "# Model files that the import must reject", "", "Made by `tests/peers/coverage/invalid.py`.", "",
        "| file | what the message must say |", "|---|---|", *lines, ""]))


if __name__ == "__main__":
    main()
