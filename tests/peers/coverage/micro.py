"""Writes the micro networks: one operation each, as files to import, with what PyTorch computes for them in f64.

    cd tests/peers && python -m coverage.micro [OUT=tests/data/networks/micro] [--every-onnx]

Writes OUT/NETWORK.pt2.gz and OUT/NETWORK.safetensors.gz, and OUT/NETWORK.onnx.gz for those in `ONNX`, or for all. The
tensors are those of `export.py`'s `inputs.safetensors` and `expected.safetensors` together."""

import gzip
import io
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from safetensors.torch import save

from coverage import fixture
from coverage.micro_networks import MICRO
from coverage.weights import fill

OUT = Path(__file__).parents[2] / "data/networks/micro"
SHAPE = (3, 5, 4)
# Images of the reference; the example input has another number of them.
BATCH = 2
# Committed as ONNX, too.
ONNX = ("attention_softmax", "classifier", "conv_norm", "conv_transposed_3", "hardswish", "layer_norm", "resize_bilinear",
        "squeeze_excite")


def pt2(exported: torch.export.ExportedProgram) -> bytes:
    """The archive without the example inputs, which take up most of a small one."""
    exported._example_inputs = None
    buffer = io.BytesIO()
    torch.export.save(exported, buffer)
    return buffer.getvalue()


def onnx(exported: torch.export.ExportedProgram) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        fixture.save_onnx(exported, Path(folder) / "model.onnx")
        return (Path(folder) / "model.onnx").read_bytes()


def coarse(values: torch.Tensor) -> torch.Tensor:
    """Multiples of 1/32, which compress."""
    return (32.0 * values).round() / 32.0 if values.is_floating_point() else values


def compressed(data: bytes, path: Path) -> None:
    """The same bytes for the same data: no time in the header."""
    path.write_bytes(gzip.compress(data, 9, mtime=0))


def write(name: str, out: Path, with_onnx: bool) -> fixture.Reference:
    module = MICRO[name]().double().eval()
    fill(module, fixture.images(SHAPE, 8))
    exported = fixture.program(module, SHAPE)
    images = coarse(fixture.images(SHAPE, BATCH))
    with torch.no_grad():
        outputs = fixture.outputs_of(exported.module(check_guards=False)(images.float()))
    loss = fixture.loss_inputs(outputs, name == "classifier")
    inputs = {"images": images} | {key: coarse(value) for key, value in loss.items()}
    expected = fixture.reference(fixture.double(exported), inputs)
    tensors = fixture.input_tensors(inputs) | fixture.expected_tensors(expected)
    compressed(save(fixture.contiguous(tensors)), out / f"{name}.safetensors.gz")
    if with_onnx:
        compressed(onnx(exported), out / f"{name}.onnx.gz")
    compressed(pt2(exported), out / f"{name}.pt2.gz")
    return expected


def main() -> None:
    arguments = sys.argv[1:]
    every = "--every-onnx" in arguments
    folders = [argument for argument in arguments if not argument.startswith("--")]
    out = Path(folders[0]) if folders else OUT
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    for name in MICRO:
        expected = write(name, out, every or name in ONNX)
        largest = max(output.abs().max().item() for output in expected.outputs)
        size = sum(file.stat().st_size for file in out.glob(f"{name}.*"))
        print(f"{name}: {size} bytes, outputs up to {largest:.3g}", flush=True)


if __name__ == "__main__":
    main()
