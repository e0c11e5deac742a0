"""Writes the descriptions of the architectures that an import knows by their tensors' names alone.

    cd tests/peers && python -m coverage.architectures --fieldfit PATH [NAME …]

Exports each network of `ARCHITECTURES` for images of 224 px, imports it with the program at PATH, and writes its description,
compressed, into `crates/model/src/architectures/NAME.json.gz`. A description holds the graph and the tensors' names and shapes, no
weights."""

import argparse
import gzip
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import timm
import torch
import torchvision

from coverage import fixture

OUT = Path(__file__).resolve().parents[3] / "crates/model/src/architectures"
SIDE = 224


def torchvision_net(name: str) -> Callable[[], torch.nn.Module]:
    return partial(getattr(torchvision.models, name), weights=None)


def timm_net(name: str) -> Callable[[], torch.nn.Module]:
    return partial(timm.create_model, name)


ARCHITECTURES: dict[str, Callable[[], torch.nn.Module]] = {
    "mobilenetv3-small-torchvision": torchvision_net("mobilenet_v3_small"),
    "mobilenetv3-small-timm": timm_net("mobilenetv3_small_100"),
    "mobilenetv3-large-torchvision": torchvision_net("mobilenet_v3_large"),
    "mobilenetv3-large-timm": timm_net("mobilenetv3_large_100"),
    "efficientnet-b0-torchvision": torchvision_net("efficientnet_b0"),
    "efficientnet-b0-timm": timm_net("efficientnet_b0"),
    "convnext-atto-timm": timm_net("convnext_atto"),
    "convnext-tiny-torchvision": torchvision_net("convnext_tiny"),
    "convnext-tiny-timm": timm_net("convnext_tiny"),
    "regnety-002-timm": timm_net("regnety_002"),
}


def describe(name: str, fieldfit: Path) -> bytes:
    """The description of a network, as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        program, model = Path(folder) / "model.pt2", Path(folder) / name
        torch.export.save(fixture.program(ARCHITECTURES[name](), (3, SIDE, SIDE)), program)
        subprocess.run([fieldfit, "import", program, "--out", model], check=True, stdout=subprocess.DEVNULL)
        return (model / "network.json").read_bytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(ARCHITECTURES))
    parser.add_argument("--fieldfit", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.names:
        (OUT / f"{name}.json.gz").write_bytes(gzip.compress(describe(name, options.fieldfit), mtime=0))


if __name__ == "__main__":
    main()
