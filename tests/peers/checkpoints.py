"""Checkpoints as torch and the training programs around it write them, for the tests of the import.

    checkpoints.py [OUT=tests/data/checkpoints] [NAME…]

Writes OUT/NAME.pth.gz for each function below, or for those named: the network `vit-micro`, each tensor filled with its own
number, from 1, in the order of tests/data/names/vit-micro.txt. torch 1.13.1 and numpy 1.24 of Debian made all but those of
`RECENT`, which torch 2.15 and timm 1.0.31 made. `timm_checkpoint_saver` needs timm; all others need torch and numpy alone.
"""

import argparse
import collections
import datetime
import gzip
import io
import pathlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy
import torch
from torch import nn

DATA = Path(__file__).parents[1] / "data"
NAMES = DATA / "names/vit-micro.txt"
OUT = DATA / "checkpoints"


class Net(nn.Module):
    """Modules and parameters of whatever names."""

    def __init__(self, shapes: dict[str, list[int]]):
        super().__init__()
        for number, (name, shape) in enumerate(shapes.items(), 1):
            *modules, last = name.split(".")
            module = self
            for inner in modules:
                if not hasattr(module, inner):
                    module.add_module(inner, nn.Module())
                module = getattr(module, inner)
            module.register_parameter(last, nn.Parameter(torch.full(shape, float(number))))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values + self.cls_token.sum()


class Wrapper(nn.Module):
    """A module that has the network in an attribute."""

    def __init__(self, **modules: nn.Module):
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)


def network() -> Net:
    lines = [line.split() for line in NAMES.read_text().splitlines()]
    return Net({name: [int(size) for size in sizes] for name, *sizes in lines})


def timm_saver() -> dict:
    """As timm's `CheckpointSaver` writes: arguments and the metric beside the weights."""
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    return {
        "epoch": 7,
        "arch": "vit_micro",
        "state_dict": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "version": 2,
        "args": argparse.Namespace(lr=0.1, model="vit_micro", data=pathlib.PurePosixPath("data"), mean=(0.5, 0.5)),
        "metric": numpy.float64(71.3),
    }


def averaged() -> dict:
    """The same with a moving average, whose values are twice the weights'."""
    saved = timm_saver()
    doubled = {name: 2 * value for name, value in saved["state_dict"].items()}
    return saved | {"state_dict_ema": collections.OrderedDict(doubled)}


def weight_averaging() -> dict:
    """torch's own average of weights: `module.` and a counter."""
    return torch.optim.swa_utils.AveragedModel(network()).state_dict()


def lightning() -> dict:
    """As Lightning writes: loops, callbacks and hyper-parameters beside weights under the module's attribute."""
    return {
        "epoch": 7,
        "global_step": 700,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": Wrapper(net=network()).state_dict(),
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.9), "best_model_path": "best.ckpt"}},
        "hyper_parameters": {"started": datetime.datetime(2026, 1, 1), "size": torch.Size([32, 32]), "kinds": {1, 2}},
        "rng": {"numpy": numpy.random.RandomState(0).get_state(), "device": torch.device("cpu"), "dtype": torch.float16},
    }


def views() -> dict:
    """Tensors that share storages, are transposed, of half precision, and a number of no use."""
    state = network().state_dict()
    both = torch.stack([state["blocks.0.mlp.fc1.weight"], state["blocks.1.mlp.fc1.weight"]])
    state["blocks.0.mlp.fc1.weight"], state["blocks.1.mlp.fc1.weight"] = both
    state["head.weight"] = state["head.weight"].t().contiguous().t()
    state["norm.weight"] = state["norm.weight"].bfloat16()
    state["patch_embed.proj.bias"] = state["patch_embed.proj.bias"].half()
    state["blocks.0.norm1.weight"] = state["blocks.0.norm1.weight"].double()
    return state


