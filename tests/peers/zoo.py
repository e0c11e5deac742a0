"""torchvision's networks under weights that a formula gives: those of `parity.py`, for as many classes as they come with."""

from collections.abc import Callable
from pathlib import Path

import numpy
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch.fx.experimental.optimization import fuse

FOLDER = Path(__file__).parent / "zoo"
CLASSES = 7
# How each is made, and the name of its head.
NETWORKS: dict[str, tuple[Callable[[], torch.nn.Module], str]] = {
    "resnet18": (torchvision.models.resnet18, "fc"),
    "mobilenetv2": (torchvision.models.mobilenet_v2, "classifier.1"),
}


def new_head(features: int) -> torch.nn.Linear:
    """The golden file's head of seven classes."""
    output, feature = numpy.arange(1, CLASSES + 1)[:, None], numpy.arange(features)[None]
    head = torch.nn.Linear(features, CLASSES)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy((0.02 * numpy.sin(0.37 * output + 0.011 * output * feature)).astype(numpy.float32)))
        head.bias.zero_()
    return head


def weights(architecture: str) -> Path:
    """The checkpoint of a network."""
    return FOLDER / f"{architecture}.safetensors"


def write(architecture: str) -> None:
    """Makes the checkpoint."""
    # timm, which it imports, is no business of a process that is timed.
    from parity import value

    make, _ = NETWORKS[architecture]
    tensors = {name: tensor for name, tensor in make().state_dict().items() if tensor.is_floating_point()}
    FOLDER.mkdir(exist_ok=True)
    save_file({name: value(name, tensor.shape).float() for name, tensor in tensors.items()}, weights(architecture))


class Network(torch.nn.Module):
    """One of them, in evaluation mode."""

    def __init__(self, architecture: str):
        super().__init__()
        make, self.head = NETWORKS[architecture]
        self.network = make()
        missing, unexpected = self.network.load_state_dict(load_file(weights(architecture)), strict=False)
        if unexpected or any(not name.endswith("num_batches_tracked") for name in missing):
            raise SystemExit(f"{weights(architecture)}: missing {missing}, unexpected {unexpected}")
        self.eval()

    def forward(self, x):
        return self.network(x)

    def with_new_head(self):
        features = self.network.get_submodule(self.head).in_features
        self.network.set_submodule(self.head, new_head(features))
        return self

    def folded(self):
        self.network = fuse(self.network)
        return self
