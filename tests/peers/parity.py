"""Goldens of every architecture, computed by PyTorch in f64 from weights that a formula gives.

    parity.py [OUT=tests/data/golden] [ARCHITECTURE …]

Writes OUT/ARCHITECTURE.json: logits, loss, a summary of every stage and of every parameter's gradient. The networks are
timm's and torchvision's own; `tests/tests/parity.rs` computes the same weights and images and compares.

A value is u · spread + centre, rounded to f32, where u in [−1, 1) comes from the tensor's name and the value's position
alone (`uniform`). Statistics of batch norms are frozen, as Fieldfit has them: evaluation mode, with gradients.
"""

import json
import math
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy
import timm
import torch
import torchvision
from torch.nn import functional

CLASSES, BATCH, LABELS = 10, 2, [3, 8]
MASK = (1 << 64) - 1
OUT = Path(__file__).parents[1] / "data/golden"


@dataclass
class Network:
    """A network of PyTorch's under Fieldfit's names."""

    module: torch.nn.Module
    side: int
    # Module to stage.
    stages: dict[str, str]
    # Parameter of PyTorch's to tensor of ours, where they differ.
    names: dict[str, str]

    def name(self, parameter: str) -> str:
        return self.names.get(parameter, parameter)


def resnet(variant: str, side: int) -> Network:
    module = getattr(torchvision.models, variant)(num_classes=CLASSES)
    blocks = [f"layer{layer}.{block}" for layer in range(1, 5) for block in range(len(getattr(module, f"layer{layer}")))]
    return Network(module, side, {"maxpool": "stem", "avgpool": "pool"} | {block: block for block in blocks}, {})


def mobilenet_v2(side: int) -> Network:
    module = torchvision.models.mobilenet_v2(num_classes=CLASSES)
    module.classifier = torch.nn.Sequential(torch.nn.Identity(), module.classifier[1])
    stages = {f"features.{index}": f"features.{index}" for index in range(len(module.features))}
    return Network(module, side, stages | {"classifier.0": "pool"}, {})


def efficientnet_lite(variant: int, side: int) -> Network:
    """timm's, under the names of the `efficientnet_lite_pytorch` package."""
    module = timm.create_model(f"tf_efficientnet_lite{variant}", num_classes=CLASSES)
    stages = {"bn1": "stem", "bn2": "head", "global_pool": "pool"}
    modules = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
    inverted = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1",
                "conv_pwl": "_project_conv", "bn3": "_bn2"}
    separable = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    index = 0
    for row, blocks in enumerate(module.blocks):
        for repeat, block in enumerate(blocks):
            stages[f"blocks.{row}.{repeat}"] = f"block{index}"
            kinds = inverted if hasattr(block, "conv_pwl") else separable
            modules |= {f"blocks.{row}.{repeat}.{theirs}": f"_blocks.{index}.{ours}" for theirs, ours in kinds.items()}
            index += 1
    names = {}
    for parameter in module.state_dict():
        path, leaf = parameter.rsplit(".", 1)
        names[parameter] = f"{modules[path]}.{leaf}"
    return Network(module, side, stages, names)


def vit(variant: str, side: int) -> Network:
    """With the position embeddings of the published size, interpolated for `side`."""
    module = timm.create_model(variant, num_classes=CLASSES, dynamic_img_size=True)
    stages = {f"blocks.{index}": f"block{index}" for index in range(len(module.blocks))}
    return Network(module, side, {"norm_pre": "embed", "fc_norm": "norm"} | stages, {})


class BothTokens(torch.nn.Module):
    """A distilled DeiT of timm's under one head over both tokens, which answers as the mean of its two heads does."""

    def __init__(self, variant: str):
        super().__init__()
        self.network = timm.create_model(variant, num_classes=0, dynamic_img_size=True)
        self.features = torch.nn.Identity()
        self.head = torch.nn.Linear(2 * self.network.num_features, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(self.network.forward_features(x)[:, :2].flatten(1)))


def distilled(variant: str, side: int) -> Network:
    module = BothTokens(variant)
    stages = {f"network.blocks.{index}": f"block{index}" for index in range(len(module.network.blocks))}
    names = {name: name.removeprefix("network.") for name in module.state_dict()}
    return Network(module, side, {"network.norm_pre": "embed", "features": "norm"} | stages, names)


ARCHITECTURES = {
    "efficientnet-lite0": lambda: efficientnet_lite(0, 64),
    "efficientnet-lite1": lambda: efficientnet_lite(1, 65),
    "efficientnet-lite2": lambda: efficientnet_lite(2, 63),
    "mobilenetv2": lambda: mobilenet_v2(64),
    "resnet18": lambda: resnet("resnet18", 65),
    "resnet34": lambda: resnet("resnet34", 64),
    "resnet50": lambda: resnet("resnet50", 64),
    "deit-tiny": lambda: vit("deit_tiny_patch16_224", 96),
    "deit-small": lambda: vit("deit_small_patch16_224", 64),
    "deit-tiny-distilled": lambda: distilled("deit_tiny_distilled_patch16_224", 96),
    "vit-small": lambda: vit("vit_small_patch16_224", 64),
    "dinov2-small": lambda: vit("vit_small_patch14_dinov2", 70),
    "dinov2-small-reg4": lambda: vit("vit_small_patch14_reg4_dinov2", 70),
}