def timm_checkpoint_saver() -> bytes:
    """What timm's own `CheckpointSaver` writes of timm's own network with its moving average, read back."""
    from timm.models.vision_transformer import VisionTransformer
    from timm.utils import CheckpointSaver, ModelEmaV3

    net = VisionTransformer(
        img_size=20, patch_size=4, num_classes=10, embed_dim=24, depth=2, num_heads=3, init_values=1e-5, reg_tokens=2,
        no_embed_class=True,
    )
    net.load_state_dict(network().state_dict())
    average = ModelEmaV3(net)
    with torch.no_grad():
        for parameter in average.module.parameters():
            parameter.mul_(2)
    args = argparse.Namespace(model="vit_micro", lr=0.1, data_dir=pathlib.PurePosixPath("data"), amp=False)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    folder = tempfile.mkdtemp()
    saver = CheckpointSaver(
        model=net, optimizer=optimizer, args=args, model_ema=average, checkpoint_dir=folder, recovery_dir=folder
    )
    saver.save_checkpoint(epoch=7, metric=numpy.float64(71.3))
    return Path(folder, "last.pth.tar").read_bytes()


def distributed() -> dict:
    """Tensors of a distributed run (DTensor), saved before they were gathered."""
    import os

    import torch.distributed
    from torch.distributed.tensor import Replicate, distribute_tensor, init_device_mesh

    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29621", RANK="0", WORLD_SIZE="1")
    torch.distributed.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (1,))
    state = {name: distribute_tensor(value, mesh, [Replicate()]) for name, value in network().state_dict().items()}
    torch.distributed.destroy_process_group()
    return state


def two_networks() -> dict:
    """As a Lightning module with a moving average beside the network writes: both in one dictionary."""
    state = network().state_dict()
    names = {f"model.{name}": value for name, value in state.items()}
    averages = {f"model_ema.module.{name}": 2 * value for name, value in state.items()}
    return {"state_dict": names | averages | {"model_ema.decay": torch.tensor(0.99)}}


def large_numbers() -> dict:
    """Numbers longer than any size, a range and a time beside the weights."""
    import time

    return {"state_dict": network().state_dict(), "seeds": [10**40, -(10**30), range(3), time.gmtime(0)]}


def quantised() -> dict:
    """A tensor of 8-bit integers with a scale."""
    state = network().state_dict()
    return state | {"head.weight": torch.quantize_per_tensor(state["head.weight"], 0.1, 0, torch.qint8)}


def whole_module() -> nn.Module:
    return network()


def torch_script() -> torch.jit.ScriptModule:
    return torch.jit.trace(network(), torch.zeros(3))


RECENT: list[Callable] = [timm_checkpoint_saver, distributed, two_networks, large_numbers]
CHECKPOINTS: list[Callable] = [timm_saver, averaged, weight_averaging, lightning, views, quantised, whole_module]


def save(value, name: str, legacy: bool) -> bytes:
    """What `torch.save` writes to a file of that name, which is also that of the folder in the archive."""
    path = Path(tempfile.mkdtemp()) / f"{name}.pth"
    torch.save(value, path, _use_new_zipfile_serialization=not legacy)
    data = path.read_bytes()
    path.unlink()
    return data


def main() -> None:
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    names = sys.argv[2:]
    out.mkdir(parents=True, exist_ok=True)
    for make in CHECKPOINTS + RECENT:
        if names and make.__name__ not in names:
            continue
        made = make()
        data = made if isinstance(made, bytes) else save(made, make.__name__, legacy=False)
        (out / f"{make.__name__}.pth.gz").write_bytes(gzip.compress(data, mtime=0))
    if names:
        return
    files = {}
    files["legacy"] = save(timm_saver(), "legacy", legacy=True)
    # An inner folder of 21 characters.
    files["checkpoint_epoch_0010"] = save(network().state_dict(), "checkpoint_epoch_0010", legacy=False)
    script = io.BytesIO()
    torch.jit.save(torch_script(), script)
    files["torch_script"] = script.getvalue()
    for name, data in files.items():
        (out / f"{name}.pth.gz").write_bytes(gzip.compress(data, mtime=0))


if __name__ == "__main__":
    main()
