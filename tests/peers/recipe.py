"""Trains EfficientNet-Lite0 by PyTorch on values or labels, by the recipe of `fieldfit adapt --augment none`, and measures it.

    python tests/peers/recipe.py LEARN MEASURE lp-ft|full [SIDE [SEED]]

LEARN and MEASURE are folders with `targets.csv` or `labels.csv`. The recipe: values standardised by the images that train, Huber loss, or
binary cross-entropy; AdamW at 1e-4 without decay, 4 epochs of batches of 16, 20 warm-up steps, then half a cosine to 0, gradients clipped
to a norm of 1, batch norms with frozen statistics and a trainable affine. `lp-ft` begins with a linear probe, `full` with a random head. Of LEARN,
four fifths train, drawn at random: PyTorch has no gate. Prints a JSON line: the mean absolute error, the root mean square error and R²
of values, or the mean average precision of labels. Needs torch, safetensors and Pillow.
"""

import csv
import json
import math
import random
import sys
import time
from pathlib import Path

import torch
from PIL import Image
from torch.nn import functional
from torch_peer import FEATURES, Lite0

EPOCHS, BATCH, RATE, WARM_UP = 4, 16, 1e-4, 20
CROP, MEAN, STD = 0.875, 127.0, 128.0
PROBE_STEPS, PENALTY = 200, 1e-3


def opened(folder: Path, side: int) -> tuple[torch.Tensor, torch.Tensor, bool]:
    """Images, targets, and whether these are labels."""
    is_labelled = (folder / "labels.csv").exists()
    with (folder / ("labels.csv" if is_labelled else "targets.csv")).open() as file:
        _, *rows = csv.reader(file)
    images = torch.stack([loaded(folder / row[0], side) for row in rows])
    return images, torch.tensor([[float(value) for value in row[1:]] for row in rows]), is_labelled


def loaded(path: Path, side: int) -> torch.Tensor:
    """The middle of an image, as the network takes it."""
    image = Image.open(path).convert("RGB")
    shorter = int(min(image.size) * CROP)
    left, top = (image.width - shorter) // 2, (image.height - shorter) // 2
    image = image.crop((left, top, left + shorter, top + shorter)).resize((side, side), Image.Resampling.BICUBIC)
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).reshape(side, side, 3)
    return (pixels.permute(2, 0, 1).float() - MEAN) / STD


def answers(model: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The outputs, or features, of images."""
    with torch.inference_mode():
        return torch.cat([model(batch) for batch in images.split(BATCH)])


def probe(model: Lite0, images: torch.Tensor, targets: torch.Tensor, loss) -> torch.nn.Linear:
    """A linear head on the base's features, by Adam on all images at once."""
    model._fc = torch.nn.Identity()
    features = answers(model, images).clone()
    mean, spread = features.mean(0), (features - features.mean(0)).square().mean().sqrt()
    head = torch.nn.Linear(FEATURES, targets.shape[1])
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    adam = torch.optim.Adam(head.parameters(), 0.1 / math.sqrt(FEATURES))
    for _ in range(PROBE_STEPS):
        adam.zero_grad()
        (loss(head((features - mean) / spread), targets) + PENALTY * FEATURES / 2 * head.weight.square().sum()).backward()
        adam.step()
    with torch.no_grad():
        head.weight /= spread
        head.bias -= head.weight @ mean
    return head


def train(model: Lite0, images: torch.Tensor, targets: torch.Tensor, loss) -> None:
    """The recipe's steps."""
    adam = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.0)
    steps = EPOCHS * -(-len(images) // BATCH)
    warm_up, step = min(WARM_UP, steps // 10), 0
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images)).split(BATCH):
            share = (step + 1) / warm_up if step < warm_up else 0.5 + 0.5 * math.cos(math.pi * (step - warm_up) / (steps - warm_up))
            adam.param_groups[0]["lr"] = RATE * share
            adam.zero_grad()
            loss(model(images[batch]), targets[batch]).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            adam.step()
            step += 1


def of_values(found: torch.Tensor, expected: torch.Tensor) -> dict[str, float]:
    """Errors in the units of the table."""
    errors = found - expected
    return {
        "mean_error": errors.abs().mean().item(),
        "root_mean_square": errors.square().mean().sqrt().item(),
        "r2": (1 - errors.square().sum() / (expected - expected.mean(0)).square().sum()).item(),
    }


def of_labels(scores: torch.Tensor, expected: torch.Tensor) -> dict[str, float]:
    """Mean over labels of the average precision."""
    precisions = []
    for score, truth in zip(scores.T, expected.T):
        ranked = truth[score.argsort(descending=True)]
        if 0 < ranked.sum():
            precision = ranked.cumsum(0) / torch.arange(1, len(ranked) + 1)
            precisions.append((precision * ranked).sum() / ranked.sum())
    return {"map": torch.stack(precisions).mean().item(), "labels": len(precisions)}


def main() -> None:
    match sys.argv[1:]:
        case [learn, measure, ("lp-ft" | "full") as method, *rest] if len(rest) <= 2:
            side, seed = (int(word) for word in [*rest, *["160", "0"][len(rest) :]])
        case _:
            sys.exit(__doc__)
    torch.manual_seed(seed)
    images, targets, is_labelled = opened(Path(learn), side)
    order = random.Random(seed).sample(range(len(images)), len(images) * 4 // 5)
    images, targets = images[order], targets[order]
    mean, deviation = (0.0, 1.0) if is_labelled else (targets.mean(0), targets.std(0, unbiased=False))
    loss = functional.binary_cross_entropy_with_logits if is_labelled else functional.huber_loss
    begun = time.monotonic()
    model = Lite0()
    scaled = (targets - mean) / deviation
    model._fc = probe(model, images, scaled, loss) if method == "lp-ft" else torch.nn.Linear(FEATURES, targets.shape[1])
    train(model, images, scaled, loss)
    seconds = time.monotonic() - begun
    unseen, expected, _ = opened(Path(measure), side)
    found = answers(model, unseen) * deviation + mean
    figures = of_labels(found, expected) if is_labelled else of_values(found, expected)
    print(json.dumps({"method": method, "images": len(images), "seed": seed, "seconds": round(seconds, 1), **figures}))


if __name__ == "__main__":
    main()
