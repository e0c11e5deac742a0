"""PyTorch's side, answering as `crates/adapt/examples/peer` does.

    torch_peer.py check   THREADS [NETWORK]
    torch_peer.py infer   THREADS SIDE BATCH LAYOUT [NETWORK]
    torch_peer.py train   THREADS SIDE BATCH MICRO LAYOUT [NETWORK]   MICRO images at a time, gradients summed up
    torch_peer.py kernel  THREADS depthwise|dense forward|backward LAYOUT
    torch_peer.py machine THREADS                                this machine's own matrix product and copy
    torch_peer.py export  THREADS MODEL [NETWORK]                for ONNX Runtime
    torch_peer.py weights THREADS NETWORK                        writes the checkpoint of one of `zoo.py`'s

NETWORK is EfficientNet-Lite0 unless it is one of `zoo.py`'s.
LAYOUT is eager, channels-last or channels-last-folded. A batch norm has frozen statistics and a trainable affine;
`folded` (inference only) multiplies it into its convolution.
"""

import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import serving
import torch
from safetensors.torch import load_file
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval
from zoo import CLASSES, Network, new_head, write

WEIGHTS = Path(__file__).parents[2] / "models/efficientnet-lite0/weights.safetensors"
# Repeats, kernel, stride, expansion, output width of each row of blocks.
ROWS = [(1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
        (1, 3, 1, 6, 320)]
FEATURES, BASE_CLASSES = 1280, 1000
# Input and output channels and groups of the convolutions that are timed alone: 3×3, 8 images of 56 px.
KERNELS = {"depthwise": (144, 144, 144), "dense": (64, 64, 1)}


class Conv(torch.nn.Conv2d):
    """A convolution padded as TensorFlow's SAME: at stride 2 an odd rest goes below and right."""

    def __init__(self, inputs, outputs, kernel, stride=1, groups=1):
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)

    def forward(self, x):
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride > 1:
            totals = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[:1:-1]]
            x = functional.pad(x, [amount for total in totals for amount in (total // 2, total - total // 2)])
        return super().forward(x)


def norm(width):
    return torch.nn.BatchNorm2d(width, eps=1e-3)


class Block(torch.nn.Module):
    """Inverted residual: expand (unless by 1), depthwise, project; a shortcut where the shapes allow it."""

    def __init__(self, inputs, outputs, kernel, stride, expansion):
        super().__init__()
        width = inputs * expansion
        if expansion > 1:
            self._expand_conv, self._bn0 = Conv(inputs, width, 1), norm(width)
        self._depthwise_conv, self._bn1 = Conv(width, width, kernel, stride, width), norm(width)
        self._project_conv, self._bn2 = Conv(width, outputs, 1), norm(outputs)
        self.expands, self.residual = expansion > 1, stride == 1 and inputs == outputs

    def forward(self, x):
        y = x
        if self.expands:
            y = functional.relu6(self._bn0(self._expand_conv(y)), inplace=True)
        y = functional.relu6(self._bn1(self._depthwise_conv(y)), inplace=True)
        y = self._bn2(self._project_conv(y))
        return x + y if self.residual else y


class Lite0(torch.nn.Module):
    """The network under the names of its published checkpoint, with the shipped weights in f32."""

    def __init__(self):
        super().__init__()
        self._conv_stem, self._bn0 = Conv(3, 32, 3, 2), norm(32)
        blocks, width = [], 32
        for repeats, kernel, stride, expansion, outputs in ROWS:
            for repeat in range(repeats):
                blocks.append(Block(width, outputs, kernel, stride if repeat == 0 else 1, expansion))
                width = outputs
        self._blocks = torch.nn.ModuleList(blocks)
        self._conv_head, self._bn1 = Conv(width, FEATURES, 1), norm(FEATURES)
        self._fc = torch.nn.Linear(FEATURES, BASE_CLASSES)
        self.load()
        self.eval()

    def load(self):
        tensors = {name: tensor.float() for name, tensor in load_file(WEIGHTS).items()}
        missing, unexpected = self.load_state_dict(tensors, strict=False)
        missing = [name for name in missing if not name.endswith("num_batches_tracked")]
        if missing or unexpected:
            sys.exit(f"{WEIGHTS}: missing {missing}, unexpected {unexpected}")

    def forward(self, x):
        x = functional.relu6(self._bn0(self._conv_stem(x)), inplace=True)
        for block in self._blocks:
            x = block(x)
        x = functional.relu6(self._bn1(self._conv_head(x)), inplace=True)
        return self._fc(functional.adaptive_avg_pool2d(x, 1).flatten(1))

    def with_new_head(self):
        """The same network under the golden file's head of seven classes."""
        self._fc = new_head(FEATURES)
        return self

    def folded(self):
        for module in [self, *self._blocks]:
            for conv, bn in [("_conv_stem", "_bn0"), ("_conv_head", "_bn1"), ("_expand_conv", "_bn0"),
                             ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")]:
                if hasattr(module, conv):
                    setattr(module, conv, fuse_conv_bn_eval(getattr(module, conv), getattr(module, bn)))
                    setattr(module, bn, torch.nn.Identity())
        return self


def network(name: str | None = None) -> torch.nn.Module:
    return Network(name) if name else Lite0()


def images(first, count, side):
    return torch.from_numpy(serving.images(first, count, side))


class Training:
    """Forward, backward, SGD with Nesterov's momentum."""

    def __init__(self, model, x, labels, micro):
        self.model, self.x, self.labels, self.micro = model, x, labels, micro
        self.sgd = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9, nesterov=True, fused=True)

    def step(self) -> float:
        """Returns the loss before it."""
        self.sgd.zero_grad()
        total = 0.0
        for x, labels in zip(self.x.split(self.micro), self.labels.split(self.micro), strict=True):
            loss = functional.cross_entropy(self.model(x), labels, reduction="sum") / len(self.x)
            loss.backward()
            total += loss.item()
        self.sgd.step()
        return total


def check(name: str | None = None) -> None:
    with torch.inference_mode():
        logits = network(name)(images(0, 2, 224)).tolist()
    training = Training(network(name).with_new_head(), images(0, 4, 128), torch.tensor([0, 3, 5, 6]), 4)
    print(json.dumps({"logits": logits, "losses": [training.step(), training.step()], "version": torch.__version__}))


def infer(side: str, batch: str, layout: str, name: str | None = None) -> None:
    model, x = laid_out(network(name), images(0, int(batch), int(side)), layout)
    with torch.inference_mode():
        serving.serve(lambda: model(x)[0, 0].item())


def train(side: str, batch: str, micro: str, layout: str, name: str | None = None) -> None:
    model, x = laid_out(network(name).with_new_head(), images(0, int(batch), int(side)), layout)
    serving.serve(Training(model, x, torch.arange(int(batch)) % CLASSES, int(micro)).step)


def kernel(kind: str, direction: str, layout: str) -> None:
    """The convolution alone: no norm, no activation. Backward is both gradients."""
    inputs, outputs, groups = KERNELS[kind]
    sizes = [(8, inputs, 56, 56), (outputs, inputs // groups, 3, 3), (8, outputs, 56, 56)]
    order = torch.channels_last if layout == "channels-last" else torch.contiguous_format
    x, weight, gradient = (torch.rand(size).contiguous(memory_format=order) for size in sizes)
    how = {"stride": [1, 1], "padding": [1, 1], "dilation": [1, 1], "groups": groups}

    def backward():
        return torch.ops.aten.convolution_backward(
            gradient, x, weight, None, transposed=False, output_padding=[0, 0], output_mask=[True, True, False], **how
        )

    convolve = {"forward": lambda: [functional.conv2d(x, weight, None, **how)], "backward": backward}[direction]
    with torch.inference_mode():
        serving.serve(lambda: convolve()[0][0, 0, 0, 0].item())


def machine() -> None:
    """GFLOP/s of a product of square matrices, GB/s (read and written) of a copy that no cache holds."""
    side, size = 2048, 64 << 20
    left, right, source = torch.rand(side, side), torch.rand(side, side), torch.rand(size // 4)
    target = torch.empty_like(source)
    product, copy = median_seconds(lambda: left @ right), median_seconds(lambda: target.copy_(source))
    print(json.dumps({"gemm_gflops": 2 * side**3 / product / 1e9, "copy_gbs": 2 * size / copy / 1e9}))


def median_seconds(work: Callable[[], object], repeats: int = 15) -> float:
    """Of all but the first, which finds cold caches."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def export(path: str, name: str | None = None) -> None:
    """Whole or not at all: the file is the cache of later runs."""
    partial = Path(f"{path}.partial")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network(name).folded(), (images(0, 1, 224),), partial, dynamo=False, input_names=["images"])
    partial.replace(path)


def laid_out(model, x, layout):
    if layout.endswith("-folded"):
        model = model.folded()
    if layout.startswith("channels-last"):
        return model.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    return model, x


if __name__ == "__main__":
    work, threads, *rest = sys.argv[1:]
    torch.set_num_threads(int(threads))
    works = {"check": check, "infer": infer, "train": train, "kernel": kernel, "machine": machine, "export": export}
    works["weights"] = write
    works[work](*rest)
