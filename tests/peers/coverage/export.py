"""Exports the networks of the coverage suite and computes what they must yield.

    cd tests/peers && python -m coverage.export FOLDER [NETWORK …]

Writes, per network, into FOLDER/NETWORK:

| file | content |
|---|---|
| `model.pt2` | `torch.export.save`, f32, dynamic batch |
| `model.onnx` | `torch.onnx.export(dynamo=True, optimize=False)`: norms and names are kept |
| `inputs.safetensors` | `images` `[N, 3, H, W]` f32, and `labels` `[N]` i64 or `weight.INDEX`, one value per output value, f32 |
| `expected.safetensors` | `output.INDEX`, `loss`, `gradient.PARAMETER`, f64 |
| `info.json` | side, names and shapes of parameters, unused parameters, PyTorch's own f32 error |

`:` in a name becomes `_` in the folder's. A network whose folder is complete is skipped."""

import gc
import sys
import time
import warnings
from pathlib import Path

import numpy
import onnx
import onnxruntime
import timm
import torch
import torchvision

from coverage import fixture
from coverage.networks import NETWORKS, Network
from coverage.weights import fill


def folder_name(network: str) -> str:
    return network.replace(":", "_")


def onnx_gap(path: Path, expected: fixture.Reference, images: torch.Tensor) -> float:
    """How far ONNX Runtime's outputs are from the reference, relative to the largest value of each."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: images.float().numpy()})
    return max(float(numpy.abs(f - e.numpy()).max() / e.abs().max()) for f, e in zip(found, expected.outputs))


def write_program(network: Network, folder: Path) -> None:
    """Writes `model.pt2`."""
    torch.manual_seed(0)
    shape = (3, network.side, network.side)
    module = network.make().double().eval()
    fill(module, fixture.images(shape, 4))
    torch.export.save(fixture.program(module, shape), folder / "model.pt2")


def write_reference(name: str, network: Network, folder: Path) -> dict:
    """Writes what `model.pt2` computes, and `model.onnx`; returns `info.json`."""
    exported = torch.export.load(folder / "model.pt2")
    model = fixture.onnx_model(exported)
    onnx.save(model, folder / "model.onnx")
    images = fixture.images((3, network.side, network.side), fixture.BATCH)
    single = exported.module(check_guards=False)
    with torch.no_grad():
        outputs = fixture.outputs_of(single(images.float()))
    inputs = {"images": images} | fixture.loss_inputs(outputs, network.classifier)
    expected = fixture.reference(fixture.double(exported), inputs)
    own = fixture.gaps(fixture.reference(single, inputs), expected)
    fixture.save_tensors(fixture.input_tensors(inputs), folder / "inputs.safetensors")
    fixture.save_tensors(fixture.expected_tensors(expected), folder / "expected.safetensors")
    worst = max(own[1], key=own[1].get)
    info = {
        "network": name,
        "by": f"torch {torch.__version__}, torchvision {torchvision.__version__}, timm {timm.__version__}",
        "side": network.side,
        "opset": fixture.opset(model),
        "outputs": [list(output.shape) for output in expected.outputs],
        "largest_output": max(output.abs().max().item() for output in expected.outputs),
        "parameters": {key: list(tensor.shape) for key, tensor in exported.named_parameters()},
        "unused": expected.unused,
        "f32": {"outputs": own[0], "gradients": own[1][worst], "worst": worst},
        "onnx_runtime": onnx_gap(folder / "model.onnx", expected, images),
    }
    fixture.save_json(info, folder / "info.json")
    return info


def main() -> None:
    out, *names = sys.argv[1:]
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    folders = {name: Path(out) / folder_name(name) for name in names or NETWORKS}
    for name, folder in folders.items():
        if not (folder / "model.pt2").exists():
            folder.mkdir(parents=True, exist_ok=True)
            write_program(NETWORKS[name], folder)
            print(f"{name}: exported", flush=True)
    for name, folder in folders.items():
        if (folder / "info.json").exists():
            continue
        start = time.monotonic()
        info = write_reference(name, NETWORKS[name], folder)
        gc.collect()
        print(f"{name}: outputs up to {info['largest_output']:.3g}, f32 {info['f32']['outputs']:.1e} and "
              f"{info['f32']['gradients']:.1e} ({info['f32']['worst']}), ONNX Runtime {info['onnx_runtime']:.1e}, "
              f"{time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
