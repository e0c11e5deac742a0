"""torchvision's and timm's networks under weights that a formula gives: those of `parity.py`, for as many classes as they
come with."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch.fx.experimental.optimization import fuse

FOLDER = Path(__file__).parent / "zoo"
CLASSES = 7
# Of the images that a network answers for.
SIDE = 224


def of_timm(variant: str, **options: object) -> torch.nn.Module:
    # Only a process that computes with it has to import it.
    import timm

    return timm.create_model(variant, **options)


VITS = {"deit-tiny": "deit_tiny_patch16_224", "deit-small": "deit_small_patch16_224"}
# How each is made, and the name of its head. Transformers take images of any size.
NETWORKS: dict[str, tuple[Callable[[], torch.nn.Module], str]] = {
    "resnet18": (torchvision.models.resnet18, "fc"),
    "mobilenetv2": (torchvision.models.mobilenet_v2, "classifier.1"),
} | {name: (partial(of_timm, variant, dynamic_img_size=True), "head") for name, variant in VITS.items()}
# Those that Fieldfit has no architecture of, and reads from a `.pt2` file.
IMPORTED: dict[str, tuple[Callable[[], torch.nn.Module], str]] = {
    "mobilenetv3-large": (torchvision.models.mobilenet_v3_large, "classifier.3"),
    "efficientnet-b0": (torchvision.models.efficientnet_b0, "classifier.1"),
    "convnext-atto": (partial(of_timm, "convnext_atto"), "head.fc"),
    "regnety-002": (partial(of_timm, "regnety_002"), "head.fc"),
}
NETWORKS |= IMPORTED


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


def program(architecture: str) -> Path:
    """The `.pt2` file of one of `IMPORTED`."""
    return FOLDER / f"{architecture}.pt2"


def write(architecture: str) -> None:
    """Makes the checkpoint, and of one of `IMPORTED` the program."""
    # timm, which these import, is no business of a process that times another network.
    from coverage import fixture
    from coverage.weights import fill
    from parity import value

    make, _ = NETWORKS[architecture]
    FOLDER.mkdir(exist_ok=True)
    if architecture not in IMPORTED:
        tensors = {name: tensor for name, tensor in make().state_dict().items() if tensor.is_floating_point()}
        save_file({name: value(name, tensor.shape).float() for name, tensor in tensors.items()}, weights(architecture))
        return
    shape = (3, SIDE, SIDE)
    module = make().double().eval()
    fill(module, fixture.images(shape, 4))
    torch.export.save(fixture.program(module, shape), program(architecture))
    save_file({name: tensor.contiguous() for name, tensor in module.float().state_dict().items()}, weights(architecture))


class Network(torch.nn.Module):
    """One of them, in evaluation mode."""

    def __init__(self, architecture: str):
        super().__init__()
        self.architecture = architecture
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
        """With norms in the convolutions, or for the size of image alone that it was trained on: what is left to fold."""
        if self.architecture in VITS:
            state, self.network = self.network.state_dict(), of_timm(VITS[self.architecture])
            self.network.load_state_dict(state)
            self.eval()
        else:
            self.network = fuse(self.network)
        return self
