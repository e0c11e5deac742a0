"""Writes a small segmentation network, as a file to import and to adapt in tests.

    cd tests/peers && python -m coverage.segmentation [--out OUT=tests/data/networks]

Writes OUT/segmentation.pt2: an image of 24 × 32 pixels, strides of two, a merge of two resolutions, a head of five
classes at a quarter of the image's sides, and a bilinear resize to the image's. Its weights are random."""

import argparse
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from coverage import fixture
from coverage.micro import pt2
from coverage.weights import fill

OUT = Path(__file__).parents[2] / "data/networks"
SHAPE = (3, 24, 32)
CLASSES = 5


def block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


class Segmentation(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down, self.deep = block(3, 8, 2), block(8, 12, 2), block(12, 12, 2)
        self.merge = block(24, 16, 1)
        self.head = nn.Conv2d(16, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        down = self.down(self.stem(x))
        deep = functional.interpolate(self.deep(down), size=down.shape[2:], mode="bilinear", align_corners=False)
        logits = self.head(self.merge(torch.cat([down, deep], 1)))
        return functional.interpolate(logits, size=x.shape[2:], mode="bilinear", align_corners=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    module = Segmentation().double().eval()
    fill(module, fixture.images(SHAPE, 8))
    (options.out / "segmentation.pt2").write_bytes(pt2(fixture.program(module, SHAPE)))


if __name__ == "__main__":
    main()