def uniform(name: str, count: int) -> numpy.ndarray:
    """`count` values in [−1, 1): FNV-1a of the name, then SplitMix64, of which the upper 24 bits are taken."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 & MASK
    with numpy.errstate(over="ignore"):
        z = numpy.arange(1, count + 1, dtype=numpy.uint64) * numpy.uint64(0x9E3779B97F4A7C15) + numpy.uint64(seed)
        z = (z ^ z >> numpy.uint64(30)) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ z >> numpy.uint64(27)) * numpy.uint64(0x94D049BB133111EB)
        z = z ^ z >> numpy.uint64(31)
    return (z >> numpy.uint64(40)).astype(numpy.float64) / 2.0**23 - 1.0


def spread(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Spread and centre that keep activations at their scale through fifty layers."""
    if name in ("cls_token", "dist_token", "reg_token", "pos_embed"):
        return 0.5, 0.0
    if name.endswith("running_var"):
        return 0.5, 1.0
    if name.endswith((".bias", "running_mean")):
        return 0.1, 0.0
    if len(shape) == 1:
        return 0.25, 0.75
    return math.sqrt(6.0 / math.prod(shape[1:])), 0.0


def value(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    scale, centre = spread(name, shape)
    values = (uniform(name, math.prod(shape)) * scale + centre).astype(numpy.float32)
    return torch.from_numpy(values.astype(numpy.float64)).reshape(shape)


def images(side: int) -> torch.Tensor:
    """Uniform noise in [−2, 2), `[N, C, H, W]`."""
    return torch.from_numpy(2.0 * uniform("images", BATCH * 3 * side * side)).reshape(BATCH, 3, side, side)


def fill(network: Network) -> None:
    state = network.module.state_dict()
    values = {key: value(network.name(key), tensor.shape) for key, tensor in state.items() if tensor.is_floating_point()}
    network.module.load_state_dict(values, strict=False)


def watch(network: Network) -> dict[str, torch.Tensor]:
    """Outputs by stage, filled as the network runs: `[N, H, W, C]`, `[N, tokens, C]` or `[N, C]`."""
    outputs = {}
    modules = dict(network.module.named_modules())
    for path, stage in network.stages.items():
        def keep(_module, _inputs, output, stage=stage):
            outputs[stage] = (output.permute(0, 2, 3, 1) if output.dim() == 4 else output).detach()
        modules[path].register_forward_hook(keep)
    return outputs


def summary(output: torch.Tensor) -> dict:
    flat = output.flatten()
    picks = [flat[round(part * (len(flat) - 1) / 3)].item() for part in range(4)]
    return {"values": len(flat), "mean": flat.mean().item(), "std": flat.std(correction=0).item(),
            "absmax": flat.abs().max().item(), "picks": picks}


def gradient(tensor: torch.Tensor) -> dict:
    flat = tensor.flatten()
    picks = [flat[round(part * (len(flat) - 1) / 2)].item() for part in range(3)]
    return {"l2": flat.norm().item(), "sum": flat.sum().item(), "picks": picks}


def golden(architecture: str) -> dict:
    network = ARCHITECTURES[architecture]()
    network.module.double().eval()
    fill(network)
    outputs = watch(network)
    # timm interpolates position embeddings in f32, whatever the network's type; not here.
    with mock.patch.object(torch.Tensor, "float", torch.Tensor.double):
        logits = network.module(images(network.side))
    loss = functional.cross_entropy(logits, torch.tensor(LABELS))
    loss.backward()
    parameters = {network.name(key): gradient(parameter.grad) for key, parameter in network.module.named_parameters()}
    return {
        "by": f"torch {torch.__version__}, torchvision {torchvision.__version__}, timm {timm.__version__}",
        "side": network.side,
        "labels": LABELS,
        "logits": logits.tolist(),
        "loss": loss.item(),
        "stages": {stage: summary(output) for stage, output in outputs.items()},
        "gradients": parameters,
    }


def main() -> None:
    arguments = sys.argv[1:]
    out = Path(arguments.pop(0)) if arguments and arguments[0] not in ARCHITECTURES else OUT
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    for architecture in arguments or ARCHITECTURES:
        text = json.dumps(golden(architecture))
        # One stage or tensor a line, so that a difference shows what differs.
        lines = re.sub(r'("[\w.\-]+": \{"(?:values|l2)")', r"\n\1", text)
        (out / f"{architecture}.json").write_text(lines + "\n")
        print(f"{architecture}: {len(lines) / 1024:.0f} kB", file=sys.stderr)


if __name__ == "__main__":
    main()
