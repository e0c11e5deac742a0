"""Writes the micro networks: one operation each, as files to import, with what PyTorch computes for them in f64.

    cd tests/peers && python -m coverage.micro [NETWORK …] [--out OUT=tests/data/networks/micro] [--every-onnx]

Writes OUT/NETWORK.pt2.gz and OUT/NETWORK.safetensors.gz, and OUT/NETWORK.FORM.onnx.gz for the forms in `ONNX`; with
`--every-onnx` the unfolded form of all. The tensors are those of `export.py`'s `inputs.safetensors` and
`expected.safetensors` together, but with f64 values of 32 bits of fraction."""

import argparse
import gzip
import io
import warnings
from pathlib import Path

import onnx
import torch
from safetensors.torch import save
from torch.export import Dim, ExportedProgram

from coverage import fixture
from coverage.micro_networks import MICRO
from coverage.weights import fill

OUT = Path(__file__).parents[2] / "data/networks/micro"
SHAPE = (3, 5, 4)
# The image's shape, where it is another one.
SHAPES = {"image_last": (5, 4, 3)}
# What is dynamic, where it is not the batch alone. A static file has one image, and so has its reference.
DYNAMIC = {
    "static": None,
    "multihead_static": None,
    "dynamic_size": {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC},
}
# ONNX forms: as the exporter writes them unfolded; folded; and of opset 11 by the TorchScript exporter, unfolded.
ONNX = {
    "attention_softmax": ("unfolded", "opset11"),
    "classifier": ("unfolded", "folded", "opset11"),
    "classifier_argmax": ("unfolded",),
    "classifier_behind_norm": ("unfolded",),
    "classifier_log_softmax": ("unfolded",),
    "classifier_softmax": ("unfolded", "opset11"),
    "conv_norm": ("unfolded", "folded", "opset11"),
    "conv_transposed_3": ("unfolded",),
    "celu": ("unfolded",),
    "conv1d": ("opset11",),
    "cosine_head": ("opset11",),
    "cumulated": ("unfolded",),
    "einsum": ("unfolded",),
    "flip": ("unfolded",),
    "einsum_three": ("unfolded",),
    "hardswish": ("unfolded",),
    "image_last": ("unfolded",),
    "inplace_ranges": ("unfolded",),
    "layer_norm": ("unfolded", "opset11"),
    "layer_norm_image": ("unfolded",),
    "linear": ("unfolded",),
    "local_response_norm": ("unfolded",),
    "log_softmax": ("unfolded", "opset11"),
    "mean_channels": ("opset11",),
    "multihead": ("unfolded",),
    "pad_conv": ("opset11",),
    "relu6": ("opset11",),
    "repeat": ("opset11",),
    "resize_bilinear": ("unfolded", "opset11"),
    "selu": ("unfolded",),
    "slice": ("opset11",),
    "softsign": ("opset11",),
    "split": ("opset11",),
    "squeeze_excite": ("unfolded", "opset11"),
    "squeeze_excite_hard": ("opset11",),
    "weight_normed": ("unfolded",),
    "weight_standardised": ("unfolded", "opset11"),
    "where": ("opset11",),
}


def pt2(exported: ExportedProgram) -> bytes:
    """The archive without the example inputs, which take up most of a small one."""
    exported._example_inputs = None
    buffer = io.BytesIO()
    torch.export.save(exported, buffer)
    return buffer.getvalue()


def opset11(module: torch.nn.Module) -> bytes:
    """By the TorchScript exporter."""
    buffer = io.BytesIO()
    example = fixture.images(SHAPE, fixture.EXAMPLE_BATCH).float()
    torch.onnx.export(module, (example,), buffer, dynamo=False, opset_version=11, do_constant_folding=False,
                      dynamic_axes={"images": {0: "batch"}}, input_names=["images"])
    model = onnx.load_from_string(buffer.getvalue())
    for node in model.graph.node:
        node.ClearField("doc_string")
    return model.SerializeToString()


def onnx_form(form: str, module: torch.nn.Module, exported: ExportedProgram) -> bytes:
    if form == "opset11":
        return opset11(module)
    return fixture.onnx_model(exported, folded=form == "folded").SerializeToString()


def coarse(values: torch.Tensor) -> torch.Tensor:
    """Multiples of 1/32, which compress."""
    return (32.0 * values).round() / 32.0 if values.is_floating_point() else values


def rounded(values: torch.Tensor) -> torch.Tensor:
    """f64 values rounded to 32 bits of fraction (a relative error of at most 1.2e-10), which compress."""
    if values.dtype != torch.float64:
        return values
    bits = values.contiguous().view(torch.int64)
    return ((bits + (1 << 19)) & ~((1 << 20) - 1)).view(torch.float64)


def compressed(data: bytes, path: Path) -> None:
    """The same bytes for the same data: no time in the header."""
    path.write_bytes(gzip.compress(data, 9, mtime=0))


def write(name: str, out: Path, forms: tuple[str, ...]) -> fixture.Reference:
    module, shape = MICRO[name]().double().eval(), SHAPES.get(name, SHAPE)
    fill(module, fixture.images(shape, 8))
    dynamic = DYNAMIC.get(name, fixture.DYNAMIC_BATCH)
    exported = fixture.program(module, shape, dynamic)
    images = coarse(fixture.images(shape, fixture.BATCH if dynamic else 1))
    with torch.no_grad():
        outputs = fixture.outputs_of(exported.module(check_guards=False)(images.float()))
    if outputs[0].is_floating_point():
        loss = fixture.loss_inputs(outputs, name == "classifier")
        inputs = {"images": images} | {key: coarse(value) for key, value in loss.items()}
        expected = fixture.reference(fixture.double(exported), inputs)
    else:
        # Classes, which have no loss.
        inputs, expected = {"images": images}, fixture.Reference([output.double() for output in outputs], torch.zeros(()), {})
    results = {key: rounded(value) for key, value in fixture.expected_tensors(expected).items()}
    compressed(save(fixture.contiguous(fixture.input_tensors(inputs) | results)), out / f"{name}.safetensors.gz")
    for form in forms:
        compressed(onnx_form(form, module, exported), out / f"{name}.{form}.onnx.gz")
    compressed(pt2(exported), out / f"{name}.pt2.gz")
    return expected


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="default: all")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--every-onnx", action="store_true", help="the unfolded form of every network")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    for name in options.networks or MICRO:
        forms = ONNX.get(name, ())
        forms += ("unfolded",) if options.every_onnx and "unfolded" not in forms else ()
        expected = write(name, options.out, forms)
        largest = max(output.abs().max().item() for output in expected.outputs)
        size = sum(file.stat().st_size for file in options.out.glob(f"{name}.*"))
        print(f"{name}: {size} bytes, outputs up to {largest:.3g}", flush=True)


if __name__ == "__main__":
    main()
