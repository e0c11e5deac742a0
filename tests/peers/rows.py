"""What is measured: the rows of the table, and those that show how time and memory grow."""

from collections.abc import Callable
from dataclasses import dataclass, replace

LAYOUTS = ("eager", "channels-last")
# What the trainer takes at a time where nobody says otherwise.
MICRO = 4


@dataclass(frozen=True)
class Side:
    """A program, by its name in `run`, and what it is asked to do."""

    name: str
    program: str
    work: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """Our work and what it is compared with, each a process."""

    name: str
    threads: int
    ours: Side
    theirs: tuple[Side, ...]
    # Steps a turn, the first of which isn't counted; none: a turn is a whole process up to its first answer.
    steps: int | None
    # How far the first results may lie apart; none: ours is one convolution in a chain, whose inputs are others, and
    # whose process does the whole chain's work.
    tolerance: float | None


def ours(*work: object) -> Side:
    return Side("Fieldfit", "ours", tuple(map(str, work)))


def torch(label: str, *work: object) -> Side:
    return Side(f"PyTorch {label}", "torch", tuple(map(str, work)))


def onnx(network: str = "lite0", work: str = "infer") -> Side:
    return Side("ONNX Runtime" if work == "infer" else "ONNX Runtime int8", "onnx", (work, f"onnx:{network}"))


def infer(threads: int, side: int, batch: int = 1) -> Row:
    theirs = [torch(layout, "infer", side, batch, layout) for layout in (*LAYOUTS, "channels-last-folded")]
    name = f"infer-{side}"
    if (side, batch) == (224, 1):
        theirs.append(onnx())
    return Row(name, threads, ours("infer", side, batch), tuple(theirs), 25, 1e-3)


def int8(threads: int, network: str | None = None) -> Row:
    """One image of 224 px in int8, beside our own f32, OpenVINO's int8 and ONNX Runtime's. Their codes differ, and so do their logits."""
    model = ("--model", f"base:{network}") if network else ()
    theirs = (
        Side("our f32", "ours", ("infer", "224", "1", *model)),
        Side("OpenVINO int8", "openvino", ("infer", f"onnx:{network or 'lite0'}")),
        Side("OpenVINO f32", "openvino", ("infer", f"onnx:{network or 'lite0'}", "f32")),
        onnx(network or "lite0", "infer-int8"),
    )
    mine = ours("infer-int8", 224, *model)
    return Row(f"int8-{network or 224}", threads, mine, theirs, 25, None)


def start(threads: int) -> Row:
    theirs = torch("eager", "infer", 224, 1, "eager"), onnx()
    return Row("start-224", threads, ours("infer", 224), theirs, None, 1e-3)


def train(threads: int, side: int, batch: int, micro: int) -> Row:
    """Ours with `micro` images at a time; PyTorch's with the whole batch at once, and as ours, too."""
    theirs = [torch(layout, "train", side, batch, batch, layout) for layout in LAYOUTS]
    if micro < batch:
        theirs += [torch(f"{layout}, {micro} at a time", "train", side, batch, micro, layout) for layout in LAYOUTS]
    return Row(f"train-{side}", threads, ours("train", side, batch, micro), tuple(theirs), 3, 1e-4)


def infer_zoo(threads: int, network: str) -> Row:
    """One image of 224 px, of a network whose weights a formula gives."""
    theirs = [torch(layout, "infer", 224, 1, layout, network) for layout in (*LAYOUTS, "channels-last-folded")]
    mine = ours("infer", 224, 1, "--model", f"base:{network}")
    return Row(f"infer-{network}", threads, mine, (*theirs, onnx(network)), 25, 1e-3)


def train_zoo(threads: int, network: str, micro: int) -> Row:
    """16 images, of the same."""
    side = ZOO[network]
    theirs = tuple(torch(layout, "train", side, 16, 16, layout, network) for layout in LAYOUTS)
    mine = ours("train", side, 16, micro, "--model", f"base:{network}")
    return Row(f"train-{network}", threads, mine, theirs, 3, 1e-4)


def tpgm(threads: int) -> Row:
    step = Side("our lp-ft step", "ours", ("train", "128"))
    return Row("tpgm-128", threads, ours("tpgm", 128), (step,), 4, 1e-4)


def kernel(threads: int, kind: str, direction: str) -> Row:
    theirs = tuple(torch(layout, "kernel", kind, direction, layout) for layout in LAYOUTS)
    return Row(f"{kind}-{direction}", threads, ours("kernel", kind, direction), theirs, 12, None)


# Networks beside EfficientNet-Lite0, as in `zoo.py`, and the side of the images that a training step takes: those of our own
# architectures, and those that we import as a graph.
ARCHITECTURES = {"resnet18": 128, "mobilenetv2": 128, "deit-tiny": 224, "deit-small": 224}
IMPORTED = {"mobilenetv3-large": 128, "efficientnet-b0": 128, "convnext-atto": 128, "regnety-002": 128}
ZOO = ARCHITECTURES | IMPORTED

# Each by its name, from the number of threads and of images that a training step takes at a time.
ROWS: dict[str, Callable[[int, int], Row]] = {
    "infer-224": lambda threads, _: infer(threads, 224),
    "start-224": lambda threads, _: start(threads),
    "int8-224": lambda threads, _: int8(threads),
    "train-128": lambda threads, micro: train(threads, 128, 16, micro),
    "train-224": lambda threads, micro: train(threads, 224, 16, micro),
    "tpgm-128": lambda threads, _: tpgm(threads),
    "depthwise-forward": lambda threads, _: kernel(threads, "depthwise", "forward"),
    "depthwise-backward": lambda threads, _: kernel(threads, "depthwise", "backward"),
    "dense-forward": lambda threads, _: kernel(threads, "dense", "forward"),
    "dense-backward": lambda threads, _: kernel(threads, "dense", "backward"),
}
for network in ZOO:
    ROWS[f"infer-{network}"] = lambda threads, _, network=network: infer_zoo(threads, network)
    ROWS[f"train-{network}"] = lambda threads, micro, network=network: train_zoo(threads, network, micro)


for network in ("resnet18", "deit-tiny"):
    ROWS[f"int8-{network}"] = lambda threads, _, network=network: int8(threads, network)


@dataclass(frozen=True)
class Point:
    """One size at which growth is looked at."""

    work: str
    side: int
    batch: int
    threads: int

    def row(self) -> Row:
        """Beside the fastest of PyTorch's ways alone, so that all sizes take minutes."""
        if self.work == "infer":
            theirs = torch("channels-last-folded", "infer", self.side, self.batch, "channels-last-folded")
            return replace(infer(self.threads, self.side, self.batch), theirs=(theirs,))
        theirs = torch("channels-last", "train", self.side, self.batch, self.batch, "channels-last")
        return replace(train(self.threads, self.side, self.batch, min(MICRO, self.batch)), theirs=(theirs,))


def points(threads: int) -> list[Point]:
    """Every work at every size, on one thread and on all."""
    return [
        Point(work, side, batch, count)
        for work in ("infer", "train")
        for side in (128, 224)
        for batch in (1, 4, 16)
        for count in sorted({1, threads})
    ]
